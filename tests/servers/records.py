"""Invented records: a few patients, and what a hospital writes down of them."""

from datetime import datetime, timedelta
from typing import Any

from .finding import Json

WHEN = "2025-06-01T10:00:00Z"
META = {"versionId": "1", "lastUpdated": WHEN}
ATC, LOINC, UCUM = "http://www.whocc.no/atc", "http://loinc.org", "http://unitsofmeasure.org"
DRUG = {"coding": [{"system": ATC, "code": "L04AG11"}]}
CK = {"coding": [{"system": LOINC, "code": "2157-6"}]}
_CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"


def person(name: str, **more: Any) -> Json:
    """Patient/name."""
    return {"resourceType": "Patient", "id": name, "meta": META, "gender": "female", "birthDate": "1970-01-01", **more}


def record(type_name: str, name: str, patient: str, **more: Any) -> Json:
    """A resource of a patient."""
    return {
        "resourceType": type_name,
        "id": name,
        "meta": META,
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def ck(name: str, patient: str, value: Any = 250, when: str = WHEN, **more: Any) -> Json:
    """A creatine kinase."""
    quantity = {"value": value, "unit": "U/L", "system": UCUM, "code": "U/L"}
    said = {"status": "final", "category": category("laboratory"), "code": CK, "effectiveDateTime": when}
    return record("Observation", name, patient, **{**said, "valueQuantity": quantity, **more})


def cks(patient: str, count: int, start: str = WHEN) -> list[Json]:
    """So many of them, one a day, the newest first."""
    newest = datetime.fromisoformat(start)
    days = [f"{newest - timedelta(days=number):%Y-%m-%dT%H:%M:%SZ}" for number in range(count)]
    return [ck(f"{patient}-ck-{number}", patient, 100 + number, day) for number, day in enumerate(days)]


def infusion(name: str, patient: str, **more: Any) -> Json:
    """An infusion of the study drug; with `medicationReference` in place of the code, if there is one."""
    drug = {} if "medicationReference" in more else {"medicationCodeableConcept": DRUG}
    dose = {"dose": {"value": 300, "unit": "mg", "system": UCUM, "code": "mg"}}
    said = {"status": "completed", "effectiveDateTime": WHEN, "dosage": dose, **drug}
    return record("MedicationAdministration", name, patient, **{**said, **more})


def category(code: str) -> list[Json]:
    """An Observation's category."""
    return [{"coding": [{"system": _CATEGORIES, "code": code}]}]


def population(*patients: str) -> list[Json]:
    """Each patient with an infusion and a creatine kinase."""
    return [one for p in patients for one in (person(p), infusion(f"{p}-infusion", p), ck(f"{p}-ck", p))]


def without(one: Json, *names: str) -> Json:
    """The resource without these elements."""
    return {name: value for name, value in one.items() if name not in names}
