"""Whether another drug began, was in force or ended, as far as its record tells."""

from datetime import date, timedelta

from dm_fhir.model.case import Therapy
from dm_fhir.statistics.cohort import Patient

#: Statuses and intents of records that do not say that the drug was taken.
NEVER_TAKEN = ("not-taken", "intended", "draft", "cancelled", "entered-in-error")
NO_ORDER = ("proposal", "plan", "option")
#: Drugs that are counted together.
GROUPS = {
    "ivig": "immunoglobulin",
    "immunoglobulin": "immunoglobulin",
    **dict.fromkeys(
        ("prednisone", "prednisolone", "methylprednisolone", "dexamethasone", "hydrocortisone", "deflazacort",
         "betamethasone", "triamcinolone", "cortisone", "meprednisone", "systemic_glucocorticoid_no_factor"),
        "glucocorticoid",
    ),
}  # fmt: skip


def other_therapies(patient: Patient, drug: str) -> dict[str, list[Therapy]]:
    """The records of every other systemic drug that was taken, by drug or group of drugs."""
    found: dict[str, list[Therapy]] = {}
    for one in patient.case.therapies:
        variable = one.medication.variable
        if variable and variable != drug and _taken(one) and not variable.endswith("_nonsystemic"):
            found.setdefault(GROUPS.get(variable, variable), []).append(one)
    return found


def began_before(patient: Patient, therapy: Therapy) -> bool | None:
    """Whether it surely began before the day of the first exposure; None where the dates leave it open."""
    start = therapy.period.start if therapy.period else None
    return patient.by(start, patient.first_day - timedelta(days=1))


def in_force(patient: Patient, therapy: Therapy, on: date) -> bool | None:
    """Whether it had begun by that day and not ended before it; None where the record leaves it open.

    Without an end, only an active record goes on; a completed or stopped one ended nobody knows when.
    """
    period = therapy.period
    begun = patient.by(period.start if period else None, on)
    end = period.end if period else None
    ended = patient.by(end, on - timedelta(days=1)) if end else (False if therapy.status == "active" else None)
    if begun is False or ended is True:
        return False
    return True if begun and ended is False else None


def any_in_force(patient: Patient, therapies: list[Therapy], on: date) -> bool | None:
    """Whether one of several records of a drug was in force; None if none surely was and some may have been."""
    found = [in_force(patient, one, on) for one in therapies]
    return True if True in found else None if None in found else False


def _taken(therapy: Therapy) -> bool:
    return therapy.status not in NEVER_TAKEN and therapy.intent not in NO_ORDER
