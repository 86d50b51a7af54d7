"""A table as people keep it: CSV (a REDCap export is one) or XLSX, read into rows of cells that know their line.

Nothing is guessed: not the encoding, not which sheet, not what a formula would come to.
"""

import csv
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import BadZipFile, ZipFile

from dm_fhir.errors import ConfigError
from dm_fhir.model.read_file import read_bytes, too_large

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

#: A cell as it is kept: text, or what a spreadsheet knows to be a number or a date. A time without hours is a date.
Cell = str | Decimal | date | datetime
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}
#: What stands in a cell whose formula was never computed.
NOT_COMPUTED = "\N{REPLACEMENT CHARACTER}formula"
_CODECS = {"utf-8": "utf-8-sig", "utf-16": "utf-16", "windows-1252": "cp1252", "latin-1": "latin-1"}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_OTHER_SPREADSHEETS = (".xls", ".xlsb", ".ods", ".numbers", ".sav", ".parquet")
#: What reading a damaged one raises; broken XML is a SyntaxError.
_NO_XLSX = (BadZipFile, KeyError, ValueError, EOFError, SyntaxError, zlib.error)
_LONGEST_CELL = 1_000_000
#: A table of scores is a thousandth of it. An XLSX is a ZIP file: it is as large as what it unpacks to.
_LARGEST_BYTES = 256 * 2**20
#: A sheet may say that it has a million rows of 16,384 cells, and hold none.
_MOST_CELLS = 20_000_000


class SheetRow(NamedTuple):
    """One row: the line it begins on (the first is 1), and a cell for each that it has."""

    line: int
    cells: tuple[Cell, ...]


class Sheet(NamedTuple):
    """A table: the names in its first filled row, and every filled row below."""

    columns: tuple[str, ...]
    rows: list[SheetRow]


def text_of(cell: Cell) -> str:
    """The cell as text without blanks around it: 12 for 12.0, 2024-03-05 for a date."""
    if isinstance(cell, Decimal):
        return f"{cell.normalize():f}"
    return cell.strip() if isinstance(cell, str) else cell.isoformat()


def read_sheet(
    path: Path, wanted: Iterable[str], encoding: str = "utf-8", delimiter: str | None = None, sheet: str | None = None
) -> Sheet:
    """The table in `path`, by its ending. Without a `delimiter` the one that gives most of the `wanted` columns.

    Raises ConfigError for a file that cannot be read, and for one in which a wanted column is missing or stands twice.
    """
    wanted = list(dict.fromkeys(wanted))
    if path.suffix.lower() in _OTHER_SPREADSHEETS:
        raise ConfigError(f"{path} is neither CSV nor XLSX", hint="save it as XLSX, or as CSV UTF-8")
    is_xlsx = path.suffix.lower() in (".xlsx", ".xlsm")
    rows = list(_xlsx(path, sheet) if is_xlsx else _csv(_text(path, encoding), path, wanted, delimiter))
    if not rows:
        raise ConfigError(f"{path} has no rows", hint="its first row must name the columns")
    columns = tuple(text_of(cell) for cell in rows[0].cells)
    found = [f"column '{name}': {_how_often(columns.count(name))}" for name in wanted if columns.count(name) != 1]
    if found:
        raise ConfigError(
            f"{path} and the column map do not fit:",
            faults=found,
            hint="the first row of the file must name the columns",
        )
    return Sheet(columns, rows[1:])


def _how_often(count: int) -> str:
    return "the file has none of this name" if count == 0 else f"the file has {count} of this name, 1 was expected"


def _text(path: Path, encoding: str) -> str:
    try:
        content = read_bytes(path, _LARGEST_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint="give a CSV or XLSX file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if content.startswith(_UTF_16) and encoding != "utf-16":
        raise ConfigError(f"{path} is UTF-16, not {encoding}", hint='set encoding = "utf-16" in the column map')
    try:
        return content.decode(_CODECS[encoding])
    except UnicodeDecodeError as error:  # its text would repeat the bytes
        line = content.count(b"\n", 0, error.start) + 1
        hint = 'save it as "CSV UTF-8", or set encoding = "windows-1252" (or "latin-1") in the column map'
        raise ConfigError(f"{path} is not {encoding}: line {line}", hint=hint) from None


def _csv(text: str, path: Path, wanted: Sequence[str], delimiter: str | None) -> Iterator[SheetRow]:
    csv.field_size_limit(_LONGEST_CELL)

    def read(character: str) -> Iterator[SheetRow]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=character, strict=True)
        line = 1
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield SheetRow(line, tuple(cells))
                line = reader.line_num + 1
        except csv.Error as error:
            hint = "is a quotation mark open, or the wrong delimiter set?"
            raise ConfigError(f"{path} is not CSV: row beginning on line {line}: {error}", hint=hint) from None

    def known(character: str) -> int:
        try:
            first = next(read(character), SheetRow(1, ()))
        except ConfigError:
            return -1
        return len({text_of(cell) for cell in first.cells} & set(wanted))

    return read(DELIMITERS[delimiter] if delimiter else max(DELIMITERS.values(), key=known))


def _xlsx(path: Path, name: str | None) -> Iterator[SheetRow]:
    """The rows as they are shown, beside the same rows with their formulas: an empty one of these has no value yet."""
    with ExitStack() as opened:  # openpyxl leaves a file open whose sheet cannot be read
        yield from _rows(path, name, *(_workbook(path, opened, values=values) for values in (True, False)))


def _rows(path: Path, name: str | None, shown: "Workbook", written: "Workbook") -> Iterator[SheetRow]:
    try:
        title = _title(shown, path, name)
        passed = 0
        pairs = zip(shown[title].iter_rows(values_only=True), written[title].iter_rows(values_only=True), strict=True)
        for line, (values, formulas) in enumerate(pairs, start=1):
            passed += len(values)
            if passed > _MOST_CELLS:
                hint = "save the rows that hold something as CSV UTF-8"
                raise ConfigError(f"{path} has more than {_MOST_CELLS:,} cells, empty ones included", hint=hint)
            cells = [_cell(value, formula) for value, formula in zip(values, formulas, strict=True)]
            while cells and cells[-1] == "":
                cells.pop()
            if cells:
                yield SheetRow(line, tuple(cells))
    except _NO_XLSX:
        raise _no_xlsx(path) from None
    finally:
        shown.close()
        written.close()


def _workbook(path: Path, opened: ExitStack, *, values: bool) -> "Workbook":
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ModuleNotFoundError:
        hint = "pip install 'dm-fhir[import]', or save the sheet as CSV UTF-8"
        raise ConfigError(f"{path}: reading XLSX needs openpyxl, which is not installed", hint=hint) from None
    try:
        with ZipFile(path) as parts:
            if sum(part.file_size for part in parts.infolist()) > _LARGEST_BYTES:
                raise too_large(_LARGEST_BYTES)
        file = opened.enter_context(path.open("rb"))
        return load_workbook(file, read_only=True, data_only=values)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint="give a CSV or XLSX file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (*_NO_XLSX, InvalidFileException):
        raise _no_xlsx(path) from None


def _no_xlsx(path: Path) -> ConfigError:
    return ConfigError(f"{path} is no XLSX file", hint="save it anew as XLSX; one with a password cannot be read")


def _title(book: "Workbook", path: Path, name: str | None) -> str:
    """The sheet to read. Sheets may be called after patients: only how many there are is said."""
    titles = [one.title for one in book.worksheets]
    if name is None and len(titles) == 1:
        return titles[0]
    if name is None:
        raise ConfigError(f"{path} has {len(titles)} sheets", hint='say which one: sheet = "…" in the column map')
    if name not in titles:
        raise ConfigError(
            f"{path} has no sheet '{name}' among its {len(titles)}", hint="sheet in the column map says which"
        )
    return name


def _cell(value: Any, formula: Any) -> Cell:
    if value is None:
        is_formula = isinstance(formula, str) and formula.startswith("=")
        return NOT_COMPUTED if is_formula else ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        # A spreadsheet shows 15 digits; a float has more, which nobody typed.
        return Decimal(value) if isinstance(value, int) else Decimal(f"{value:.15g}")
    if isinstance(value, datetime):
        return value if (value.hour, value.minute, value.second) != (0, 0, 0) else value.date()
    return value if isinstance(value, date) else str(value)
