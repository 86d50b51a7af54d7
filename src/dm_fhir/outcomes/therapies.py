"""Whether another drug was taken, began, was in force or ended, as far as its record tells.

Statuses are those of https://hl7.org/fhir/R4/medicationstatement.html and https://hl7.org/fhir/R4/medicationrequest.html.
Everything is three-valued: None is what a partial, absent or open date leaves undecided.
"""

from collections.abc import Iterable
from datetime import date, timedelta, tzinfo

from dm_fhir.model.case import Case, Therapy
from dm_fhir.model.dates import on_or_before
from dm_fhir.outcomes.dosing import LOCAL_DRUG

#: Statuses and intents of records that do not say that the drug was taken.
NEVER_TAKEN = ("not-taken", "intended", "draft", "cancelled", "entered-in-error")
NO_ORDER = ("proposal", "plan", "option")
GLUCOCORTICOIDS = (
    "prednisone", "prednisolone", "methylprednisolone", "dexamethasone", "hydrocortisone", "deflazacort", "betamethasone",
    "triamcinolone", "cortisone", "meprednisone", "systemic_glucocorticoid_no_factor",
)  # fmt: skip
#: Drugs that are spoken of together.
GROUPS = {
    "ivig": "immunoglobulin",
    "immunoglobulin": "immunoglobulin",
    **dict.fromkeys(GLUCOCORTICOIDS, "glucocorticoid"),
}


def is_order(therapy: Therapy) -> bool:
    """Whether it is an order; else somebody states that the drug is, was or will be taken."""
    return therapy.intent is not None or therapy.source.reference.startswith("MedicationRequest/")


def is_taken(therapy: Therapy) -> bool:
    """Whether the record says that the drug is or was taken."""
    return therapy.status not in NEVER_TAKEN and therapy.intent not in NO_ORDER


def by_drug(therapies: Iterable[Therapy], study_drug: str | None) -> dict[str, list[Therapy]]:
    """The records of every other systemic drug that was taken, by drug or group of drugs."""
    found: dict[str, list[Therapy]] = {}
    for one in therapies:
        variable = one.medication.variable
        if variable and variable != study_drug and is_taken(one) and not variable.endswith(LOCAL_DRUG):
            found.setdefault(GROUPS.get(variable, variable), []).append(one)
    return found


def began_before(therapy: Therapy, day: date, zone: tzinfo) -> bool | None:
    """Whether it surely began before that day; None where the dates leave it open."""
    return on_or_before(therapy.period.start if therapy.period else None, day - timedelta(days=1), zone)


def in_force(therapy: Therapy, on: date, zone: tzinfo) -> bool | None:
    """Whether it had begun by that day and not ended before it; None where the record leaves it open.

    Without an end, only an active record goes on; a completed or stopped one ended nobody knows when.
    """
    period = therapy.period
    begun = on_or_before(period.start if period else None, on, zone)
    end = period.end if period else None
    ended = on_or_before(end, on - timedelta(days=1), zone) if end else (False if therapy.status == "active" else None)
    if begun is False or ended is True:
        return False
    return True if begun and ended is False else None


def any_in_force(therapies: Iterable[Therapy], on: date, zone: tzinfo) -> bool | None:
    """Whether one of several records of a drug was in force; None if none surely was and some may have been."""
    found = [in_force(one, on, zone) for one in therapies]
    return True if True in found else None if None in found else False


def study_drug(case: Case) -> str | None:
    """What the tables call the study drug; None in a case that was never given it."""
    return next((one.medication.variable for one in case.administrations if one.medication), None)
