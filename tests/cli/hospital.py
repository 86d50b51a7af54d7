"""Records of an invented hospital with codes and units of its own, for commands that look at the mapping tables."""

import json
import sqlite3
from typing import Any

from dm_fhir.fhir.resource import read_resource
from dm_fhir.store.filing import put_resources

Json = dict[str, Any]
UCUM = "http://unitsofmeasure.org"
LOINC_CK = ("http://loinc.org", "2157-6")
LOCAL = "urn:leon:lab"


def concept(system: str, code: str, display: str | None = None, text: str | None = None) -> Json:
    """A CodeableConcept of one code."""
    coding = {"system": system, "code": code, **({"display": display} if display else {})}
    return {"coding": [coding], **({"text": text} if text else {})}


def patient(name: str, **more: Any) -> Json:
    """A patient whose name and birth date must not be seen anywhere."""
    who = {"name": [{"family": "Zwetschke"}], "birthDate": "1961-07-19"}
    return {"resourceType": "Patient", "id": name, "gender": "female", **who, **more}


def infusion(name: str, whose: str, day: str = "2025-03-03", **more: Any) -> Json:
    """300 mg of the study drug."""
    return {
        "resourceType": "MedicationAdministration", "id": name, "status": "completed",
        "subject": {"reference": f"Patient/{whose}"}, "effectiveDateTime": f"{day}T10:00:00+01:00",
        "medicationCodeableConcept": concept("http://www.whocc.no/atc", "L04AG11"),
        "dosage": {"dose": {"value": 300, "unit": "mg", "system": UCUM, "code": "mg"}}, **more,
    }  # fmt: skip


def measured(
    name: str,
    whose: str,
    day: str,
    value: float | None,
    unit: str | None,
    code: tuple[str, str] = LOINC_CK,
    display: str | None = None,
    **more: Any,
) -> Json:
    """An Observation of one number; no UCUM, so that the unit is what the table must know."""
    quantity = {"value": value, **({"unit": unit} if unit else {})}
    return {
        "resourceType": "Observation", "id": name, "status": "final", "subject": {"reference": f"Patient/{whose}"},
        "code": concept(*code, display), "effectiveDateTime": day, **({} if value is None else {"valueQuantity": quantity}), **more,
    }  # fmt: skip


def put(db: sqlite3.Connection, *resources: Json, site: str = "leon", run: int = 1) -> None:
    """Store them, as a pull would."""
    put_resources(db, site, [read_resource(json.dumps(one).encode()) for one in resources], run)
