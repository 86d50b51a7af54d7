"""Sentences about treatment: the study drug, why it was given, what went before and alongside."""

from collections import Counter
from collections.abc import Iterator

from dm_fhir.model.case import Therapy
from dm_fhir.model.exact import shown
from dm_fhir.outcomes import glucocorticoid_outcomes, other_therapies
from dm_fhir.outcomes.discontinuation import OWN_SYSTEM
from dm_fhir.outcomes.exposure import SCHEDULED_INTERVAL_DAYS
from dm_fhir.outcomes.therapies import any_in_force, began_before, by_drug
from dm_fhir.report.cohort import Cohort, Patient
from dm_fhir.report.sentence import Sentence, lacking, listed, members, ranked, shown_counts
from dm_fhir.report.words import drug_words
from dm_fhir.statistics.summaries import count_of_n, median_range

INDICATIONS = {"indication-skin": "skin", "indication-musculoskeletal": "musculoskeletal"}
#: The conventional synthetic drugs that the papers group, with their abbreviations, in the order they are printed.
CSDMARDS = {"methotrexate": "MTX", "tacrolimus": "TAC", "mycophenolate": "MMF", "azathioprine": "AZA"}

#: Answers that mean less of a drug.
LESS = ("tapered", "discontinued", "reduced", "stopped")


def sentences_of_treatment(cohort: Cohort, drug: str) -> Iterator[Sentence]:
    """The drugs of the patients, before, at and after the first infusion."""
    yield _period(cohort)
    yield _regimen(cohort)
    yield _indication(cohort, drug)
    yield _prior(cohort, drug)
    yield _concomitant(cohort, drug)
    yield _lessened(cohort)
    yield _spaced(cohort)


def study_orders(patient: Patient, drug: str) -> list[Therapy]:
    """The orders of the study drug."""
    return [one for one in patient.case.therapies if one.medication.variable == drug and one.intent is not None]


def _period(cohort: Cohort) -> Sentence:
    days = sorted(day for patient in cohort.patients for infusion in patient.exposed.infusions if (day := infusion.day))
    undated = sum(any(infusion.day is None for infusion in patient.exposed.infusions) for patient in cohort.patients)
    missing = lacking({"with an infusion whose day is not known": undated}, cohort.n)
    if not days:
        return Sentence("treatment_period", "The days of the infusions are not documented.", {}, missing)
    first, last = days[0], days[-1]
    began = f"{first:%B}" if first.year == last.year else f"{first:%B %Y}"
    text = f"Infusions were given between {began} and {last:%B %Y} ({first} to {last})."
    return Sentence("treatment_period", text, {"first": str(first), "last": str(last)}, missing)


def _regimen(cohort: Cohort) -> Sentence:
    regimens = [regimen for patient in cohort.patients if (regimen := _regimen_of(patient)) is not None]
    counts = ranked(regimens)
    text = f"Regimen (most frequent dose, median interval of each patient): {listed(counts, len(regimens))}."
    text = text if regimens else "Doses are not documented."
    missing = lacking({"without a known dose": cohort.n - len(regimens)}, cohort.n)
    return Sentence("regimen", text, shown_counts(counts, len(regimens)), missing)


def _regimen_of(patient: Patient) -> str | None:
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


def _indication(cohort: Cohort, drug: str) -> Sentence:
    told = [found for patient in cohort.patients if (found := _indication_of(patient, drug))]
    counts = ranked(told)
    text = f"Indication: {listed(counts, len(told))}." if told else "The indication is not documented."
    missing = lacking({"without a documented indication": cohort.n - len(told)}, cohort.n)
    return Sentence("indication", text, shown_counts(counts, len(told)), missing)


def _indication_of(patient: Patient, drug: str) -> str:
    reasons = [reason for order in study_orders(patient, drug) for reason in order.reasons]
    codes = {coding.code for reason in reasons for coding in reason.codings if coding.system == OWN_SYSTEM}
    return " and ".join(words for code, words in INDICATIONS.items() if code in codes)


def _prior(cohort: Cohort, drug: str) -> Sentence:
    documented = [therapies for p in cohort.patients if (therapies := _by_patient(p, drug))]
    counts = ranked(name for therapies in documented for name, began in therapies.items() if began)
    open_order = sum(None in therapies.values() for therapies in documented)
    text = f"Treatments begun before the first infusion: {listed(counts, len(documented), drug_words)}."
    text = text if documented else "Earlier treatments are not documented."
    reasons = {
        "without any documented other drug": cohort.n - len(documented),
        "with a drug whose beginning cannot be placed before or after the first infusion": open_order,
    }
    return Sentence("prior_treatment", text, shown_counts(counts, len(documented)), lacking(reasons, cohort.n))


def _by_patient(patient: Patient, drug: str) -> dict[str, bool | None]:
    """Each other drug, and whether a record of it began before the first infusion."""
    found = {}
    for name, therapies in by_drug(patient.case.therapies, drug).items():
        began = [began_before(one, patient.first_day, patient.zone) for one in therapies]
        found[name] = True if True in began else None if None in began else False
    return found


def _concomitant(cohort: Cohort, drug: str) -> Sentence:
    documented = [patient for patient in cohort.patients if by_drug(patient.case.therapies, drug)]
    groups = [_csdmards(patient, drug) for patient in documented]
    known = [group for group in groups if group is not None]
    counts = ranked(group for group in known if group)
    having = sum(counts.values())
    text = f"A csDMARD was in force at the first infusion in {count_of_n(having, len(known))}"
    text += f": {', '.join(f'{name} {count}' for name, count in counts.items())} (exclusive groups)." if counts else "."
    text = text if known else "Concomitant csDMARDs are not documented."
    reasons = {
        "without any documented other drug": cohort.n - len(documented),
        "where the dates of a csDMARD do not tell": len(groups) - len(known),
    }
    values = shown_counts({"any": having, **counts}, len(known))
    return Sentence("concomitant_csdmard", text, values, lacking(reasons, cohort.n))


def _csdmards(patient: Patient, drug: str) -> str | None:
    """The csDMARDs in force on the first day, as one exclusive group; empty for none, None if the dates do not tell."""
    therapies = by_drug(patient.case.therapies, drug)
    found = {
        short: any_in_force(therapies.get(name, []), patient.first_day, patient.zone)
        for name, short in CSDMARDS.items()
    }
    return None if None in found.values() else " + ".join(short for short, taken in found.items() if taken)


def _lessened(cohort: Cohort) -> Sentence:
    """The glucocorticoid (R-GC-COURSE) and the other systemic drugs (R-OTHER), at the end of follow-up."""
    found = {p.case.id: _became(p) for p in cohort.patients}
    having = [name for name, became in found.items() if any(answer in LESS for answer in became.values())]
    # Who took less of something did; that somebody took less of nothing is known only where every answer is.
    known = [name for name, became in found.items() if name in having or (became and None not in became.values())]
    counts = ranked(
        f"{drug_words(drug)} {answer}" for became in found.values() for drug, answer in became.items() if answer in LESS
    )
    text = "Systemic treatment, glucocorticoids included, was reduced or stopped by the end of follow-up in "
    text += members(having, len(known))
    text += f": {', '.join(f'{what} {count}' for what, count in counts.items())}." if counts else "."
    text = text if known else "Whether other systemic treatment was reduced or stopped is not documented."
    taking_none = sum(not became for became in found.values())
    missing = lacking(
        {
            "without another systemic drug at the first infusion": taking_none,
            "where the records leave it open": cohort.n - len(known) - taking_none,
        },
        cohort.n,
    )
    values = shown_counts({"any": len(having), **counts}, len(known)) | {"patients": ", ".join(having)}
    return Sentence("other_treatment_stopped", text, values, missing)


def _spaced(cohort: Cohort) -> Sentence:
    """A longer interval is an event of its own, and counted among all patients: nobody is denied it by silence."""
    counts = ranked(
        drug_words(drug) for p in cohort.patients for drug, answer in _became(p).items() if answer == "spaced"
    )
    text = f"A documented longer interval between doses of another drug: {listed(counts, cohort.n)}."
    text = text if counts else "A longer interval between doses of another drug is not documented in any patient."
    return Sentence("other_treatment_spaced", text, shown_counts(counts, cohort.n))


def _became(patient: Patient) -> dict[str, str | None]:
    """What became of each systemic drug that was taken at the first infusion, None where unknown."""
    found: dict[str, str | None] = {}
    for one in patient.outcomes:
        if one.rule == other_therapies.RULE:
            found[one.variable.removesuffix("_change")] = one.answer
        elif one.variable == glucocorticoid_outcomes.STATUS and one.visit == glucocorticoid_outcomes.LAST:
            found["glucocorticoid"] = one.answer
    return {drug: answer for drug, answer in found.items() if answer not in ("none_at_baseline", "started")}
