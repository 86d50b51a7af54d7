"""Sentences about the disease: subtype, malignancy, manifestations, antibodies."""

from collections.abc import Iterable, Iterator

from dm_fhir.model.dates import last_day
from dm_fhir.outcomes.manifestations import DIAGNOSES, is_manifestation
from dm_fhir.report.cohort import Cohort, Patient
from dm_fhir.report.sentence import Sentence, lacking, listed, ranked, shown_counts
from dm_fhir.report.words import antibody_words, condition_words
from dm_fhir.statistics.summaries import count_of_n

#: A patient with several diagnoses has the first of these subtypes.
SUBTYPES = (
    ("antisynthetase_syndrome", "antisynthetase syndrome"),
    ("dm_juvenile", "juvenile"),
    ("dm_amyopathic", "amyopathic"),
    ("dm_adult_classic", "classic"),
)
_ARS = ("anti_jo1", "anti_pl7", "anti_pl12", "anti_ej", "anti_oj")
_MI2 = ("anti_mi2", "anti_mi2_alpha", "anti_mi2_beta")
#: Myositis-specific antibodies as a paper lists them; anti-Ro52 and ANA are associated, not specific.
MYOSITIS_SPECIFIC = {
    "anti_tif1g": ("anti_tif1g",),
    "anti_mda5": ("anti_mda5",),
    "anti_sae1": ("anti_sae1",),
    "anti_ars": _ARS,
    "anti_mi2": _MI2,
    "anti_nxp2": ("anti_nxp2",),
    "anti_srp": ("anti_srp",),
}


def sentences_of_disease(cohort: Cohort) -> Iterator[Sentence]:
    """What kind of disease, what it does, what the serum shows."""
    yield _subtypes(cohort)
    yield _paraneoplastic(cohort)
    yield _manifestations(cohort)
    yield from _antibodies(cohort)


def subtype(patient: Patient) -> str | None:
    """The one subtype that the patient counts for; None if no diagnosis tells it."""
    variables = {one.concept.variable for one in patient.case.conditions}
    return next((words for variable, words in SUBTYPES if variable in variables), None)


def manifestations(patient: Patient) -> set[str]:
    """What is documented up to the first infusion; a condition without a date counts."""
    start = last_day(patient.started.span, patient.zone)
    return {
        variable
        for one in patient.case.conditions
        if is_manifestation(variable := one.concept.variable or "") and patient.by(one.onset, start) is not False
    }


def _subtypes(cohort: Cohort) -> Sentence:
    told = [name for patient in cohort.patients if (name := subtype(patient)) is not None]
    counts = ranked(told)
    unknown = cohort.n - len(told)
    text = f"Subtypes: {listed(counts, cohort.n)}." if told else "The subtype is not documented."
    missing = lacking({"with an unknown subtype": unknown}, cohort.n)
    return Sentence("subtype", text, shown_counts(counts | {"unknown": unknown}, cohort.n), missing)


def _paraneoplastic(cohort: Cohort) -> Sentence:
    coded = [patient for patient in cohort.patients if _diagnosed(patient)]
    count = sum("dm_paraneoplastic" in {one.concept.variable for one in p.case.conditions} for p in coded)
    text = f"Dermatomyositis with malignancy (paraneoplastic) was documented in {count_of_n(count, len(coded))}."
    text = text if coded else "Whether the disease is paraneoplastic is not documented."
    missing = lacking({"without any coded diagnosis": cohort.n - len(coded)}, cohort.n)
    return Sentence("paraneoplastic", text, shown_counts({"paraneoplastic": count}, len(coded)), missing)


def _diagnosed(patient: Patient) -> bool:
    return any(one.concept.variable in DIAGNOSES for one in patient.case.conditions)


def _manifestations(cohort: Cohort) -> Sentence:
    found = [manifestations(patient) for patient in cohort.patients]
    counts = ranked(variable for variables in found for variable in variables)
    text = f"Manifestations documented up to the first infusion: {listed(counts, cohort.n, condition_words)}."
    text = text if counts else "Manifestations are not documented."
    missing = lacking({"without any documented manifestation": sum(not variables for variables in found)}, cohort.n)
    return Sentence("manifestations", text, shown_counts(counts, cohort.n), missing)


def _antibodies(cohort: Cohort) -> Iterator[Sentence]:
    answers = [_answers(patient) for patient in cohort.patients]
    specific = {variable for group in MYOSITIS_SPECIFIC.values() for variable in group}
    tested = [one for one in answers if specific & one.keys()]
    positive = ranked(name for one in tested for name, group in MYOSITIS_SPECIFIC.items() if _any_positive(one, group))
    anyone = sum(_any_positive(one, specific) for one in tested)
    missing = lacking({"not tested": cohort.n - len(tested)}, cohort.n)
    values = shown_counts({"positive": anyone, "seronegative": len(tested) - anyone, **positive}, len(tested))
    text = "Myositis-specific antibodies are not documented."
    if tested:
        text = f"Myositis-specific antibodies were positive in {count_of_n(anyone, len(tested))} tested"
        text += f": {listed(positive, len(tested), antibody_words)}" if positive else ""
        text += f"; seronegative (all tested ones negative) {count_of_n(len(tested) - anyone, len(tested))}."
    yield Sentence("myositis_specific_antibodies", text, values, missing)
    yield _ro52(cohort, answers)


def _ro52(cohort: Cohort, answers: list[dict[str, bool]]) -> Sentence:
    tested = [one["anti_ro52"] for one in answers if "anti_ro52" in one]
    text = f"Anti-Ro52 was positive in {count_of_n(sum(tested), len(tested))} tested."
    missing = lacking({"not tested": cohort.n - len(tested)}, cohort.n)
    text = text if tested else "Anti-Ro52 is not documented."
    return Sentence("anti_ro52", text, shown_counts({"anti_ro52": sum(tested)}, len(tested)), missing)


def _answers(patient: Patient) -> dict[str, bool]:
    """Each antibody tested, and whether any accepted result was positive."""
    found: dict[str, bool] = {}
    for one in patient.accepted:
        for measured in (one.measured, *one.components):
            variable, answer = measured.concept.variable, measured.result.answer
            if variable and answer in ("positive", "negative"):
                found[variable] = found.get(variable, False) or answer == "positive"
    return found


def _any_positive(answers: dict[str, bool], variables: Iterable[str]) -> bool:
    return any(answers.get(variable, False) for variable in variables)
