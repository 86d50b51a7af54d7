"""The hospital behind the fault server: one patient's records, and an honest search over them. Faults spoil it elsewhere."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
Parameters = Sequence[tuple[str, str]]

PATIENT = "p1"
PAGE_SIZE = 100
OBSERVATIONS = 1000
CONDITIONS = 10
WHEN = "2025-06-01T10:00:00Z"
#: What the CapabilityStatement lists. The server looks at no other parameter.
SEARCH_PARAMETERS = {
    "Patient": ("_id", "_lastUpdated"),
    "Observation": ("patient", "category", "date", "code", "combo-code", "_lastUpdated"),
    "Condition": ("patient", "_lastUpdated"),
    "MedicationAdministration": ("patient", "_lastUpdated"),
    "MedicationRequest": ("patient", "_lastUpdated"),
    "MedicationStatement": ("patient", "_lastUpdated"),
    "AdverseEvent": ("subject", "_lastUpdated"),
}
_META = {"versionId": "1", "lastUpdated": WHEN}


def patient() -> Json:
    """The only patient."""
    return {"resourceType": "Patient", "id": PATIENT, "meta": _META, "gender": "female", "birthDate": "1970-01-01"}


def observation(number: int, **more: Any) -> Json:
    """Observation `o<number>`: a creatine kinase of 100 + number U/L, with `more` in place of or beside what it says."""
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "meta": _META,
        "status": "final",
        "category": [_category("laboratory")],
        "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
        "subject": {"reference": f"Patient/{PATIENT}"},
        "effectiveDateTime": WHEN,
        "valueQuantity": {"value": 100 + number, "unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"},
        **more,
    }


def vital_sign(number: int) -> Json:
    """The same as a vital sign."""
    return observation(number, category=[_category("vital-signs")])


def spread_observations(count: int) -> list[Json]:
    """`count` Observations at a moment each, an hour apart."""
    start = datetime.fromisoformat(WHEN)
    moments = [f"{start - timedelta(hours=number):%Y-%m-%dT%H:%M:%SZ}" for number in range(count)]
    return [observation(number, effectiveDateTime=moment) for number, moment in enumerate(moments)]


def records() -> list[Json]:
    """All that the hospital holds."""
    conditions = [
        {
            "resourceType": "Condition",
            "id": f"c{number}",
            "meta": _META,
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M33.13"}]},
            "subject": {"reference": f"Patient/{PATIENT}"},
        }
        for number in range(CONDITIONS)
    ]
    return [patient(), *map(observation, range(OBSERVATIONS)), *conditions]


def capability(searchable: dict[str, tuple[str, ...]]) -> Json:
    """The CapabilityStatement of a server that can search by these parameters."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "software": {"name": "fault server", "version": "1"},
        "rest": [{"mode": "server", "resource": [_searchable(name, names) for name, names in searchable.items()]}],
    }


def found(held: Sequence[Json], type_name: str, parameters: Parameters) -> list[Json]:
    """What a search finds: every parameter must hold, one of its comma-separated values is enough."""
    matching = [one for one in held if one["resourceType"] == type_name]
    for name, value in parameters:
        matches = _FILTERS.get(name)
        if matches:
            matching = [one for one in matching if any(matches(one, part) for part in value.split(","))]
    return matching


def operation_outcome(severity: str, text: str, code: str = "processing") -> Json:
    """An OperationOutcome of one issue."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": code, "details": {"text": text}}],
    }


def entry(resource: Json | None, base: str) -> Json:
    """The Bundle entry of a resource."""
    if resource is None or "id" not in resource:
        return {"resource": resource}
    url = f"{base}/{resource.get('resourceType', 'Observation')}/{resource['id']}"
    return {"fullUrl": url, "resource": resource, "search": {"mode": "match"}}


def _category(code: str) -> Json:
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {"coding": [{"system": system, "code": code}]}


def _searchable(type_name: str, names: tuple[str, ...]) -> Json:
    kinds = {"patient": "reference", "subject": "reference", "date": "date", "_lastUpdated": "date"}
    listed = [{"name": name, "type": kinds.get(name, "token")} for name in names]
    return {"type": type_name, "interaction": [{"code": "read"}, {"code": "search-type"}], "searchParam": listed}


def _is_of(resource: Json, reference: str) -> bool:
    return bool(resource["subject"]["reference"].removeprefix("Patient/") == reference.removeprefix("Patient/"))


def _has_token(element: str) -> Callable[[Json, str], bool]:
    def matches(resource: Json, token: str) -> bool:
        system, bar, code = token.rpartition("|")
        concepts = resource.get(element, [])
        codings = [
            one for concept in (concepts if isinstance(concepts, list) else [concepts]) for one in concept["coding"]
        ]
        return any(one["code"] == code and (not bar or one["system"] == system) for one in codings)

    return matches


def _in_time(element: Callable[[Json], str | None]) -> Callable[[Json, str], bool]:
    def matches(resource: Json, asked: str) -> bool:
        moment = element(resource)
        if moment is None:
            return False
        prefix, date = (asked[:2], asked[2:]) if asked[:1].isalpha() else ("eq", asked)
        start, end = _interval(date)
        at = datetime.fromisoformat(moment)
        return {
            "eq": start <= at < end, "ge": at >= start, "gt": at >= end, "sa": at >= end, "le": at < end, "lt": at < start,
            "eb": at < start, "ne": not start <= at < end,
        }[prefix]  # fmt: skip

    return matches


def _interval(date: str) -> tuple[datetime, datetime]:
    """The time that a date of any precision speaks of."""
    if len(date) == 4:
        return datetime(int(date), 1, 1, tzinfo=UTC), datetime(int(date) + 1, 1, 1, tzinfo=UTC)
    if len(date) == 7:
        year, month = int(date[:4]), int(date[5:])
        return datetime(year, month, 1, tzinfo=UTC), datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    start = datetime.fromisoformat(date)
    start = start if start.tzinfo else start.replace(tzinfo=UTC)
    return start, start + (timedelta(days=1) if len(date) == 10 else timedelta(seconds=1))


def _is_identified(resource: Json, token: str) -> bool:
    system, bar, value = token.rpartition("|")
    identifiers = resource.get("identifier", [])
    return any(one["value"] == value and (not bar or one["system"] == system) for one in identifiers)


def _points_to(resource: Json, reference: str) -> bool:
    return any(one["reference"].partition("/_history/")[0] == reference for one in resource["target"])


_FILTERS: dict[str, Callable[[Json, str], bool]] = {
    "identifier": _is_identified,
    "target": _points_to,
    "recorded": lambda resource, moment: datetime.fromisoformat(resource["recorded"]) == datetime.fromisoformat(moment),
    "_id": lambda resource, id_: resource["id"] == id_,
    "patient": _is_of,
    "subject": _is_of,
    "category": _has_token("category"),
    "code": _has_token("code"),
    "combo-code": _has_token("code"),
    "date": _in_time(lambda resource: resource.get("effectiveDateTime")),
    "_lastUpdated": _in_time(lambda resource: resource.get("meta", {}).get("lastUpdated")),
}
