"""Who responded, by every published definition that the outcomes were held against; and how severe the disease was.

Each definition goes by its id. One that is not confirmed, or this project's own, is never called the minimal clinically
important difference.
"""

from collections.abc import Iterator, Mapping, Sequence

from dm_fhir.model.definitions import Visit
from dm_fhir.outcomes.labels import label
from dm_fhir.report.definition_sources import DEFINITIONS, STATUS, definition
from dm_fhir.report.tables.cells import number, share, share_interval
from dm_fhir.report.words import band_words, reason_words, visit_words
from dm_fhir.statistics.cohort import BASELINE, Cohort
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.table import Cell, Row, Table, grouped
from dm_fhir.statistics.verdicts import Speaking, Verdicts, answers, definitions_seen, verdicts
from dm_fhir.statistics.visits import visits_seen

COLUMNS = ("Definition", "What it asks", "Source", "Met", "95 % confidence interval", "Not decided")
#: Criteria over several measures, each an outcome that answers yes or no.
CRITERIA = (
    "imacs_improvement", "imacs_worsening", "proderm_deterioration", "printo_improvement", "jdm_inactive",
    "jdm_inactive_phga",
)  # fmt: skip
#: The categories of the Total Improvement Score, each holding those after it.
CATEGORIES = ("minimal", "moderate", "major")
NOTES = (
    "k of n (%): n are the patients of whom the definition decides; the others are named beside. Every edge belongs to the "
    "definition and is applied to the exact value.",
    "The interval is exact (Clopper and Pearson).",
)
#: Of criteria over several measures, which need these at one visit.
OF_VISITS = "Criteria over several measures are asked at the visits of the schedule: their last follow-up is the last such visit."


def responders(cohort: Cohort, schedule: Sequence[Visit], small: SmallCells) -> Table:
    """Every definition of a change and every criterion, at each visit and at the last follow-up."""
    of_changes = [one for one in definitions_seen(cohort, tuple(DEFINITIONS)) if one.is_of_a_change]
    groups = [
        group
        for visit in visits_seen(cohort, schedule)
        for group in grouped(visit_words(visit), list(_at(cohort, of_changes, visit, small)))
    ]
    asked = {row.id for group in groups for row in group.rows}
    of_visits = (OF_VISITS,) if asked & {*CRITERIA, *(f"tis_{one}" for one in CATEGORIES)} else ()
    notes = (
        (*NOTES, *of_visits) if groups else ("No outcome has been held against a published definition of response.",)
    )
    return Table("responders", "Response by published definitions", COLUMNS, tuple(groups), notes)


def severity(cohort: Cohort, schedule: Sequence[Visit], small: SmallCells) -> Table:
    """Every definition of severity, at baseline, at each visit and at the last follow-up."""
    of_value = [one for one in definitions_seen(cohort, tuple(DEFINITIONS)) if one.is_of_a_value]
    groups = [
        group
        for visit in (BASELINE, *visits_seen(cohort, schedule))
        for group in grouped(visit_words(visit), [row for one in of_value for row in _bands(cohort, one, visit, small)])
    ]
    notes = NOTES[:1] if groups else ("No value has been held against a published definition of severity.",)
    return Table("severity", "Severity by published definitions", SEVERITY_COLUMNS, tuple(groups), notes)


SEVERITY_COLUMNS = (*COLUMNS[:3], "Patients", COLUMNS[5])


def _at(cohort: Cohort, definitions: Sequence[Speaking], visit: str, small: SmallCells) -> Iterator[Row]:
    for one in definitions:
        found = verdicts(cohort, one, visit)
        # A change in either direction is two questions; all others are met by "yes".
        for verdict in _met_by(found):
            if found.n:
                yield _row(found.definition, verdict, found.counts.get(verdict, 0), found, small, one.of)
    for name in CRITERIA:
        found = answers(cohort, name, visit)
        if found.n:
            yield _row(name, "yes", found.counts.get("yes", 0), found, small)
    yield from _categories(answers(cohort, "tis_category", visit), small)


def _met_by(found: Verdicts) -> tuple[str, ...]:
    return ("better", "worse") if found.counts.keys() & {"better", "worse"} else ("yes",)


def _categories(found: Verdicts, small: SmallCells) -> Iterator[Row]:
    for place, category in enumerate(CATEGORIES):
        reached = sum(found.counts.get(one, 0) for one in CATEGORIES[place:])
        if found.n:
            yield _row(f"tis_{category}", "yes", reached, found, small)


def _row(name: str, verdict: str, met: int, found: Verdicts, small: SmallCells, of: str = "") -> Row:
    words, source, status = definition(name)
    which = _of(of) + ("" if verdict == "yes" else f": {verdict}")
    cells = (
        Cell(f"{words}{which}"),
        Cell(f"{source} ({STATUS[status]})", {"status": status}),
        share(met, found.n, small, decimals=1),
        share_interval(met, found.n, small),
        _lacking(found.lacking, small),
    )
    return Row(f"{name}{which}", name, cells)


def _bands(cohort: Cohort, one: Speaking, visit: str, small: SmallCells) -> Iterator[Row]:
    found = verdicts(cohort, one, visit)
    words, source, status = definition(found.definition)
    hidden = small.hidden(found.counts, found.n, exclusive=True)
    for band, count in sorted(found.counts.items()):
        cells = (
            Cell(f"{words}{_of(one.of)}: {band_words(band)}"),
            Cell(f"{source} ({STATUS[status]})", {"status": status}),
            share(count, found.n, small, hidden.get(band), decimals=1),
            _lacking(found.lacking, small),
        )
        yield Row(f"{found.definition}{_of(one.of)}: {band}", found.definition, cells)


def _of(measure: str) -> str:
    return f", {label(measure)}" if measure else ""


def _lacking(reasons: Mapping[str, int], small: SmallCells) -> Cell:
    """ "2: baseline missing; 1: follow-up missing"."""
    if not reasons:
        return number(0, small)
    text = "; ".join(f"{small.number(count)}: {reason_words(reason)}" for reason, count in reasons.items())
    return Cell(text, {reason: str(count) for reason, count in reasons.items() if not small.hides(count)})
