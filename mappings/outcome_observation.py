"""Outcome -> Observation, as it is written back to the hospital (R4, built with fhir.resources.R4B).

The identifier says which outcome it is and stays the same over runs: drug, patient, measure and the follow-up record it
belongs to or the visit it stands for. So a corrected source or a new rule gives the same Observation a new version.
"""

import hashlib
from collections.abc import Iterable
from datetime import tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from dm_fhir.mappings import imported_observation
from dm_fhir.mappings.category import SYSTEM as CATEGORY_SYSTEM
from dm_fhir.mappings.category import category
from dm_fhir.mappings.codes import OWN_SYSTEM, UCUM, own_code
from dm_fhir.mappings.datatypes import read
from dm_fhir.model.case import Input, Outcome
from dm_fhir.model.dates import with_zone
from dm_fhir.model.exact import rounded, to_decimal
from dm_fhir.outcomes.answers import answer_words
from dm_fhir.outcomes.labels import label

if TYPE_CHECKING:
    from fhir.resources.R4B.observation import Observation

#: Raised whenever the same outcome is written otherwise.
VERSION = "2"
IDENTIFIER_SYSTEM = "https://w3id.org/dm-fhir/outcome"
ANSWER_SYSTEM = "https://w3id.org/dm-fhir/CodeSystem/answer"
_ABSENT_SYSTEM = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
#: Standard extension for evidence that derivedFrom cannot name: in R4 it takes no MedicationAdministration.
_SUPPORTING = "http://hl7.org/fhir/StructureDefinition/workflow-supportingInfo"
#: What derivedFrom may name in R4, of the types that an outcome is made of.
_DERIVABLE = ("Observation/", "QuestionnaireResponse/")


class OutcomeResource(NamedTuple):
    """An outcome ready to be written: its identifier, and the Observation as FHIR JSON."""

    identifier: str
    body: bytes


def is_own(body: bytes) -> bool:
    """Whether an Observation was written by dm-fhir, told by the system of its identifier."""
    if IDENTIFIER_SYSTEM.encode() not in body:
        return False
    return any(one.system == IDENTIFIER_SYSTEM for one in read(body, _Identified).identifier)


def identifier(drug: str, patient: str, variable: str, about: str) -> str:
    """The business identifier of an outcome: stable over runs, and telling nothing of the patient.

    `about` is the record that the outcome belongs to, else its visit, else "".
    """
    parts = (drug, patient, variable, about)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def to_fhir(outcome: Outcome, drug: str, patient: str, zone: tzinfo, status: str = "final") -> OutcomeResource:
    """The Observation for `outcome` of `patient` (a reference). The outcome must have a time: `when` is not None."""
    if outcome.when is None:
        raise ValueError(f"{outcome.variable} has no time")
    from fhir.resources.R4B.observation import Observation

    name = identifier(drug, patient, outcome.variable, outcome.about or outcome.visit or "")
    document: dict[str, Any] = {
        "resourceType": "Observation",
        "identifier": [{"system": IDENTIFIER_SYSTEM, "value": name}],
        "status": status,
        "category": [{"coding": [{"system": CATEGORY_SYSTEM, "code": category(outcome.variable) or "therapy"}]}],
        "code": _code(outcome.variable),
        "subject": {"reference": patient},
        "effectiveDateTime": with_zone(outcome.when, zone),
        **_value(outcome, zone),
        "method": _method(outcome),
    }
    sources = [one for kind in _DERIVABLE for one in _references(outcome.inputs, kind)]
    others = [one for one in _references(outcome.inputs, "") if one not in sources]
    if sources:
        document["derivedFrom"] = [imported_observation.reference(one) for one in sources]
    if others:
        document["extension"] = [{"url": _SUPPORTING, "valueReference": {"reference": one}} for one in others]
    if notes := _notes(outcome):
        document["note"] = [{"text": text} for text in notes]
    return OutcomeResource(name, _json(Observation.model_validate(document)))


def as_entered_in_error(body: bytes) -> bytes:
    """An Observation we wrote, taken back: its source no longer supports it."""
    from fhir.resources.R4B.observation import Observation

    document = msgspec.json.decode(body, type=dict[str, Any])
    return _json(Observation.model_validate({**document, "status": "entered-in-error"}))


class _Identifier(msgspec.Struct, frozen=True):
    system: str | None = None


class _Identified(msgspec.Struct, frozen=True):
    identifier: tuple[_Identifier, ...] = ()


def _json(observation: "Observation") -> bytes:
    return observation.model_dump_json().encode()


def _code(variable: str) -> dict[str, Any]:
    return {"coding": [{"system": OWN_SYSTEM, "code": variable.replace("_", "-")}], "text": label(variable)}


def _value(outcome: Outcome, zone: tzinfo) -> dict[str, Any]:
    """Exactly one of value and dataAbsentReason."""
    if outcome.number is not None:
        unit = outcome.unit or "1"
        return {"valueQuantity": {"value": _decimal(outcome.number, unit), "unit": unit, "system": UCUM, "code": unit}}
    if outcome.date is not None:
        return {"valueDateTime": with_zone(outcome.date, zone)}
    if outcome.answer is not None:
        words = answer_words(outcome.answer)
        coding = {"system": ANSWER_SYSTEM, "code": own_code(outcome.answer), "display": words}
        return {"valueCodeableConcept": {"coding": [coding], "text": words}}
    # "unknown" is the plain one of the value set; the reasons themselves stand in the note.
    return {"dataAbsentReason": {"coding": [{"system": _ABSENT_SYSTEM, "code": "unknown"}]}}


def _decimal(number: Fraction, unit: str) -> Decimal:
    """Percents as the report shows them, to one decimal; everything else exact where a decimal can be."""
    exact = to_decimal(number)
    return rounded(number, 1) if unit == "%" or exact is None else exact


def _method(outcome: Outcome) -> dict[str, Any]:
    return {"text": f"dm-fhir rule {outcome.rule}, version {outcome.rule_version}"}


def _references(inputs: Iterable[Input], start: str) -> Iterable[str]:
    """The records used, each once, in the version used where the server has versions."""
    sources = dict.fromkeys(one.source for one in inputs if one.source.reference.startswith(start))
    references = (f"{s.reference}/_history/{s.version}" if s.version else s.reference for s in sources)
    return dict.fromkeys(references)


def _notes(outcome: Outcome) -> list[str]:
    reasons = f"not computable: {', '.join(outcome.reasons)}" if outcome.reasons else None
    flags = f"flags: {', '.join(outcome.flags)}" if outcome.flags else None
    # By whose thresholds a score is judged belongs to it: those of adults and of juveniles differ.
    whose = f"population: {outcome.verdicts['population']}" if "population" in outcome.verdicts else None
    return [text for text in (reasons, flags, whose) if text]
