"""Compute: a site's records into cases and outcomes, only for patients whose records, tables or rules changed."""

import hashlib
import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.model.case import Case, Finding
from dm_fhir.model.document import encode
from dm_fhir.model.findings import finding
from dm_fhir.store import members, resources
from dm_fhir.store.cases import (
    CaseRow,
    FindingRow,
    OutcomeRow,
    computed_from,
    fingerprints,
    note_computed,
    put_case,
)
from dm_fhir.store.database import batched, transaction
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.merges import Person, people

PATIENTS_PER_COMMIT = 100


class Computed(NamedTuple):
    """How many patients were mapped anew, and how many were left as they were."""

    mapped: int
    unchanged: int


def compute_site(db: sqlite3.Connection, site: str, mapper: Mapper, run: int) -> Computed:
    """Bring the site's cases up to date with the store. Needs no server.

    Where nothing has changed since they last were, no patient is looked at.
    """
    cohort = _Cohort(set(members.members(db, site)), members.have_left(db, site))
    mark = _mark(mapper.fingerprint, resources.changes(db, site), cohort)
    before = fingerprints(db, site)
    if computed_from(db, site) == mark:
        return Computed(0, len(before))
    persons = _Persons(db, site, mapper, cohort)
    patients = sorted({*persons.patients, *before})
    now = {patient: persons.fingerprint(patient) for patient in patients}
    stale = [patient for patient in patients if now[patient] != before.get(patient)]
    for some in batched(stale, PATIENTS_PER_COMMIT):
        with transaction(db):
            for patient in some:
                state, case = persons.case(patient)
                _keep(db, site, state, case, now[patient], run)
    note_computed(db, site, mark)
    return Computed(len(stale), len(patients) - len(stale))


class _Cohort(NamedTuple):
    present: set[str]
    left: set[str]


class _Persons:
    """The site's patients as the persons that they are, and what each one's records come to."""

    def __init__(self, db: sqlite3.Connection, site: str, mapper: Mapper, cohort: _Cohort) -> None:
        self._db, self._site, self._mapper, self._cohort = db, site, mapper, cohort
        self.patients = resources.subjects(db, site)
        self._people = people(self.patients, self._links())
        self._medications = mapper.medications(resources.resources_of_type(db, site, "Medication"))
        self._common = f"{mapper.fingerprint} {resources.fingerprint_of_type(db, site, 'Medication')}"

    def fingerprint(self, patient: str) -> str:
        """Changes whenever the patient's case could."""
        if state := self._no_case(patient):
            return state
        person = self._people[patient]
        parts = [self._common, repr(person), *(resources.fingerprint(self._db, self._site, m) for m in person.members)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def case(self, patient: str) -> tuple[str, Case]:
        """'case', or why the patient is none; and the case of all records of the person. Nothing is read where it is none."""
        if state := self._no_case(patient):
            return state, replace(self._mapper.case(patient, (), self._medications), outcomes=())
        person = self._people[patient]
        records = (one for m in person.members for one in resources.resources_of(self._db, self._site, m))
        case = self._mapper.case(patient, records, self._medications)
        return _state(case), replace(case, findings=(*case.findings, *_of_the_merge(person)))

    def _no_case(self, patient: str) -> str | None:
        """Why there is nothing to read of a patient; None if there is."""
        person = self._people.get(patient)
        if person is None:
            return "no records any more"
        if patient != person.survivor:
            return f"merged into {person.survivor}"
        present, left = self._cohort
        is_gone = not left.isdisjoint(person.members) and present.isdisjoint(person.members)
        return "left the cohort" if is_gone else None

    def _links(self) -> Iterable[tuple[str, str, str]]:
        for id_, body in resources.bodies_with(self._db, self._site, "Patient", '"link"'):
            for kind, other in self._mapper.merges(body):
                yield f"Patient/{id_}", kind, other


def _mark(fingerprint: str, changes: int, cohort: _Cohort) -> str:
    """Changes whenever any case of the site could."""
    parts = (fingerprint, str(changes), *sorted(cohort.present), "left", *sorted(cohort.left))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _of_the_merge(person: Person) -> list[Finding]:
    found = [finding("merged", member) for member in person.members if member != person.survivor]
    if not person.is_clear:
        found.append(finding("merge_unclear", person.survivor, "link"))
    return found + [finding("merge_incomplete", other) for other in person.missing]


def _keep(db: sqlite3.Connection, site: str, state: str, case: Case, fingerprint: str, run: int) -> None:
    row = CaseRow(case.id, state, encode(case))
    is_case = state == "case"
    outcomes = [OutcomeRow(case.id, o.variable, o.about or "", encode(o)) for o in case.outcomes if is_case]
    # A record that cannot be read may be the very one that would make a case: errors are kept whoever's they are.
    told = [f for f in case.findings if is_case or f.severity == "error"]
    findings = [FindingRow(f.code, f.severity, f.reference, f.path, f.done) for f in told]
    put_case(db, site, row, fingerprint, run, outcomes, findings)


def _state(case: Case) -> str:
    """'case', or why the patient is none."""
    if case.subject is not None and case.subject.test_patient:
        return "test patient"
    return "case" if case.administrations else "no administration of the study drug"
