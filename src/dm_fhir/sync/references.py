"""What stored records refer to that must be pulled too: Medications, and the other ids of a merged patient."""

import sqlite3
from collections.abc import Collection, Iterator

import msgspec

from dm_fhir.fhir.resource import NOT_READABLE, local_reference
from dm_fhir.store.resources import bodies_with, has_resource
from dm_fhir.sync.mapper import Mapper

_MEDICATED = ("MedicationAdministration", "MedicationRequest", "MedicationStatement")


class _Reference(msgspec.Struct, frozen=True):
    reference: str | None = None


class _Medicated(msgspec.Struct, frozen=True):
    medicationReference: _Reference | None = None
    subject: _Reference | None = None


_MEDICATION = msgspec.json.Decoder(_Medicated)


def referred_medications(db: sqlite3.Connection, site: str, addresses: Collection[str]) -> set[str]:
    """The `Medication/id` that the site's stored records refer to, outside themselves and on this server.

    `addresses` are those by which the server goes: its endpoint, and the inner ones of a server behind a proxy.
    """
    return {medication for _, medication in _referring(db, site, addresses)}


def medication_names(db: sqlite3.Connection, site: str) -> set[str]:
    """What the site's stored records call Medications outside themselves: `Medication/id`, `urn:uuid:…`, conditional references.

    Wherever they came from: files do not say by which addresses their server goes.
    """
    texts = {text for _, text in _medicated(db, site) if text and not text.startswith("#")}
    return {text if text.startswith("urn:") or "?" in text else local_reference(text) for text in texts}


def waiting_for_medications(db: sqlite3.Connection, site: str, addresses: Collection[str]) -> set[str]:
    """The patients whose records refer to a Medication that the store has never had."""
    missing: dict[str, bool] = {}
    found = set()
    for patient, medication in _referring(db, site, addresses):
        if medication not in missing:
            missing[medication] = not has_resource(db, site, medication)
        if missing[medication] and patient.startswith("Patient/"):
            found.add(patient)
    return found


def _referring(db: sqlite3.Connection, site: str, addresses: Collection[str]) -> Iterator[tuple[str, str]]:
    """The subject of each record that refers to a Medication on this server, and the Medication."""
    for subject, text in _medicated(db, site):
        if _is_ours(text, addresses) and local_reference(text).startswith("Medication/"):
            yield subject, local_reference(text)


def _medicated(db: sqlite3.Connection, site: str) -> Iterator[tuple[str, str]]:
    """The subject of each record that refers to a Medication, and the reference as it is written."""
    for type_name in _MEDICATED:
        for _, body in bodies_with(db, site, type_name, '"medicationReference"'):
            try:
                record = _MEDICATION.decode(body)
            except NOT_READABLE:
                continue  # the mapping reports it as unreadable, with its path
            yield local_reference(_text(record.subject)), _text(record.medicationReference)


def linked_patients(
    db: sqlite3.Connection, site: str, patients: Collection[str], mapper: Mapper
) -> dict[str, set[str]]:
    """By patient, the others that the hospital calls the same person; patients without such links are not in it."""
    wanted = set(patients)
    found: dict[str, set[str]] = {}
    for id_, body in bodies_with(db, site, "Patient", '"link"'):
        itself = f"Patient/{id_}"
        for _, other in mapper.merges(body):
            found.setdefault(itself, set()).add(other)
            found.setdefault(other, set()).add(itself)
    return {patient: others for patient, others in found.items() if patient in wanted or others & wanted}


def _text(reference: _Reference | None) -> str:
    return (reference.reference if reference else None) or ""


def _is_ours(reference: str, addresses: Collection[str]) -> bool:
    if reference.startswith(("#", "urn:")):
        return False
    return "://" not in reference or reference.startswith(tuple(f"{address}/" for address in addresses))
