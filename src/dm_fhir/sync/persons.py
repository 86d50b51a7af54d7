"""A site's patients as the persons that they are: whose records make a case, and what that case is made from."""

import hashlib
import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.model.case import Case, Finding
from dm_fhir.model.findings import finding
from dm_fhir.store import members, resources
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.merges import Person, people


class Cohort(NamedTuple):
    """Who is in the site's cohort, and who once was."""

    present: set[str]
    left: set[str]


def cohort(db: sqlite3.Connection, site: str) -> Cohort:
    """The site's cohort as the store knows it."""
    return Cohort(set(members.members(db, site)), members.have_left(db, site))


class Persons:
    """The site's patients, and what each one's records come to. `patients` are references, in order."""

    def __init__(self, db: sqlite3.Connection, site: str, mapper: Mapper, cohort: Cohort) -> None:
        self._db, self._site, self._mapper, self._cohort = db, site, mapper, cohort
        self.patients = resources.subjects(db, site)
        self._people = people(self.patients, self._links())
        self._medications = mapper.medications(resources.resources_of_type(db, site, "Medication"))
        self._common = f"{mapper.fingerprint}; medications {resources.fingerprint_of_type(db, site, 'Medication')}"

    def fingerprint(self, patient: str) -> str:
        """Changes whenever the patient's case could: named parts, or why there is no case (`why_changed` reads it)."""
        if state := self._no_case(patient):
            return state
        person = self._people[patient]
        parts = [repr(person), *(resources.fingerprint(self._db, self._site, m) for m in person.members)]
        records = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return f"{self._common}; records {records}"

    def case(self, patient: str) -> tuple[str, Case]:
        """'case', or why the patient is none; and the case of all records of the person. Nothing is read where it is none."""
        return self.case_by(self._mapper, patient)

    def case_by(self, mapper: Mapper, patient: str) -> tuple[str, Case]:
        """As `case`, as it would be with another mapper of this site."""
        if state := self._no_case(patient):
            return state, replace(mapper.case(patient, (), self._medications), outcomes=())
        person = self._people[patient]
        records = (one for m in person.members for one in resources.resources_of(self._db, self._site, m))
        case = mapper.case(patient, records, self._medications)
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


#: What to call a change of each part of a fingerprint.
_PARTS = {
    "tables": "tables",
    "mappings": "rules",
    "rules": "rules",
    "drug": "study drug",
    "zone": "time zone",
    "definitions": "definitions",
    "medications": "records",
    "records": "records",
}


def why_changed(before: str | None, now: str) -> str:
    """Why a case is made anew, by its fingerprint then and now: `new`, `tables changed`, `tables and records changed`, …"""
    if before is None:
        return "new"
    then, today = parts_of(before), parts_of(now)
    if not today or (not then and not _is_old(before)):
        return "records or cohort changed"
    if not then:
        return "made by an earlier version"
    names = dict.fromkeys(word for part, word in _PARTS.items() if then.get(part) != today.get(part))
    return f"{' and '.join(names) or 'nothing'} changed"


def parts_of(fingerprint: str) -> dict[str, str]:
    """The named parts of a fingerprint; empty where it is no such text."""
    parts = [part.partition(" ") for part in fingerprint.split("; ")]
    return {name: value for name, _, value in parts} if "; " in fingerprint else {}


def _is_old(fingerprint: str) -> bool:
    """Whether it is one of those that had no parts."""
    return len(fingerprint) == hashlib.sha256().digest_size * 2 and " " not in fingerprint


def _of_the_merge(person: Person) -> list[Finding]:
    found = [finding("merged", member) for member in person.members if member != person.survivor]
    if not person.is_clear:
        found.append(finding("merge_unclear", person.survivor, "link"))
    return found + [finding("merge_incomplete", other) for other in person.missing]


def _state(case: Case) -> str:
    """'case', or why the patient is none."""
    if case.subject is not None and case.subject.test_patient:
        return "test patient"
    return "case" if case.administrations else "no administration of the study drug"
