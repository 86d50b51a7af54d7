"""How much of the study drug the patients had, how regularly, for how long, and why it ended."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from dm_fhir.model.exact import rounded, to_text
from dm_fhir.outcomes.exposure import SCHEDULED_INTERVAL_DAYS, SHORTEST_INTERVAL_DAYS, interval_class
from dm_fhir.report.sentence import EN_DASH
from dm_fhir.report.tables.cells import NOT_SHOWN, NOTHING, counted_rows, mean, median, number, share
from dm_fhir.statistics import treatment
from dm_fhir.statistics.cohort import Cohort, Patient
from dm_fhir.statistics.follow_up import DAYS_PER_MONTH, DAYS_PER_YEAR, followed
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.table import Cell, Row, Table, grouped

COLUMNS = ("Exposure", "Value", "Not known")
_EARLIEST, _LATEST = SCHEDULED_INTERVAL_DAYS
#: How an interval relates to the label's four weeks, in order of length.
INTERVALS = {
    "below_label_minimum": f"below {SHORTEST_INTERVAL_DAYS} days, the label's minimum",
    "early": f"{SHORTEST_INTERVAL_DAYS}{EN_DASH}{_EARLIEST - 1} days, early",
    "on_schedule": f"{_EARLIEST}{EN_DASH}{_LATEST} days, on schedule",
    "late": f"above {_LATEST} days, late",
}
NOTES = (
    "Infusions are completed ones; one that was broken off is partial and adds its dose. Intervals are days from one infusion, "
    "partial or not, to the next.",
    "Follow-up is from the first infusion to the last documented infusion or accepted assessment; a month is 30.4375 days.",
)


def exposure(cohort: Cohort, drug: str, small: SmallCells) -> Table:
    """Infusions, doses, intervals, follow-up and discontinuation."""
    groups = (
        *grouped("Infusions", list(_infusions(cohort, small))),
        *grouped("Intervals between infusions", list(_intervals(cohort, small))),
        *grouped("Regimen (most frequent dose, median interval)", _regimens(cohort, small)),
        *grouped("Follow-up", list(_follow_up(cohort, small))),
        *grouped("Discontinuation", _discontinuations(cohort, small)),
    )
    return Table("exposure", f"Exposure to {drug}", COLUMNS, groups if cohort.n else (), NOTES)


def _infusions(cohort: Cohort, small: SmallCells) -> Iterator[Row]:
    exposed = [patient.exposed for patient in cohort.patients]
    completed = [len(one.completed) for one in exposed]
    doses = [
        sum((infusion.dose_mg for infusion in one.infusions if infusion.dose_mg is not None), Fraction(0))
        for one in exposed
        if all(infusion.dose_mg is not None for infusion in one.infusions)
    ]
    none = number(0, small)
    yield Row("completed", "completed infusions", (number(sum(completed), small), none))
    yield Row("partial", "infusions broken off", (number(sum(len(one.partial) for one in exposed), small), none))
    yield Row("missed", "infusions not given", (number(sum(len(one.missed) for one in exposed), small), none))
    yield Row("completed_each", "completed infusions of each patient, median (range)", (median(completed, small), none))
    yield Row(
        "cumulative_dose_mg",
        "cumulative dose, mg, median (range)",
        (median(doses, small), number(cohort.n - len(doses), small)),
    )


def _intervals(cohort: Cohort, small: SmallCells) -> Iterator[Row]:
    later = [infusion for patient in cohort.patients for infusion in patient.exposed.infusions[1:]]
    days = [infusion.interval_days for infusion in later if infusion.interval_days is not None]
    lacking = number(len(later) - len(days), small)
    yield Row("interval_days", "days, median (range)", (median(days, small), lacking))
    found = Counter(map(interval_class, days))
    counts = {name: found[name] for name in INTERVALS}
    hidden = small.hidden(counts, len(days), exclusive=True)
    for name, words in INTERVALS.items():
        yield Row(name, words, (share(counts[name], len(days), small, hidden.get(name)), lacking))


def _regimens(cohort: Cohort, small: SmallCells) -> list[Row]:
    tally = treatment.regimens(cohort)
    return counted_rows(tally.counts, tally.n, sum(tally.lacking.values()), small, exclusive=True)


def _follow_up(cohort: Cohort, small: SmallCells) -> Iterator[Row]:
    days = followed(cohort)
    months = [day / DAYS_PER_MONTH for day in days]
    lacking = number(cohort.n - len(days), small)
    yield Row("months_mean", "months, mean ± SD", (mean(months, small), lacking))
    yield Row("months_median", "months, median (range)", (median(months, small), lacking))
    years = sum(days) / DAYS_PER_YEAR
    whole = NOT_SHOWN if small.hides(len(days)) else Cell(f"{rounded(years, 1)}", {"years": to_text(years)})
    yield Row("patient_years", "patient-years, sum", (whole if days else NOTHING, lacking))
    died = sum(_died(patient) for patient in cohort.patients)
    yield Row("died", "death documented", (share(died, cohort.n, small), number(0, small)))


def _died(patient: Patient) -> bool:
    subject = patient.case.subject
    return subject is not None and (subject.deceased is True or subject.deceased_at is not None)


def _discontinuations(cohort: Cohort, small: SmallCells) -> list[Row]:
    tally = treatment.discontinuations(cohort)
    lacking = sum(tally.lacking.values())
    counts = {"adverse event": 0, **tally.counts}
    return [
        *counted_rows({"stopped": sum(counts.values())}, tally.n, lacking, small),
        *counted_rows(counts, tally.n, lacking, small, lambda reason: f"stopped: {reason}", exclusive=True),
    ]
