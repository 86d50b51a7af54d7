"""Sentences about the disease: subtype, malignancy, manifestations, antibodies."""

from collections.abc import Iterator

from dm_fhir.report.sentence import Counted, Sentence, lacking
from dm_fhir.report.words import antibody_words, condition_words
from dm_fhir.statistics import disease
from dm_fhir.statistics.cohort import Cohort
from dm_fhir.statistics.small_cells import SmallCells


def sentences_of_disease(cohort: Cohort, small: SmallCells) -> Iterator[Sentence]:
    """What kind of disease, what it does, what the serum shows."""
    yield _subtypes(cohort, small)
    yield _paraneoplastic(cohort, small)
    yield _manifestations(cohort, small)
    yield _antibodies(cohort, small)
    yield _ro52(cohort, small)


def _subtypes(cohort: Cohort, small: SmallCells) -> Sentence:
    tally = disease.subtypes(cohort)
    unknown = sum(tally.lacking.values())
    counted = Counted(tally.counts, tally.n, small, exclusive=True)
    text = f"Subtypes: {counted.listed()}." if tally.counts else "The subtype is not documented."
    values = Counted(tally.counts | {"unknown": unknown}, tally.n, small, exclusive=True).values()
    return Sentence("subtype", text, values, lacking(tally.lacking, cohort.n, small))


def _paraneoplastic(cohort: Cohort, small: SmallCells) -> Sentence:
    tally = disease.paraneoplastic(cohort)
    counted = small.of(tally.counts["paraneoplastic"], tally.n)
    text = f"Dermatomyositis with malignancy (paraneoplastic) was documented in {counted}."
    text = text if tally.n else "Whether the disease is paraneoplastic is not documented."
    values = Counted(tally.counts, tally.n, small).values()
    return Sentence("paraneoplastic", text, values, lacking(tally.lacking, cohort.n, small))


def _manifestations(cohort: Cohort, small: SmallCells) -> Sentence:
    tally = disease.manifestations_of(cohort)
    counted = Counted(tally.counts, tally.n, small)
    text = f"Manifestations documented up to the first infusion: {counted.listed(condition_words)}."
    text = text if tally.counts else "Manifestations are not documented."
    return Sentence("manifestations", text, counted.values(), lacking(tally.lacking, cohort.n, small))


def _antibodies(cohort: Cohort, small: SmallCells) -> Sentence:
    found = disease.antibodies(cohort)
    each = Counted(found.each, found.n, small, open=found.untested)
    text = "Myositis-specific antibodies are not documented."
    if found.n:
        text = f"Myositis-specific antibodies were positive in {small.of(found.positive, found.n)} tested"
        text += f": {each.listed(antibody_words)}" if found.each else ""
        text += f"; seronegative (all tested ones negative) {small.of(found.seronegative, found.n)}."
    whole = {"positive": found.positive, "seronegative": found.seronegative}
    values = Counted(whole, found.n, small).values() | each.values()
    return Sentence("myositis_specific_antibodies", text, values, lacking(found.lacking, cohort.n, small))


def _ro52(cohort: Cohort, small: SmallCells) -> Sentence:
    tally = disease.anti_ro52(cohort)
    text = f"Anti-Ro52 was positive in {small.of(tally.counts['anti_ro52'], tally.n)} tested."
    text = text if tally.n else "Anti-Ro52 is not documented."
    values = Counted(tally.counts, tally.n, small).values()
    return Sentence("anti_ro52", text, values, lacking(tally.lacking, cohort.n, small))
