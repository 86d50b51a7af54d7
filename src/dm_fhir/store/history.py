"""Where a record came from: the versions that are kept of it, the run that brought each, and the queries that ask for it."""

import sqlite3
from typing import NamedTuple

from dm_fhir.store.ledger import Run


class Version(NamedTuple):
    """One kept version of a resource. `hash` is the SHA-256 of its bytes, `run` the run that brought it.

    `origin` (`server` or `file`) and `deleted` (when the server was found to have it no longer) are those of the resource.
    """

    version: str | None
    last_updated: str | None
    hash: str
    run: int
    is_current: bool
    origin: str
    deleted: str | None


def versions(db: sqlite3.Connection, site: str, reference: str) -> list[Version]:
    """Every version of `Type/id`, the current one first; empty if it was never here."""
    type_name, _, id_ = reference.partition("/")
    key = (site, type_name, id_)
    current = db.execute(
        "SELECT version, last_updated, hash, run, 1, origin, deleted FROM resource WHERE site = ? AND type = ? AND id = ?",
        key,
    ).fetchone()
    if current is None:
        return []
    older = db.execute(
        "SELECT version, last_updated, hash, run, 0, ?, ? FROM resource_version "
        "WHERE site = ? AND type = ? AND id = ? AND hash <> ? ORDER BY run DESC, last_updated DESC",
        (*current[-2:], *key, current[2]),
    )
    return [Version._make(row)._replace(is_current=bool(row[4])) for row in (current, *older)]


def run_numbered(db: sqlite3.Connection, number: int) -> Run | None:
    """The run of that number; None if there is none."""
    row = db.execute("SELECT id, command, started, ended, exit_code, pid FROM run WHERE id = ?", (number,)).fetchone()
    return Run(*row) if row else None


def asking_queries(db: sqlite3.Connection, site: str, patient: str, type_name: str, origin: str) -> list[str]:
    """The queries of the ledger that ask for this type of this patient's records; for what came in files, the files.

    The ledger counts what each query brought, not which: several queries may have brought the same record.
    """
    rows = db.execute(
        "SELECT DISTINCT query FROM unit WHERE site = ? AND patient IN (?, '') ORDER BY patient DESC, query",
        (site, patient),
    )
    names = [row[0] for row in rows]
    if origin == "file":
        return [name for name in names if name.startswith("file: ")]
    return [name for name in names if _type(name) == type_name]


def _type(query: str) -> str:
    """The type that a query asks for."""
    name = query.removeprefix("cohort: ")
    return name.replace("?", " ").replace(",", " ").partition(" ")[0]


def subject_of(db: sqlite3.Connection, site: str, reference: str) -> str | None:
    """Whose a stored resource is; None if it is not here or names nobody."""
    type_name, _, id_ = reference.partition("/")
    row = db.execute(
        "SELECT subject FROM resource WHERE site = ? AND type = ? AND id = ?", (site, type_name, id_)
    ).fetchone()
    return row[0] if row else None
