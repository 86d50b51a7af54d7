"""How the patients were treated: the study drug, why it was given, what went before and alongside, counted."""

from collections import Counter

from dm_fhir.model.case import Therapy
from dm_fhir.model.exact import shown
from dm_fhir.outcomes.exposure import SCHEDULED_INTERVAL_DAYS
from dm_fhir.statistics.cohort import Cohort, Patient
from dm_fhir.statistics.summaries import median_range
from dm_fhir.statistics.tally import Tally, ranked
from dm_fhir.statistics.therapies import any_in_force, began_before, other_therapies

#: Where reasons and status reasons without a standard code have theirs.
OWN_SYSTEM = "https://w3id.org/dm-fhir/CodeSystem/measurement"
INDICATIONS = {"indication-skin": "skin", "indication-musculoskeletal": "musculoskeletal"}
#: The conventional synthetic drugs that the papers group, with their abbreviations, in the order they are printed.
CSDMARDS = {"methotrexate": "MTX", "tacrolimus": "TAC", "mycophenolate": "MMF", "azathioprine": "AZA"}
_HL7_REASON = "http://terminology.hl7.org/CodeSystem/medicationrequest-status-reason"
#: Coded reasons for stopping that a paper tells apart; any other is shown in its own words.
STOP_REASONS = {
    (OWN_SYSTEM, "lost-to-follow-up"): "lost to follow-up",
    (OWN_SYSTEM, "adverse-event"): "adverse event",
    (_HL7_REASON, "salg"): "adverse event",
    (_HL7_REASON, "sintol"): "adverse event",
}
REASON_UNKNOWN = "reason not documented"


def study_orders(patient: Patient, drug: str) -> list[Therapy]:
    """The orders of the study drug."""
    return [one for one in patient.case.therapies if one.medication.variable == drug and one.intent is not None]


def regimens(cohort: Cohort) -> Tally:
    """The most frequent dose with the median interval of each patient, among those with a known dose."""
    found = [regimen for patient in cohort.patients if (regimen := _regimen(patient)) is not None]
    return Tally(len(found), ranked(found), {"without a known dose": cohort.n - len(found)})


def indications(cohort: Cohort, drug: str) -> Tally:
    """Why the study drug was given, by its orders; several reasons of one patient together."""
    told = [found for patient in cohort.patients if (found := _indication(patient, drug))]
    return Tally(len(told), ranked(told), {"without a documented indication": cohort.n - len(told)})


def prior(cohort: Cohort, drug: str) -> Tally:
    """Other drugs surely begun before the day of the first infusion, among patients with any other drug documented."""
    documented = [drugs for p in cohort.patients if (drugs := _begun_before(p, drug))]
    counts = ranked(name for drugs in documented for name, began in drugs.items() if began)
    lacking = {
        "without any documented other drug": cohort.n - len(documented),
        "with a drug whose beginning cannot be placed before or after the first infusion": sum(
            None in drugs.values() for drugs in documented
        ),
    }
    return Tally(len(documented), counts, lacking)


def concomitant_csdmards(cohort: Cohort, drug: str) -> Tally:
    """The csDMARDs in force on the first day, in exclusive groups; those with none are in no group."""
    documented = [patient for patient in cohort.patients if other_therapies(patient, drug)]
    groups = [_csdmards(patient, drug) for patient in documented]
    known = [group for group in groups if group is not None]
    lacking = {
        "without any documented other drug": cohort.n - len(documented),
        "where the dates of a csDMARD do not tell": len(groups) - len(known),
    }
    return Tally(len(known), ranked(group for group in known if group), lacking)


def concomitant(cohort: Cohort, drug: str) -> Tally:
    """Every other systemic drug surely in force on the first day, among patients with any other drug documented."""
    documented = [drugs for p in cohort.patients if (drugs := other_therapies(p, drug))]
    in_force = [
        [(name, any_in_force(p, records, p.first_day)) for name, records in other_therapies(p, drug).items()]
        for p in cohort.patients
    ]
    counts = ranked(name for drugs in in_force for name, taken in drugs if taken)
    lacking = {
        "without any documented other drug": cohort.n - len(documented),
        "with a drug whose dates do not tell": sum(any(taken is None for _, taken in drugs) for drugs in in_force),
    }
    return Tally(len(documented), counts, lacking)


def stopped_others(cohort: Cohort, drug: str) -> tuple[Tally, int]:
    """Other drugs in force at the first infusion and surely no longer at the end of follow-up; and of how many patients.

    Lower doses are not counted. The denominator are the patients with a drug surely in force at the first infusion.
    """
    verdicts = [found for patient in cohort.patients if (found := _stopped(patient, drug)) is not None]
    counts = ranked(name for stopped in verdicts for name in stopped)
    lacking = {"without another drug surely in force at the first infusion": cohort.n - len(verdicts)}
    return Tally(len(verdicts), counts, lacking), sum(bool(stopped) for stopped in verdicts)


def discontinuations(cohort: Cohort, drug: str) -> Tally:
    """Why the study drug was stopped, by its orders, among patients with an order; those who go on are in no count."""
    ordered = [orders for patient in cohort.patients if (orders := study_orders(patient, drug))]
    counts = ranked(reason for orders in ordered if (reason := _stop_reason(orders)) is not None)
    return Tally(len(ordered), counts, {"without an order": cohort.n - len(ordered)})


def _regimen(patient: Patient) -> str | None:
    completed = patient.exposed.completed
    doses = Counter(infusion.dose_mg for infusion in completed if infusion.dose_mg is not None)
    days = median_range(i.interval_days for i in patient.exposed.infusions if i.interval_days is not None)
    if not doses:
        return None
    dose = f"{shown(doses.most_common(1)[0][0])} mg"
    if days is None:
        return f"{dose} once" if len(completed) == 1 else f"{dose}, interval not known"
    # A median on the label's schedule is four weeks, as a paper says it; any other is shown as it is.
    earliest, latest = SCHEDULED_INTERVAL_DAYS
    every = "4 weeks" if earliest <= days.median <= latest else f"{shown(days.median)} days"
    return f"{dose} every {every}"


def _indication(patient: Patient, drug: str) -> str:
    reasons = [reason for order in study_orders(patient, drug) for reason in order.reasons]
    codes = {coding.code for reason in reasons for coding in reason.codings if coding.system == OWN_SYSTEM}
    return " and ".join(words for code, words in INDICATIONS.items() if code in codes)


def _begun_before(patient: Patient, drug: str) -> dict[str, bool | None]:
    """Each other drug, and whether a record of it began before the first infusion."""
    found = {}
    for name, therapies in other_therapies(patient, drug).items():
        began = [began_before(patient, one) for one in therapies]
        found[name] = True if True in began else None if None in began else False
    return found


def _csdmards(patient: Patient, drug: str) -> str | None:
    """The csDMARDs in force on the first day, as one exclusive group; empty for none, None if the dates do not tell."""
    therapies = other_therapies(patient, drug)
    found = {
        short: any_in_force(patient, therapies.get(name, []), patient.first_day) for name, short in CSDMARDS.items()
    }
    return None if None in found.values() else " + ".join(short for short, taken in found.items() if taken)


def _stopped(patient: Patient, drug: str) -> list[str] | None:
    """The drugs that were stopped; None if none was surely in force at the first infusion."""
    therapies, end = other_therapies(patient, drug), patient.last_day
    taken = [name for name, records in therapies.items() if any_in_force(patient, records, patient.first_day)]
    if not taken or end is None:
        return None
    return [name for name in taken if any_in_force(patient, therapies[name], end) is False]


def _stop_reason(orders: list[Therapy]) -> str | None:
    """Why the study drug was stopped; None if no order says that it was, or a newer one is active."""
    stopped = [order for order in orders if order.status == "stopped"]
    if not stopped or any(order.status == "active" for order in orders):
        return None
    reason = next((one for order in stopped for one in order.status_reasons), None)
    if reason is None:
        return REASON_UNKNOWN
    told = (STOP_REASONS.get((coding.system or "", coding.code or "")) for coding in reason.codings)
    displays = (coding.display for coding in reason.codings)
    return next((name for name in (*told, reason.text, *displays) if name), REASON_UNKNOWN)
