"""Pull by a bulk export: what the server has prepared of everybody is downloaded, and what is the cohort's is kept.

One job after the other: begun or gone on with, waited for, downloaded, taken in, judged, deleted on the server. Whenever the
run is killed the next one goes on with the same job. Types that are not exported are searched for afterwards.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import partial

from msgspec.structs import replace

from dm_fhir.config import Site
from dm_fhir.errors import ConfigError, LoginRefused, RequestFailed, ServerUnavailable
from dm_fhir.fhir.bulk import FAILED, GONE
from dm_fhir.fhir.connection import Connection
from dm_fhir.store import bulk_jobs
from dm_fhir.store.bulk_jobs import BulkJob
from dm_fhir.store.database import transaction
from dm_fhir.store.ledger import Unit, get_unit, put_units
from dm_fhir.store.members import members
from dm_fhir.sync.bulk import job as jobs
from dm_fhir.sync.bulk.job import EXPIRED, Notes, Steps
from dm_fhir.sync.bulk.order import MEDICATION, Order, begun_units, may_lack, order_of, since_of, unit_of
from dm_fhir.sync.bulk.taking import take_in
from dm_fhir.sync.cohort import Named, find_cohort, find_medications, known_members
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.pull import Pulled, Wish, opened_puller, pull_patients, remarks_of, whole_plan
from dm_fhir.sync.puller import Puller

#: One of changes, one of everything for who has just joined.
_MOST_EXPORTS = 2
#: A server may forget a job, or its files may be gone before they were read. In words of ours: the log has none of a server's.
_MOST_JOBS_PER_EXPORT = 2
_ANEW = {GONE: "the server knows no such export any more", EXPIRED: "files of the export have expired"}


def pull_bulk(
    db: sqlite3.Connection,
    site: Site,
    connection: Connection,
    mapper: Mapper,
    run: int,
    wish: Wish,
    steps: Steps,
) -> Pulled:
    """Pull the site's cohort by an export. The ledger says how complete that is: a unit for each type.

    Raises ConfigError for what an export cannot do, ServerUnavailable when it is not ready for longer than this run may wait
    (the next run goes on with it), LoginRefused.
    """
    if wish.patients or wish.listed:
        raise ConfigError(
            f"{site.name} is pulled by a bulk export, which is of everybody and not of single patients",
            hint='put them on the list of [site.cohort] by = "patients", or set [site.pull] mode = "search"',
        )
    puller = opened_puller(db, site, connection, mapper, run, wish.full)
    order = order_of(site, mapper)
    remarks: list[str] = []
    with whole_plan(puller, wish):
        named = _search_cohort(puller, order)
        if not wish.retry or _is_anything_open(puller, order):
            _bring_everything(puller, order, steps, remarks)
        puller.exported = _exported(puller, order)
        patients = known_members(puller)
        pull_patients(puller, patients, wish, partial(steps("pull"), puller.name))
        puller.check_reachable()
    return Pulled(len(patients), named, [*remarks_of(puller), *remarks])


def _search_cohort(puller: Puller, order: Order) -> list[Named]:
    """Whoever is in the cohort, as far as the server must be asked for that; the others are found in the files."""
    cohort = puller.site.cohort
    is_elsewhere = cohort.by in ("medication", "condition") and order.found_by not in order.types
    is_listed = cohort.by == "patients" and puller.capability.searches("Patient", "identifier")
    return find_cohort(puller) if cohort.by == "group" or is_elsewhere or is_listed else []


def _is_anything_open(puller: Puller, order: Order) -> bool:
    """Whether an export is under way, something of the last one is not complete, or somebody is not known in full."""
    with puller.reading() as db:
        rows = [get_unit(db, puller.name, "", query) for query in order.units]
        return (
            bulk_jobs.open_job(db, puller.name) is not None
            or any(row is not None and row.state != "complete" for row in rows)
            or not any(rows)
            or bool(bulk_jobs.not_read_in_full(db, puller.name, members(db, puller.name)))
        )


def _bring_everything(puller: Puller, order: Order, steps: Steps, remarks: list[str]) -> None:
    """One export, and where that was of changes and they do not suffice, one of everything."""
    for number in range(_MOST_EXPORTS):
        job = _bring(puller, order, steps, remarks)
        if job is None or job.since is None or number + 1 == _MOST_EXPORTS or since_of(puller, order) is not None:
            return
        with puller.reading() as db:
            new = len(bulk_jobs.not_read_in_full(db, puller.name, members(db, puller.name)))
        remarks.append(
            f"an export of everything followed that of the changes: {new} patients are new in the cohort, and what is older "
            "than the last export was not in it"
        )


def _bring(puller: Puller, order: Order, steps: Steps, remarks: list[str]) -> BulkJob | None:
    """One export from its beginning, or from where it stands, to its end; None if it came to nothing: its units say why."""
    try:
        job = _carried_through(puller, order, steps, remarks)
    except RequestFailed as error:
        _note(puller, order, error.reason, str(error), is_refused=error.status in (401, 403))
        return None
    except ServerUnavailable as error:
        _note(puller, order, error.reason, error.message, not_before=error.not_before)
        raise
    except LoginRefused as error:
        _note(puller, order, "auth", error.message)
        raise
    with jobs.told_later(remarks):
        jobs.end(puller, job)
    return job


def _carried_through(puller: Puller, order: Order, steps: Steps, remarks: list[str]) -> BulkJob:
    """A job with everything of it in the store: the one at hand, a new one, or another where that is gone from the server."""
    number = 1
    notes: Notes = defaultdict(Counter)
    job = jobs.at_hand(puller, order, remarks)
    while True:
        since = None if job else since_of(puller, order)
        units = begun_units(puller, order, job)
        try:
            begun = job or jobs.begin(puller, order, since, units, remarks, notes)
            return _taken(puller, order, begun, units, steps, notes)
        except RequestFailed as error:
            job = None
            is_over = _is_given_up(puller, error, remarks)
            if error.reason not in _ANEW or not is_over or number == _MOST_JOBS_PER_EXPORT:
                raise
            remarks.append(f"{_ANEW[error.reason]}; it was asked for anew")
        number += 1


def _taken(
    puller: Puller, order: Order, job: BulkJob, units: Mapping[str, Unit], steps: Steps, notes: Notes
) -> BulkJob:
    """The job, with everything of it in the store. Raises RequestFailed where its files are gone."""
    if job.state != "listed":
        job = jobs.wait(puller, job, steps, notes)
    failures = jobs.download_all(puller, job, order.types, steps, notes)
    missing: int | None = None
    while jobs.has_expired(failures):  # their addresses may live shorter than all downloads take
        before, missing = missing, sum(map(len, failures.values()))
        if before is not None and missing >= before:
            raise RequestFailed(_ANEW[EXPIRED], reason=EXPIRED)
        with puller.writing() as db:
            job = bulk_jobs.list_again(db, job)
        job = jobs.wait(puller, job, steps, notes)
        failures = jobs.download_all(puller, job, order.types, steps, notes)
    _find_drug(puller, order, job, units)
    take_in(puller, order, job, units, failures, steps, notes)
    return job


def _find_drug(puller: Puller, order: Order, job: BulkJob, units: Mapping[str, Unit]) -> None:
    """The Medications that are the drug, where administrations refer to them and the export has none: by a search."""
    with puller.reading() as db:
        has_any = any(file.type == MEDICATION for file in bulk_jobs.files_of(db, job))
    had_any = MEDICATION in order.types and units[unit_of(MEDICATION)].read_in_full is not None
    is_needed = puller.site.cohort.by == "medication" and order.found_by in order.types
    if is_needed and (may_lack(order, MEDICATION) or MEDICATION not in order.types) and not (has_any or had_any):
        find_medications(puller)


def _is_given_up(puller: Puller, error: RequestFailed, remarks: list[str]) -> bool:
    """Of a job that the server has given up or forgotten nothing more can be had. Whether none is left now."""
    with puller.reading() as db:
        job = bulk_jobs.open_job(db, puller.name)
    if job is not None and error.reason in (GONE, EXPIRED, FAILED):
        with jobs.told_later(remarks):
            jobs.give_up(puller, job)
    with puller.reading() as db:
        return bulk_jobs.open_job(db, puller.name) is None


def _exported(puller: Puller, order: Order) -> frozenset[str]:
    """The types that came by exports."""
    with puller.reading() as db:
        has_medications = get_unit(db, puller.name, "", unit_of(MEDICATION)) is not None
    return frozenset(name for name in order.types if name != MEDICATION or has_medications)


def _note(
    puller: Puller, order: Order, reason: str, message: str, *, is_refused: bool = False, not_before: str | None = None
) -> None:
    """Why the export came to nothing, in the row of each of its units.

    It may be what has stopped the threads of the download: they can use the store no more, and this one still has to.
    """
    state = "refused" if is_refused else "partial" if not_before else "failed"
    message = message.replace("\n ", ";")
    db = puller.db
    with transaction(db):
        rows = [get_unit(db, puller.name, "", query) for query in order.units]
        begun = [
            row if row is not None else Unit(puller.name, "", query)
            for row, query in zip(rows, order.units, strict=True)
        ]
        put_units(
            db,
            [
                replace(row, state=state, reason=reason, message=message, not_before=not_before, run=puller.run)
                for row in begun
            ],
        )
