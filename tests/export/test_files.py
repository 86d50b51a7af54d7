"""Workbook, Parquet and document, each read back by another reader than wrote it; written line by line, and whole or not at all."""

import io
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pytest
from msgspec.structs import replace
from openpyxl.worksheet._writer import ALL_TEMP_FILES
from pyarrow import parquet

from dm_fhir.errors import ConfigError, DmFhirError
from dm_fhir.export import tables, workbook
from dm_fhir.export.csv_files import write_csv
from dm_fhir.export.document import write_document
from dm_fhir.export.parquet_files import FILES, write_parquet
from dm_fhir.export.tables import TABLES, day_0_of
from dm_fhir.export.workbook import write_workbook
from dm_fhir.model.case import Case, CaseSeries, Finding, Outcome
from dm_fhir.model.document import encode, read_document
from dm_fhir.outcomes.battery import exposure_of
from dm_fhir.outcomes.exposure import Exposure

FORMULA = "=1+1"


def of_finding(done: str) -> Case:
    return Case("Patient/1", "leon", "UTC", findings=(Finding("conflict", "warning", "Observation/1", done),))


def opened(data: io.BytesIO) -> Any:
    data.seek(0)
    return openpyxl.load_workbook(data)


def test_a_workbook_says_what_the_cases_say(head: CaseSeries, cases: tuple[Case, ...]) -> None:
    file, cases = io.BytesIO(), cases[-6:]
    counts = write_workbook(file, head, iter(cases))
    book = opened(file)

    assert book.sheetnames == [*(table.name for table in TABLES), "study", "dictionary"]
    for table in TABLES:
        header, *read = book[table.name].iter_rows(values_only=True)
        assert header == tuple(column.name for column in table.columns)
        written = [line for case in cases for line in table.lines(case, day_0_of(case))]
        assert len(read) == counts[table.name] == len(written)
        for line, expected in zip(read, written, strict=True):
            assert [_plain(cell) for cell in line] == [_plain(cell) for cell in expected]


def _plain(cell: Any) -> Any:
    """A workbook has one kind of number, and no empty text."""
    if isinstance(cell, Decimal | float | int) and not isinstance(cell, bool):
        return float(cell)
    return cell or None if not isinstance(cell, bool) else cell


def test_no_cell_of_a_workbook_is_a_formula(head: CaseSeries) -> None:
    file = io.BytesIO()
    write_workbook(file, head, iter([of_finding(FORMULA), of_finding("-12.5"), of_finding("a\x07b")]))
    book = opened(file)

    cells = [cell for sheet in book for line in sheet.iter_rows() for cell in line]
    assert {cell.data_type for cell in cells} <= {"s", "inlineStr", "n", "b"}
    (formula,) = [cell for cell in cells if cell.value == FORMULA]
    assert (formula.data_type, formula.quotePrefix) == ("s", True)
    assert [cell.quotePrefix for cell in cells if cell.value == "-12.5"] == [False]
    assert [cell.value for cell in cells if cell.value == "a\ufffdb"] == ["a\ufffdb"]
    assert [cell.data_type for cell in cells if str(cell.value).startswith("=HYPERLINK")] == ["s"]


def test_a_workbook_that_cannot_hold_it_says_what_can(head: CaseSeries, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="a text is longer than a cell holds\n  --format csv, parquet or json"):
        write_workbook(io.BytesIO(), head, iter([of_finding("x" * 32_768)]))
    monkeypatch.setattr(workbook, "MOST_LINES", 3)
    many = replace(of_finding("x"), findings=of_finding("x").findings * 3)
    with pytest.raises(ConfigError, match="table findings has more lines than a sheet holds"):
        write_workbook(io.BytesIO(), head, iter([many]))
    assert [name for name in ALL_TEMP_FILES if Path(name).exists()] == []


def test_parquet_has_exact_numbers_and_no_float(tmp_path: Path, head: CaseSeries, cases: tuple[Case, ...]) -> None:
    counts = write_parquet(tmp_path, head, iter(cases))

    assert {path.name for path in tmp_path.iterdir()} == FILES
    for table in TABLES:
        read = parquet.read_table(tmp_path / f"{table.name}.parquet")
        assert read.column_names == [column.name for column in table.columns]
        assert not any(pyarrow.types.is_floating(field.type) for field in read.schema)
        written = [line for case in cases for line in table.lines(case, day_0_of(case))]
        assert read.num_rows == counts[table.name] == len(written)
        assert [tuple(row.values()) for row in read.to_pylist()] == written
    outcomes = parquet.read_schema(tmp_path / "outcomes.parquet")
    assert (outcomes.field("number").type, outcomes.field("number_rounded").type) == (
        pyarrow.string(),
        pyarrow.decimal128(38, 6),
    )
    assert parquet.read_table(tmp_path / "study.parquet").to_pylist()[0]["value"] == head.title


@pytest.mark.parametrize(("write", "library"), [(write_workbook, "openpyxl"), (write_parquet, "pyarrow")])
def test_without_its_library_a_format_says_what_to_install(
    write: Any, library: str, tmp_path: Path, head: CaseSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf"needs {library}\n  pip install 'dm-fhir\[export\]'"):
        write(tmp_path, head, iter([]))


# The document


def test_the_document_written_case_by_case_is_that_of_the_whole_series(
    head: CaseSeries, cases: tuple[Case, ...]
) -> None:
    tricky = replace(head, title='","cases":[]', definitions=head.definitions)
    for some in ((), cases[:1], cases):
        file = io.BytesIO()
        assert write_document(file, tricky, iter(some)) == {"cases": len(some)}
        assert file.getvalue() == encode(replace(tricky, cases=some)) + b"\n"
        assert read_document(file.getvalue(), "x.json") == replace(tricky, cases=some)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b'"accepts_preliminary"', b'"surprise":1,"accepts_preliminary"', 1),
        lambda data: data.replace(b'"drug":', b'"drug":"another","drug":', 1),
        lambda data: data.replace(b',"dates":"kept"', b',"dates":"kept","surprise":1', 1),
        lambda data: data + b"{}",
        lambda data: data[:-1] + b"x",
    ],
)
def test_a_document_with_anything_more_in_it_is_not_taken_for_ours(change: Any, head: CaseSeries) -> None:
    data = encode(replace(head, cases=(Case("Patient/1", "leon", "UTC", accepts_preliminary=True),)))
    assert read_document(data, "x.json").cases[0].accepts_preliminary
    assert change(data) != data
    with pytest.raises(ConfigError):
        read_document(change(data), "x.json")


def test_a_case_that_would_not_read_back_is_not_written(head: CaseSeries) -> None:
    wrong = Case("Patient/1", "leon", "UTC", outcomes=(Outcome("x", "R", "1", when=5),))  # type: ignore[arg-type]
    with pytest.raises(DmFhirError, match="does not read back as it was written"):
        write_document(io.BytesIO(), head, iter([wrong]))


def test_what_was_written_elsewhere_is_checked_against_the_schema(head: CaseSeries, cases: tuple[Case, ...]) -> None:
    document = json.loads(encode(replace(head, cases=cases[:1])))
    document["cases"][0]["surprise"] = 1
    with pytest.raises(ConfigError, match="unknown key 'surprise'"):
        read_document(json.dumps(document, separators=(",", ":")).encode(), "x.json")


@pytest.mark.parametrize("write", [write_csv, write_parquet, write_workbook, write_document])
def test_a_case_that_is_written_is_kept_no_longer(
    write: Any, tmp_path: Path, head: CaseSeries, cases: tuple[Case, ...]
) -> None:
    """So many cases need no more memory than few."""
    still_held: list[bool] = []

    def each() -> Iterator[Case]:
        before = None
        for number in range(6):
            case = replace(cases[0], id=f"Patient/{number}", outcomes=cases[0].outcomes[:5])
            yield case
            still_held.append(before is not None and sys.getrefcount(before) > 2)
            before = case

    if write in (write_csv, write_parquet):
        write(tmp_path, head, each())
    else:
        with (tmp_path / "file").open("wb") as file:
            write(file, head, each())
    assert still_held == [False] * 6


@pytest.mark.parametrize("write", [write_csv, write_parquet, write_workbook])
def test_the_first_infusion_of_a_case_is_looked_for_once_and_not_for_each_table(
    write: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, head: CaseSeries, cases: tuple[Case, ...]
) -> None:
    looked: list[str] = []

    def counting(case: Case) -> Exposure:
        looked.append(case.id)
        return exposure_of(case)

    monkeypatch.setattr(tables, "exposure_of", counting)
    write(tmp_path if write is not write_workbook else io.BytesIO(), head, iter(cases[:3]))
    assert looked == [case.id for case in cases[:3]]
