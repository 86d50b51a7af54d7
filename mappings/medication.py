"""Medication: the codes behind a reference (https://hl7.org/fhir/R4/medication.html)."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import CodeableConcept, Reference, concept_in, concept_out, read
from dm_fhir.model.case import Concept


class Ingredient(msgspec.Struct, frozen=True):
    """Medication.ingredient: itemCodeableConcept."""

    itemCodeableConcept: CodeableConcept | None = None


class Medication(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="Medication"):
    """The view of a Medication."""

    id: str | None = None
    code: CodeableConcept | None = None
    ingredient: tuple[Ingredient, ...] = ()


def concept(medication: Medication) -> Concept:
    """Every code the Medication carries: its own, then its ingredients' (a Medication may have only those)."""
    own = concept_in(medication.code) or Concept()
    parts = [concept_in(part.itemCodeableConcept) or Concept() for part in medication.ingredient]
    codings = (*own.codings, *(coding for part in parts for coding in part.codings))
    return Concept(codings, own.text)


def resolve(reference: str, contained: tuple[Medication, ...], known: Mapping[str, Medication]) -> Concept | None:
    """The concept that `reference` leads to: contained (`#id`), else one of `known` by `Medication/id`; None if gone.

    Relative, absolute and versioned references mean the same Medication.
    """
    if reference.startswith("#"):
        found = next((medication for medication in contained if medication.id == reference[1:]), None)
    else:
        found = known.get(named(reference))
    return concept(found) if found else None


def named(reference: str) -> str:
    """`Medication/id` of a reference, whether relative, absolute or with a version."""
    return "/".join(reference.partition("/_history/")[0].split("/")[-2:])


class Medicated(Protocol):
    """A resource that names a drug: by code, or by reference to a Medication, which it may contain."""

    @property
    def contained(self) -> tuple[msgspec.Raw, ...]: ...
    @property
    def medicationCodeableConcept(self) -> CodeableConcept | None: ...
    @property
    def medicationReference(self) -> Reference | None: ...


def medication_concept(record: Medicated, tables: Tables, medications: Mapping[str, Medication]) -> Concept | None:
    """Which drug it was, with the tables' name for it; None if the record does not say or its reference is gone."""
    found = concept_in(record.medicationCodeableConcept)
    if found is None and record.medicationReference is not None:
        found = resolve(record.medicationReference.reference or "", _medications_in(record.contained), medications)
    return tables.concept("medication", found.codings, found.text) if found else None


def _medications_in(resources: tuple[msgspec.Raw, ...]) -> tuple[Medication, ...]:
    """The contained Medications; other contained resources say nothing of the drug."""
    bodies = map(bytes, resources)
    return tuple(read(body, Medication) for body in bodies if read(body, _Kind).resourceType == "Medication")


class _Kind(msgspec.Struct, frozen=True):
    resourceType: str | None = None


def contained(reference: str, medication: Concept) -> Medication:
    """The contained Medication that `reference` (`#id`) leads to."""
    return Medication(id=reference[1:], code=concept_out(medication))
