"""What stored records refer to that must be pulled too: Medications, and the other ids of a merged patient."""

import sqlite3
from collections.abc import Collection

import msgspec

from dm_fhir.fhir.resource import NOT_READABLE, local_reference
from dm_fhir.store.resources import bodies_with
from dm_fhir.sync.mapper import Mapper

_MEDICATED = ("MedicationAdministration", "MedicationRequest", "MedicationStatement")


class _Reference(msgspec.Struct, frozen=True):
    reference: str | None = None


class _Medicated(msgspec.Struct, frozen=True):
    medicationReference: _Reference | None = None


_MEDICATION = msgspec.json.Decoder(_Medicated)


def referred_medications(db: sqlite3.Connection, site: str, addresses: Collection[str]) -> set[str]:
    """The `Medication/id` that the site's stored records refer to, outside themselves and on this server.

    `addresses` are those by which the server goes: its endpoint, and the inner ones of a server behind a proxy.
    """
    found = set()
    for type_name in _MEDICATED:
        for _, body in bodies_with(db, site, type_name, '"medicationReference"'):
            try:
                reference = _MEDICATION.decode(body).medicationReference
            except NOT_READABLE:
                continue  # the mapping reports it as unreadable, with its path
            text = (reference.reference if reference else None) or ""
            if _is_ours(text, addresses) and local_reference(text).startswith("Medication/"):
                found.add(local_reference(text))
    return found


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


def _is_ours(reference: str, addresses: Collection[str]) -> bool:
    if reference.startswith(("#", "urn:")):
        return False
    return "://" not in reference or reference.startswith(tuple(f"{address}/" for address in addresses))
