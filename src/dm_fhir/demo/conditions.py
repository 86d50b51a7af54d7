"""Condition resources: the diagnosis and what the disease did."""

from dm_fhir.demo.codes import (
    CONDITION_CATEGORY,
    CONDITION_CLINICAL,
    CONDITION_VERIFICATION,
    GOWERS_SIGN,
    MANIFESTATIONS,
    PARANEOPLASTIC,
    SUBTYPES,
    Code,
)
from dm_fhir.demo.resources import Resource, bare_concept, concept, for_patient, subject
from dm_fhir.demo.rows import Patient, Site


def conditions(site: Site, patient: Patient) -> list[Resource]:
    """All Conditions of one patient: diagnosis, manifestations, signs of a flare."""
    return [*_diagnoses(site, patient), *_manifestations(patient), *_flare(patient)]


def _diagnoses(site: Site, patient: Patient) -> list[Resource]:
    diagnosis, category = patient.diagnosis, site.diagnosis_category
    found = [_condition(patient, "dm", SUBTYPES[diagnosis.subtype], diagnosis.onset, category)]
    if diagnosis.paraneoplastic:
        found.append(_condition(patient, "paraneoplastic", (PARANEOPLASTIC,), diagnosis.onset, category))
    return found


def _manifestations(patient: Patient) -> list[Resource]:
    # The skin and the muscles brought these patients to the diagnosis, so both share its date and its precision.
    found = []
    for name in patient.manifestations:
        condition = _condition(patient, name, (MANIFESTATIONS[name],), patient.diagnosis.onset)
        if name in patient.resolved:
            condition["clinicalStatus"] = bare_concept(CONDITION_CLINICAL, "resolved")
            condition["abatementDateTime"] = patient.date_of(patient.resolved[name]).isoformat()
        found.append(condition)
    return found


def _flare(patient: Patient) -> list[Resource]:
    if patient.flare is None:
        return []
    return [_condition(patient, "gowers-sign", (GOWERS_SIGN,), patient.date_of(patient.flare.day).isoformat())]


def _condition(
    patient: Patient, suffix: str, codes: tuple[Code, ...], onset: str, category: str = "problem-list-item"
) -> Resource:
    return for_patient("Condition", patient, suffix) | {
        "clinicalStatus": bare_concept(CONDITION_CLINICAL, "active"),
        "verificationStatus": bare_concept(CONDITION_VERIFICATION, "confirmed"),
        "category": [bare_concept(CONDITION_CATEGORY, category)],
        "code": concept(*codes),
        "subject": subject(patient),
        "onsetDateTime": onset,
    }
