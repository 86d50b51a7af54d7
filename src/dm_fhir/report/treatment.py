"""Sentences about treatment: the study drug, why it was given, what went before and alongside."""

from collections.abc import Iterator

from dm_fhir.report.sentence import Counted, Sentence, lacking
from dm_fhir.report.words import drug_words
from dm_fhir.statistics import treatment
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.small_cells import SmallCells


def sentences_of_treatment(cohort: Cohort, drug: str, small: SmallCells) -> Iterator[Sentence]:
    """The drugs of the patients, before, at and after the first infusion."""
    yield _period(cohort, small)
    yield _regimen(cohort, small)
    yield _indication(cohort, drug, small)
    yield _prior(cohort, drug, small)
    yield _concomitant(cohort, drug, small)
    yield _stopped(cohort, drug, small)


def _period(cohort: Cohort, small: SmallCells) -> Sentence:
    days = sorted(day for patient in cohort.patients for infusion in patient.exposed.infusions if (day := infusion.day))
    undated = sum(any(infusion.day is None for infusion in patient.exposed.infusions) for patient in cohort.patients)
    missing = lacking({"with an infusion whose day is not known": undated}, cohort.n, small)
    if not days:
        return Sentence("treatment_period", "The days of the infusions are not documented.", {}, missing)
    first, last = days[0], days[-1]
    began = f"{first:%B}" if first.year == last.year else f"{first:%B %Y}"
    text = f"Infusions were given between {began} and {last:%B %Y} ({first} to {last})."
    return Sentence("treatment_period", text, {"first": str(first), "last": str(last)}, missing)


def _regimen(cohort: Cohort, small: SmallCells) -> Sentence:
    tally = treatment.regimens(cohort)
    counted = Counted(tally.counts, tally.n, small, exclusive=True)
    text = f"Regimen (most frequent dose, median interval of each patient): {counted.listed()}."
    text = text if tally.n else "Doses are not documented."
    return Sentence("regimen", text, counted.values(), lacking(tally.lacking, cohort.n, small))


def _indication(cohort: Cohort, drug: str, small: SmallCells) -> Sentence:
    tally = treatment.indications(cohort, drug)
    counted = Counted(tally.counts, tally.n, small, exclusive=True)
    text = f"Indication: {counted.listed()}." if tally.n else "The indication is not documented."
    return Sentence("indication", text, counted.values(), lacking(tally.lacking, cohort.n, small))


def _prior(cohort: Cohort, drug: str, small: SmallCells) -> Sentence:
    tally = treatment.prior(cohort, drug)
    counted = Counted(tally.counts, tally.n, small)
    text = f"Treatments begun before the first infusion: {counted.listed(drug_words)}."
    text = text if tally.n else "Earlier treatments are not documented."
    return Sentence("prior_treatment", text, counted.values(), lacking(tally.lacking, cohort.n, small))


def _concomitant(cohort: Cohort, drug: str, small: SmallCells) -> Sentence:
    tally = treatment.concomitant_csdmards(cohort, drug)
    having = sum(tally.counts.values())
    groups = Counted(tally.counts, tally.n, small, exclusive=True)
    text = f"A csDMARD was in force at the first infusion in {small.of(having, tally.n)}"
    text += f": {groups.named()} (exclusive groups)." if tally.counts else "."
    text = text if tally.n else "Concomitant csDMARDs are not documented."
    values = Counted({"any": having}, tally.n, small).values() | groups.values()
    return Sentence("concomitant_csdmard", text, values, lacking(tally.lacking, cohort.n, small))


def _stopped(cohort: Cohort, drug: str, small: SmallCells) -> Sentence:
    """What can be said of stopping; lower doses are not counted here."""
    tally, having = treatment.stopped_others(cohort, drug)
    counted = Counted({"any": having, **tally.counts}, tally.n, small)
    text = "Another drug in force at the first infusion was no longer in force at the end of follow-up in "
    text += small.of(having, tally.n)
    text += f": {Counted(tally.counts, tally.n, small).named(drug_words)}" if tally.counts else ""
    text += "; lower doses are not counted."
    text = text if tally.n else "Whether other drugs were stopped is not documented."
    return Sentence("other_treatment_stopped", text, counted.values(), lacking(tally.lacking, cohort.n, small))
