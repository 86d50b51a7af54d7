"""The bulk export that a site's server prepares, and its files: whoever is killed goes on with the same one.

A site has one export under way at most. Its address is kept before it is first asked how far it is.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from dm_fhir.store.ledger import Unit, now

#: `asked`: nobody knows whether the server has begun. `preparing`, `listed` (its files are known), `taken in`, `given up`;
#: of these two only the server must still be told. `ended`.
State = Literal["asked", "preparing", "listed", "taken in", "given up", "ended"]
Kind = Literal["output", "deleted", "error"]


class BulkJob(msgspec.Struct, frozen=True):
    """An export. `asked` changes with what is asked for, `since` is the `_since` that it was asked with, None: everything.

    `url` is where it is asked how far it is, None as long as the server has not said. `transaction_time` is the server's own
    word for as of when its files are, None until they are known; `needs_token`: whether they are downloaded with the login, None
    where the server does not say. `faults` says what of the list of files cannot be used. `marks` has, by the query of each unit,
    its watermark and when it was read in full as the export began.
    """

    number: int
    site: str
    asked: str
    since: str | None
    begun: str
    run: int
    state: State
    url: str | None = None
    transaction_time: str | None = None
    needs_token: bool | None = None
    faults: str | None = None
    marks: dict[str, tuple[str | None, str | None]] = {}


class BulkFile(msgspec.Struct, frozen=True):
    """A file of an export. `expected` is how many lines the server says it has, None where it does not.

    `name` is the file in the export's folder, with so many `bytes` and `lines`; None until it has been downloaded.
    """

    kind: Kind
    number: int
    type: str
    url: str
    expected: int | None = None
    name: str | None = None
    bytes: int | None = None
    lines: int | None = None


_JOB = "number, site, asked, since, begun, run, state, url, transaction_time, needs_token, faults, marks"
_MARKS = dict[str, tuple[str | None, str | None]]
_FILE = "kind, number, type, url, expected, name, bytes, lines"


def open_job(db: sqlite3.Connection, site: str) -> BulkJob | None:
    """The site's export that has not ended; None if there is none."""
    row = db.execute(f"SELECT {_JOB} FROM bulk_job WHERE site = ? AND state <> 'ended'", (site,)).fetchone()
    if row is None:
        return None
    job = dict(zip(BulkJob.__struct_fields__, row, strict=True))
    needs_token, marks = job["needs_token"], msgspec.json.decode(job["marks"], type=_MARKS)
    return BulkJob(**job | {"needs_token": None if needs_token is None else bool(needs_token), "marks": marks})


def begin_job(
    db: sqlite3.Connection, site: str, asked: str, since: str | None, units: Mapping[str, Unit], run: int
) -> BulkJob:
    """Note that an export is about to be asked for, and how its `units`, by their queries, stand."""
    begun = now()
    marks = {query: (unit.watermark, unit.read_in_full) for query, unit in units.items()}
    cursor = db.execute(
        "INSERT INTO bulk_job (site, asked, since, begun, run, state, marks) VALUES (?, ?, ?, ?, ?, 'asked', ?)",
        (site, asked, since, begun, run, msgspec.json.encode(marks).decode()),
    )
    return BulkJob(int(cursor.lastrowid or 0), site, asked, since, begun, run, "asked", marks=marks)


def note_url(db: sqlite3.Connection, job: BulkJob, url: str, since: str | None) -> BulkJob:
    """The server has begun, with or without the `since` that it was asked with: there it is asked how far it is."""
    db.execute("UPDATE bulk_job SET state = 'preparing', url = ?, since = ? WHERE number = ?", (url, since, job.number))
    return replace(job, state="preparing", url=url, since=since)


def note_files(
    db: sqlite3.Connection,
    job: BulkJob,
    transaction_time: str | None,
    files: Iterable[BulkFile],
    *,
    needs_token: bool | None,
    faults: str | None,
) -> BulkJob:
    """The export is ready: its files are known. What was downloaded of an earlier list of the same files stays so.

    Files that are as of another moment now are others: of two moments together something would be missing.
    """
    files = list(files)
    before = _by_path(files_of(db, job)) if transaction_time == job.transaction_time else {}
    unique = _by_path(files).keys()
    db.execute("DELETE FROM bulk_file WHERE job = ?", (job.number,))
    for one in files:
        key = _key(one)
        had = before.get(key) if key in unique else None
        if had and had.number != one.number:
            had = None  # its file has the name that another's is going to have
        have = (had.name, had.bytes, had.lines) if had and had.expected == one.expected else (None, None, None)
        db.execute(
            "INSERT INTO bulk_file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (job.number, one.kind, one.number, one.type, one.url, one.expected, *have),
        )
    db.execute(
        "UPDATE bulk_job SET state = 'listed', transaction_time = ?, needs_token = ?, faults = ? WHERE number = ?",
        (transaction_time, needs_token, faults, job.number),
    )
    return replace(job, state="listed", transaction_time=transaction_time, needs_token=needs_token, faults=faults)


def _by_path(files: Sequence[BulkFile]) -> dict[tuple[str, str, str], BulkFile]:
    """The files by what stays the same under a new signature; without those that differ in nothing else than what may be one."""
    count = Counter(map(_key, files))
    return {_key(one): one for one in files if count[_key(one)] == 1}


def _key(file: BulkFile) -> tuple[str, str, str]:
    return file.kind, file.type, file.url.partition("?")[0]


def files_of(db: sqlite3.Connection, job: BulkJob) -> list[BulkFile]:
    """The files of an export, in order of kind and number."""
    rows = db.execute(f"SELECT {_FILE} FROM bulk_file WHERE job = ? ORDER BY kind, number", (job.number,))
    return [BulkFile(*row) for row in rows]


def note_download(db: sqlite3.Connection, job: BulkJob, file: BulkFile, name: str, size_bytes: int, lines: int) -> None:
    """The file is in the export's folder, whole."""
    db.execute(
        "UPDATE bulk_file SET name = ?, bytes = ?, lines = ? WHERE job = ? AND kind = ? AND number = ?",
        (name, size_bytes, lines, job.number, file.kind, file.number),
    )


def list_again(db: sqlite3.Connection, job: BulkJob) -> BulkJob:
    """Its files are no longer where they were: the server is asked for them again."""
    db.execute("UPDATE bulk_job SET state = 'preparing' WHERE number = ?", (job.number,))
    return replace(job, state="preparing")


def is_over(db: sqlite3.Connection, job: BulkJob, state: Literal["taken in", "given up"]) -> None:
    """Nothing is wanted of it any more; the server must still be told."""
    db.execute("UPDATE bulk_job SET state = ? WHERE number = ?", (state, job.number))


def end_job(db: sqlite3.Connection, job: BulkJob) -> None:
    """The server knows. The addresses of its files, which may let in whoever has them, are forgotten."""
    db.execute("DELETE FROM bulk_file WHERE job = ?", (job.number,))
    db.execute("UPDATE bulk_job SET state = 'ended', url = NULL, ended = ? WHERE number = ?", (now(), job.number))


def transaction_times(db: sqlite3.Connection, site: str) -> list[str]:
    """As of when the exports of a site were, each in the words of its server; the newest last."""
    rows = db.execute(
        "SELECT transaction_time FROM bulk_job WHERE site = ? AND transaction_time IS NOT NULL ORDER BY number", (site,)
    )
    return [row[0] for row in rows]


def read_in_full(db: sqlite3.Connection, site: str) -> set[str]:
    """The patients of whom an export has brought everything; of others changes alone do not suffice."""
    return {row[0] for row in db.execute("SELECT patient FROM bulk_patient WHERE site = ?", (site,))}


def note_read_in_full(db: sqlite3.Connection, site: str, patients: Collection[str]) -> None:
    """These patients, and nobody else: whoever left the cohort lacks what changed since."""
    db.execute("DELETE FROM bulk_patient WHERE site = ?", (site,))
    db.executemany("INSERT INTO bulk_patient VALUES (?, ?)", [(site, patient) for patient in sorted(patients)])


def not_read_in_full(db: sqlite3.Connection, site: str, patients: Sequence[str]) -> list[str]:
    """Those of the patients of whom no export has brought everything."""
    known = read_in_full(db, site)
    return [patient for patient in patients if patient not in known]
