"""The whole report of a case series: the page, and the files that lie beside it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dm_fhir.model.case import Case
from dm_fhir.model.exact import to_text
from dm_fhir.outcomes.instruments import CORE
from dm_fhir.report.figures.figure import files as figure_files
from dm_fhir.report.figures.figure import table_bytes
from dm_fhir.report.naming import name_of
from dm_fhir.report.page import Data, page
from dm_fhir.report.rows import heading, patient_row
from dm_fhir.report.sections import Section, figures_of, sections, tables_of
from dm_fhir.report.sentence import Sentence
from dm_fhir.report.sentences import sentences_of
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.table import Table


class Report(NamedTuple):
    """Everything that the report says, computed once."""

    data: Data
    cohort: Cohort
    sentences: tuple[Sentence, ...]
    sections: tuple[Section, ...]

    def page(self, *, has_files: bool = False) -> str:
        """The page as HTML text; with `has_files` it names the files beside it."""
        return page(self.data, self.cohort, self.sentences, self.sections, has_files=has_files)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Path inside the report's folder, and content: figures as SVG, PDF, PNG and CSV, tables as CSV."""
        for figure in figures_of(self.sections):
            yield from ((f"figures/{name}", content) for name, content in figure_files(figure).items())
        for table in tables_of(self.sections):
            yield f"tables/{table.id}.csv", _as_csv(table)
        if not self.data.suppress_below:
            yield "tables/patients.csv", _patients(self.cohort)
            yield "tables/outcomes.csv", _outcomes(self.data.cases)


def report(
    data: Data,
    states: Mapping[str, Mapping[str, int]] | None = None,
    also: Sequence[Sentence] = (),
    more: Sequence[Section] = (),
) -> Report:
    """The report of `data`.

    `states` counts by site what became of each patient found, None where that is not known. `also` are sentences on the data, `more` sections at the end.
    """
    cohort, below = Cohort(data.cases), data.suppress_below
    found = (*sentences_of(cohort, data.drug, below), *also)
    return Report(data, cohort, found, (*sections(cohort, data.drug, data.definitions, below, states), *more))


def _as_csv(table: Table) -> bytes:
    """A table with the texts of its cells, each row with the heading that it stands under."""
    rows = (
        (group.heading, row.label, *(cell.text for cell in row.cells)) for group in table.groups for row in group.rows
    )
    return table_bytes(("group", *table.columns), rows)


def _patients(cohort: Cohort) -> bytes:
    columns = ("no", "patient", "site", "sex", "age", "subtype", "infusions", "total dose", "first", "last")
    scores = [text for one in CORE for text in (heading(one), f"{heading(one)}: change")]
    rows = (
        (str(number), *row[:9], *(text for cell in row.changes for text in (cell.values, cell.change)))
        for number, row in enumerate(map(patient_row, cohort.patients), 1)
    )
    return table_bytes((*columns, *scores), rows)


_OUTCOME_COLUMNS = ("site", "patient", "outcome", "number", "date", "answer", "unit", "when", "visit", "verdicts", "reasons",
                    "flags", "rule", "version")  # fmt: skip


def _outcomes(cases: Sequence[Case]) -> bytes:
    """Every outcome with its exact number, by the name under which it can be explained."""
    rows = (
        (
            case.site, case.id, name_of(one), to_text(one.number) if one.number is not None else "", one.date or "",
            one.answer or "", one.unit or "", one.when or "", one.visit or "",
            "; ".join(f"{name}={verdict}" for name, verdict in one.verdicts.items()), "; ".join(one.reasons),
            "; ".join(one.flags), one.rule, one.rule_version,
        )
        for case in cases
        for one in case.outcomes
    )  # fmt: skip
    return table_bytes(_OUTCOME_COLUMNS, rows)
