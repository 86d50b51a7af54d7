"""Outcome -> Observation, as it is written back to the hospital (R4).

The identifier says which outcome it is and stays the same over runs: drug, patient, measure and the follow-up record it
belongs to or the visit it stands for. So a corrected source or a new rule gives the same Observation a new version.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import msgspec

from dm_fhir import __version__
from dm_fhir.mappings import imported_observation, outcome_verdicts
from dm_fhir.mappings.category import SYSTEM as CATEGORY_SYSTEM
from dm_fhir.mappings.category import category
from dm_fhir.mappings.codes import OWN_SYSTEM, UCUM, own_code
from dm_fhir.mappings.datatypes import read
from dm_fhir.mappings.outcome_parts import absent, answer, components, percent
from dm_fhir.mappings.written import (
    Annotation,
    CodeableConcept,
    Coding,
    Device,
    DeviceName,
    DeviceVersion,
    Extension,
    Identifier,
    Meta,
    Observation,
    Quantity,
    Reference,
    date_time,
    encoded,
    reference,
)
from dm_fhir.model.case import Outcome
from dm_fhir.model.exact import rounded, to_decimal
from dm_fhir.outcomes.labels import label

#: Raised whenever the same outcome is written otherwise.
VERSION = "3"
IDENTIFIER_SYSTEM = "https://w3id.org/dm-fhir/outcome"
PROFILE = "https://w3id.org/dm-fhir/StructureDefinition/outcome-observation"
#: Standard extension for evidence that derivedFrom cannot name: in R4 it takes no MedicationAdministration.
_SUPPORTING = "http://hl7.org/fhir/StructureDefinition/workflow-supportingInfo"
#: What derivedFrom may name in R4, of the types that an outcome is made of.
_DERIVABLE = ("Observation/", "QuestionnaireResponse/")
_META, _DEVICE = Meta((PROFILE,)), Reference("#dm-fhir")


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
    """The Observation for `outcome` of `patient` (a reference). The outcome must have a time: `when` is not None.

    Raises NotWritable where a reference or a time of it is none that FHIR allows.
    """
    if outcome.when is None:
        raise ValueError(f"{outcome.variable} has no time")
    name = identifier(drug, patient, outcome.variable, outcome.about or outcome.visit or "")
    derived, supporting = _sources(outcome)
    has_value = outcome.number is not None or outcome.date is not None or outcome.answer is not None
    observation = Observation(
        meta=_META,
        contained=(device((outcome.rule, outcome.rule_version)),),
        identifier=(Identifier(IDENTIFIER_SYSTEM, name),),
        status=status,
        category=_category(outcome.variable),
        code=_code(outcome.variable),
        subject=reference(patient),
        effective_date_time=date_time(outcome.when, zone),
        method=_method(outcome.rule, outcome.rule_version),
        device=_DEVICE,
        value_quantity=_quantity(outcome.number, outcome.unit or "1") if outcome.number is not None else None,
        value_date_time=date_time(outcome.date, zone) if outcome.date is not None else None,
        value_codeable_concept=answer(outcome.answer) if outcome.answer is not None else None,
        # The reasons themselves stand in the note.
        data_absent_reason=None if has_value else absent(()),
        interpretation=outcome_verdicts.interpretations(outcome.verdicts),
        note=tuple(map(Annotation, _notes(outcome))),
        derived_from=derived,
        extension=supporting,
        component=components(outcome.parts, outcome.rule),
    )
    return OutcomeResource(name, encoded(observation))


def as_entered_in_error(body: bytes) -> bytes:
    """An Observation we wrote, taken back: its source no longer supports it. All else in it stays."""
    return _ENCODER.encode({**_EXACT.decode(body), "status": "entered-in-error"})


@cache
def device(*rules: tuple[str, str]) -> Device:
    """This program in its version, and the rules (id, version) that it went by, to be contained in what it writes."""
    versions = [DeviceVersion(CodeableConcept(text="dm-fhir"), __version__)]
    versions += [DeviceVersion(CodeableConcept(text=f"rule {rule}"), version) for rule, version in rules]
    names = (DeviceName("dm-fhir", "model-name"),)
    return Device("dm-fhir", names, CodeableConcept(text="software that computes outcomes"), tuple(versions))


class _Identifier(msgspec.Struct, frozen=True):
    system: str | None = None


class _Identified(msgspec.Struct, frozen=True):
    identifier: tuple[_Identifier, ...] = ()


_EXACT = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


@cache
def _category(variable: str) -> tuple[CodeableConcept, ...]:
    return (CodeableConcept((Coding(CATEGORY_SYSTEM, category(variable) or "therapy"),)),)


@cache
def _code(variable: str) -> CodeableConcept:
    return CodeableConcept((Coding(OWN_SYSTEM, own_code(variable)),), label(variable))


@cache
def _method(rule: str, version: str) -> CodeableConcept:
    return CodeableConcept(text=f"dm-fhir rule {rule}, version {version}")


def _quantity(number: Fraction, unit: str) -> Quantity:
    """Percents as the report shows them; everything else exact where a decimal can be."""
    exact = to_decimal(number) if unit != "%" else percent(number)
    return Quantity(exact if exact is not None else rounded(number, 1), unit, UCUM, unit)


def _sources(outcome: Outcome) -> tuple[tuple[Reference, ...], tuple[Extension, ...]]:
    """The records used, each once, in the version used where the server has versions: for derivedFrom, and all others."""
    sources = dict.fromkeys((one.source.reference, one.source.version) for one in outcome.inputs)
    named = [f"{place}/_history/{version}" if version else place for place, version in sources]
    derived = [_derived(one) for kind in _DERIVABLE for one in named if one.startswith(kind)]
    supporting = [Extension(_SUPPORTING, reference(one)) for one in named if not one.startswith(_DERIVABLE)]
    return tuple(derived), tuple(supporting)


def _derived(text: str) -> Reference:
    """An imported score is named by its identifier: the hospital's server has no such id."""
    name = imported_observation.identifier_of(text)
    return Reference(identifier=Identifier(imported_observation.IDENTIFIER_SYSTEM, name)) if name else reference(text)


def _notes(outcome: Outcome) -> Iterator[str]:
    """What has no place of its own: reasons, flags, and of the verdicts what is none, such as whose thresholds were used."""
    yield from _listed("not computable", outcome.reasons)
    yield from _listed("flags", outcome.flags)
    yield from (text for pair in outcome.verdicts.items() if (text := outcome_verdicts.noted(*pair)) is not None)


def _listed(what: str, words: Iterable[str]) -> Iterator[str]:
    said = ", ".join(words)
    if said:
        yield f"{what}: {said}"
