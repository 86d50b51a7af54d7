"""Glucocorticoids and other systemic drugs over time: dose, what became of it, and of how many nobody knows."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from dm_fhir.model.definitions import Visit
from dm_fhir.report.tables.cells import counted_rows, median, number
from dm_fhir.report.words import drug_words, visit_words
from dm_fhir.statistics.cohort import BASELINE, Cohort
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.table import Cell, Row, Table, grouped
from dm_fhir.statistics.verdicts import answers
from dm_fhir.statistics.visits import visits_seen

DOSE, STATUS, CHANGE = "prednisone_equivalent_mg_per_day", "glucocorticoid_status", "_change"
COLUMNS = ("Treatment", "Value", "Not known")
#: What can have become of a dose above 0; those without any at baseline are outside the denominator (R-GC-COURSE).
OF_A_DOSE = ("discontinued", "tapered", "unchanged", "increased")
WITHOUT_DOSE = ("none_at_baseline", "started")
CHANGES = ("stopped", "reduced", "spaced", "unchanged", "increased", "started")
NOTES = (
    "Doses are mg of prednisone-equivalent a day, median (range). What became of the dose is told of the patients with a dose above 0 "
    "at baseline; those without one are counted apart, and nobody is taken for unchanged because nothing is recorded.",
)


def glucocorticoids(cohort: Cohort, schedule: Sequence[Visit], small: SmallCells) -> Table:
    """The dose at baseline and at each visit, its status there, and what became of each other systemic drug."""
    visits = [visit for visit in visits_seen(cohort, schedule) if any(p.at((STATUS,), visit) for p in cohort.patients)]
    doses = [_dose(cohort, visit, small) for visit in (BASELINE, *visits)] if visits else []
    groups = [
        *grouped("Prednisone-equivalent, mg a day", doses),
        *(
            group
            for visit in visits
            for group in grouped(f"Glucocorticoids, {visit_words(visit)}", _status(cohort, visit, small))
        ),
        *(group for drug in _drugs(cohort) for group in grouped(drug_words(drug), _changes(cohort, drug, small))),
    ]
    notes = (
        NOTES
        if groups
        else ("The outcomes of this case series say nothing of glucocorticoids or other systemic drugs.",)
    )
    return Table("glucocorticoids", "Glucocorticoids and other systemic drugs", COLUMNS, tuple(groups), notes)


def _dose(cohort: Cohort, visit: str, small: SmallCells) -> Row:
    variable = f"{DOSE}_baseline" if visit == BASELINE else DOSE
    found = [patient.at((variable,), visit) for patient in cohort.patients]
    known: list[Fraction] = [one.number for one in found if one is not None and one.number is not None]
    cells = (median(known, small), number(cohort.n - len(known), small))
    return Row(visit, f"{visit_words(visit)}, n = {small.number(len(known))}", cells)


def _status(cohort: Cohort, visit: str, small: SmallCells) -> list[Row]:
    found = answers(cohort, STATUS, visit)
    counts = {name: found.counts.get(name, 0) for name in OF_A_DOSE}
    n = sum(counts.values())
    unknown = cohort.n - n - sum(found.counts.get(name, 0) for name in WITHOUT_DOSE)
    return [
        *counted_rows(counts, n, unknown, small, exclusive=True),
        *(
            Row(name, name.replace("_", " "), (number(found.counts[name], small), Cell("")))
            for name in WITHOUT_DOSE
            if name in found.counts
        ),
    ]


def _drugs(cohort: Cohort) -> list[str]:
    """The drugs of which the outcomes tell what became, by name."""
    variables = {variable for patient in cohort.patients for variable in patient.by_variable}
    return sorted(name.removesuffix(CHANGE) for name in variables if name.endswith(CHANGE))


def _changes(cohort: Cohort, drug: str, small: SmallCells) -> list[Row]:
    found = answers(cohort, f"{drug}{CHANGE}", "last")
    counts = {name: found.counts[name] for name in CHANGES if name in found.counts}
    n = sum(counts.values())
    taking = sum(f"{drug}{CHANGE}" in patient.by_variable for patient in cohort.patients)
    return list(counted_rows(counts, n, taking - n, small, exclusive=True)) or list(_nothing(taking, small))


def _nothing(taking: int, small: SmallCells) -> Iterator[Row]:
    yield Row("unknown", "what became of it", (Cell("not documented"), number(taking, small)))
