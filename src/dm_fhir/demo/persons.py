"""Patient resources."""

from dm_fhir.demo.codes import RACES, SAMPLE_MRN, US_CORE_RACE
from dm_fhir.demo.resources import Resource, new_resource
from dm_fhir.demo.rows import Patient


def patient_resource(patient: Patient) -> Resource:
    """The Patient, whose name and narrative say that the person is invented."""
    number = patient.id.rpartition("-")[2]
    return new_resource("Patient", patient.id) | {
        "text": _narrative(patient),
        "extension": [_race(patient.person.race)],
        "identifier": [{"system": SAMPLE_MRN, "value": patient.id}],
        "active": True,
        "name": [{"family": "Sample", "given": [f"Invented {number.zfill(2)}"]}],
        "gender": patient.person.gender,
        "birthDate": patient.person.birth_date.isoformat(),
    }


def _narrative(patient: Patient) -> dict[str, str]:
    sentence = f"{patient.id}: an invented person. Only the aggregates of the cohort are published."
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{sentence}</div>'}


def _race(name: str) -> Resource:
    code = RACES[name]
    category = {"url": "ombCategory", "valueCoding": code._asdict()}
    return {"url": US_CORE_RACE, "extension": [category, {"url": "text", "valueString": code.display}]}
