"""Whole copies of a store: made while others write it, checked before they have their name, and put back in its place."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from dm_fhir.errors import StoreError
from dm_fhir.store.schema import SCHEMA_VERSION

#: So many pages are copied, and so many in all.
Progress = Callable[[int, int], None]

_PAGES_AT_A_TIME = 1_000
_PATIENCE_SECONDS = 5
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
                found = _write(source, partial, progress or (lambda _done, _total: None))
            except sqlite3.OperationalError as error:
                raise StoreError(f"{target} cannot be written: {error}", hint="is the disk full?") from error
        if found:
            raise StoreError(f"{path} is damaged: {found}", hint=_DAMAGED)
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


class About(NamedTuple):
    """What a store says of itself: the version of its tables, its drug, how many runs, when the newest began (None: no run)."""

    version: int
    drug: str
    runs: int
    newest_run: str | None


def about(path: Path) -> About:
    """What the store at `path` says of itself; it is not changed. Raises StoreError where it is none, or cannot be read."""
    with _reading(path) as db:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        drug = db.execute("SELECT value FROM setting WHERE name = 'drug'").fetchone() if "setting" in tables else None
        if not version or drug is None:
            raise StoreError(f"{path} is no store of dm-fhir", hint="a copy is made with: dm-fhir backup FILE")
        return About(version, drug[0], *db.execute("SELECT count(*), max(started) FROM run").fetchone())


def restore_store(source: Path, path: Path, drug: str, progress: Progress | None = None) -> Path | None:
    """Put a copy of `source` in the place of the store at `path`; under what name that is kept, None where there was none.

    Call it under the store's lock. Raises StoreError, and changes nothing, where `source` is damaged, another drug's, newer, or
    no store, and where another process is using the store.
    """
    path = path.resolve()  # a link stays one
    theirs = about(source)
    check_version(source, theirs.version)
    check_drug(source, theirs.drug, drug)
    aside = _unused(path.with_name(f"{path.name}.before-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"))
    fresh = path.with_name(f"{path.name}.restored")
    try:
        copy_store(source, fresh, progress)
        return aside if _put_in_place(fresh, path, aside) else None
    finally:
        remove_store(fresh)


def _put_in_place(copy: Path, path: Path, aside: Path) -> bool:
    """Make `copy` the store at `path`. A store that is there becomes `aside`, also if it is damaged; whether there was one.

    At every moment one of the two is at `path`, whole.
    """
    try:
        was_there = path.exists()
        if was_there:
            _settle(path)
        for suffix in _BESIDE:  # what SQLite puts beside a store must never meet another store
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + suffix))
        if was_there:
            _second_name(path, aside)
        copy.replace(path)
        _to_disk(path.parent)
        return was_there
    except OSError as error:
        raise StoreError(f"{path} cannot be replaced: {error.strerror or error}") from error


def check_version(path: Path, theirs: int) -> None:
    """Raises StoreError where the store at `path` is of a version that this program does not know yet."""
    if theirs > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer dm-fhir (store version {theirs}; this one knows {SCHEMA_VERSION})",
            hint="install that version or a later one",
        )


def check_drug(path: Path, theirs: str, drug: str) -> None:
    """Raises StoreError where the store at `path` is another drug's."""
    if theirs != drug:
        raise StoreError(
            f"{path} is the store of a study of {theirs}, the config says {drug}",
            hint="give this study a store of its own: [store] path",
        )


def remove_store(path: Path) -> None:
    """Remove the file and what SQLite puts beside it, as far as they are there."""
    for suffix in ("", *_BESIDE):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, to be read, as it is now: what others write meanwhile is not seen. It must exist."""
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=rw", uri=True, isolation_level=None)
        ) as db:
            db.execute("BEGIN")  # as of the first thing that is read
            yield db
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} cannot be read as a store: {error}", hint=_DAMAGED) from error


def _write(source: sqlite3.Connection, partial: Path, progress: Progress) -> str:
    """The copy in a file of its own, closed and on disk; what is damaged in it, "" if nothing."""
    remove_store(partial)  # of a process that was killed
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
        source.backup(copy, pages=_PAGES_AT_A_TIME, progress=lambda _, left, total: progress(total - left, total))
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, which also opens where nothing can be written
        found = _damage(copy)
    _to_disk(partial)
    return found


def _damage(db: sqlite3.Connection) -> str:
    try:
        found = [row[0] for row in db.execute("PRAGMA integrity_check(3)")]
    except sqlite3.DatabaseError as error:  # so bad that it cannot even be checked
        return str(error)
    return "" if found == ["ok"] else "; ".join(found)


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
    with closing(sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE_SECONDS)) as db:
        try:
            is_busy = bool(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        except sqlite3.DatabaseError as error:
            is_busy = error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if is_busy:
        raise StoreError(f"{path} is being used by another process", hint="wait for it to end, then run again")


def _unused(name: Path) -> Path:
    """The name, with a number behind it where there is such a file."""
    numbered = (name.with_name(f"{name.name}-{number}") for number in count(2))
    return next(one for one in chain([name], numbered) if not one.exists())


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
