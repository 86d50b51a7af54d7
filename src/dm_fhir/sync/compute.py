"""Compute: a site's records into cases and outcomes, only for patients whose records, tables or rules changed."""

import hashlib
import sqlite3
from typing import NamedTuple

from dm_fhir.model.case import Case
from dm_fhir.model.document import encode
from dm_fhir.store import resources
from dm_fhir.store.cases import CaseRow, FindingRow, OutcomeRow, fingerprint_of, put_case
from dm_fhir.store.database import transaction
from dm_fhir.sync.mapper import Mapper


class Computed(NamedTuple):
    """How many patients were mapped anew, and how many were left as they were."""

    mapped: int
    unchanged: int


def compute_site(db: sqlite3.Connection, site: str, mapper: Mapper, run: int) -> Computed:
    """Bring the site's cases up to date with the store. Needs no server."""
    medications = mapper.medications(resources.resources_of_type(db, site, "Medication"))
    common = f"{mapper.fingerprint} {resources.fingerprint_of_type(db, site, 'Medication')}"
    mapped = unchanged = 0
    for patient in resources.subjects(db, site):
        fingerprint = hashlib.sha256(f"{common} {resources.fingerprint(db, site, patient)}".encode()).hexdigest()
        if fingerprint_of(db, site, patient) == fingerprint:
            unchanged += 1
            continue
        case = mapper.case(patient, resources.resources_of(db, site, patient), medications)
        _keep(db, site, case, fingerprint, run)
        mapped += 1
    return Computed(mapped, unchanged)


def _keep(db: sqlite3.Connection, site: str, case: Case, fingerprint: str, run: int) -> None:
    state = _state(case)
    row = CaseRow(case.id, state, encode(case))
    is_case = state == "case"
    outcomes = [OutcomeRow(case.id, o.variable, o.about or "", encode(o)) for o in case.outcomes if is_case]
    # A record that cannot be read may be the very one that would make a case: errors are kept whoever's they are.
    told = [f for f in case.findings if is_case or f.severity == "error"]
    findings = [FindingRow(f.code, f.severity, f.reference, f.path, f.done) for f in told]
    with transaction(db):
        put_case(db, site, row, fingerprint, run, outcomes, findings)


def _state(case: Case) -> str:
    """'case', or why the patient is none."""
    if case.subject is not None and case.subject.test_patient:
        return "test patient"
    return "case" if case.administrations else "no administration of the study drug"
