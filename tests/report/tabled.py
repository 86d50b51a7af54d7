"""What the tests of the tables ask of them, and outcomes made for that."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from msgspec.structs import replace

from dm_fhir.model.case import Case, Outcome
from dm_fhir.model.definitions import Definitions
from dm_fhir.report.tables.paper import tables
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.table import Row, Table

DRUG = "anifrolumab"
DASH = "\N{EN DASH}"


def all_tables(cases: Sequence[Case], suppress_below: int = 0, **states: dict[str, int]) -> dict[str, Table]:
    found = tables(Cohort(cases), DRUG, Definitions(), suppress_below, states or None)
    return {table.id: table for table in found}


def shown(table: Table, heading: str | None = None) -> dict[str, tuple[str, ...]]:
    """The text of each row by its id, of one group or of all."""
    groups = [group for group in table.groups if heading is None or group.heading == heading]
    assert groups, [group.heading for group in table.groups]
    return {row.id: tuple(cell.text for cell in row.cells) for group in groups for row in group.rows}


def row(table: Table, name: str) -> Row:
    """The row of that name, of several groups the last: in the table of changes that of the last follow-up."""
    return [one for one in table.rows if one.id == name][-1]


def with_outcomes(case: Case, *outcomes: Outcome) -> Case:
    return replace(case, outcomes=outcomes)


def outcome(variable: str, number: Fraction | int | None = None, **values: Any) -> Outcome:
    exact = None if number is None else Fraction(number)
    return Outcome(variable, "R-TEST", "1", number=exact, when=values.pop("when", "2024-07-01"), **values)
