"""Whether a resource is valid FHIR, and whether our own views can read it: element paths and kinds of fault, never a value.

fhir.resources has no models of R4 (4.0.1); those of R4B are the same for the types that are read here.
"""

import re
from collections.abc import Iterable

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

_VIEWS: dict[str, type[msgspec.Struct]] = {
    view.__name__: view
    for view in (
        AdverseEvent, Condition, Medication, MedicationAdministration, MedicationRequest, MedicationStatement, Observation,
        Patient, QuestionnaireResponse,
    )
}  # fmt: skip
_PATH = re.compile(r"at `\$\.?([^`]*)`")
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


class _Named(msgspec.Struct, frozen=True):
    resourceType: str | None = None


def faults_of(body: bytes) -> list[str]:
    """What is wrong with the resource, `element.path kind` each, the same fault once; empty where nothing is.

    Only names of elements and words of ours: nothing of what the resource says.
    """
    try:
        name = msgspec.json.decode(body, type=_Named).resourceType
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ["it cannot be read as JSON"]
    if name not in _VIEWS:
        return ["its type is none of those that dm-fhir reads"]
    return list(dict.fromkeys([*_unreadable(body, _VIEWS[name]), *_invalid(body, name)]))


def _unreadable(body: bytes, view: type[msgspec.Struct]) -> Iterable[str]:
    try:
        read(body, view)
    except msgspec.DecodeError as error:
        # The message may repeat a value; its path does not.
        path = _PATH.search(str(error))
        yield f"{_written(path[1].split('.')) if path else 'it'} cannot be read by dm-fhir"


def _invalid(body: bytes, name: str) -> Iterable[str]:
    from fhir.resources.R4B import get_fhir_model_class
    from pydantic import ValidationError

    try:
        get_fhir_model_class(name).model_validate_json(body)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False, include_context=False):
            yield _fault(fault["loc"], fault["type"], fault["msg"])
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        # What the models' own checks raise for shapes that they did not foresee.
        yield "it is not valid"


def _fault(place: tuple[int | str, ...], kind: str, words: str) -> str:
    said = next((ours for theirs, ours in _KINDS if theirs in kind or theirs in words), "is not valid")
    # The name of an unknown element is the server's own text.
    known = place[:-1] if kind == "extra_forbidden" else place
    return f"{_written(known)} {said}"


def _written(place: Iterable[int | str]) -> str:
    """`component.valueQuantity` without the numbers of repeated elements."""
    names = [str(part).partition("[")[0] for part in place if part != "root" and not isinstance(part, int)]
    return ".".join(name for name in names if name) or "it"
