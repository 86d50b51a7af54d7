"""Sentences about treatment: the study drug, why it was given, what went before and alongside."""

from collections.abc import Iterator

from dm_fhir.report.sentence import FEW, Counted, Sentence, lacking
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
    yield _lessened(cohort, small)
    yield _spaced(cohort, small)


def _period(cohort: Cohort, small: SmallCells) -> Sentence:
    days = sorted(day for patient in cohort.patients for infusion in patient.exposed.infusions if (day := infusion.day))
    undated = sum(any(infusion.day is None for infusion in patient.exposed.infusions) for patient in cohort.patients)
    missing = lacking({"with an infusion whose day is not known": undated}, cohort.n, small)
    if not days:
        return Sentence("treatment_period", "The days of the infusions are not documented.", {}, missing)
    first, last = days[0], days[-1]
    began = f"{first:%B}" if first.year == last.year else f"{first:%B %Y}"
    text = f"Infusions were given between {began} and {last:%B %Y}"
    if small.below:  # either day is one patient's
        return Sentence("treatment_period", f"{text}.", {"first": f"{first:%Y-%m}", "last": f"{last:%Y-%m}"}, missing)
    text += f" ({first} to {last})."
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
    counted = Counted(tally.counts, tally.n, small, open=tally.open)
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


def _lessened(cohort: Cohort, small: SmallCells) -> Sentence:
    found = treatment.lessened(cohort)
    counted = Counted(found.tally.counts, found.known, small)
    named = f" [{', '.join(found.having)}]" if found.having and found.known <= FEW and not small.below else ""
    text = "Systemic treatment, glucocorticoids included, was reduced or stopped by the end of follow-up in "
    text += small.of(len(found.having), found.known) + named
    text += f": {counted.named(_drug_and_answer)}." if found.tally.counts else "."
    text = text if found.known else "Whether other systemic treatment was reduced or stopped is not documented."
    values = Counted({"any": len(found.having), **found.tally.counts}, found.known, small).values()
    values |= {} if small.below else {"patients": ", ".join(found.having)}
    return Sentence("other_treatment_stopped", text, values, lacking(found.tally.lacking, cohort.n, small))


def _drug_and_answer(key: str) -> str:
    drug, answer = key.split(" ")
    return f"{drug_words(drug)} {answer}"


def _spaced(cohort: Cohort, small: SmallCells) -> Sentence:
    tally = treatment.spaced(cohort)
    counted = Counted(tally.counts, tally.n, small)
    text = f"A documented longer interval between doses of another drug: {counted.listed(drug_words)}."
    text = text if tally.counts else "A longer interval between doses of another drug is not documented in any patient."
    return Sentence("other_treatment_spaced", text, counted.values())
