"""The SQLite file of a study: how it is opened, and transactions.

Mode 0600, WAL, synchronous=FULL: what is committed survives kill -9 and a power cut.
"""

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from dm_fhir.errors import StoreError
from dm_fhir.store.backup import check_drug, check_version, copy_store
from dm_fhir.store.place import check_private, create_private
from dm_fhir.store.schema import SCHEMA_VERSION, migrate, version
from dm_fhir.store.turns import SharedConnection, alone

T = TypeVar("T")
_PATIENCE_SECONDS = 30
_CACHE_KIB = 8_000  # more of a large store's indexes the operating system keeps at hand
_PAGE_BYTES = 16_384  # a block of compressed resources fits into a few
_PAGES_BETWEEN_CHECKPOINTS = 4_000  # 64 MB: each checkpoint writes what was committed a second time
_HINT = "is [store] path right, and the disk not full?"


def open_store(
    path: Path, drug: str, say: Callable[[str], None] = lambda _: None, *, shared: bool = False
) -> sqlite3.Connection:
    """The study's store, made if there is none. One of an earlier version is kept beside it and becomes one of this; `say` is told.

    `shared`: it may lie where others can read or replace it. Raises StoreError if it is another drug's, newer, or no store at
    all, ConfigError if it is not private.
    """
    if path.is_file():
        _check_database(path)
    if not shared:
        check_private(path)
    if not path.exists():
        create_private(path)
    with ExitStack() as on_failure:
        try:
            db = sqlite3.connect(
                path, isolation_level=None, timeout=_PATIENCE_SECONDS, check_same_thread=False, factory=SharedConnection
            )
            on_failure.callback(db.close)
            _check_ours(db, path, drug)
            db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # holds for a new file only
            _switch_to_wal(db)
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_BETWEEN_CHECKPOINTS}")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            db.execute("PRAGMA foreign_keys = ON")
            if version(db) < SCHEMA_VERSION:
                _renew(db, path, say)
            check_drug(path, setting(db, "drug", drug), drug)
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path} cannot be used as a store: {error}", hint=_HINT) from error
        on_failure.pop_all()
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, on disk when it ends, and no other thread's. Raises StoreError when the disk is full or the file in use."""
    with alone(db):
        try:
            db.execute("BEGIN IMMEDIATE")
            yield
            db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise StoreError(
                    _no_space(db), hint="free some space, then run again: nothing committed is lost"
                ) from error
            raise StoreError(f"the store cannot be written: {error}", hint=_HINT) from error
        finally:
            if db.in_transaction:  # a full disk may have rolled back already
                db.execute("ROLLBACK")


@contextmanager
def quick_commits(db: sqlite3.Connection) -> Iterator[None]:
    """Commits that survive kill -9 at once and a power cut a moment later: for what can be asked for again."""
    db.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        db.execute("PRAGMA synchronous = FULL")


def setting(db: sqlite3.Connection, name: str, default: str) -> str:
    """The store's own setting `name`, kept as `default` the first time it is asked for."""
    db.execute("INSERT OR IGNORE INTO setting VALUES (?, ?)", (name, default))
    row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return str(row[0])


#: Long statements, since each gives other threads their turn; not longer, since each is kept ready, with its values, in memory.
_ROWS_PER_STATEMENT = 500


def marks(rows: int, columns: int) -> str:
    """`(?, ?), (?, ?)`: one statement for many rows, since each statement gives other threads their turn."""
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * rows)


def batched(items: Sequence[T], size: int = _ROWS_PER_STATEMENT) -> Iterator[Sequence[T]]:
    """The items in runs of at most `size`: as many as one statement takes, where nothing else is said."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def size_bytes(db: sqlite3.Connection) -> int:
    """How large the store's file is."""
    pages, page = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
    return pages * page


def note_growth(db: sqlite3.Connection, size_bytes_before: int) -> None:
    """Remember how much a whole pull has added to the store."""
    grown = max(0, size_bytes(db) - size_bytes_before)
    if grown:
        db.execute("INSERT OR REPLACE INTO setting VALUES ('bytes of the last pull', ?)", (str(grown),))


def space_warning(db: sqlite3.Connection) -> str | None:
    """What to say before a pull when less is free than three times what the last one took; None if there is enough."""
    row = db.execute("SELECT value FROM setting WHERE name = 'bytes of the last pull'").fetchone()
    folder = path_of(db).parent
    free = shutil.disk_usage(folder).free
    if row is None or free >= 3 * int(row[0]):
        return None
    return f"only {free // 10**6} MB of space are left in {folder}; the last pull took {int(row[0]) // 10**6} MB"


def path_of(db: sqlite3.Connection) -> Path:
    """Where the store's file is."""
    return Path(str(db.execute("PRAGMA database_list").fetchone()[2]))


def _no_space(db: sqlite3.Connection) -> str:
    needed_mb = max(10, size_bytes(db) // 10**6)
    return f"no space left in {path_of(db).parent}; at least {needed_mb} MB needed"


def _check_database(path: Path) -> None:
    """SQLite would take a file of a few bytes for an empty database."""
    with path.open("rb") as file:
        if file.read(16) not in (b"", b"SQLite format 3\0"):
            raise StoreError(f"{path} cannot be used as a store: it is not a database", hint=_HINT)


def _check_ours(db: sqlite3.Connection, path: Path, drug: str) -> None:
    """Before anything is changed in the file: it may be another program's database, or another study's."""
    db.execute("BEGIN")  # both as of one moment: another process may be making the store
    theirs = version(db)
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    drugs = db.execute("SELECT value FROM setting WHERE name = 'drug'").fetchall() if "setting" in tables else []
    db.execute("COMMIT")
    if tables and ("setting" not in tables or theirs == 0):
        raise StoreError(f"{path} is another program's database", hint=_HINT)
    check_version(path, theirs)
    for (theirs_drug,) in drugs:
        check_drug(path, theirs_drug, drug)


def _switch_to_wal(db: sqlite3.Connection) -> None:
    """It needs the file for itself for a moment, and for that SQLite does not wait by itself."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _renew(db: sqlite3.Connection, path: Path, say: Callable[[str], None]) -> None:
    """Make the tables, or those of an earlier version into these: all of it or nothing, with the store as it was kept beside it."""
    with transaction(db):
        before = version(db)  # another process may have done it by now
        if 0 < before < SCHEMA_VERSION:
            kept = path.with_name(f"{path.name}.version-{before}.backup")
            say(
                f"the store becomes one of version {SCHEMA_VERSION}; as it is, of version {before}, it is kept as {kept}"
            )
            copy_store(path, kept, spare_bytes=size_bytes(db))  # what changes is written anew
        migrate(db)
