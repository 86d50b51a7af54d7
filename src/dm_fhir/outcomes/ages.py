"""Ages, and whether a dermatomyositis is the juvenile one (R-AGE).

Ages are in completed years, as the range that the dates allow: partial dates give more than one, absent ones none. An age
is never computed from another age.
"""

from typing import Literal
from zoneinfo import ZoneInfo

from dm_fhir.model.case import Case, Condition
from dm_fhir.model.dates import completed_years, span
from dm_fhir.outcomes.exposure import exposure

ADULT_YEARS = 18
#: Conditions that are the disease itself, not what it does.
DIAGNOSES = ("dermatomyositis", "dm_adult", "dm_adult_classic", "dm_amyopathic", "dm_juvenile", "dm_paraneoplastic",
             "antisynthetase_syndrome")  # fmt: skip
_JUVENILE = "dm_juvenile"
Ages = tuple[int, int]
#: Whose thresholds count in the Total Improvement Score.
Population = Literal["adult", "jdm"]


def age_at(case: Case, when: str | None) -> Ages | None:
    """The least and the greatest age at that time; None where there is no date of birth, or one of the two cannot be read."""
    birth = case.subject.birth_date if case.subject else None
    if not birth or not when:
        return None
    try:
        return completed_years(birth, when, ZoneInfo(case.timezone))
    except ValueError:
        return None


def age_at_first(case: Case, first_exposure: str) -> Ages | None:
    """The least and the greatest age at the first exposure; in a document without dates the one that it states."""
    stated = case.subject.ages.get("first_infusion") if case.subject else None
    return stated or age_at(case, first_exposure)


def onset_age(case: Case) -> Ages | None:
    """The least and the greatest age at the earliest dated onset of a diagnosis; else the age that a record states.

    In a document without dates it is the one that the document states.
    """
    if case.subject and "onset" in case.subject.ages:
        return case.subject.ages["onset"]
    onset = earliest_onset(case)
    by_dates = age_at(case, onset.onset) if onset else None
    if by_dates is not None:
        return by_dates
    stated = [age for one in case.conditions if one.concept.variable in DIAGNOSES and (age := _stated_age(one))]
    return min(stated, default=None)


def ages_of(case: Case) -> dict[str, Ages]:
    """The least and the greatest age at the `first_infusion` and at `onset`, as far as known; none without an infusion.

    For a document that has no date of birth.
    """
    first = exposure(case.administrations, ZoneInfo(case.timezone)).first
    if first is None:
        return {}
    found = {"first_infusion": age_at_first(case, first.start), "onset": onset_age(case)}
    return {name: age for name, age in found.items() if age is not None}


def earliest_onset(case: Case) -> Condition | None:
    """The diagnosis whose dated onset is the earliest; None if none has a date that can be read."""
    dated = []
    for one in case.conditions:
        if one.concept.variable in DIAGNOSES and one.onset:
            try:
                dated.append((span(one.onset, ZoneInfo(case.timezone)).start, one))
            except ValueError:
                continue
    return min(dated, key=lambda pair: pair[0])[1] if dated else None


def is_juvenile(case: Case, first_exposure: str) -> bool | None:
    """Whether it is juvenile dermatomyositis; None where nothing tells.

    It is by its diagnosis, or where onset or first exposure were surely before the age of 18. It is not where the onset
    was surely at 18 or later.
    """
    if any(one.concept.variable == _JUVENILE for one in case.conditions):
        return True
    onset, exposed = _credible(onset_age(case)), _credible(age_at_first(case, first_exposure))
    if any(age is not None and age[1] < ADULT_YEARS for age in (onset, exposed)):
        return True
    return False if onset is not None and onset[0] >= ADULT_YEARS else None


def population(case: Case, first_exposure: str) -> Population | None:
    """`jdm` for juvenile dermatomyositis surely under 18 at first exposure, else `adult`.

    None for juvenile dermatomyositis of which it is not known whether the patient was 18 then.
    """
    if is_juvenile(case, first_exposure) is not True:
        return "adult"
    age = _credible(age_at_first(case, first_exposure))
    if age is None or age[0] < ADULT_YEARS <= age[1]:
        return None
    return "jdm" if age[1] < ADULT_YEARS else "adult"


def _credible(age: Ages | None) -> Ages | None:
    """An age that somebody can have had: not one before birth, which only says that a date is wrong."""
    return age if age is not None and age[0] >= 0 else None


def _stated_age(condition: Condition) -> Ages | None:
    """The age at onset as the record states it, in completed years; None without one, or in another unit."""
    ages = condition.onset_ages
    low, high = (ages.low, ages.high) if ages else (condition.onset_age, condition.onset_age)
    if not low or not high or not {low.code or low.unit, high.code or high.unit} <= _YEARS:
        return None
    if low.value is None or high.value is None or low.comparator or high.comparator:
        return None
    return int(low.value), int(high.value)


_YEARS = {"a", "year", "years"}
