"""Which resources a FHIR R4 search finds, by the parameters that hospitals' servers know (https://hl7.org/fhir/R4/search.html)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from dm_fhir.model.dates import Span, span

Resource = dict[str, Any]
Parameters = Sequence[tuple[str, str]]
#: What says how the answer is to look, and leaves no resource out.
OF_THE_ANSWER = ("_count", "_offset", "_summary", "_sort", "_total", "_format", "_elements", "_pretty")
_INSTANT = timedelta(microseconds=1)


def _values(resource: Any, path: str) -> Iterator[Any]:
    """What stands at `component.code`, each of several by itself."""
    first, _, rest = path.partition(".")
    found = resource.get(first) if isinstance(resource, dict) else None
    for one in found if isinstance(found, list) else [found] if found is not None else []:
        yield from _values(one, rest) if rest else [one]


def _tokens(element: Any) -> Iterator[tuple[str, str]]:
    """System and code of a CodeableConcept, Coding, Identifier, code or boolean."""
    if not isinstance(element, dict):
        yield "", str(element).lower() if isinstance(element, bool) else str(element)
    elif "coding" in element:
        yield from ((str(one.get("system", "")), str(one.get("code", ""))) for one in element["coding"])
    elif "code" in element or "value" in element:
        yield str(element.get("system", "")), str(element.get("code", element.get("value", "")))


def _is_token(element: Any, wanted: str) -> bool:
    """`code`, `system|code`, `|code` (without system) or `system|` (any code)."""
    system, bar, code = wanted.rpartition("|")
    return any(
        code in ("", theirs_code) and (not bar or system == theirs_system) and bool(code or bar)
        for theirs_system, theirs_code in _tokens(element)
    )


def _is_reference(element: Any, wanted: str) -> bool:
    """`Patient/7`, `7`, or an absolute address of it."""
    theirs = str(element.get("reference", "")) if isinstance(element, dict) else ""
    theirs = theirs.partition("/_history/")[0]
    return theirs == wanted or theirs.endswith(f"/{wanted}") or (wanted.endswith(f"/{theirs}") and bool(theirs))


_COMPARISONS: dict[str, Callable[[Span, Span], bool]] = {
    "eq": lambda one, asked: asked.start <= one.start and one.end <= asked.end,
    "ne": lambda one, asked: not (asked.start <= one.start and one.end <= asked.end),
    "ge": lambda one, asked: one.end > asked.start,
    "gt": lambda one, asked: one.end > asked.end,
    "le": lambda one, asked: one.start < asked.end,
    "lt": lambda one, asked: one.start < asked.start,
    "sa": lambda one, asked: one.start >= asked.end,
    "eb": lambda one, asked: one.end <= asked.start,
}


def _is_date(element: Any, wanted: str) -> bool:
    """A date, dateTime, instant or Period, by eq (nothing said), ne, ge, gt, le, lt, sa or eb."""
    compare, text = (wanted[:2], wanted[2:]) if wanted[:2] in _COMPARISONS else ("eq", wanted)
    try:
        return _COMPARISONS[compare](_stretch(element), _one(text))
    except ValueError:
        return False


def _stretch(element: Any) -> Span:
    if not isinstance(element, dict):
        return _one(str(element))
    start = _one(str(element["start"])).start if "start" in element else datetime.min.replace(tzinfo=UTC)
    end = _one(str(element["end"])).end if "end" in element else datetime.max.replace(tzinfo=UTC)
    return Span(start, end, "time", zone_assumed=False)


def _one(text: str) -> Span:
    found = span(text, UTC)
    return found._replace(end=found.start + _INSTANT) if found.precision == "time" else found


_Matches = Callable[[Any, str], bool]
_SUBJECT: Mapping[str, tuple[_Matches, tuple[str, ...]]] = {
    "patient": (_is_reference, ("subject", "patient")),
    "subject": (_is_reference, ("subject",)),
}
_OF_ALL: Mapping[str, tuple[_Matches, tuple[str, ...]]] = {
    "_id": (_is_token, ("id",)),
    "_lastUpdated": (_is_date, ("meta.lastUpdated",)),
    "identifier": (_is_token, ("identifier",)),
}
_OF_A_DRUG = {
    **_SUBJECT,
    "code": (_is_token, ("medicationCodeableConcept",)),
    "medication": (_is_reference, ("medicationReference",)),
    "status": (_is_token, ("status",)),
}
_EFFECTIVE = ("effectiveDateTime", "effectiveInstant", "effectivePeriod")
_BY_TYPE: Mapping[str, Mapping[str, tuple[_Matches, tuple[str, ...]]]] = {
    "Patient": {"birthdate": (_is_date, ("birthDate",)), "gender": (_is_token, ("gender",)), "active": (_is_token, ("active",))},
    "Group": {"code": (_is_token, ("code",)), "member": (_is_reference, ("member.entity",))},
    "Medication": {"code": (_is_token, ("code",)), "status": (_is_token, ("status",))},
    "MedicationAdministration": {**_OF_A_DRUG, "effective-time": (_is_date, _EFFECTIVE)},
    "MedicationRequest": {**_OF_A_DRUG, "intent": (_is_token, ("intent",)), "authoredon": (_is_date, ("authoredOn",))},
    "MedicationStatement": {**_OF_A_DRUG, "effective": (_is_date, _EFFECTIVE)},
    "Observation": {
        **_SUBJECT, "code": (_is_token, ("code",)), "combo-code": (_is_token, ("code", "component.code")),
        "category": (_is_token, ("category",)), "status": (_is_token, ("status",)), "date": (_is_date, _EFFECTIVE),
    },
    "Condition": {
        **_SUBJECT, "code": (_is_token, ("code",)), "category": (_is_token, ("category",)),
        "clinical-status": (_is_token, ("clinicalStatus",)), "verification-status": (_is_token, ("verificationStatus",)),
        "onset-date": (_is_date, ("onsetDateTime", "onsetPeriod")), "recorded-date": (_is_date, ("recordedDate",)),
    },
    "AdverseEvent": {
        "subject": _SUBJECT["subject"], "actuality": (_is_token, ("actuality",)), "date": (_is_date, ("date",)),
        "event": (_is_token, ("event",)),
    },
    "Provenance": {"target": (_is_reference, ("target",)), "recorded": (_is_date, ("recorded",))},
    "QuestionnaireResponse": {
        **_SUBJECT, "status": (_is_token, ("status",)), "authored": (_is_date, ("authored",)),
    },
}  # fmt: skip
#: The types that can always be searched; any other can be, as soon as there is a resource of it.
TYPES = tuple(_BY_TYPE)


def parameters_of(type_name: str) -> Mapping[str, tuple[_Matches, tuple[str, ...]]]:
    """The search parameters of a type, with how each compares and where it looks."""
    return {**_OF_ALL, **_BY_TYPE.get(type_name, {**_SUBJECT, "code": (_is_token, ("code",))})}


def unknown(type_name: str, asked: Parameters) -> list[str]:
    """Those of the parameters that a search of this type does not know."""
    known = {*parameters_of(type_name), *OF_THE_ANSWER}
    return [name for name, _ in asked if name not in known]


def found(resources: Iterable[Resource], type_name: str, asked: Parameters) -> list[Resource]:
    """The resources of a type that every known parameter lets through; several values of one mean any of them."""
    known = parameters_of(type_name)
    wanted = [(*known[name], value.split(",")) for name, value in asked if name in known]
    return [
        one
        for one in resources
        if one["resourceType"] == type_name
        and all(
            any(matches(element, value) for path in paths for element in _values(one, path) for value in values)
            for matches, paths, values in wanted
        )
    ]
