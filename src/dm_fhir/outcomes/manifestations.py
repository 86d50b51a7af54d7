"""Which manifestations are present at baseline and 1, 3, 6 and 12 months later (R-MANIFEST, version 1).

Inputs: Conditions alone; a score that says as much, such as a pruritus of 0, is not read. Formula: present on a day if it
had surely begun (onset, else the day on which it was recorded) and had surely not ended (no abatement by that day, and a
clinical status of active, recurrence or relapse where no abatement is recorded); absent if it had not begun, or had
abated, on that day or before. Else unknown: an onset or end that is partial or told as age or words, a record without
clinical status and end, and a manifestation that no record names, for that nothing is recorded does not say that it was
absent. A record without an onset that was made later leaves the earlier days unknown. Days: 0, 30, 91, 183 and 365 since
the first exposure (the second case series shows months 1, 3, 6, 12). Nothing is said beyond the end of follow-up or the death (R-FOLLOW-UP). No threshold, nothing configurable.
"""

from collections.abc import Iterable
from datetime import date, timedelta, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from dm_fhir.model.case import Case, Condition
from dm_fhir.model.dates import on_or_before
from dm_fhir.outcomes.ages import DIAGNOSES
from dm_fhir.outcomes.exposure import Exposure
from dm_fhir.outcomes.follow_up import end_of_follow_up

RULE, VERSION = "R-MANIFEST", "1"
#: The times, and how many days after the first exposure they are.
DAYS = {"baseline": 0, "month_1": 30, "month_3": 91, "month_6": 183, "month_12": 365}
_GOING_ON = ("active", "recurrence", "relapse")

Presence = Literal["present", "absent", "unknown", "not_followed"]


def is_manifestation(variable: str) -> bool:
    """Whether a Condition's variable is a sign or symptom, neither the diagnosis nor one recognised to be excluded."""
    return bool(variable) and variable not in DIAGNOSES and not variable.startswith("exclude_")


def over_time(case: Case, exposed: Exposure) -> dict[str, dict[str, Presence]]:
    """For each manifestation that a record of the case names: whether it is present at each time of `DAYS`.

    "not_followed" is a time after the end of follow-up. Empty without a known day of the first exposure. A manifestation
    that is not in it is "unknown" at all times that were followed.
    """
    first, end = exposed.first, end_of_follow_up(case, exposed)
    if first is None or first.day is None or end is None:
        return {}
    zone = ZoneInfo(case.timezone)
    days = {name: first.day + timedelta(days=days) for name, days in DAYS.items()}
    by_variable: dict[str, list[Condition]] = {}
    for one in case.conditions:
        if is_manifestation(variable := one.concept.variable or ""):
            by_variable.setdefault(variable, []).append(one)
    return {
        variable: {
            name: present(by_variable[variable], day, zone) if day <= end.day else "not_followed"
            for name, day in days.items()
        }
        for variable in sorted(by_variable)
    }


def present(conditions: Iterable[Condition], on: date, zone: tzinfo) -> Presence:
    """Whether a manifestation is present on a day by any of its records."""
    found = [_is_present(one, on, zone) for one in conditions]
    if True in found:
        return "present"
    return "unknown" if None in found or not found else "absent"


def _is_present(one: Condition, on: date, zone: tzinfo) -> bool | None:
    begun, ended = _begun(one, on, zone), ended_by(one, on, zone)
    if begun is False or ended is True:
        return False
    return True if begun and ended is False else None


def _begun(one: Condition, on: date, zone: tzinfo) -> bool | None:
    if one.onset is not None:
        return on_or_before(one.onset, on, zone)
    # What was recorded had begun; what was recorded later may have.
    return True if on_or_before(one.recorded, on, zone) else None


def ended_by(one: Condition, on: date, zone: tzinfo) -> bool | None:
    """Whether a record says that it ended on that day or before; None where it leaves it open."""
    if one.abatement is not None:
        return on_or_before(one.abatement, on, zone)
    told = (one.abatement_during, one.abatement_age, one.abatement_ages, one.abatement_text)
    return False if one.clinical_status in _GOING_ON and not any(told) else None
