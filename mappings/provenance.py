"""The Provenance of a transmission: which versions of which Observations this program wrote, when, and what it did."""

from collections.abc import Sequence

import msgspec

from dm_fhir.mappings.datatypes import read
from dm_fhir.mappings.outcome_observation import device
from dm_fhir.mappings.written import Agent, CodeableConcept, Coding, Provenance, Reference, encoded, reference

_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
#: What may have been done, in codes of v3-DataOperation.
ACTIVITIES = ("CREATE", "UPDATE", "NULLIFY")
_WHO = Reference("#dm-fhir")


def to_fhir(targets: Sequence[str], recorded: str, activity: str) -> bytes:
    """The Provenance as FHIR JSON. What the Observations were derived from they say themselves.

    `targets` are references (`Observation/7/_history/2`), at least one; `recorded` is an instant to the millisecond; `activity` is one
    of `ACTIVITIES`. Raises NotWritable where a target is no reference that FHIR allows.
    """
    if not targets or activity not in ACTIVITIES:
        raise ValueError(f"a Provenance of {len(targets)} targets and {activity}")
    agent = Agent(CodeableConcept((Coding(_PARTICIPANT, "assembler"),)), _WHO)
    provenance = Provenance(
        contained=(device(),),
        target=tuple(map(reference, targets)),
        recorded=recorded,
        activity=CodeableConcept((Coding(_OPERATION, activity),)),
        agent=(agent,),
    )
    return encoded(provenance)


class _Who(msgspec.Struct, frozen=True):
    reference: str = ""


class _Agent(msgspec.Struct, frozen=True):
    who: _Who = _Who()


class _Agents(msgspec.Struct, frozen=True):
    agent: tuple[_Agent, ...] = ()


def is_own(body: bytes) -> bool:
    """Whether a Provenance names this program as who was active, also where the server has dropped the contained Device."""
    return any(one.who.reference == _WHO.reference for one in read(body, _Agents).agent)
