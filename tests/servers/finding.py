"""What an honest search finds: every parameter must hold, one of its comma-separated values is enough."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
Parameters = Sequence[tuple[str, str]]


def found(held: Sequence[Json], type_name: str, parameters: Parameters) -> list[Json]:
    """The resources of a type for which all that is asked holds; what is no criterion is passed over."""
    matching = [one for one in held if one["resourceType"] == type_name]
    for name, value in parameters:
        if matches := _CRITERIA.get(name):
            matching = [one for one in matching if any(matches(one, part) for part in value.split(","))]
    return matching


def codes(concepts: Iterable[Json]) -> set[str]:
    """Each code as `code` and as `system|code`."""
    codings = [coding for concept in concepts for coding in concept.get("coding", [])]
    return {text for one in codings for text in (one["code"], f"{one.get('system', '')}|{one['code']}")}


def _is_of(one: Json, value: str) -> bool:
    reference = str(one.get("subject", {}).get("reference", ""))
    return reference == f"Patient/{value.removeprefix('Patient/')}"


def _has_code(*elements: str) -> Callable[[Json, str], bool]:
    return lambda one, value: value in codes(one[element] for element in elements if element in one)


def _in_time(*elements: str) -> Callable[[Json, str], bool]:
    def matches(one: Json, asked: str) -> bool:
        text = next((str(one[element]) for element in elements if element in one), None)
        if text is None:
            return False
        prefix, moment = asked[:2], _moment(asked[2:])
        start, end = _moment(text), _moment(text) + timedelta(days=len(text) == 10)
        return {"ge": end >= moment, "gt": end > moment, "le": start <= moment, "lt": start < moment}[prefix]

    return matches


def _updated(one: Json, asked: str) -> bool:
    return "meta" in one and _in_time("lastUpdated")(one["meta"], asked)


def _moment(text: str) -> datetime:
    """A time without zone is UTC to this server."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_CRITERIA: dict[str, Callable[[Json, str], bool]] = {
    "_id": lambda one, value: one["id"] == value,
    "identifier": lambda one, value: value in {f"{i['system']}|{i['value']}" for i in one.get("identifier", [])},
    "patient": _is_of,
    "subject": _is_of,
    "code": _has_code("code", "medicationCodeableConcept"),
    "combo-code": _has_code("code"),
    "category": lambda one, value: value in codes(one.get("category", [])),
    "medication": lambda one, value: one.get("medicationReference", {}).get("reference") == value,
    "date": _in_time("effectiveDateTime", "date"),
    "effective-time": _in_time("effectiveDateTime"),
    "authoredon": _in_time("authoredOn"),
    "_lastUpdated": _updated,
}
