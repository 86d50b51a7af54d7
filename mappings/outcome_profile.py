"""The profile of the Observations that we write: what outcome_observation.py promises, as a StructureDefinition."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from dm_fhir.mappings.outcome_observation import IDENTIFIER_SYSTEM

_CORE = "http://hl7.org/fhir/StructureDefinition"
Resource = dict[str, Any]


class Bound(NamedTuple):
    """The ValueSets of what a written outcome says in codes."""

    outcomes: str
    statuses: str
    answers: str
    verdicts: str
    parts: str


def outcome_profile(head: Resource, bound: Bound) -> Resource:
    """The StructureDefinition, its codes bound to the ValueSets."""
    return {
        **head,
        "title": "dm-fhir: a computed outcome",
        "description": "An outcome of a dermatomyositis case series, computed from the records that it names.",
        # No fhirVersion: R4's own JSON Schema has an enumeration that ends at 4.0.0, while R4 is 4.0.1.
        "kind": "resource",
        "abstract": False,
        "type": "Observation",
        "baseDefinition": f"{_CORE}/Observation",
        "derivation": "constraint",
        "differential": {"element": list(_elements(bound))},
    }


def _elements(bound: Bound) -> Iterator[Resource]:
    yield _element("", constraint=[*_CONSTRAINTS, _of_answers(bound.answers)])
    yield _element("contained", min=1, max="1", type=[{"code": "Device"}])
    yield _element("identifier", min=1, max="1", short="Which outcome it is: the same over runs and versions")
    yield _element("identifier.system", min=1, fixedUri=IDENTIFIER_SYSTEM)
    yield _element("identifier.value", min=1)
    yield _element("status", min=1, binding=_required(bound.statuses))
    yield _element("category", min=1)
    yield _element("code", min=1, binding=_required(bound.outcomes))
    yield _element("code.text", min=1, short="The outcome in words")
    yield _element("subject", min=1, type=[{"code": "Reference", "targetProfile": [f"{_CORE}/Patient"]}])
    yield _element("effective[x]", min=1, type=[{"code": "dateTime"}], short="When the follow-up was assessed")
    yield _element("value[x]", type=[{"code": code} for code in ("Quantity", "dateTime", "CodeableConcept")])
    yield _element("note", short="The reasons why there is no value, and what is doubtful about one")
    yield _element("method", min=1)
    yield _element("method.text", min=1, short="The rule and its version")
    yield _element("interpretation", binding=_required(bound.verdicts), short="Verdicts by published definitions")
    yield _element("device", min=1, short="This program and its version, the rule and its version: contained")
    sources = [f"{_CORE}/{name}" for name in ("Observation", "QuestionnaireResponse")]
    yield _element("derivedFrom", type=[{"code": "Reference", "targetProfile": sources}])
    yield _element("component", short="What each measure of a composite came to", constraint=[_OF_COMPONENT])
    yield _element("component.code", binding=_required(bound.parts))
    yield _element("component.value[x]", type=[{"code": code} for code in ("Quantity", "CodeableConcept", "string")])
    yield _element("component.interpretation", binding=_required(bound.verdicts))


def _required(value_set: str) -> Resource:
    return {"strength": "required", "valueSet": value_set}


def _element(name: str, **says: Any) -> Resource:
    path = f"Observation.{name}" if name else "Observation"
    return {"id": path, "path": path, **says}


def _constraint(key: str, human: str, expression: str) -> Resource:
    return {"key": key, "severity": "error", "human": human, "expression": expression}


_CONSTRAINTS = [
    _constraint(
        "dmf-1", "Either a value or the reason why there is none", "value.exists() xor dataAbsentReason.exists()"
    ),
    _constraint(
        "dmf-2",
        "A quantity has a UCUM unit",
        "value.ofType(Quantity).empty() or (value.ofType(Quantity).system = 'http://unitsofmeasure.org' and "
        "value.ofType(Quantity).code.exists())",
    ),
    _constraint("dmf-3", "Where there is no value a note says why", "dataAbsentReason.exists() implies note.exists()"),
]


_OF_COMPONENT = _constraint(
    "dmf-5", "Either a value or the reason why there is none", "value.exists() xor dataAbsentReason.exists()"
)


def _of_answers(answers: str) -> Resource:
    """A binding of value[x] would bind the units of quantities too."""
    coded = "value.ofType(CodeableConcept)"
    return _constraint(
        "dmf-4", "A coded value is one of our answers", f"{coded}.empty() or {coded}.memberOf('{answers}')"
    )
