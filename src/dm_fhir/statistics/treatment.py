"""How the patients were treated: the study drug, why it was given, what went before and alongside, counted."""

from collections import Counter
from typing import NamedTuple

from dm_fhir.model.case import Therapy
from dm_fhir.model.exact import shown
from dm_fhir.outcomes import glucocorticoid_outcomes, other_therapies
from dm_fhir.outcomes.discontinuation import OWN_SYSTEM, Discontinuation, discontinuation
from dm_fhir.outcomes.exposure import SCHEDULED_INTERVAL_DAYS
from dm_fhir.outcomes.therapies import any_in_force, began_before, by_drug
from dm_fhir.statistics.cohort import Cohort, Patient
from dm_fhir.statistics.summaries import median_range
from dm_fhir.statistics.tally import Tally, ranked, ranked_where_known

INDICATIONS = {"indication-skin": "skin", "indication-musculoskeletal": "musculoskeletal"}
#: The conventional synthetic drugs that the papers group, with their abbreviations, in the order they are printed.
CSDMARDS = {"methotrexate": "MTX", "tacrolimus": "TAC", "mycophenolate": "MMF", "azathioprine": "AZA"}
REASON_UNKNOWN = "reason not documented"
#: Answers that mean less of a drug.
LESS = ("tapered", "discontinued", "reduced", "stopped")


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
    counts, unknown = ranked_where_known(documented)
    lacking = {
        "without any documented other drug": cohort.n - len(documented),
        "with a drug whose beginning cannot be placed before or after the first infusion": sum(
            None in drugs.values() for drugs in documented
        ),
    }
    return Tally(len(documented), counts, lacking, unknown)


def concomitant_csdmards(cohort: Cohort, drug: str) -> Tally:
    """The csDMARDs in force on the first day, in exclusive groups; those with none are in no group."""
    documented = [patient for patient in cohort.patients if by_drug(patient.case.therapies, drug)]
    groups = [_csdmards(patient, drug) for patient in documented]
    known = [group for group in groups if group is not None]
    lacking = {
        "without any documented other drug": cohort.n - len(documented),
        "where the dates of a csDMARD do not tell": len(groups) - len(known),
    }
    return Tally(len(known), ranked(group for group in known if group), lacking)


def concomitant(cohort: Cohort, drug: str) -> Tally:
    """Every other systemic drug surely in force on the first day, among patients with any other drug documented."""
    in_force = [
        {name: any_in_force(records, p.first_day, p.zone) for name, records in drugs.items()}
        for p in cohort.patients
        if (drugs := by_drug(p.case.therapies, drug))
    ]
    counts, unknown = ranked_where_known(in_force)
    lacking = {
        "without any documented other drug": cohort.n - len(in_force),
        "with a drug whose dates do not tell": sum(None in drugs.values() for drugs in in_force),
    }
    return Tally(len(in_force), counts, lacking, unknown)


class Lessened(NamedTuple):
    """What became of the systemic drugs that were taken at the first infusion, by the end of follow-up.

    `having` are the patients who took less of one at least, `known` those of whom it is known either way, `tally` the
    drugs with what became of them.
    """

    having: tuple[str, ...]
    known: int
    tally: Tally


def lessened(cohort: Cohort) -> Lessened:
    """The glucocorticoid (R-GC-COURSE) and the other systemic drugs (R-OTHER), tapered, reduced or stopped.

    Who took less of something did; that somebody took less of nothing is known only where every answer is.
    """
    found = {p.name: _became(p) for p in cohort.patients}
    having = tuple(name for name, became in found.items() if any(answer in LESS for answer in became.values()))
    known = [name for name, became in found.items() if name in having or (became and None not in became.values())]
    counts = Counter((drug, answer) for became in found.values() for drug, answer in became.items() if answer in LESS)
    taking_none = sum(not became for became in found.values())
    lacking = {
        "without another systemic drug at the first infusion": taking_none,
        "where the records leave it open": cohort.n - len(known) - taking_none,
    }
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Lessened(having, len(known), Tally(len(known), {f"{d} {a}": n for (d, a), n in ordered}, lacking))


def spaced(cohort: Cohort) -> Tally:
    """Other drugs with a documented longer interval: an event of its own, counted among all patients, for silence denies nobody."""
    counts = ranked(drug for p in cohort.patients for drug, answer in _became(p).items() if answer == "spaced")
    return Tally(cohort.n, counts, {})


def discontinuations(cohort: Cohort) -> Tally:
    """Why the study drug was stopped (R-STOP), among patients of whom it is known; those who go on are in no count."""
    found = [discontinuation(patient.case, patient.exposed) for patient in cohort.patients]
    known = [one for one in found if one.stopped is not None]
    counts = ranked(_stop_reason(one) for one in known if one.stopped)
    return Tally(len(known), counts, {"where no record tells whether it was stopped": cohort.n - len(known)})


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
    for name, therapies in by_drug(patient.case.therapies, drug).items():
        began = [began_before(one, patient.first_day, patient.zone) for one in therapies]
        found[name] = True if True in began else None if None in began else False
    return found


def _csdmards(patient: Patient, drug: str) -> str | None:
    """The csDMARDs in force on the first day, as one exclusive group; empty for none, None if the dates do not tell."""
    therapies = by_drug(patient.case.therapies, drug)
    found = {
        short: any_in_force(therapies.get(name, []), patient.first_day, patient.zone)
        for name, short in CSDMARDS.items()
    }
    return None if None in found.values() else " + ".join(short for short, taken in found.items() if taken)


def _became(patient: Patient) -> dict[str, str | None]:
    """What became of each systemic drug that was taken at the first infusion, None where unknown."""
    found: dict[str, str | None] = {}
    for one in patient.outcomes:
        if one.rule == other_therapies.RULE:
            found[one.variable.removesuffix("_change")] = one.answer
        elif one.variable == glucocorticoid_outcomes.STATUS and one.visit == glucocorticoid_outcomes.LAST:
            found["glucocorticoid"] = one.answer
    return {drug: answer for drug, answer in found.items() if answer not in ("none_at_baseline", "started")}


def _stop_reason(found: Discontinuation) -> str:
    """A reason that a paper tells apart, else the record's own words."""
    if found.reason is None:
        return REASON_UNKNOWN
    if found.reason != "other" or found.recorded is None:
        return found.reason.replace("_", " ").replace("follow up", "follow-up")
    displays = (coding.display for coding in found.recorded.codings)
    return next((name for name in (found.recorded.text, *displays) if name), REASON_UNKNOWN)
