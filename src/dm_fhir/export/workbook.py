"""Tables as one XLSX workbook, a sheet each, with the dictionary. Text is text: no cell is ever a formula."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO

from dm_fhir.errors import ConfigError
from dm_fhir.export.columns import Cell
from dm_fhir.export.tables import DICTIONARY, STUDY, TABLES, day_0_of, dictionary, study
from dm_fhir.model.case import Case, CaseSeries
from dm_fhir.model.spreadsheet_text import is_formula, printable

if TYPE_CHECKING:
    from openpyxl.worksheet._write_only import WriteOnlyWorksheet

#: What a sheet and a cell hold.
MOST_LINES, MOST_CHARACTERS = 1_048_576, 32_767


def write_workbook(file: BinaryIO, head: CaseSeries, cases: Iterable[Case]) -> dict[str, int]:
    """Write the workbook, case by case; how many lines each table has.

    Raises ConfigError without openpyxl, and where a table or a text is larger than a sheet or a cell can be.
    """
    workbook = _workbook()
    try:
        lines = _fill(workbook, head, cases)
    except BaseException:
        _forget(workbook)
        raise
    workbook.save(file)
    return lines


def _fill(workbook: Any, head: CaseSeries, cases: Iterable[Case]) -> dict[str, int]:
    sheets = {table.name: workbook.create_sheet(table.name) for table in TABLES}
    lines = {table.name: 0 for table in TABLES}
    for table in TABLES:
        sheets[table.name].freeze_panes = "A2"
        sheets[table.name].append([column.name for column in table.columns])
    for case in cases:
        day_0 = day_0_of(case)
        for table in TABLES:
            for line in table.lines(case, day_0):
                lines[table.name] += 1
                if lines[table.name] >= MOST_LINES:
                    raise _too_large(f"table {table.name} has more lines than a sheet holds ({MOST_LINES})")
                _append(sheets[table.name], line)
    for name, columns, rows in (("study", STUDY, study(head)), ("dictionary", DICTIONARY, dictionary())):
        sheet = workbook.create_sheet(name)
        sheet.append(columns)
        for row in rows:
            _append(sheet, row)
    return lines


def _forget(workbook: Any) -> None:
    """Remove the temporary files in which openpyxl keeps the sheets until they are saved."""
    for sheet in workbook.worksheets:
        sheet.close()
        sheet._writer.cleanup()


def _workbook() -> Any:
    try:
        from openpyxl import Workbook
    except ImportError:
        raise ConfigError("XLSX needs openpyxl", hint="pip install 'dm-fhir[export]', or --format csv") from None
    return Workbook(write_only=True)


def _append(sheet: "WriteOnlyWorksheet", line: Sequence[Cell]) -> None:
    sheet.append([_cell(sheet, cell) if isinstance(cell, str) else _number(cell) for cell in line])


def _number(cell: int | bool | Decimal | None) -> int | bool | Decimal | None:
    return cell


def _cell(sheet: "WriteOnlyWorksheet", text: str) -> Any:
    """A cell of text. What could be a formula is marked as text too, so that it stays one when somebody edits it."""
    from openpyxl.cell import WriteOnlyCell

    if len(text) > MOST_CHARACTERS:
        raise _too_large("a text is longer than a cell holds")
    cell = WriteOnlyCell(sheet, printable(text))
    cell.data_type = "s"
    if is_formula(text):
        cell.quotePrefix = True
    return cell


def _too_large(what: str) -> ConfigError:
    return ConfigError(f"a workbook cannot hold it: {what}", hint="--format csv, parquet or json")
