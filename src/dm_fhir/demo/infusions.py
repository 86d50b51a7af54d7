"""The study drug: Medication, MedicationRequest and MedicationAdministration resources."""

from datetime import time
from decimal import Decimal
from typing import Any

from dm_fhir.demo.codes import ANIFROLUMAB, INDICATIONS, INTRAVENOUS, LOST_TO_FOLLOW_UP
from dm_fhir.demo.resources import Resource, concept, for_patient, moment, new_resource, quantity, subject
from dm_fhir.demo.rows import Irregularity, Patient, Site

START, END = time(10, 0), time(10, 30)
ORDERED_DAYS_BEFORE = 14
EVERY_FOUR_WEEKS = {"repeat": {"frequency": 1, "period": 4, "periodUnit": "wk"}}


def medications(site: Site) -> list[Resource]:
    """The Medication that some administration of the site points to; empty where none does."""
    kinds = {row.kind for patient in site.patient for row in patient.anifrolumab.irregular}
    if "referenced" not in kinds:
        return []
    return [new_resource("Medication", _medication_id(site)) | {"code": concept(*ANIFROLUMAB, text="anifrolumab")}]


def medication_request(patient: Patient) -> Resource:
    """The order for anifrolumab; a stopped order says why."""
    drug = patient.anifrolumab
    dosage = {"timing": EVERY_FOUR_WEEKS, "doseAndRate": [{"doseQuantity": quantity(drug.mg, "mg")}]}
    request = for_patient("MedicationRequest", patient, "anifrolumab") | {
        "status": "stopped" if drug.lost_to_follow_up else "active",
        "intent": "order",
        "medicationCodeableConcept": concept(*ANIFROLUMAB, text="anifrolumab"),
        "subject": subject(patient),
        "authoredOn": patient.date_of(-ORDERED_DAYS_BEFORE).isoformat(),
        "reasonCode": [concept(INDICATIONS[drug.indication])],
        "dosageInstruction": [dosage],
    }
    if drug.lost_to_follow_up:
        request["statusReason"] = concept(LOST_TO_FOLLOW_UP)
    return request


def administrations(site: Site, patient: Patient) -> list[Resource]:
    """Every infusion of one patient, with the irregular ones recorded as their row says."""
    differences = {row.day: _difference(site, patient, row) for row in patient.anifrolumab.irregular}
    return [
        _without_absent(_completed(site, patient, number, day) | differences.get(day, {}))
        for number, day in enumerate(patient.anifrolumab.days, start=1)
    ]


def administration_id(patient: Patient, day: int) -> str:
    """The id of the last infusion that was given on or before a day."""
    not_given = {row.day for row in patient.anifrolumab.irregular if row.kind == "not-done"}
    days = patient.anifrolumab.days
    given = [number for number, at in enumerate(days, start=1) if at <= day and at not in not_given]
    return f"{patient.id}-inf-{given[-1]}"


def _completed(site: Site, patient: Patient, number: int, day: int) -> Resource:
    return for_patient("MedicationAdministration", patient, f"inf-{number}") | {
        "status": "completed",
        "medicationCodeableConcept": concept(*ANIFROLUMAB, text="anifrolumab"),
        "subject": subject(patient),
        "effectiveDateTime": moment(site, patient, day, START),
        "request": {"reference": f"MedicationRequest/{patient.id}-anifrolumab"},
        "dosage": _dosage(patient.anifrolumab.mg),
    }


def _dosage(mg: Decimal) -> dict[str, Any]:
    return {"route": concept(INTRAVENOUS), "dose": quantity(mg, "mg")}


def _difference(site: Site, patient: Patient, row: Irregularity) -> Resource:
    """The elements that an irregular administration has instead; None means that it lacks the element."""
    match row.kind:
        case "not-done":
            return {"status": "not-done", "statusReason": [{"text": row.reason}], "dosage": None}
        case "stopped":
            mg = row.mg if row.mg is not None else patient.anifrolumab.mg
            return {"status": "stopped", "statusReason": [{"text": row.reason}], "dosage": _dosage(mg)}
        case "period":
            period = {edge: moment(site, patient, row.day, at) for edge, at in (("start", START), ("end", END))}
            return {"effectiveDateTime": None, "effectivePeriod": period}
        case "contained":
            medication = {"resourceType": "Medication", "id": "med", "code": concept(*ANIFROLUMAB[:1])}
            return {"contained": [medication]} | _medication_reference("#med")
        case "referenced":
            return _medication_reference(f"Medication/{_medication_id(site)}")


def _medication_reference(reference: str) -> Resource:
    return {"medicationCodeableConcept": None, "medicationReference": {"reference": reference}}


def _medication_id(site: Site) -> str:
    return f"{site.name}-anifrolumab"


def _without_absent(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if value is not None}
