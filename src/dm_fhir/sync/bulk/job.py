"""A job from its kick-off to its end: begun or gone on with, waited for, downloaded, deleted on the server."""

import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from dm_fhir.errors import LoginRefused, RequestFailed, ServerUnavailable
from dm_fhir.fhir.bulk import Waiting, awaited, delete_job
from dm_fhir.fhir.bulk_kick_off import kick_off
from dm_fhir.fhir.download import download
from dm_fhir.store import bulk_jobs
from dm_fhir.store.bulk_jobs import BulkFile, BulkJob, files_of
from dm_fhir.store.database import path_of
from dm_fhir.store.ledger import Unit, forget_units, units_of_nobody
from dm_fhir.sync.bulk.order import BULK, ERROR, Order, unit_of
from dm_fhir.sync.cohort import COHORT
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.workers import Job, work_off

#: How a step's progress is shown: `steps("download")(site, 3, 10)`, `steps("read", "MB")(site, 3, 10)`.
Steps = Callable[..., Callable[[str, int, int], None]]
#: What was noted while speaking with the server, by the query of the unit that says it.
Notes = defaultdict[str, Counter[str]]
#: Reasons of a RequestFailed: the server has prepared it for longer than it may take; a file is not handed out (any more).
TOO_LONG, EXPIRED = "export-too-long", "file-expired"
#: States of a job of which nothing is wanted any more.
_OVER = ("taken in", "given up")
#: A file with fewer lines than announced may have been cut at the end of one: it is downloaded once more.
_TRIES_OF_A_SHORT_FILE = 2


def at_hand(puller: Puller, order: Order, remarks: list[str]) -> BulkJob | None:
    """The job to go on with, after those that are over or no longer wanted were ended; None: there is none.

    Raises RequestFailed for one that the server has prepared for too long: it is given up.
    """
    with puller.reading() as db:
        job = bulk_jobs.open_job(db, puller.name)
    if job is None:
        clear_spool(puller)
        return None
    if job.state in _OVER:
        if not end(puller, job):
            remarks.append(
                "again the server could not be told that an earlier export is no longer needed; it may still keep it"
            )
        return None
    if job.url is None:
        remarks.append(
            "whether the server has begun the export of an interrupted run nobody knows; it is asked for anew"
        )
        give_up(puller, job)
        return None
    if job.asked != order.asked or (puller.full and job.since is not None):
        why = "of changes only" if job.asked == order.asked else "of something else than is asked for now"
        remarks.append(f"an export was under way {why}: it is deleted")
        give_up(puller, job)
        return None
    days = puller.site.bulk.longest_days
    if job.state == "preparing" and datetime.now(UTC) - datetime.fromisoformat(job.begun) > timedelta(days=days):
        with told_later(remarks):
            give_up(puller, job)
        raise RequestFailed(f"the server has not finished the export in {days:g} days; it is given up", reason=TOO_LONG)
    return job


def begin(
    puller: Puller, order: Order, since: str | None, units: Mapping[str, Unit], remarks: list[str], notes: Notes
) -> BulkJob:
    """Ask for the export. Its address is on disk before anything else is asked."""
    with puller.writing() as db:
        job = bulk_jobs.begin_job(db, puller.name, order.asked, since, units, puller.run)
    try:
        begun = kick_off(puller.connection, order.export(since), notes[ERROR])
    except (RequestFailed, ServerUnavailable, LoginRefused):
        with puller.writing() as db:
            bulk_jobs.end_job(db, job)
        raise
    if begun.left_out:
        remarks.append(f"the server's export does not take {', '.join(begun.left_out)}: it was asked without")
    with puller.writing() as db:
        return bulk_jobs.note_url(db, job, begun.url, None if "_since" in begun.left_out else since)


def wait(puller: Puller, job: BulkJob, steps: Steps, notes: Notes) -> BulkJob:
    """The job with its files noted, as soon as the server has them.

    Raises ServerUnavailable when that takes longer than this run may wait, RequestFailed where the export is over.
    """
    patience = puller.site.pull.waiting_budget_seconds
    waited = [0.0]

    def tell(found: Waiting) -> None:
        if found.percent is not None:
            steps("prepare", "%")(puller.name, found.percent, 100)
        else:
            steps("wait", "s")(puller.name, round(waited[0]), round(patience))
        waited[0] += found.seconds or 1

    manifest = awaited(puller.connection, job.url or "", patience, tell, notes[ERROR])
    listed: list[BulkFile] = []
    for kind in ("output", "deleted", "error"):
        files = getattr(manifest, kind)
        listed += [BulkFile(kind, n, one.type, one.url, one.count) for n, one in enumerate(files, start=1)]
    with puller.writing() as db:
        return bulk_jobs.note_files(
            db,
            job,
            manifest.transaction_time,
            listed,
            needs_token=manifest.requires_access_token,
            faults="; ".join(manifest.faults[:3]) or None,
        )


def download_all(
    puller: Puller, job: BulkJob, types: Sequence[str], steps: Steps, notes: Notes
) -> dict[str, list[RequestFailed]]:
    """Download every file that is not here yet, as many at a time as the site allows; by type, why some could not be.

    What of the manifest nobody asked for is left. Raises ServerUnavailable, LoginRefused, StoreError.
    """
    folder = spool_of(puller, job)
    for one in (folder.parent.parent, folder.parent, folder):
        one.mkdir(mode=0o700, exist_ok=True)
    failures: dict[str, list[RequestFailed]] = {}

    def fetch(file: BulkFile, noted: Counter[str]) -> Iterable[Job]:
        try:
            _fetched(puller, job, file, folder, noted)
        except RequestFailed as error:
            failures.setdefault(file.type if file.kind == "output" else file.kind, []).append(error)
        return []

    with puller.reading() as db:
        missing = [one for one in files_of(db, job) if is_wanted(one, types) and not _is_here(one, folder)]
    fetching = [(file, Counter[str]()) for file in missing]  # each its own: they are fetched side by side
    work_off(puller, [partial(fetch, file, noted) for file, noted in fetching], partial(steps("download"), puller.name))
    for file, noted in fetching:
        notes[unit_of(file.type) if file.kind == "output" else ERROR].update(noted)
    return failures


def is_wanted(file: BulkFile, types: Sequence[str]) -> bool:
    """Whether the file was asked for; what the export says of itself always was."""
    return file.kind != "output" or file.type in types


def has_expired(failures: dict[str, list[RequestFailed]]) -> bool:
    """Whether the server is to be asked anew where the files are."""
    return any(one.reason == EXPIRED for some in failures.values() for one in some)


def _fetched(puller: Puller, job: BulkJob, file: BulkFile, folder: Path, noted: Counter[str]) -> None:
    target = folder / f"{file.type if file.kind == 'output' else file.kind}-{file.number}.ndjson"
    for _ in range(_TRIES_OF_A_SHORT_FILE):
        target.unlink(missing_ok=True)  # whose content it was nobody has noted
        found = download(puller.connection, file.url, target, needs_login=job.needs_token, notes=noted)
        if file.expected is None or found.lines >= file.expected:
            break
    with puller.writing() as db:
        bulk_jobs.note_download(db, job, file, target.name, found.size_bytes, found.lines)


def _is_here(file: BulkFile, folder: Path) -> bool:
    """Whether it was downloaded, and is still what it was."""
    path = folder / (file.name or "")
    return file.name is not None and path.is_file() and path.stat().st_size == file.bytes


def give_up(puller: Puller, job: BulkJob) -> None:
    """Nobody wants the job any more: the server is told, and its files are removed."""
    with puller.writing() as db:
        bulk_jobs.is_over(db, job, "given up")
    end(puller, job)


def end(puller: Puller, job: BulkJob) -> bool:
    """Remove the job's files, and tell the server that it may forget it. Raises ServerUnavailable: then the next run does.

    False: that was the next run, and the server, which answers otherwise, could not be told again. No more is tried: an export that
    cannot be deleted must not keep every later one from being begun.
    """
    if not puller.site.bulk.keep_files:
        shutil.rmtree(spool_of(puller, job), ignore_errors=True)
        for folder in (_spool(puller), _spool(puller).parent):
            with suppress(OSError):  # there is something else in it, or nothing was ever downloaded
                folder.rmdir()
    is_told = True
    try:
        if job.url is not None:
            delete_job(puller.connection, job.url)
    except ServerUnavailable:
        if job.state not in _OVER:
            raise
        is_told = False
    with puller.writing() as db:
        bulk_jobs.end_job(db, job)
    return is_told


@contextmanager
def told_later(remarks: list[str]) -> Iterator[None]:
    """The block in which a job is ended: where the server cannot be told that is a remark, since the next run does it."""
    try:
        yield
    except ServerUnavailable as error:
        remarks.append(
            f"the server could not be told that its export is no longer needed; the next run does: {error.message}"
        )


def leave(puller: Puller) -> None:
    """The site is no longer pulled by exports: one under way is given up, and their units are forgotten."""
    with puller.reading() as db:
        job = bulk_jobs.open_job(db, puller.name)
        names = [one.query for one in units_of_nobody(db, puller.name)]
    queries = [name for name in names if name.removeprefix(f"{COHORT}: ").startswith(BULK)]
    if job is not None:
        give_up(puller, job)
    if queries:
        clear_spool(puller)
        with puller.writing() as db:
            forget_units(db, puller.name, "", queries)
            bulk_jobs.note_read_in_full(db, puller.name, ())


def spool_of(puller: Puller, job: BulkJob) -> Path:
    """The folder of a job's files: beside the store, and never that of another job, also where a store was put back."""
    begun = re.sub(r"\D", "", job.begun)
    return _spool(puller) / f"{job.number}-{begun}"


def clear_spool(puller: Puller) -> None:
    """Remove what a killed run has left of jobs that are over."""
    if not puller.site.bulk.keep_files:
        shutil.rmtree(_spool(puller), ignore_errors=True)


def _spool(puller: Puller) -> Path:
    store = path_of(puller.db)
    return store.with_name(f"{store.name}.bulk") / puller.name
