"""The SQLite file of a study: its tables, how it is opened, and transactions.

Mode 0600, WAL, synchronous=FULL: what is committed survives kill -9 and a power cut.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dm_fhir.errors import StoreError

SCHEMA_VERSION = 1
_PATIENCE_SECONDS = 30
_HINT = "is [store] path right, and the disk not full?"

_SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE run (
  id INTEGER PRIMARY KEY, command TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, exit_code INTEGER, pid INTEGER NOT NULL
) STRICT;
-- The ledger: one row per site x patient x query. `patient` is '' for queries that are not one patient's.
CREATE TABLE unit (
  site TEXT NOT NULL, patient TEXT NOT NULL, query TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('complete', 'partial', 'failed', 'refused', 'unsupported')),
  expected INTEGER, received INTEGER NOT NULL, "unique" INTEGER NOT NULL, pages INTEGER NOT NULL, retries INTEGER NOT NULL,
  reason TEXT, message TEXT, notes TEXT NOT NULL, watermark TEXT, run INTEGER NOT NULL REFERENCES run, ended TEXT NOT NULL,
  PRIMARY KEY (site, patient, query)
) STRICT, WITHOUT ROWID;
-- The current version of every resource, as the bytes that were sent.
CREATE TABLE resource (
  site TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version TEXT, last_updated TEXT, hash TEXT NOT NULL,
  subject TEXT, run INTEGER NOT NULL REFERENCES run, body BLOB NOT NULL, UNIQUE (site, type, id)
) STRICT;
CREATE INDEX resource_by_subject ON resource (site, subject);
-- Every version that is no longer current.
CREATE TABLE resource_version (
  site TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version TEXT, last_updated TEXT, hash TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES run, body BLOB NOT NULL, UNIQUE (site, type, id, hash)
) STRICT;
-- What arrived and cannot be kept as a resource: its bytes, where it stood and why.
CREATE TABLE quarantine (
  site TEXT NOT NULL, patient TEXT NOT NULL, query TEXT NOT NULL, place TEXT NOT NULL, reason TEXT NOT NULL,
  hash TEXT NOT NULL, run INTEGER NOT NULL REFERENCES run, body BLOB NOT NULL, UNIQUE (site, patient, query, place, hash)
) STRICT;
CREATE TABLE case_document (
  site TEXT NOT NULL, patient TEXT NOT NULL, fingerprint TEXT NOT NULL, state TEXT NOT NULL, run INTEGER NOT NULL REFERENCES run,
  body BLOB NOT NULL, PRIMARY KEY (site, patient)
) STRICT;
CREATE TABLE finding (
  site TEXT NOT NULL, patient TEXT NOT NULL, code TEXT NOT NULL, severity TEXT NOT NULL, reference TEXT NOT NULL, path TEXT,
  done TEXT NOT NULL
) STRICT;
CREATE INDEX finding_by_case ON finding (site, patient);
CREATE TABLE outcome (
  site TEXT NOT NULL, patient TEXT NOT NULL, variable TEXT NOT NULL, about TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (site, patient, variable, about)
) STRICT;
-- What we wrote, by its identifier. `state` is 'sending' from before the request until the answer is read back.
CREATE TABLE push (
  site TEXT NOT NULL, identifier TEXT NOT NULL, patient TEXT NOT NULL, variable TEXT NOT NULL, about TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('sending', 'confirmed', 'rejected', 'conflict', 'retracted')),
  server_id TEXT, version TEXT, hash TEXT NOT NULL, message TEXT, body BLOB NOT NULL, run INTEGER NOT NULL REFERENCES run, "when" TEXT NOT NULL,
  PRIMARY KEY (site, identifier)
) STRICT;
"""


def open_store(path: Path, drug: str) -> sqlite3.Connection:
    """The study's store, made if there is none. Raises StoreError if it is another drug's, newer, or no store at all."""
    if path.is_file():
        _check_database(path)
    elif not path.exists():
        _create_private(path)
    with ExitStack() as on_failure:
        try:
            db = sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE_SECONDS)
            on_failure.callback(db.close)
            _check_ours(db, path)
            _switch_to_wal(db)
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            _migrate(db)
            _check_drug(db, path, drug)
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path} cannot be used as a store: {error}", hint=_HINT) from error
        on_failure.pop_all()
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, on disk when it ends. Raises StoreError when the disk is full or the file in use."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise StoreError(f"the store cannot be written: {error}", hint=_HINT) from error
    finally:
        if db.in_transaction:  # a full disk may have rolled back already
            db.execute("ROLLBACK")


def setting(db: sqlite3.Connection, name: str, default: str) -> str:
    """The store's own setting `name`, kept as `default` the first time it is asked for."""
    db.execute("INSERT OR IGNORE INTO setting VALUES (?, ?)", (name, default))
    row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return str(row[0])


def _create_private(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(
            f"{path} cannot be made: {error.strerror}", hint="set [store] path to a folder you may write"
        ) from error


def _check_database(path: Path) -> None:
    """SQLite would take a file of a few bytes for an empty database."""
    with path.open("rb") as file:
        if file.read(16) not in (b"", b"SQLite format 3\0"):
            raise StoreError(f"{path} cannot be used as a store: it is not a database", hint=_HINT)


def _check_ours(db: sqlite3.Connection, path: Path) -> None:
    """Before anything is changed in the file: it may be another program's database."""
    db.execute("BEGIN")  # both as of one moment: another process may be making the store
    version = _version(db)
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    db.execute("COMMIT")
    if tables and ("setting" not in tables or version == 0):
        raise StoreError(f"{path} is another program's database", hint=_HINT)
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer dm-fhir (store version {version})",
            hint="install that version or a later one",
        )


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


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _migrate(db: sqlite3.Connection) -> None:
    """Make the tables, unless another process has just done so."""
    with transaction(db):
        if _version(db) == 0:
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _check_drug(db: sqlite3.Connection, path: Path, drug: str) -> None:
    theirs = setting(db, "drug", drug)
    if theirs != drug:
        raise StoreError(
            f"{path} is the store of a study of {theirs}, the config says {drug}",
            hint="give this study a store of its own: [store] path",
        )
