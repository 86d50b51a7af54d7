"""Whole copies of a store: made while others write it, checked before they have their name, and put back in its place."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from dm_fhir.errors import StoreError

#: So many pages are copied, and so many in all.
Progress = Callable[[int, int], None]

_PAGES_AT_A_TIME = 1_000
_BESIDE = ("-wal", "-shm", "-journal")
_DAMAGED = "put back an earlier copy: dm-fhir restore FILE"


def copy_store(path: Path, target: Path, progress: Progress | None = None, *, spare_bytes: int = 0) -> int:
    """Copy the store at `path` to `target`, as it is at one moment while others may write it; the copy's size in bytes.

    The copy is one file, mode 0600. It has its name only once it is whole, checked and on disk; a file of that name is then
    replaced. Raises StoreError where the store is damaged, the copy cannot be written, or would leave less than `spare_bytes`
    free.
    """
    partial = target.with_name(f"{target.name}.partial")
    try:
        with _reading(path) as source:
            _check_space(source, target, spare_bytes)
            try:
                _write(source, partial, progress or (lambda _done, _total: None))
            except sqlite3.OperationalError as error:
                raise StoreError(f"{target} cannot be written: {error}", hint="is the disk full?") from error
        size = partial.stat().st_size
        partial.replace(target)
        _to_disk(target.parent)
    except OSError as error:
        raise StoreError(
            f"{target} cannot be written: {error.strerror or error}", hint="name a place that you may write"
        ) from error
    finally:
        remove_store(partial)
    return size


def identity(path: Path) -> tuple[int, str]:
    """The version and the drug of the store at `path`, which is not changed; 0 and "" for what is no store of this program.

    Raises StoreError where the file cannot be read.
    """
    with _reading(path) as db:
        theirs = int(db.execute("PRAGMA user_version").fetchone()[0])
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not theirs or "setting" not in tables:
            return 0, ""
        row = db.execute("SELECT value FROM setting WHERE name = 'drug'").fetchone()
        return theirs, row[0] if row else ""


def put_in_place(copy: Path, path: Path, aside: Path) -> None:
    """Make `copy` the store at `path`. A store that is there becomes `aside`, also if it is damaged.

    At every moment one of the two is at `path`, whole. Call it under the store's lock. Raises StoreError where another process
    is using the store.
    """
    try:
        if path.exists():
            _settle(path)
        for suffix in _BESIDE:  # what SQLite puts beside a store must never meet another store
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
        if path.exists():
            _second_name(path, aside)
        copy.replace(path)
        _to_disk(path.parent)
    except OSError as error:
        raise StoreError(f"{path} cannot be replaced: {error.strerror or error}") from error


def remove_store(path: Path) -> None:
    """Remove the file and what SQLite puts beside it, as far as they are there."""
    for suffix in ("", *_BESIDE):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, to be read and never changed, as it is now: what others write meanwhile is not seen."""
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None)
        ) as db:
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on, not from BEGIN
            yield db
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} cannot be read as a store: {error}", hint=_DAMAGED) from error


def _write(source: sqlite3.Connection, partial: Path, progress: Progress) -> None:
    """The copy in a file of its own, closed and on disk."""
    remove_store(partial)  # of a process that was killed
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
        source.backup(copy, pages=_PAGES_AT_A_TIME, progress=lambda _, left, total: progress(total - left, total))
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, which also opens where nothing can be written
        found = [row[0] for row in copy.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise StoreError(f"the store is damaged, and so is its copy: {'; '.join(found)}", hint=_DAMAGED)
    _to_disk(partial)


def _check_space(source: sqlite3.Connection, target: Path, spare_bytes: int) -> None:
    pages, page = (int(source.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
    needed, free = pages * page + spare_bytes, shutil.disk_usage(target.parent).free
    if free < needed:
        raise StoreError(
            f"no space left in {target.parent} for a copy of the store; {needed // 10**6 + 1} MB needed, "
            f"{free // 10**6} MB free",
            hint="free some space, then run again: nothing was changed",
        )


def _settle(path: Path) -> None:
    """All of the store into its one file, so that it can be moved; what is too damaged for that is moved as it is."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as db:
        try:
            is_busy = bool(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        except sqlite3.DatabaseError as error:
            is_busy = error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if is_busy:
        raise StoreError(f"{path} is being used by another process", hint="wait for it to end, then run again")


def _second_name(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except OSError:  # a file system without links
        shutil.copy2(path, name)


def _to_disk(path: Path) -> None:
    """Wait until the file, or the folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
