"""The files of an export into the store, and what each unit of it then is."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.sources import Source, source_of
from dm_fhir.store import bulk_jobs
from dm_fhir.store.bulk_jobs import BulkFile, BulkJob
from dm_fhir.store.distinct import forget_distinct, new_tally, note_distinct
from dm_fhir.store.ledger import Unit, forget_units, get_unit, now, put_units
from dm_fhir.store.members import members
from dm_fhir.store.quarantine import clear_set_aside
from dm_fhir.sync.bulk.beside import Said, bury, errors_in
from dm_fhir.sync.bulk.job import Steps, is_wanted, spool_of
from dm_fhir.sync.bulk.lacking import find_missing, judge_absent
from dm_fhir.sync.bulk.order import DELETED, ERROR, Order, may_lack, moment_of, unit_of
from dm_fhir.sync.files import pull_sources
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.scan.runners import on_this_machine
from dm_fhir.sync.scan.scanned import Scanned

WRONG_TYPE, ERRORS, UNUSABLE_ENTRIES, CHANGES_ONLY = "wrong-type", "export-errors", "unusable-entries", "changes-only"


class Seen:
    """What came of the files: the types that they held, by the query of their unit, and in the tally `kept` the references that were kept."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.types: dict[str, set[str]] = {}
        self.kept = new_tally(db)
        self._db = db

    def note(self, query: str, parcel: Scanned) -> None:
        """Note a parcel, maybe again: where the cohort grows on the way, files are read once more."""
        self.types.setdefault(query, set()).update(parcel.types)
        note_distinct(self._db, self.kept, [resource.reference for resource in parcel.kept])


def take_in(
    puller: Puller,
    order: Order,
    job: BulkJob,
    units: Mapping[str, Unit],
    failures: Mapping[str, Sequence[RequestFailed]],
    steps: Steps,
    noted: Mapping[str, Counter[str]],
) -> None:
    """Take in what was downloaded, and judge every unit of the order; in one transaction with that the job is over.

    `units` are the rows as this run began with them, `failures` says by type which files could not be downloaded,
    `noted` by query what was noted on the way.
    """
    with puller.reading() as db:
        files = [one for one in bulk_jobs.files_of(db, job) if is_wanted(one, order.types)]
    folder = spool_of(puller, job)
    here = [one for one in files if one.name is not None]
    deleted_notes = Counter[str]()
    bury(puller, [folder / (one.name or "") for one in here if one.kind == "deleted"], deleted_notes)
    seen = _read(puller, order, job, files, steps)
    said = errors_in(puller, [folder / (one.name or "") for one in here if one.kind == "error"])

    judged = [_deleted_unit(units[DELETED], deleted_notes, failures.get("deleted", ()))]
    judged.append(_error_unit(units[ERROR], said, failures.get("error", ()), job.faults))
    delivered = {one.type for one in files if one.kind == "output"}
    forgotten: list[str] = []
    for type_name in order.types:
        query = unit_of(type_name)
        if type_name in delivered:
            judged.append(_judge(puller, order, job, type_name, units[query], seen, failures.get(type_name, ())))
        elif may_lack(order, type_name) and (job.since is None or units[query].read_in_full is None):
            forgotten.append(query)
        else:
            since = moment_of(job.since)
            judged.append(judge_absent(puller, order, type_name, units[query], since))
    forget_distinct(puller.db, seen.kept)
    _close(puller, job, [_noted(unit, noted.get(unit.query, Counter())) for unit in judged], forgotten)


def _read(puller: Puller, order: Order, job: BulkJob, files: Sequence[BulkFile], steps: Steps) -> Seen:
    """Read the files of resources, each type one unit of the ledger."""
    folder, seen = spool_of(puller, job), Seen(puller.db)
    sources: list[Source] = []
    query_of: dict[str, str] = {}
    expected: dict[str, int] = {}
    outputs = [one for one in files if one.kind == "output"]
    for one in outputs:
        if one.name is not None:
            source = source_of(str(folder / one.name))
            sources.append(source)
            query_of[source.path] = unit_of(one.type)
    for query in set(query_of.values()):
        counts = [one.expected for one in outputs if unit_of(one.type) == query]
        if None not in counts:
            expected[query] = sum(count for count in counts if count is not None)
    pull_sources(
        puller.db,
        order.site,
        sources,
        puller.mapper,
        puller.run,
        steps("read", "MB"),
        runner=on_this_machine(None),
        unit_of=lambda source: query_of[source.path],
        origin="server",
        expected=expected,
        watermark=moment_of(job.transaction_time),
        full=True,
        took=seen.note,
        in_full=False,
    )
    return seen


def _judge(
    puller: Puller,
    order: Order,
    job: BulkJob,
    type_name: str,
    unit: Unit,
    seen: Seen,
    failures: Sequence[RequestFailed],
) -> Unit:
    """The unit of a type of which there are files: as they were read, and what else is to be said of them."""
    query = unit.query
    with puller.reading() as db:
        read = get_unit(db, puller.name, "", query) or unit
    others = sorted(seen.types.get(query, set()) - {type_name})
    row = replace(read, watermark=unit.watermark, asked=unit.asked, read_in_full=unit.read_in_full)
    if failures:
        row = _with(
            row, failures[0].reason, f"{len(failures)} of its files could not be downloaded: {failures[0].message}"
        )
    elif others:
        row = _with(row, WRONG_TYPE, f"its files hold other types: {', '.join(others)}")
    elif job.since is not None and unit.read_in_full is None and not may_lack(order, type_name):
        row = _with(row, CHANGES_ONLY, "an export of changes is the first that has it; a full one follows")
    if row.state == "complete" and job.since is None:
        notes = Counter(row.notes)
        find_missing(puller, order, type_name, seen.kept, notes)
        row = replace(row, notes={name: count for name, count in sorted(notes.items()) if count})
    return row


def _with(row: Unit, reason: str, message: str) -> Unit:
    return replace(row, state="partial", reason=reason, message=message)


def _deleted_unit(unit: Unit, notes: Counter[str], failures: Sequence[RequestFailed]) -> Unit:
    row = replace(unit, notes={name: count for name, count in sorted(notes.items()) if count}, received=notes.total())
    if failures:
        return _with(row, failures[0].reason, f"it could not be downloaded: {failures[0].message}")
    if notes["file-damaged"]:
        return _with(row, "file-damaged", "the list of what was deleted breaks off")
    return replace(row, state="complete", reason=None)


def _error_unit(unit: Unit, said: Said, failures: Sequence[RequestFailed], faults: str | None) -> Unit:
    """What could not be exported may be of any type: as long as this unit is open no later export asks for changes only."""
    row = replace(
        unit, notes={"server_message": said.others} if said.others else {}, received=said.errors + said.others
    )
    words = f"server: {said.words}" if said.words else None
    if said.errors:
        return replace(row, state="partial", reason=ERRORS, message=words)
    if faults:
        return _with(row, UNUSABLE_ENTRIES, f"the manifest names what cannot be used: {faults}")
    if failures:
        return _with(row, failures[0].reason, f"it could not be downloaded: {failures[0].message}")
    if said.unreadable:
        return _with(row, "unreadable", f"{said.unreadable} lines of what could not be exported are not readable")
    return replace(row, state="complete", reason=None, message=words)


def _close(puller: Puller, job: BulkJob, judged: Sequence[Unit], forgotten: Sequence[str]) -> None:
    """Write all of it down. Whoever's records are complete by a full export is known from now on by changes alone."""
    moment, full = moment_of(job.transaction_time), now()
    rows = [_closed(unit, moment, None if job.since else full) for unit in judged]
    is_complete = all(unit.state in ("complete", "unsupported") for unit in rows)
    with puller.writing() as db:
        put_units(db, rows)
        forget_units(db, puller.name, "", forgotten)
        if job.since is None:
            for unit in rows:
                if unit.state == "complete":
                    clear_set_aside(db, puller.name, unit.query, "", puller.run)
        if is_complete:
            cohort = members(db, puller.name)
            known = bulk_jobs.read_in_full(db, puller.name)
            bulk_jobs.note_read_in_full(db, puller.name, [one for one in cohort if job.since is None or one in known])
        bulk_jobs.is_over(db, job, "taken in")


def _noted(unit: Unit, noted: Counter[str]) -> Unit:
    every = Counter(unit.notes) + Counter({name: count for name, count in noted.items() if name != "retries"})
    return replace(unit, notes=dict(sorted(every.items())), retries=noted["retries"])


def _closed(unit: Unit, moment: str | None, full: str | None) -> Unit:
    if unit.state != "complete":
        return unit
    return replace(unit, watermark=moment, read_in_full=full or unit.read_in_full)
