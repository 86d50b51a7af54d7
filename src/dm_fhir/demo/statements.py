"""Background treatment: MedicationStatement resources."""

from typing import Any

from dm_fhir.demo.codes import BACKGROUND_DRUGS, ORAL
from dm_fhir.demo.resources import Resource, concept, for_patient, quantity, subject
from dm_fhir.demo.rows import Patient

# The papers name the drugs, not their dates. These days make every prior drug end before the first infusion.
LAST_PRIOR_END, PRIOR_STEP, PRIOR_DAYS = -30, 45, 150
CONCOMITANT_START, CONCOMITANT_STEP = -150, 30

ONCE_DAILY = {"frequency": 1, "period": 1, "periodUnit": "d"}


def statements(patient: Patient) -> list[Resource]:
    """All background treatment of one patient: earlier, continued, steroid, immunoglobulin."""
    return [*_prior(patient), *_concomitant(patient), *_steroids(patient), *_immunoglobulin(patient)]


def _prior(patient: Patient) -> list[Resource]:
    found = []
    for steps, name in enumerate(reversed(patient.prior)):
        end = LAST_PRIOR_END - PRIOR_STEP * steps
        found.append(_statement(patient, name, name, "completed", end - PRIOR_DAYS, end))
    return found[::-1]


def _concomitant(patient: Patient) -> list[Resource]:
    found = []
    for steps, name in enumerate(patient.concomitant):
        end = patient.stopped.get(name)
        status = "active" if end is None else "stopped"
        found.append(_statement(patient, name, name, status, CONCOMITANT_START - CONCOMITANT_STEP * steps, end))
    return found


def _steroids(patient: Patient) -> list[Resource]:
    found = []
    for number, course in enumerate(patient.steroid_courses, start=1):
        status = "active" if course.end >= patient.follow_up_days else "completed"
        name = patient.steroid
        statement = _statement(patient, f"{name}-{number}", name, status, course.start, course.end)
        dose = [{"doseQuantity": quantity(course.mg, "mg")}]
        found.append(statement | _dosage(timing={"repeat": ONCE_DAILY}, route=concept(ORAL), doseAndRate=dose))
    return found


def _immunoglobulin(patient: Patient) -> list[Resource]:
    found = []
    for number, course in enumerate(patient.immunoglobulin_courses, start=1):
        status = "active" if course.end is None else "completed"
        suffix = f"immunoglobulin-{number}"
        statement = _statement(patient, suffix, "immunoglobulin", status, course.start, course.end)
        repeat = {"frequency": 1, "period": course.weeks, "periodUnit": "wk"}
        found.append(statement | _dosage(timing={"repeat": repeat}))
    return found


def _dosage(**elements: Any) -> Resource:
    return {"dosage": [elements]}


def _statement(patient: Patient, suffix: str, name: str, status: str, start: int, end: int | None) -> Resource:
    period = {"start": patient.date_of(start).isoformat()}
    if end is not None:
        period["end"] = patient.date_of(end).isoformat()
    return for_patient("MedicationStatement", patient, suffix) | {
        "status": status,
        "medicationCodeableConcept": concept(BACKGROUND_DRUGS[name], text=name),
        "subject": subject(patient),
        "effectivePeriod": period,
    }
