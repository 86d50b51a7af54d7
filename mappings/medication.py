"""Medication: which drug and which strength stand behind a reference (https://hl7.org/fhir/R4/medication.html)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

import msgspec

from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.datatypes import (
    CodeableConcept,
    Identifier,
    Ratio,
    Reference,
    concept_in,
    concept_out,
    ratio_in,
    ratio_out,
    read,
    read_unambiguous,
    write,
)
from dm_fhir.model import case
from dm_fhir.model.case import Concept


class Ingredient(msgspec.Struct, frozen=True, omit_defaults=True):
    """Medication.ingredient: item[x], strength."""

    itemCodeableConcept: CodeableConcept | None = None
    itemReference: Reference | None = None
    strength: Ratio | None = None


class Medication(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="Medication"):
    """The view of a Medication."""

    id: str | None = None
    contained: tuple[msgspec.Raw, ...] = ()
    identifier: tuple[Identifier, ...] = ()
    code: CodeableConcept | None = None
    ingredient: tuple[Ingredient, ...] = ()


#: A site's Medications under every name by which a reference may call them. None: it is there and cannot be read.
Medications = Mapping[str, Medication | None]


class Drug(NamedTuple):
    """Which drug a record is about, and the strength that its Medication states; None where nothing does."""

    concept: Concept
    strength: case.Ratio | None = None


class Record(Protocol):
    """A stored resource."""

    @property
    def id(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Medicated(Protocol):
    """A resource that names a drug: by code, or by reference to a Medication, which it may contain."""

    @property
    def contained(self) -> tuple[msgspec.Raw, ...]: ...
    @property
    def medicationCodeableConcept(self) -> CodeableConcept | None: ...
    @property
    def medicationReference(self) -> Reference | None: ...


class Given(msgspec.Struct, frozen=True):
    """What an administration says of its drug, and nothing else of it."""

    contained: tuple[msgspec.Raw, ...] = ()
    medicationCodeableConcept: CodeableConcept | None = None
    medicationReference: Reference | None = None


class _Coded(msgspec.Struct, frozen=True):
    code: CodeableConcept | None = None


def read_coded(body: bytes) -> Medication:
    """The Medication in `body`, with its code alone where the rest cannot be read. Raises msgspec.DecodeError if not even that can."""
    try:
        return read_unambiguous(body, Medication)
    except msgspec.DecodeError:
        return Medication(code=read_unambiguous(body, _Coded).code)


def read_medications(records: Iterable[Record]) -> dict[str, Medication | None]:
    """The site's Medications under every name that may call them; None for one that cannot be read.

    A reference calls a Medication by `Medication/id`, by the id alone inside a Bundle (`urn:uuid:id`), or by a business
    identifier. An identifier that two Medications share names none of them.
    """
    found: dict[str, Medication | None] = {}
    shared: set[str] = set()
    for record in records:
        medication = _read(record.body)
        found[f"Medication/{record.id}"] = medication
        for name in _further_names(medication) if medication else ():
            shared.update([name] if name in found else [])
            found[name] = medication
    return {name: medication for name, medication in found.items() if name not in shared}


def concept(medication: Medication, known: Medications | None = None) -> Concept:
    """Every code the Medication carries: its own, then its ingredients' (a Medication may have only those).

    An ingredient may be another Medication, contained or one of `known`.
    """
    return _concept(medication, known or {}, depth=0)


def resolve(reference: str, contained: tuple[Medication, ...], known: Medications) -> Medication | None:
    """The Medication that `reference` leads to: contained (`#id`), else one of `known`; None if it is gone or unreadable.

    Relative, absolute and versioned references mean the same Medication.
    """
    if reference.startswith("#"):
        return next((medication for medication in contained if medication.id == reference[1:]), None)
    return known.get(named(reference))


def named(reference: str) -> str:
    """The name of what is referred to: `Type/id` for relative, absolute and versioned references; others as they are."""
    if reference.startswith("urn:") or "?" in reference:
        return reference.partition("/_history/")[0]
    return "/".join(reference.partition("/_history/")[0].split("/")[-2:])


def drug_of(record: Medicated, tables: Tables, medications: Medications) -> Drug | None:
    """Which drug it was, with the tables' name for it; None if the record does not say or its reference is gone."""
    own = concept_in(record.medicationCodeableConcept)
    if own is not None:
        return Drug(tables.concept("medication", own.codings, own.text))
    if record.medicationReference is None:
        return None
    found = resolve(record.medicationReference.reference or "", _medications_in(record.contained), medications)
    if found is None:
        return None
    codes = concept(found, medications)
    meant = tables.concept("medication", codes.codings, codes.text)
    return Drug(meant, _strength(found, meant, tables))


def medication_concept(record: Medicated, tables: Tables, medications: Medications) -> Concept | None:
    """Which drug it was, as `drug_of`, without its strength."""
    found = drug_of(record, tables, medications)
    return found.concept if found else None


def contained_out(
    reference: str | None, medication: Concept | None, strength: case.Ratio | None
) -> tuple[msgspec.Raw, ...]:
    """The contained Medication that a reference `#id` leads to; nothing for any other reference."""
    if reference is None or not reference.startswith("#") or medication is None:
        return ()
    codes = concept_out(medication)
    ingredient = Ingredient(itemCodeableConcept=codes, strength=ratio_out(strength))
    view = Medication(id=reference[1:], code=codes, ingredient=(ingredient,) if strength is not None else ())
    return (msgspec.Raw(write(view)),)


def _read(body: bytes) -> Medication | None:
    try:
        return read(body, Medication)
    except msgspec.DecodeError:
        return None


def _further_names(medication: Medication) -> Iterator[str]:
    """How else a reference may call it, inside a Bundle and by identifier (conditional references)."""
    if medication.id:
        yield f"urn:uuid:{medication.id}"
    for one in medication.identifier:
        if one.value:
            yield f"Medication?identifier={one.system or ''}|{one.value}"
            if one.value.startswith("urn:uuid:"):
                yield one.value


_DEEPEST = 3


def _concept(medication: Medication, known: Medications, depth: int) -> Concept:
    own = concept_in(medication.code) or Concept()
    parts = [_ingredient(part, medication, known, depth) for part in medication.ingredient]
    further = (coding for part in parts for coding in part.codings if coding not in own.codings)
    return Concept((*own.codings, *further), own.text)


def _ingredient(part: Ingredient, whole: Medication, known: Medications, depth: int) -> Concept:
    if part.itemReference is not None and depth < _DEEPEST:
        inside = _medications_in(whole.contained) if (part.itemReference.reference or "").startswith("#") else ()
        found = resolve(part.itemReference.reference or "", inside, known)
        return _concept(found, known, depth + 1) if found else Concept()
    return concept_in(part.itemCodeableConcept) or Concept()


def _strength(medication: Medication, meant: Concept, tables: Tables) -> case.Ratio | None:
    """The strength of the ingredient that is the drug; of the only one, if there is but one."""
    stated = [part for part in medication.ingredient if part.strength is not None]
    ours = [part for part in stated if _is(part, meant, tables)] if len(medication.ingredient) > 1 else stated
    return ratio_in(ours[0].strength) if len(ours) == 1 else None


def _is(part: Ingredient, meant: Concept, tables: Tables) -> bool:
    codes = concept_in(part.itemCodeableConcept)
    row = tables.row("medication", codes.codings) if codes else None
    return row is not None and row.variable == meant.variable


def _medications_in(resources: tuple[msgspec.Raw, ...]) -> tuple[Medication, ...]:
    """The contained Medications; other contained resources say nothing of the drug."""
    bodies = map(bytes, resources)
    return tuple(read(body, Medication) for body in bodies if read(body, _Kind).resourceType == "Medication")


class _Kind(msgspec.Struct, frozen=True):
    resourceType: str | None = None
