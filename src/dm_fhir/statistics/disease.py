"""What the patients have: subtype, malignancy, manifestations, antibodies, counted."""

from collections.abc import Iterable
from typing import NamedTuple

from dm_fhir.model.dates import last_day
from dm_fhir.outcomes.ages import DIAGNOSES
from dm_fhir.outcomes.manifestations import is_manifestation
from dm_fhir.statistics.cohort import Cohort, Patient
from dm_fhir.statistics.tally import Tally, ranked

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


class Antibodies(NamedTuple):
    """Of the `n` patients tested for a myositis-specific antibody: how many have any, none, and each of them.

    `untested` says of each in how many of the `n` it was not tested.
    """

    n: int
    positive: int
    seronegative: int
    each: dict[str, int]
    lacking: dict[str, int]
    untested: dict[str, int]


def subtype(patient: Patient) -> str | None:
    """The one subtype that the patient counts for; None if no diagnosis tells it."""
    variables = {one.concept.variable for one in patient.case.conditions}
    return next((words for variable, words in SUBTYPES if variable in variables), None)


def subtypes(cohort: Cohort) -> Tally:
    """Subtypes among all patients; those whose diagnoses tell none are lacking and stay in the denominator."""
    told = [name for patient in cohort.patients if (name := subtype(patient)) is not None]
    return Tally(cohort.n, ranked(told), {"with an unknown subtype": cohort.n - len(told)})


def paraneoplastic(cohort: Cohort) -> Tally:
    """A diagnosis of dermatomyositis with malignancy, among the patients with any coded diagnosis."""
    coded = [patient for patient in cohort.patients if _diagnosed(patient)]
    count = sum("dm_paraneoplastic" in {one.concept.variable for one in p.case.conditions} for p in coded)
    return Tally(len(coded), {"paraneoplastic": count}, {"without any coded diagnosis": cohort.n - len(coded)})


def manifestations(patient: Patient) -> set[str]:
    """What is documented up to the first infusion; a condition without a date counts."""
    start = last_day(patient.started.span, patient.zone)
    return {
        variable
        for one in patient.case.conditions
        if is_manifestation(variable := one.concept.variable or "") and patient.by(one.onset, start) is not False
    }


def new_manifestations(patient: Patient) -> set[str]:
    """What surely began after the day of the first infusion."""
    start = last_day(patient.started.span, patient.zone)
    return {
        variable
        for one in patient.case.conditions
        if is_manifestation(variable := one.concept.variable or "") and patient.by(one.onset, start) is False
    }


def manifestations_of(cohort: Cohort) -> Tally:
    """Manifestations up to the first infusion, among all patients: what nobody recorded counts as not there."""
    found = [manifestations(patient) for patient in cohort.patients]
    nothing = sum(not variables for variables in found)
    counts = ranked(variable for variables in found for variable in variables)
    return Tally(cohort.n, counts, {"without any documented manifestation": nothing})


def antibodies(cohort: Cohort) -> Antibodies:
    """Myositis-specific antibodies among the patients tested for any. Seronegative: all tested ones negative."""
    specific = {variable for group in MYOSITIS_SPECIFIC.values() for variable in group}
    tested = [one for patient in cohort.patients if specific & (one := _answers(patient)).keys()]
    each = ranked(name for one in tested for name, group in MYOSITIS_SPECIFIC.items() if _any_positive(one, group))
    untested = {name: sum(not one.keys() & group for one in tested) for name, group in MYOSITIS_SPECIFIC.items()}
    positive = sum(_any_positive(one, specific) for one in tested)
    lacking = {"not tested": cohort.n - len(tested)}
    return Antibodies(len(tested), positive, len(tested) - positive, each, lacking, untested)


def anti_ro52(cohort: Cohort) -> Tally:
    """Anti-Ro52 among the patients tested for it."""
    tested = [one["anti_ro52"] for patient in cohort.patients if "anti_ro52" in (one := _answers(patient))]
    return Tally(len(tested), {"anti_ro52": sum(tested)}, {"not tested": cohort.n - len(tested)})


def _diagnosed(patient: Patient) -> bool:
    return any(one.concept.variable in DIAGNOSES for one in patient.case.conditions)


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
