"""An invented population: 5,000 patients x 26 resources, the same every time. Each code is one that the tables know."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PATIENTS = 5000
LAST_UPDATED = "2025-06-01T10:00:00.000Z"
#: Resources per patient of each type that a pull asks for.
PER_PATIENT = {
    "Patient": 1,
    "Observation": 16,
    "MedicationAdministration": 5,
    "Condition": 2,
    "MedicationRequest": 1,
    "MedicationStatement": 1,
    "AdverseEvent": 0,
}
_VISITS = ("2024-01-15", "2024-04-15", "2024-07-15", "2024-10-15")
_OURS = "https://w3id.org/dm-fhir/CodeSystem/measurement"
#: System, code, display, category, unit, lowest, highest value.
_MEASUREMENTS = (
    ("http://loinc.org", "2157-6", "Creatine kinase [Enzymatic activity/volume] in Serum or Plasma", "laboratory", "U/L", 40, 4000),
    (_OURS, "cdasi-activity", "CDASI activity score", "exam", "{score}", 0, 60),
    (_OURS, "mmt8-150", "MMT8, both sides, 0-150", "exam", "{score}", 90, 150),
    (_OURS, "dlqi", "Dermatology Life Quality Index total score", "survey", "{score}", 0, 30),
)  # fmt: skip
_INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_SNOMED = "http://snomed.info/sct"
_ATC = "http://www.whocc.no/atc"
_DIAGNOSES = (("396230008", "Dermatomyositis"), ("402425006", "Adult onset dermatomyositis"))
_Body = dict[str, Any]


class Row(NamedTuple):
    """One resource: its id, its code as in a search (`system|code`), its category and time, and the resource itself."""

    id: str
    code: str
    category: str
    time: str
    body: bytes


def patient_ids(patients: int = PATIENTS) -> list[str]:
    """The ids of the first so many patients."""
    return [f"p{number:05d}" for number in range(1, patients + 1)]


def entries_of(patients: int, types: tuple[str, ...] = tuple(PER_PATIENT)) -> int:
    """How many entries so many patients have."""
    return patients * sum(PER_PATIENT[name] for name in types)


def write_population(file: Path, patients: int) -> Path:
    """The records of the first so many patients, a line each."""
    with file.open("wb") as lines:
        for patient in patient_ids(patients):
            for kind in PER_PATIENT:
                lines.writelines(row.body + b"\n" for row in rows(kind, patient))
    return file


def rows(type_name: str, patient: str) -> list[Row]:
    """A patient's resources of one type, oldest first."""
    return [_row(body) for body in _MAKERS[type_name](patient)]


def _row(body: _Body) -> Row:
    concept = body.get("code") or body.get("medicationCodeableConcept")
    coding = concept["coding"][0] if concept else {}
    category = body["category"][0]["coding"][0]["code"] if body["resourceType"] == "Observation" else ""
    code = f"{coding.get('system', '')}|{coding.get('code', '')}"
    return Row(body["id"], code, category, _time(body), json.dumps(body, separators=(",", ":")).encode())


def _time(body: _Body) -> str:
    if "effectivePeriod" in body:
        return str(body["effectivePeriod"]["start"])
    return next((str(body[name]) for name in ("effectiveDateTime", "onsetDateTime", "authoredOn") if name in body), "")


def _patients(patient: str) -> Iterator[_Body]:
    number = int(patient[1:])
    yield {
        **_head("Patient", patient),
        "active": True,
        "identifier": [{"use": "usual", "system": "https://hospital.example/mrn", "value": f"MRN{number:08d}"}],
        "name": [{"use": "official", "family": f"Family{number}", "given": [f"Given{number}"]}],
        "gender": ("female", "male")[number % 2],
        "birthDate": f"{1940 + number % 60}-{1 + number % 12:02d}-{1 + number % 28:02d}",
        "address": [{"use": "home", "line": [f"Street {number}"], "city": "Example", "country": "ES"}],
    }


def _observations(patient: str) -> Iterator[_Body]:
    number = int(patient[1:])
    for visit, day in enumerate(_VISITS):
        for kind, (system, code, display, category, unit, lowest, highest) in enumerate(_MEASUREMENTS):
            value = lowest + (number * 7 + visit * 13 + kind * 5) % (highest - lowest + 1)
            id_ = f"{patient}-o{visit}{kind}"
            yield {
                **_head("Observation", id_),
                "text": _narrative(f"{display}: {value} {unit} on {day}, at the outpatient clinic of dermatology"),
                "identifier": [{"system": "https://hospital.example/observation", "value": f"OBS-{number}-{visit}-{kind}"}],
                "status": "final",
                "category": [_concept("http://terminology.hl7.org/CodeSystem/observation-category", category, category)],
                "code": _concept(system, code, display),
                "subject": _reference("Patient", patient, f"Patient number {number}"),
                "encounter": _reference("Encounter", f"{patient}-e{visit}", "Outpatient clinic, dermatology"),
                "effectiveDateTime": f"{day}T09:30:00+01:00",
                "specimen": _reference("Specimen", f"{patient}-s{visit}{kind}", "Serum, venous blood"),
                "device": _reference("Device", f"d{kind}", "Device"),
                "issued": f"{day}T11:02:17.000+01:00",
                "performer": [_reference("Organization", "laboratory", "Clinical laboratory and dermatology")],
                "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
                "interpretation": [_concept(_INTERPRETATION, "N", "Normal")],
                "referenceRange": [{"low": {"value": lowest, "unit": unit}, "high": {"value": highest, "unit": unit}}],
            }  # fmt: skip


def _administrations(patient: str) -> Iterator[_Body]:
    for infusion in range(PER_PATIENT["MedicationAdministration"]):
        day = f"2024-{2 + infusion:02d}-01"
        yield {
            **_head("MedicationAdministration", f"{patient}-a{infusion}"),
            "status": "completed",
            "medicationCodeableConcept": _concept(_ATC, "L04AG11", "anifrolumab"),
            "subject": _reference("Patient", patient, "Patient"),
            "effectivePeriod": {"start": f"{day}T09:00:00+01:00", "end": f"{day}T09:30:00+01:00"},
            "dosage": {
                "route": _concept(_SNOMED, "47625008", "Intravenous route"),
                "dose": {"value": 300, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
            },
        }


def _conditions(patient: str) -> Iterator[_Body]:
    status = "http://terminology.hl7.org/CodeSystem/condition-"
    for number, (code, display) in enumerate(_DIAGNOSES):
        yield {
            **_head("Condition", f"{patient}-c{number}"),
            "clinicalStatus": _concept(f"{status}clinical", "active", "Active"),
            "verificationStatus": _concept(f"{status}ver-status", "confirmed", "Confirmed"),
            "code": _concept(_SNOMED, code, display),
            "subject": _reference("Patient", patient, "Patient"),
            "onsetDateTime": f"2023-0{1 + number}-01",
        }


def _requests(patient: str) -> Iterator[_Body]:
    yield {
        **_head("MedicationRequest", f"{patient}-r"),
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": _concept(_ATC, "P01BA02", "hydroxychloroquine"),
        "subject": _reference("Patient", patient, "Patient"),
        "authoredOn": "2024-01-15",
    }


def _statements(patient: str) -> Iterator[_Body]:
    yield {
        **_head("MedicationStatement", f"{patient}-s"),
        "status": "active",
        "medicationCodeableConcept": _concept(_ATC, "H02AB07", "prednisone"),
        "subject": _reference("Patient", patient, "Patient"),
        "effectiveDateTime": "2024-01-15",
    }


def _no_events(_: str) -> Iterator[_Body]:
    return iter(())


_MAKERS = {
    "Patient": _patients,
    "Observation": _observations,
    "MedicationAdministration": _administrations,
    "Condition": _conditions,
    "MedicationRequest": _requests,
    "MedicationStatement": _statements,
    "AdverseEvent": _no_events,
}


def _head(type_name: str, id_: str) -> _Body:
    return {"resourceType": type_name, "id": id_, "meta": {"versionId": "1", "lastUpdated": LAST_UPDATED}}


def _concept(system: str, code: str, display: str) -> _Body:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def _reference(type_name: str, id_: str, display: str) -> _Body:
    return {"reference": f"{type_name}/{id_}", "type": type_name, "display": display}


def _narrative(text: str) -> _Body:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>'}
