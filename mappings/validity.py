"""Whether a resource is valid FHIR, and whether our own views can read it: element paths and kinds of fault, never a value.

fhir.resources has no models of R4 (4.0.1); those of R4B are the same for the types that are read here.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from dm_fhir.mappings.adverse_event import AdverseEvent
from dm_fhir.mappings.condition import Condition
from dm_fhir.mappings.datatypes import read
from dm_fhir.mappings.medication import Medication
from dm_fhir.mappings.medication_administration import MedicationAdministration
from dm_fhir.mappings.observation import Observation
from dm_fhir.mappings.patient import Patient
from dm_fhir.mappings.questionnaire_response import QuestionnaireResponse
from dm_fhir.mappings.therapy import MedicationRequest, MedicationStatement
from dm_fhir.mappings.value_sets import FIXED_CODES
from dm_fhir.model import json_places
from dm_fhir.model.json_places import Path
from dm_fhir.model.json_text import is_ambiguous, repaired

_VIEWS: dict[str, type[msgspec.Struct]] = {
    view.__name__: view
    for view in (
        AdverseEvent, Condition, Medication, MedicationAdministration, MedicationRequest, MedicationStatement, Observation,
        Patient, QuestionnaireResponse,
    )
}  # fmt: skip
_PATH = re.compile(r"at `\$\.?([^`]*)`")
_STEP = re.compile(r"\[([0-9]+)\]|([^.\[\]]+)")
#: What of a fault's kind and words (those of pydantic and fhir.resources) makes which of ours; the first that fits.
_KINDS = (
    ("missing", "is missing"),
    ("extra_forbidden", "has an element that FHIR does not know"),
    ("Any of one field value", "has none or several of a choice of which it must have one"),
    ("regex", "is not in the form that FHIR asks for"),
    ("pattern", "is not in the form that FHIR asks for"),
    ("too_short", "is empty"),
    ("_type", "is of another type than FHIR says"),
    ("model_validation_format", "is of another type than FHIR says"),
    ("json_invalid", "is of another type than FHIR says"),
)


_TIME_WITHOUT_ZONE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
#: Where a number stands that is used: by type, the path of the element.
_NUMBERS: dict[str, tuple[Path, ...]] = {
    "Observation": tuple(
        (*around, *path, "value")
        for around in ((), ("component",))
        for path in (("valueQuantity",), ("referenceRange", "low"), ("referenceRange", "high"))
    ),
    "MedicationAdministration": (("dosage", "dose", "value"),),
}


#: The fault of a resource of which two readers may read different things.
KEY_TWICE = f"has {json_places.KEY_TWICE}"
#: The fault of a resource whose type may be any text.
NO_TYPE = "is none of FHIR's types (R4B)"


class Fault(NamedTuple):
    """What is wrong, in words that follow the path of the element; an empty path is the resource itself.

    `at` is the path of the text that is wrong. It may end in a name that is the record's own, and is not to be shown.
    """

    path: Path
    message: str
    at: Path


class _Named(msgspec.Struct, frozen=True):
    resourceType: str | None = None


def faults_of(body: bytes) -> list[str]:
    """What is wrong with the resource, `element.path kind` each, the same fault once; empty where nothing is.

    Only names of elements and words of ours: nothing of what the resource says. Repeated elements go without their numbers.
    """
    name = type_of(body)
    if name is None:
        return ["it cannot be read as JSON"]
    if name not in _VIEWS:
        return ["its type is none of those that dm-fhir reads"]
    found = [f"{_written(fault.path) or 'it'} {fault.message}" for fault in faults_in(body)]
    return list(dict.fromkeys(found))


def type_of(body: bytes) -> str | None:
    """The resourceType, empty where there is none; None where the body is no JSON object in which one can stand."""
    try:
        return msgspec.json.decode(body, type=_Named).resourceType or ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_read(type_name: str) -> bool:
    """Whether dm-fhir reads resources of this type."""
    return type_name in _VIEWS


def faults_in(body: bytes) -> list[Fault]:
    """Every fault of a resource that has a resourceType, in order of path: by our view, by FHIR's types, by its value sets."""
    name = type_of(body) or ""
    try:
        resource = json.loads(repaired(body))
    except (ValueError, RecursionError):
        return [Fault((), "cannot be read as JSON", ())]
    unread = list(_unreadable(body, _VIEWS[name])) if name in _VIEWS else []
    found = [
        *unread,
        *_invalid(body, name, resource),
        *_outside_value_sets(name, resource),
        *_numbers_as_text(name, resource),
    ]
    return sorted(dict.fromkeys(found), key=_order)


def _order(fault: Fault) -> list[tuple[int, str]]:
    """Entries by number, names by alphabet."""
    return [(part, "") if isinstance(part, int) else (-1, part) for part in fault.at]


def _unreadable(body: bytes, view: type[msgspec.Struct]) -> Iterator[Fault]:
    if is_ambiguous(body):
        yield Fault((), KEY_TWICE, ())
        return
    try:
        read(body, view)
    except msgspec.DecodeError as error:
        found = _PATH.search(str(error))  # the message may repeat a value; its path does not
        path = path_in(found[1]) if found else ()
        yield Fault(path, "cannot be read by dm-fhir", path)


def path_in(text: str) -> Path:
    """`component[2].value` as a path."""
    return tuple(int(number) if number else name for number, name in _STEP.findall(text))


def _invalid(body: bytes, name: str, resource: Any) -> Iterator[Fault]:
    from fhir.resources.R4B import get_fhir_model_class
    from pydantic import ValidationError

    try:
        model = get_fhir_model_class(name)
    except ValueError:
        yield Fault(("resourceType",), NO_TYPE, ("resourceType",))
        return
    try:
        model.model_validate_json(body)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False, include_context=False):
            yield _fault(_path(fault["loc"]), fault["type"], fault["msg"], resource)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        # What the models' own checks raise for shapes that they did not foresee.
        yield Fault((), "is not valid", ())


def _fault(place: Path, kind: str, words: str, resource: Any) -> Fault:
    said = next((ours for theirs, ours in _KINDS if theirs in kind or theirs in words), "is not valid")
    value = _value(resource, place)
    if isinstance(value, str) and _TIME_WITHOUT_ZONE.fullmatch(value):
        said = "is a time without a zone"
    # The name of an unknown element is the server's own text.
    return Fault(place[:-1] if kind == "extra_forbidden" else place, said, place)


def _path(place: Iterable[int | str]) -> Path:
    parts = [part if isinstance(part, int) else part.partition("[")[0] for part in place if part != "root"]
    return tuple(part for part in parts if part != "")


def _value(resource: Any, path: Path) -> Any:
    """What stands at the path; None where nothing does."""
    for part in path:
        try:
            resource = resource[part]
        except (LookupError, TypeError):
            return None
    return resource


def _outside_value_sets(name: str, resource: Any) -> Iterator[Fault]:
    """Codes that FHIR fixes and the models of R4B let pass."""
    for path, codes in FIXED_CODES.get(name, {}).items():
        for place, value in _found(resource, path):
            if isinstance(value, str) and value not in codes:
                yield Fault(place, "is no code that FHIR allows here", place)


def _numbers_as_text(name: str, resource: Any) -> Iterator[Fault]:
    """Numbers in quotation marks, which the models let pass, and which we read."""
    for path in _NUMBERS.get(name, ()):
        for place, value in _found(resource, path):
            if isinstance(value, str) and _NUMBER.fullmatch(value):
                yield Fault(place, "is text where FHIR says a number", place)


def _found(part: Any, path: Path, place: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The values at the path, in every entry of every list on the way."""
    if isinstance(part, list):
        for index, inner in enumerate(part):
            yield from _found(inner, path, (*place, index))
    elif not path:
        yield place, part
    elif isinstance(part, dict) and path[0] in part:
        yield from _found(part[path[0]], path[1:], (*place, path[0]))


def _written(place: Path) -> str:
    """`component.valueQuantity` without the numbers of repeated elements."""
    return ".".join(part for part in place if isinstance(part, str))
