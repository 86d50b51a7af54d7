"""The tables: every field of the model is in one, or said not to be; the dictionary knows every column; values are the model's."""

import csv
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from dm_fhir.export.columns import Spec, columns_of, type_at
from dm_fhir.export.csv_files import FILES, write_csv
from dm_fhir.export.tables import NOT_IN_TABLES, STUDY, TABLES, Table, day_0_of, dictionary
from dm_fhir.model.case import (
    Administration,
    AdverseEvent,
    Assessment,
    Case,
    CaseSeries,
    Concept,
    Condition,
    Dosing,
    Finding,
    Input,
    Measured,
    Outcome,
    Part,
    Result,
    Source,
    Subject,
    Suspect,
    Therapy,
)
from dm_fhir.model.dates import day
from dm_fhir.model.exact import to_text
from dm_fhir.model.spreadsheet_text import is_formula, neutralised
from dm_fhir.outcomes.battery import exposure_of

BY_NAME = {table.name: table for table in TABLES}
#: Where in the tables a field is under another name.
ELSEWHERE = {(Outcome, "inputs"), (Outcome, "verdicts"), (Outcome, "parts"), (Therapy, "dosings"), (Assessment, "measured"), (Assessment, "components"), (AdverseEvent, "suspects"), (Subject, "ages")}  # fmt: skip


def lines(name: str, *cases: Case) -> list[dict[str, object]]:
    table = BY_NAME[name]
    names = [column.name for column in table.columns]
    return [dict(zip(names, line, strict=True)) for case in cases for line in table.lines(case, day_0_of(case))]


def shown(kind: type) -> set[str]:
    """The fields of a kind of part that some column shows."""
    found = set()
    for table in TABLES:
        for spec in table.specs:
            words = spec.path.split(".")
            for index in range(1, len(words)):
                if type_at(".".join(words[:index]), table.kinds) is kind:
                    found.add(words[index])
    return found


@pytest.mark.parametrize("kind", [Subject, Administration, Therapy, Dosing, Assessment, Measured, Result, Condition, AdverseEvent, Suspect, Outcome, Part, Input, Finding])  # fmt: skip
def test_every_field_of_the_model_is_in_a_table_or_said_not_to_be(kind: type) -> None:
    fields = {name for name in kind.__struct_fields__ if (kind, name) not in ELSEWHERE}  # type: ignore[attr-defined]
    left_out = set(NOT_IN_TABLES.get(kind, ()))
    assert shown(kind) & fields | left_out == fields
    assert shown(kind) & left_out == set()


def test_what_only_the_document_has_is_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    assert [name for names in NOT_IN_TABLES.values() for name in names if f"`{name}`" not in text] == []
    assert [table.name for table in TABLES if f"`{table.name}`" not in text] == []


def test_the_dictionary_knows_every_column_and_says_what_it_means() -> None:
    rows = list(dictionary())
    columns = [(table.name, column.name) for table in TABLES for column in table.columns]
    assert [(row[0], row[1]) for row in rows if row[1]] == [*columns, *(("study", name) for name in STUDY)]
    assert [row for row in rows if not row[4]] == []
    assert {row[2] for row in rows if row[1]} >= {"text", "whole number", "exact number as text", "decimal number"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_no_column_is_there_twice(table: Table) -> None:
    names = [column.name for column in table.columns]
    assert len(names) == len(set(names))
    assert names[:2] == ["case", "site"]


def test_a_path_that_the_model_does_not_have_is_no_column() -> None:
    with pytest.raises(KeyError):
        columns_of(Spec("x", "one.nothing", ""), {"one": Outcome})


def test_the_outcomes_are_the_models(cases: tuple[Case, ...]) -> None:
    found = lines("outcomes", *cases)
    expected = [one for case in cases for one in case.outcomes]
    assert len(found) == len(expected) > 800
    assert [row["number"] for row in found] == [
        to_text(one.number) if one.number is not None else None for one in expected
    ]
    assert [row["when"] for row in found] == [one.when for one in expected]
    assert [row["reasons"] for row in found] == ["; ".join(one.reasons) or None for one in expected]
    assert len(lines("inputs", *cases)) == sum(len(one.inputs) for one in expected)


def test_the_results_are_the_models_and_a_panel_keeps_its_parts(cases: tuple[Case, ...]) -> None:
    found = lines("assessments", *cases)
    expected = [part for case in cases for one in case.assessments for part in (one.measured, *one.components)]
    assert [row["variable"] for row in found] == [part.concept.variable for part in expected]
    numbers = [Fraction(str(row["number"])) if row["number"] is not None else None for row in found]
    assert numbers == [part.result.number for part in expected]


def test_days_are_those_since_the_first_infusion(cases: tuple[Case, ...]) -> None:
    case = cases[0]
    start = exposure_of(case).first
    assert start is not None
    for row, one in zip(lines("administrations", case), case.administrations, strict=True):
        seen = day(one.when or "", start.span.start.tzinfo)  # type: ignore[arg-type]
        assert start.day is not None
        assert seen is not None
        assert row["when_first_day"] == row["when_last_day"] == (seen - start.day).days


def of_condition(onset: str | None, infused: str | None = "2024-03-05") -> dict[str, object]:
    given = (Administration(Source("leon", "MedicationAdministration/1"), status="completed", when=infused),)
    condition = Condition(Source("leon", "Condition/1"), Concept(), onset=onset)
    (row,) = lines(
        "conditions", Case("Patient/1", "leon", "Europe/Madrid", conditions=(condition,), administrations=given)
    )
    return row


@pytest.mark.parametrize(
    ("onset", "first", "last"),
    [
        ("2024-03-05", 0, 0),
        ("2024-03", -4, 26),
        ("2023", -429, -65),
        ("2024-03-04T23:30:00Z", 0, 0),
        ("in spring", None, None),
        (None, None, None),
    ],
)
def test_a_partial_date_may_mean_several_days(onset: str | None, first: int | None, last: int | None) -> None:
    row = of_condition(onset)
    assert (row["onset"], row["onset_first_day"], row["onset_last_day"]) == (onset, first, last)
    if first is not None:
        assert date.fromordinal(date(2024, 3, 5).toordinal() + first).isoformat()[:4] == (onset or "")[:4]


def test_without_a_day_of_a_first_infusion_no_day_is_counted() -> None:
    assert of_condition("2024-03-05", infused="2024-03")["onset_first_day"] is None
    assert of_condition("2024-03-05", infused=None)["onset_first_day"] is None


@pytest.mark.parametrize(
    ("number", "exact", "near"),
    [
        (Fraction(49, 2), "24.5", Decimal("24.500000")),
        (Fraction(100, 3), "100/3", Decimal("33.333333")),
        (Fraction(-200, 3), "-200/3", Decimal("-66.666667")),
        (Fraction(10) ** 40, "1" + "0" * 40, None),
        (Fraction(0), "0", Decimal("0.000000")),
        (None, None, None),
    ],
)
def test_an_exact_number_stands_beside_its_rounded_one(
    number: Fraction | None, exact: str | None, near: Decimal | None
) -> None:
    case = Case("Patient/1", "leon", "UTC", outcomes=(Outcome("x", "R", "1", number=number),))
    (row,) = lines("outcomes", case)
    assert (row["number"], row["number_rounded"]) == (exact, near)


# CSV


def test_csv_is_read_back_as_it_was_written(tmp_path: Path, head: CaseSeries, cases: tuple[Case, ...]) -> None:
    counts = write_csv(tmp_path, head, iter(cases))

    assert {path.name for path in tmp_path.iterdir()} == FILES
    for table in TABLES:
        with (tmp_path / f"{table.name}.csv").open(encoding="utf-8", newline="") as file:
            header, *read = csv.reader(file)
        assert header == [column.name for column in table.columns]
        assert len(read) == counts[table.name]
        written = [line for case in cases for line in table.lines(case, day_0_of(case))]
        assert [[cell or None for cell in line] for line in read] == [
            [_text(cell) for cell in line] for line in written
        ]
    with (tmp_path / "study.csv").open(encoding="utf-8", newline="") as file:
        items = {(row["site"], row["item"]): row["value"] for row in csv.DictReader(file)}
    assert items["", "title"] == '\'=HYPERLINK("https://example.org")'
    assert (items["leon", "complete_until"], items["madrid", "complete_until"]) == ("2025-06-01T10:00:00Z", "")
    assert items["", "definition: cdasi_19"] == "moderate_severe"


def _text(cell: object) -> str | None:
    """As the format says it: true and false, numbers in full."""
    if isinstance(cell, bool):
        return str(cell).lower()
    return str(cell) if cell is not None else None


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-", "\uff1d1", '=cmd|"/C calc"!A0', "\n=1"]
)
def test_what_a_spreadsheet_would_run_is_text(text: str) -> None:
    assert is_formula(text)
    assert neutralised(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "-12.5", "-100/3", "-1E-7", "5", "a=1", "Patient/7", "2024-03-05", "1-2"])
def test_numbers_and_plain_text_stay_as_they_are(text: str) -> None:
    assert neutralised(text) == text
