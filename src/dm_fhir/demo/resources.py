"""What every sample resource is made of: identity, tag, codes, quantities, times."""

from datetime import datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from dm_fhir.demo.codes import SAMPLE_TAG, UCUM, Code
from dm_fhir.demo.rows import Patient, Site

Resource = dict[str, Any]


def new_resource(resource_type: str, resource_id: str) -> Resource:
    """A resource with type, id and the tag that says that the person is invented."""
    tag = {"system": SAMPLE_TAG, "code": "invented", "display": "Invented person; only the aggregates are published"}
    return {"resourceType": resource_type, "id": resource_id, "meta": {"tag": [tag]}}


def for_patient(resource_type: str, patient: Patient, suffix: str) -> Resource:
    """A new resource whose id starts with the id of its patient."""
    return new_resource(resource_type, f"{patient.id}-{suffix.replace('_', '-')}")


def concept(*codes: Code, text: str | None = None) -> dict[str, Any]:
    """A CodeableConcept of these codes, with text where it says more."""
    result: dict[str, Any] = {"coding": [code._asdict() for code in codes]}
    return result | {"text": text} if text else result


def bare_concept(system: str, code: str) -> dict[str, Any]:
    """A CodeableConcept for status and category codes, whose displays nobody reads."""
    return {"coding": [{"system": system, "code": code}]}


def subject(patient: Patient) -> dict[str, str]:
    """The reference to the patient."""
    return {"reference": f"Patient/{patient.id}"}


def quantity(value: Decimal, unit: str, code: str | None = None) -> dict[str, Any]:
    """A Quantity in UCUM."""
    return {"value": value, "unit": unit, "system": UCUM, "code": code or unit}


def moment(site: Site, patient: Patient, day: int, at: time) -> str:
    """An instant at the site, with the UTC offset that was in force there on that date."""
    return datetime.combine(patient.date_of(day), at, ZoneInfo(site.timezone)).isoformat()
