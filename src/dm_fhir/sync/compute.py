"""Compute: a site's records into cases and outcomes, only for patients whose records, tables or rules changed."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

from dm_fhir.model.case import Case
from dm_fhir.model.document import encode
from dm_fhir.store import filing
from dm_fhir.store.cases import (
    CaseRow,
    FindingRow,
    OutcomeRow,
    case_row,
    computed_from,
    fingerprints,
    note_computed,
    put_case,
)
from dm_fhir.store.database import batched, transaction
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.persons import Cohort, Persons, cohort, why_changed

PATIENTS_PER_COMMIT = 100


class Computed(NamedTuple):
    """How many patients were mapped anew, and how many were left as they were.

    `changed` counts the cases that are not what they were, by why they were mapped anew (`new`, `tables changed`, …);
    `held` the patients who were held back: whoever of them had a case keeps it as it was.
    """

    mapped: int
    unchanged: int
    changed: Mapping[str, int] = {}
    held: int = 0


def compute_site(db: sqlite3.Connection, site: str, mapper: Mapper, run: int, held: Collection[str] = ()) -> Computed:
    """Bring the site's cases up to date with the store, but for those of the patients in `held`. Needs no server.

    Where nothing has changed since they last were, no patient is looked at.
    """
    whose = cohort(db, site)
    mark = _mark(mapper.fingerprint, filing.changes(db, site), whose, held)
    before = fingerprints(db, site)
    if computed_from(db, site) == mark:
        return Computed(0, len(before.keys() - set(held)), held=len(held))
    persons = Persons(db, site, mapper, whose)
    patients = sorted({*persons.patients, *before} - set(held))
    now = {patient: persons.fingerprint(patient) for patient in patients}
    stale = [patient for patient in patients if now[patient] != before.get(patient)]
    changed: Counter[str] = Counter()
    for some in batched(stale, PATIENTS_PER_COMMIT):
        with transaction(db):
            for patient in some:
                state, case = persons.case(patient)
                if _keep(db, site, state, case, now[patient], run):
                    changed[why_changed(before.get(patient), now[patient])] += 1
    note_computed(db, site, mark)
    return Computed(len(stale), len(patients) - len(stale), dict(sorted(changed.items())), len(held))


def _mark(fingerprint: str, changes: int, whose: Cohort, held: Collection[str]) -> str:
    """Changes whenever any case of the site could."""
    parts = (fingerprint, str(changes), *sorted(whose.present), "left", *sorted(whose.left), "held", *sorted(held))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _keep(db: sqlite3.Connection, site: str, state: str, case: Case, fingerprint: str, run: int) -> bool:
    """Whether a case came, went, or is not what it was."""
    row, before = CaseRow(case.id, state, encode(case)), case_row(db, site, case.id)
    is_case = state == "case"
    outcomes = [OutcomeRow(case.id, o.variable, o.about or o.visit or "", encode(o)) for o in case.outcomes if is_case]
    # A record that cannot be read may be the very one that would make a case: errors are kept whoever's they are.
    told = [f for f in case.findings if is_case or f.severity == "error"]
    findings = [FindingRow(f.code, f.severity, f.reference, f.path, f.done) for f in told]
    put_case(db, site, row, fingerprint, run, outcomes, findings)
    was_case = before is not None and before.state == "case"
    return (is_case or was_case) and row != before
