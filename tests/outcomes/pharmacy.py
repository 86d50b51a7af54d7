"""Other drugs as FHIR JSON, through the mappings, into parts of a case."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from dm_fhir.mappings import medication_administration, therapy
from dm_fhir.mappings.codes import OWN_SYSTEM, load_tables
from dm_fhir.mappings.datatypes import read
from dm_fhir.model.case import Administration, AdverseEvent, Assessment, Case, Condition, Source, Subject, Therapy
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes.battery import exposure_of, outcomes

DAY_0, LAST = date(2024, 4, 15), date(2024, 7, 8)
TABLES = load_tables()
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_ONCE_DAILY = {"frequency": 1, "period": 1, "periodUnit": "d"}


def days(first: int, last: int | None = None) -> dict[str, str]:
    """A period by days since the first infusion."""
    found = {"start": str(DAY_0 + timedelta(days=first))}
    return found | ({"end": str(DAY_0 + timedelta(days=last))} if last is not None else {})


def dosage(mg: Any, route: str | None = None, unit: str = "mg", **repeat: Any) -> dict[str, Any]:
    """A dose once a day, unless `repeat` says otherwise."""
    found: dict[str, Any] = {
        "timing": {"repeat": {**_ONCE_DAILY, **repeat}},
        "doseAndRate": [{"doseQuantity": {"value": mg, "unit": unit, "code": unit}}],
    }
    return found | ({"route": _own(f"route-{route}")} if route else {})


def statement(
    id: str, drug: str, period: dict[str, str] | None, *dosages: dict[str, Any], status: str = "active", **elements: Any
) -> Therapy:
    """A MedicationStatement."""
    body = {"resourceType": "MedicationStatement", "id": id, "status": status, "medicationCodeableConcept": _own(drug)}
    body |= {"effectivePeriod": period} if period is not None else {}
    body |= {"dosage": list(dosages), **elements}
    source = Source("north", f"MedicationStatement/{id}")
    return therapy.from_statement(read(_ENCODER.encode(body), therapy.MedicationStatement), source, TABLES, {})


def order(
    id: str, drug: str, period: dict[str, str] | None, *dosages: dict[str, Any], status: str = "active", **elements: Any
) -> Therapy:
    """A MedicationRequest; its period bounds each of the dosages."""
    bounded = [
        one | {"timing": {"repeat": {**one["timing"]["repeat"], "boundsPeriod": period}}} if period else one
        for one in dosages
    ]
    body: dict[str, Any] = {
        "resourceType": "MedicationRequest",
        "id": id,
        "status": status,
        "intent": "order",
        "medicationCodeableConcept": _own(drug),
        "dosageInstruction": bounded,
        **elements,
    }
    source = Source("north", f"MedicationRequest/{id}")
    return therapy.from_request(read(_ENCODER.encode(body), therapy.MedicationRequest), source, TABLES, {})


def administration(id: str, drug: str, when: str, mg: Any, route: str | None = None, **elements: Any) -> Administration:
    """A MedicationAdministration, completed unless `elements` say otherwise; without a dose where `mg` is None."""
    given: dict[str, Any] = {"dose": {"value": mg, "unit": "mg", "code": "mg"}} if mg is not None else {}
    given |= {"route": _own(f"route-{route}")} if route else {}
    body = {
        "resourceType": "MedicationAdministration",
        "id": id,
        "status": "completed",
        "medicationCodeableConcept": _own(drug),
        "effectiveDateTime": when,
        "dosage": given,
        **elements,
    }
    record = read(_ENCODER.encode(body), medication_administration.MedicationAdministration)
    return medication_administration.from_fhir(record, Source("north", f"MedicationAdministration/{id}"), TABLES, {})


def infusion(id: str, day: int, **elements: Any) -> Administration:
    """An infusion of the study drug on a day since the first."""
    when = f"{DAY_0 + timedelta(days=day)}T10:00:00-04:00"
    return administration(id, "anifrolumab", when, 300, **elements)


def case(
    *therapies: Therapy,
    given: Iterable[Administration] = (),
    infusions: Sequence[Administration] | None = None,
    seen: Iterable[Assessment] = (),
    conditions: Iterable[Condition] = (),
    events: Iterable[AdverseEvent] = (),
    subject: Subject | None = None,
) -> Case:
    """A case in New York; one infusion on 15 April 2024 unless others are given."""
    return Case(
        "Patient/1",
        "north",
        "America/New_York",
        subject=subject,
        administrations=tuple(infusions) if infusions is not None else (infusion("0", 0),),
        other_administrations=tuple(given),
        therapies=therapies,
        assessments=tuple(seen),
        conditions=tuple(conditions),
        adverse_events=tuple(events),
    )


def computed(found: Case, definitions: Definitions | None = None) -> dict[tuple[str, str | None], Any]:
    """The case's outcomes by variable and visit; those of one follow-up record are left out."""
    every = outcomes(found, None, definitions or Definitions())
    return {(one.variable, one.visit): one for one in every if one.about is None}


def exposed(found: Case) -> Any:
    """The exposure of a case."""
    return exposure_of(found)


def copied(record: Any, reference: str) -> Any:
    """The same content in a record of its own."""
    return replace(record, source=replace(record.source, reference=reference))


def _own(code: str) -> dict[str, Any]:
    return {"coding": [{"system": OWN_SYSTEM, "code": code.replace("_", "-")}]}
