"""Whose records are not complete: their cases and outcomes stay as they were, and nothing of theirs is written.

A patient is held back by a unit of their own that is not complete, by a query of the plan that was never asked for them, by a
pull that was cut off between their queries, by a Medication that their records name and that could not be read, and by
another patient who is the same person. What is everybody's holds everybody back: a type that is only asked for whole, a file
that ends in the middle, a type of a bulk export, files that have not all been gone through. The search for the cohort holds nobody back (whoever it has not found has no case either), nor do
the server's history (a full answer shows deletions too) and the faulty rows of an imported table (they are set aside).
"""

import sqlite3
from collections.abc import Callable, Sequence

from dm_fhir.config import Site
from dm_fhir.store import bulk_jobs, ledger
from dm_fhir.store.cases import fingerprints
from dm_fhir.store.ledger import Unit
from dm_fhir.store.members import members
from dm_fhir.store.pushes import standing
from dm_fhir.store.resources import bodies_with, subjects
from dm_fhir.sync.bulk.order import BULK
from dm_fhir.sync.file_records import MEDICATIONS_IN_FILES
from dm_fhir.sync.file_units import FILE
from dm_fhir.sync.files import ALL_FILES
from dm_fhir.sync.merges import people
from dm_fhir.sync.pull import PLAN
from dm_fhir.sync.references import waiting_for_medications
from dm_fhir.sync.site_wide import MEDICATIONS, WHOLE

#: The links of a Patient's bytes to others who are the same person: `replaced-by` or `replaces`, and `Patient/id`.
Merges = Callable[[bytes], Sequence[tuple[str, str]]]


def held(db: sqlite3.Connection, site: Site, merges: Merges) -> dict[str, str]:
    """The patients of the site who are held back, each with why, in order of their references.

    `[site.sync] partial` says how strict it is: by `patients`; `nothing`: everybody while anything of the site is not
    complete; `everything`: nobody, ever.
    """
    name, partial = site.name, site.sync.partial
    if partial == "everything":
        return {}
    holes = [unit for unit in ledger.open_units(db, name) if ledger.needs_attention(unit, site.pull.optional_types)]
    of_all = [unit for unit in holes if partial == "nothing" or _is_of_everybody(unit)]
    if of_all:
        return dict.fromkeys(_everybody(db, name), _why(of_all[0]))
    found = _not_asked(db, site) | {unit.patient: _why(unit) for unit in reversed(holes) if unit.patient}
    is_cut_off = any(unit.query == PLAN for unit in holes)
    if is_cut_off:
        found = dict.fromkeys(ledger.between_two_runs(db, name, PLAN), "the last pull did not get through") | found
    if is_cut_off or any(unit.query in (MEDICATIONS, MEDICATIONS_IN_FILES) for unit in holes):
        waiting = waiting_for_medications(db, name, (site.endpoint or "", *site.rewrite))
        found = dict.fromkeys(waiting, "a Medication that the records name was not read") | found
    return dict(sorted(_with_the_same_person(db, name, found, merges).items()))


def _is_of_everybody(unit: Unit) -> bool:
    of_files = unit.query.startswith((FILE, BULK)) or unit.query == ALL_FILES
    return not unit.patient and (of_files or unit.query.endswith(WHOLE))


def _everybody(db: sqlite3.Connection, site: str) -> list[str]:
    """Everybody of whom there is anything that could change or be written."""
    written = {one.patient for one in standing(db, site)}
    return sorted({*members(db, site), *subjects(db, site), *fingerprints(db, site), *written})


def _not_asked(db: sqlite3.Connection, site: Site) -> dict[str, str]:
    """The members of the cohort for whom the plan's queries were not all begun, or whom no export has brought in full.

    A site that was never asked patient by patient has no plan: its records come as files.
    """
    name = site.name
    if not ledger.has_plan(db, name) and ledger.get_unit(db, name, "", PLAN) is None:
        return {}
    cohort = members(db, name)
    new = bulk_jobs.not_read_in_full(db, name, cohort) if site.pull.mode == "bulk" else []
    lacking = dict.fromkeys(ledger.not_asked(db, name, cohort), "not everything was asked for")
    return lacking | dict.fromkeys(new, "no bulk export has brought everything of theirs yet")


def _with_the_same_person(db: sqlite3.Connection, site: str, found: dict[str, str], merges: Merges) -> dict[str, str]:
    """With everybody whose records are the same person's."""
    if not found:
        return {}
    links = [
        (f"Patient/{id_}", kind, other)
        for id_, body in bodies_with(db, site, "Patient", '"link"')
        for kind, other in merges(body)
    ]
    if not links:
        return found
    persons = people({*subjects(db, site), *found}, links)
    same = {member: f"the same person as {patient}" for patient in found for member in persons[patient].members}
    return same | found


def _why(unit: Unit) -> str:
    reason = f" ({unit.reason})" if unit.reason else ""
    return f"{unit.query} is {unit.state}{reason}"
