"""Which records the tables know: what a pull asks for, and keeps, when it is to take no more than it needs, and what the mapping reads.

Adverse events are all kept, and so is a drug that stands in another resource: only that can tell which it is.
"""

import re
from contextlib import suppress

import msgspec

from dm_fhir.mappings.codes import Tables
from dm_fhir.mappings.condition import DENIED
from dm_fhir.mappings.datatypes import Reference
from dm_fhir.mappings.medication import Medications, named
from dm_fhir.mappings.medication import concept as concept_of
from dm_fhir.mappings.outcome_observation import IDENTIFIER_SYSTEM
from dm_fhir.model.case import Concept

_KINDS = {
    "Observation": "measurement",
    "Condition": "condition",
    "MedicationAdministration": "medication",
    "MedicationRequest": "medication",
    "MedicationStatement": "medication",
}


class _Coding(msgspec.Struct, frozen=True):
    system: str | None = None
    code: str | None = None


class _Concept(msgspec.Struct, frozen=True):
    coding: tuple[_Coding, ...] = ()


class _Component(msgspec.Struct, frozen=True):
    code: _Concept = _Concept()


class _Coded(msgspec.Struct, frozen=True):
    code: msgspec.Raw = msgspec.Raw()
    component: msgspec.Raw = msgspec.Raw()
    medicationCodeableConcept: msgspec.Raw = msgspec.Raw()


class _Head(_Coded, frozen=True):
    """What else decides why a record is left out that has no code which the tables know."""

    status: str | None = None
    doNotPerform: bool | None = None
    verificationStatus: msgspec.Raw = msgspec.Raw()
    hasMember: msgspec.Raw = msgspec.Raw()
    medicationReference: msgspec.Raw = msgspec.Raw()


_CODED = msgspec.json.Decoder(_Coded)
_HEAD = msgspec.json.Decoder(_Head)
_REFERENCE = msgspec.json.Decoder(Reference)
_CONCEPT = msgspec.json.Decoder(_Concept)
_COMPONENTS = msgspec.json.Decoder(tuple[_Component, ...])
#: Records of one kind name their codes alike, byte for byte: so many different ways are remembered.
_MOST_REMEMBERED = 10_000
_NOT_READABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_OURS = IDENTIFIER_SYSTEM.encode()
#: One of those statuses, or a character written by its number, which may be one of its letters.
_MAY_DENY = re.compile("|".join((*DENIED, r"\\")).encode()).search


def codes_of(tables: Tables, type_name: str) -> list[str]:
    """The codes, without their systems, by which a type is searched: systems go by several names, the answer is checked."""
    kind = _KINDS.get(type_name)
    found = {coding.code for (of_kind, _), row in tables.rows.items() if of_kind == kind for coding in row.codes}
    return sorted(code for code in found if code)


class Scope:
    """Whether the tables know a code of a record. What cannot be decoded counts as known: the mapping will report it."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._remembered: dict[tuple[str, bytes], bool] = {}
        self._medications: Medications = {}
        self._unknown_drugs: dict[bytes, bool] = {}  # of those Medications, by the reference as it is written

    def knows(self, type_name: str, body: bytes, concept: bytes = b"") -> bool:
        """Whether the record is one that the tables can use. `concept` are the bytes of its code, where they were read along."""
        kind = _KINDS.get(type_name)
        if kind is None:
            return True
        with suppress(*_NOT_READABLE):  # it may be no concept: the whole record tells
            if concept and self._concept(kind, concept, without_codes=kind == "medication"):
                return True
        try:
            return self._knows(kind, _CODED.decode(body))
        except _NOT_READABLE:
            return True

    def is_nothing_to_us(self, type_name: str, body: bytes, medications: Medications) -> bool:
        """Whether the mapping counts a record under "no code that the tables know", whatever else it says; so it need not be read.

        False does not say that it is known: another reason may come before this one, or there is no telling from its head.
        `medications` are the site's.
        """
        kind = _KINDS.get(type_name)
        if kind is None or (kind == "measurement" and _OURS in body):
            return False
        try:
            if not body.isascii():
                body.decode()  # the decoder does not look at the text that it passes over
            head = _HEAD.decode(body)
            if _has_another_reason(head):
                return False
            reference = bytes(head.medicationReference)
            if kind == "medication" and reference and not bytes(head.medicationCodeableConcept):
                return self._is_unknown_drug(reference, medications)
            return not self._knows(kind, head)
        except _NOT_READABLE:
            return False

    def _is_unknown_drug(self, reference: bytes, medications: Medications) -> bool:
        """Whether a reference leads to a Medication of the site that has codes or text, none of which the tables know."""
        if medications is not self._medications:
            self._medications, self._unknown_drugs = medications, {}
        found = self._unknown_drugs.get(reference)
        if found is None:
            name = _REFERENCE.decode(reference).reference or ""
            medication = None if name.startswith("#") else medications.get(named(name))
            codes = concept_of(medication, medications) if medication is not None else Concept()
            found = codes != Concept() and self._tables.row("medication", codes.codings) is None
            if len(self._unknown_drugs) < _MOST_REMEMBERED:
                self._unknown_drugs[reference] = found
        return found

    def _knows(self, kind: str, record: _Coded) -> bool:
        if kind == "medication":
            concept = bytes(record.medicationCodeableConcept)
            return not concept or self._concept(kind, concept, without_codes=True)
        if self._concept(kind, bytes(record.code), without_codes=False):
            return True
        if not bytes(record.component):
            return False
        return any(self._has(kind, part.code) for part in _COMPONENTS.decode(record.component))

    def _concept(self, kind: str, concept: bytes, *, without_codes: bool) -> bool:
        key = (kind, concept)
        found = self._remembered.get(key)
        if found is None:
            read = _CONCEPT.decode(concept) if concept else _Concept()
            found = self._has(kind, read) or (without_codes and not read.coding)
            if len(self._remembered) < _MOST_REMEMBERED:
                self._remembered[key] = found
        return found

    def _has(self, kind: str, concept: _Concept) -> bool:
        tables = self._tables
        return any((kind, tables.system(one.system), one.code or "") in tables.by_code for one in concept.coding)


def _has_another_reason(head: _Head) -> bool:
    """Whether it may be left out for what it is before its codes are asked: taken back, denied, not to be given, a panel."""
    if head.status == DENIED[0] or head.doNotPerform or bytes(head.hasMember):
        return True
    status = bytes(head.verificationStatus)
    return bool(status) and _MAY_DENY(status) is not None
