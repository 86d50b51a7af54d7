"""What became of each score and lab value: baseline, follow-up and the change between, with the paired test."""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction

from dm_fhir.model.definitions import Visit
from dm_fhir.model.exact import rounded, to_text
from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.instruments import INSTRUMENTS
from dm_fhir.outcomes.labels import label
from dm_fhir.report.change import lack_words
from dm_fhir.report.tables.cells import NOT_SHOWN, NOTHING, median, number, percent
from dm_fhir.report.words import unit_words, visit_words
from dm_fhir.statistics.change import Change, change_at
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.signed_rank import MOST_EXACT, signed_rank
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.table import Cell, Row, Table, grouped
from dm_fhir.statistics.tally import ranked
from dm_fhir.statistics.visits import visits_seen

#: The sign of one difference is as likely the one as the other: its p is 1 whatever it is.
FEWEST_TESTED = 2
COLUMNS = ("Measure", "n", "Baseline", "Follow-up", "Improvement", "Improvement, %", "p", "Not compared")
NOTES = (
    "Median (range) of the patients with a baseline and that follow-up. Improvement is positive when better, whichever way the "
    "scale runs; percentages are of each patient's own baseline, so a baseline of 0 has none.",
    "p: Wilcoxon signed-rank test of the improvements, two-sided; differences of 0 are left out, equal ones share their mean "
    f"rank. Exact for up to {MOST_EXACT} differences, above that the normal approximation with corrections for ties and continuity, "
    "marked with ~. One difference has no test, and of fewer than six p cannot be below 0.05, whatever they are. Nothing is "
    "corrected for testing several measures at several visits.",
)


def changes(cohort: Cohort, schedule: Sequence[Visit], small: SmallCells) -> Table:
    """Each measure at each visit and at the last follow-up; different scales of one measure are rows of their own."""
    seen = {name for patient in cohort.patients for name in patient.by_variable}
    used = [one for one in INSTRUMENTS if seen & {f"{name}_improvement" for name in (one.name, *one.variables)}]
    groups = [
        group
        for visit in visits_seen(cohort, schedule)
        for group in grouped(visit_words(visit), [row for one in used for row in _rows(cohort, one, visit, small)])
    ]
    return Table("changes", "Change since baseline", COLUMNS, tuple(groups), NOTES)


def _rows(cohort: Cohort, instrument: Instrument, visit: str, small: SmallCells) -> Iterator[Row]:
    found = [change_at(patient, instrument, visit) for patient in cohort.patients]
    evaluable = [change for change in found if change.points is not None]
    if not evaluable and not any(change.when for change in found):
        return  # nobody was seen with it at that visit
    lacking = Counter(lack_words(change.lack) for change in found if change.lack)
    scales = ranked(change.scale for change in evaluable) or {instrument.name: 0}
    for scale in scales:
        yield _row(scale, instrument, [change for change in evaluable if change.scale == scale], lacking, small)


def _row(scale: str, instrument: Instrument, found: Sequence[Change], lacking: Counter[str], small: SmallCells) -> Row:
    points = [change.points for change in found if change.points is not None]
    percents = [change.percent for change in found if change.percent is not None]
    without_percent = sum(change.baseline == 0 for change in found)
    unit = "" if instrument.unit == "{score}" else f", {unit_words(instrument.unit)}"
    missing = {**lacking, "with a baseline of 0, in no percentage": without_percent}
    cells = (
        number(len(points), small),
        median([change.baseline for change in found if change.baseline is not None], small),
        median([change.last for change in found if change.last is not None], small),
        median(points, small),
        median(percents, small, percent),
        _p(points, small),
        _missing(missing, small),
    )
    return Row(scale, f"{label(scale)}{unit}", cells)


def _p(points: Sequence[Fraction], small: SmallCells) -> Cell:
    found = signed_rank(points)
    if found.p is None or found.n < FEWEST_TESTED:
        return NOTHING
    if small.hides(len(points)) or small.hides(found.n) or small.hides(found.zeros):
        return NOT_SHOWN
    least = Fraction(1, 1000)
    text = "<0.001" if found.p < least else f"{rounded(found.p, 3)}"
    about = "~" if found.method == "approximate" else ""
    numbers = {
        "p": to_text(found.p),
        "statistic": to_text(found.statistic),
        "n": str(found.n),
        "zeros": str(found.zeros),
    }
    return Cell(f"{about}{text}", {**numbers, "method": found.method})


def _missing(reasons: dict[str, int], small: SmallCells) -> Cell:
    """ "2 without baseline; 1 without follow-up"."""
    told = {words: count for words, count in reasons.items() if count}
    text = "; ".join(f"{small.number(count)} {words}" for words, count in told.items())
    return Cell(text or "0", {words: str(count) for words, count in told.items() if not small.hides(count)})
