"""Ages, and whether diagnosis and first exposure are in an order that can be (R-AGE, version 1).

Inputs: birth date, dates of onset of the diagnosis or ages that records state, the start of the first infusion. A diagnosis must not be after
the first exposure: asked of each patient, and of the two mean ages. What is impossible is reported and nothing is
repaired; no age is ever computed from the other. Ages are completed years; one that partial dates leave open is unknown.
"""

from collections.abc import Mapping
from datetime import tzinfo
from fractions import Fraction
from typing import Literal, NamedTuple

from dm_fhir.model.dates import Span, completed_years, first_day, last_day
from dm_fhir.outcomes.ages import ADULT_YEARS, age_at_first, earliest_onset, onset_age
from dm_fhir.statistics.cohort import Cohort, Patient
from dm_fhir.statistics.summaries import MeanSd, mean_sd
from dm_fhir.statistics.tally import Tally

RULE, VERSION = "R-AGE", "1"
Order = Literal["ok", "violation", "unknown"]


class AgeOrder(NamedTuple):
    """Mean age at the start less mean age at diagnosis, in years, and what is wrong with it; None if nothing is."""

    mean_difference: Fraction
    finding: Literal["impossible_if_same_patients", "not_comparable"] | None


class Ages(NamedTuple):
    """The ages of a cohort in completed years, by patient, those only that are certain.

    `order` says of each patient whether the diagnosis came before the start. `years_between` are completed years from
    diagnosis to start, of the patients of whom both are known. `finding` is that of the means; `years_between` is not to
    be used where there is one.
    """

    at_start: dict[str, int]
    at_diagnosis: dict[str, int]
    order: dict[str, Order]
    years_between: dict[str, int]
    finding: str | None

    @property
    def violations(self) -> list[str]:
        """The patients who were surely diagnosed after the start."""
        return [name for name, order in self.order.items() if order == "violation"]


def age_order(mean_diagnosis: Fraction, mean_start: Fraction, *, same_n: bool) -> AgeOrder:
    """What two mean ages say of each other.

    In the same patients the mean of differences that cannot be negative cannot be negative either
    (`impossible_if_same_patients`). Of different numbers of patients they say nothing (`not_comparable`).
    """
    difference = mean_start - mean_diagnosis
    if not same_n:
        return AgeOrder(difference, "not_comparable")
    return AgeOrder(difference, "impossible_if_same_patients" if difference < 0 else None)


def diagnosis_order(diagnosis: Span, first_exposure: Span, zone: tzinfo) -> Order:
    """Whether the diagnosis lies on or before the day of the first exposure, in days of `zone`."""
    if last_day(diagnosis, zone) <= first_day(first_exposure, zone):
        return "ok"
    return "violation" if first_day(diagnosis, zone) > last_day(first_exposure, zone) else "unknown"


def ages(cohort: Cohort) -> Ages:
    """The ages of the cohort, and what is wrong with them."""
    at_start = _certain_ones({p.name: _age_at_start(p) for p in cohort.patients})
    at_diagnosis = _certain_ones({p.name: onset_age(p.case) for p in cohort.patients})
    return Ages(
        at_start,
        at_diagnosis,
        {p.name: _order(p) for p in cohort.patients},
        _certain_ones({p.name: _years_between(p) for p in cohort.patients}),
        _finding(mean_sd(at_diagnosis.values()), mean_sd(at_start.values())),
    )


def age_at_first_infusion(patient: Patient) -> int | None:
    """Completed years; None where the dates leave more than one possible age, or none is known."""
    return _certain(_age_at_start(patient))


def adult_onset(cohort: Cohort) -> Tally:
    """Onset at 18 years or later, surely; of the patients of whom it is sure either way."""
    found = [onset_age(patient.case) for patient in cohort.patients]
    adult = sum(1 for age in found if age and age[0] >= ADULT_YEARS)
    known = adult + sum(1 for age in found if age and age[1] < ADULT_YEARS)
    return Tally(known, {"adult_onset": adult}, {"with an unknown age at onset": cohort.n - known})


def _order(patient: Patient) -> Order:
    onset = earliest_onset(patient.case)
    moment = patient.span(onset.onset) if onset else None
    return diagnosis_order(moment, patient.started.span, patient.zone) if moment else "unknown"


def _finding(diagnosis: MeanSd | None, start: MeanSd | None) -> str | None:
    if diagnosis is None or start is None:
        return None
    return age_order(diagnosis.mean, start.mean, same_n=diagnosis.n == start.n).finding


def _age_at_start(patient: Patient) -> tuple[int, int] | None:
    return age_at_first(patient.case, patient.started.start)


def _years_between(patient: Patient) -> tuple[int, int] | None:
    """Completed years from the onset to the first exposure, the least and the most that they may mean."""
    onset = earliest_onset(patient.case)
    if onset is None or onset.onset is None:
        return None
    return completed_years(onset.onset, patient.started.start, patient.zone)


def _certain(age: tuple[int, int] | None) -> int | None:
    return age[0] if age and age[0] == age[1] else None


def _certain_ones(found: Mapping[str, tuple[int, int] | None]) -> dict[str, int]:
    return {name: certain for name, age in found.items() if (certain := _certain(age)) is not None}
