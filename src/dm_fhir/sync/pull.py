"""Pull: everything of a site's cohort into the store, every patient x query accounted for in the ledger.

A page and its ledger row are committed together. A unit begins as `partial, interrupted`, so that a killed run leaves
the truth behind, and its watermark moves only when it is complete. Units that were not even begun keep one unit open,
the whole plan.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec
from msgspec.structs import replace

from dm_fhir.config import Site
from dm_fhir.fhir.capability import read_capability
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.resource import NOT_READABLE, Resource, local_reference
from dm_fhir.store.ledger import now, put_unit, units
from dm_fhir.store.resources import has_resource, resources_of
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.unit import Puller, Query, begun, read, search

COHORT = "cohort"
#: The unit that is complete when every other one of the site has been tried.
PLAN = "whole plan"
#: Each type of a patient's record with the search parameter that finds the patient's. AdverseEvent has no `patient` in R4.
SEARCHES = (
    ("MedicationAdministration", "patient"),
    ("Observation", "patient"),
    ("Condition", "patient"),
    ("MedicationRequest", "patient"),
    ("MedicationStatement", "patient"),
    ("AdverseEvent", "subject"),
)

Progress = Callable[[str, int, int], None]


def pull_site(
    db: sqlite3.Connection,
    site: Site,
    connection: Connection,
    mapper: Mapper,
    run: int,
    *,
    full: bool,
    progress: Progress,
) -> int:
    """Pull the site's cohort and return how many patients it has. The ledger says how complete that is.

    Raises ServerUnavailable or LoginRefused when going on is pointless, ConfigError if the endpoint is no FHIR R4 server;
    units that were not reached keep their rows.
    """
    puller = Puller(db, site, connection, mapper, read_capability(connection), run, full)
    plan = replace(begun(puller, "", PLAN), message="the last pull did not get through")
    put_unit(db, plan)
    patients = _cohort(puller)
    for index, patient in enumerate(patients):
        progress(site.name, index, len(patients))
        _pull_patient(puller, patient)
    for type_name in site.pull.whole_types:
        _pull_whole(puller, type_name, set(patients))
    progress(site.name, len(patients), len(patients))
    put_unit(db, replace(plan, state="complete", reason=None, message=None, watermark=now()))
    return len(patients)


def _cohort(puller: Puller) -> list[str]:
    """The patients who were given the study drug, found now or in an earlier pull, in order.

    What comes back is checked: a server that ignores `code` would otherwise hand us the whole hospital. These searches
    always ask for all: a new patient may be given an old Medication, and a killed run forgets whom it had found.
    """
    codes = ",".join(f"{system}|{code}" for system, code in puller.mapper.drug_codes())
    found = _subjects(search(puller, _administrations(puller, "code", codes, ())))
    # Administrations that only refer to a Medication are not found by code on most servers.
    medications = [resource.reference for resource in search(puller, _drug_medications(puller, codes))]
    if medications:
        found |= _subjects(search(puller, _administrations(puller, "medication", ",".join(medications), medications)))
    known = {unit.patient for unit in units(puller.db, puller.site.name) if unit.patient}
    return sorted(found | known)


def _drug_medications(puller: Puller, codes: str) -> Query:
    name = f"{COHORT}: Medication by code"
    return Query("", name, "Medication", (("code", codes),), lambda r: puller.mapper.is_drug(r.body), incremental=False)


def _administrations(puller: Puller, parameter: str, value: str, medications: Collection[str]) -> Query:
    name = f"{COHORT}: MedicationAdministration by {parameter}"
    type_name, asked = "MedicationAdministration", ((parameter, value),)
    return Query("", name, type_name, asked, lambda r: puller.mapper.gives_drug(r.body, medications), incremental=False)


def _subjects(resources: Iterable[Resource]) -> set[str]:
    return {resource.subject for resource in resources if resource.subject and resource.subject.startswith("Patient/")}


def _pull_patient(puller: Puller, patient: str) -> None:
    read(puller, patient, "Patient", [patient])
    for type_name, parameter in SEARCHES:
        if type_name not in puller.site.pull.whole_types:
            _drain(search(puller, _of_patient(type_name, parameter, patient)))
    missing = [m for m in _medication_references(puller, patient) if not has_resource(puller.db, puller.site.name, m)]
    if missing:
        read(puller, patient, "Medication", missing)


def _of_patient(type_name: str, parameter: str, patient: str) -> Query:
    name = f"{type_name}?{parameter}"
    return Query(
        patient, name, type_name, ((parameter, patient),), lambda r: r.subject in (None, patient), "foreign_subject"
    )


def _pull_whole(puller: Puller, type_name: str, patients: Collection[str]) -> None:
    """A type that cannot be searched by patient. Always all of it: a new patient's old records must come too."""
    name = f"{type_name}, whole"
    query = Query("", name, type_name, (), lambda r: r.subject in patients, "not_in_cohort", incremental=False)
    _drain(search(puller, query))


def _drain(resources: Iterator[Resource]) -> None:
    for _ in resources:
        pass


class _References(msgspec.Struct, frozen=True):
    medicationReference: msgspec.Raw = msgspec.Raw()


class _Reference(msgspec.Struct, frozen=True):
    reference: str | None = None


def _medication_references(puller: Puller, patient: str) -> list[str]:
    """The Medications that the patient's stored records refer to, outside themselves."""
    found = set()
    for stored in resources_of(puller.db, puller.site.name, patient):
        if stored.type not in ("MedicationAdministration", "MedicationRequest", "MedicationStatement"):
            continue
        try:
            raw = msgspec.json.decode(stored.body, type=_References).medicationReference
            reference = msgspec.json.decode(raw, type=_Reference).reference if bytes(raw) else None
        except NOT_READABLE:
            continue  # the mapping reports it as unreadable, with its path
        if reference and not reference.startswith(("#", "urn:")):
            found.add(local_reference(reference))
    return sorted(reference for reference in found if reference.startswith("Medication/"))
