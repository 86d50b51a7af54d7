"""Case -> FHIR R4 resources: the patient, the records of the case as far as it knows them, its outcomes as they are pushed.

What FHIR demands and the case does not have (a status, a code) is not invented: such a record is left out and counted.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from dm_fhir.errors import NotWritable
from dm_fhir.mappings import (
    adverse_event,
    condition,
    medication_administration,
    observation,
    outcome_observation,
    patient,
    therapy,
)
from dm_fhir.mappings.codes import OWN_SYSTEM, UCUM, own_code
from dm_fhir.model.case import Assessment, Case, CaseSeries, Coding, Concept, Measured, Quantity, Source
from dm_fhir.model.dates import is_date, with_zone
from dm_fhir.model.exact import to_decimal

PERSON_SYSTEM = "https://w3id.org/dm-fhir/person"
DATES_SYSTEM = "https://w3id.org/dm-fhir/CodeSystem/dates"
_PSEUDONYMISED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "PSEUDED"}
Resource = dict[str, Any]
_MASKED = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}


def resources(case: Case, head: CaseSeries, left_out: Counter[str]) -> Iterator[Resource]:
    """The resources of a case, the Patient first, each valid as R4B says.

    `left_out` counts those that FHIR would not take, as `Type: element at fault`, and outcomes that speak of no time or rest on a
    record or a time that FHIR cannot name.
    """
    zone = ZoneInfo(case.timezone)
    for one in _records(case):
        found = _labelled(_pruned(one, zone), head)
        if head.pseudonymised and found["resourceType"] == "Observation":
            found = _masked(found)
        fault = _fault(found)
        if fault is None:
            yield found
        else:
            left_out[f"{found['resourceType']}: {fault}"] += 1
    for outcome in case.outcomes:
        if outcome.when is None:
            left_out["Observation: an outcome that speaks of no time"] += 1
            continue
        try:
            ready = outcome_observation.to_fhir(outcome, head.drug, case.id, zone)
        except NotWritable:
            left_out["Observation: an outcome of which FHIR cannot say what it rests on"] += 1
            continue
        yield _labelled({**_decoded(ready.body), "id": ready.identifier}, head)


def _records(case: Case) -> Iterator[Resource]:
    yield _patient(case)
    for found in case.conditions:
        yield _plain(condition.to_fhir(_coded(found), case.id), found.source)
    for given in (*case.administrations, *case.other_administrations):
        by_codes = replace(_coded(given), medication_reference=None)
        yield _plain(medication_administration.to_fhir(by_codes, case.id), given.source)
    for taken in case.therapies:
        written = (
            therapy.to_request if taken.source.reference.startswith("MedicationRequest/") else therapy.to_statement
        )
        yield _plain(written(replace(_coded(taken), medication_reference=None), case.id), taken.source)
    for measured in case.assessments:
        yield _assessment(measured, case.id)
    for event in case.adverse_events:
        yield _plain(adverse_event.to_fhir(_coded(event), case.id), event.source)


def _patient(case: Case) -> Resource:
    subject = case.subject
    if subject is None:
        return {"resourceType": "Patient", "id": case.id.partition("/")[2]}
    known = replace(subject, links=tuple(link for link in subject.links if link.type))
    found = _plain(patient.to_fhir(known), subject.source)
    if case.person:
        person = {"system": PERSON_SYSTEM, "value": case.person.partition("/")[2]}
        found["identifier"] = [*found.get("identifier", []), person]
    return found


def _assessment(one: Assessment, subject: str) -> Resource:
    """An Observation, also where a form or a part of a record gave the score: then it names that record as its source."""
    known = replace(_coded(one), measured=_with_unit(one.measured), components=tuple(map(_with_unit, one.components)))
    if not one.source.path and one.source.reference.startswith("Observation/"):
        return _plain(observation.to_fhir(_coded(known), subject), one.source)
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{one.source.reference.partition('/')[2]}-{one.source.path or 'score'}")
    part = replace(_coded(known), source=Source(one.source.site, f"Observation/{name.strip('-')}"))
    return _plain(observation.to_fhir(replace(part, derived_from=(one.source.reference,)), subject), part.source)


def _with_unit(measured: Measured) -> Measured:
    """Where the recorded unit did not leave the hospital, the value is the one in the variable's own unit."""
    recorded, result = measured.quantity, measured.result
    exact = to_decimal(result.number) if result.number is not None else None
    if recorded is None or recorded.unit or recorded.code or exact is None or result.bound != "exact":
        return measured
    return replace(measured, quantity=Quantity(exact, None, result.unit, UCUM, result.unit))


def _coded(part: Any) -> Any:
    """The part with our own code in each concept that has a variable and no code: a local one does not leave."""
    match part:
        case Concept(codings=(), variable=str() as variable):
            return replace(part, codings=(Coding(OWN_SYSTEM, own_code(variable)),))
        case msgspec.Struct():
            return replace(part, **{name: _coded(getattr(part, name)) for name in part.__struct_fields__})
        case tuple():
            return tuple(map(_coded, part))
    return part


def _masked(observation: Resource) -> Resource:
    """The Observation, with FHIR's own word for a code that stayed in the hospital: `masked`."""
    parts = [part if "code" in part else {"code": _MASKED, **part} for part in observation.get("component", ())]
    return {"code": _MASKED, **observation} | ({"component": parts} if parts else {})


def _plain(view: msgspec.Struct, source: Source) -> Resource:
    found = _decoded(_ENCODE(view))
    return {**found, "meta": {**found.get("meta", {}), "versionId": source.version}} if source.version else found


def _labelled(resource: Resource, head: CaseSeries) -> Resource:
    """The resource with what was done to it in its meta: FHIR's security label PSEUDED, and how its dates were moved."""
    security = (
        {"security": [*resource.get("meta", {}).get("security", []), _PSEUDONYMISED]} if head.pseudonymised else {}
    )
    tag = {"tag": [{"system": DATES_SYSTEM, "code": head.dates}]} if head.dates != "kept" else {}
    meta = {**resource.get("meta", {}), **security, **tag}
    return {**resource, "meta": meta} if meta else resource


def _pruned(part: Any, zone: ZoneInfo) -> Any:
    """Without what is empty, which FHIR forbids, and with the site's zone in times that have none."""
    match part:
        case dict():
            inner = {name: _pruned(value, zone) for name, value in part.items()}
            return {name: value for name, value in inner.items() if value not in (None, "", {}, [])}
        case list():
            return [value for one in part if (value := _pruned(one, zone)) not in (None, "", {}, [])]
        case str() if "T" in part and is_date(part):
            return with_zone(part, zone)
    return part


def _fault(resource: Resource) -> str | None:
    """The first element that R4B's model does not take; None if it takes all of it. No value is repeated."""
    from pydantic import ValidationError

    try:
        _model(resource["resourceType"])(resource)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return ".".join(str(place) for place in first["loc"] if isinstance(place, str)) or "not valid"
    needed = [name for name in _NEEDED[resource["resourceType"]] if name not in resource]
    return needed[0] if needed else None


#: What R4 demands and R4B's models let pass. A choice of elements is not among them.
_NEEDED = {
    "Patient": (), "Condition": ("subject",), "MedicationAdministration": ("status", "subject"),
    "MedicationRequest": ("status", "intent", "subject"), "MedicationStatement": ("status", "subject"),
    "Observation": ("status", "code"), "AdverseEvent": ("actuality", "subject"),
}  # fmt: skip


@cache
def _model(type_name: str) -> Callable[[Resource], object]:
    model = getattr(import_module(f"fhir.resources.R4B.{type_name.lower()}"), type_name)
    validate: Callable[[Resource], object] = model.model_validate
    return validate


_ENCODE = msgspec.json.Encoder(decimal_format="number").encode
_DECODER = msgspec.json.Decoder(Resource, float_hook=Decimal)


def _decoded(body: bytes) -> Resource:
    return _DECODER.decode(body)
