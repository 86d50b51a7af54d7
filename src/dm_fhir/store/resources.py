"""Resources as they were sent: the current version of each, and every older one."""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Protocol

Filed = Literal["new", "changed", "unchanged", "older"]


class Incoming(Protocol):
    """A resource on its way in."""

    @property
    def type(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def last_updated(self) -> str | None: ...
    @property
    def subject(self) -> str | None: ...
    @property
    def body(self) -> bytes: ...
    @property
    def hash(self) -> str: ...


class Stored(NamedTuple):
    """A resource's current version."""

    type: str
    id: str
    version: str | None
    last_updated: str | None
    body: bytes


def put_resource(db: sqlite3.Connection, site: str, resource: Incoming, run: int) -> Filed:
    """File one resource: as the current version, or as a past one if we hold a later one. Nothing is ever overwritten."""
    key = (site, resource.type, resource.id)
    current = db.execute(
        "SELECT hash, version, last_updated FROM resource WHERE site = ? AND type = ? AND id = ?", key
    ).fetchone()
    values = (resource.version, resource.last_updated, resource.hash)
    if current is None:
        db.execute(
            "INSERT INTO resource VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, *values, resource.subject, run, resource.body),
        )
        return "new"
    if current[0] == resource.hash or (None not in values and current[1:] == values[:2]):
        return "unchanged"
    if _is_before(resource.version, resource.last_updated, *current[1:]):
        db.execute(
            "INSERT OR IGNORE INTO resource_version VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, *values, run, resource.body),
        )
        return "older"
    db.execute(
        "INSERT OR IGNORE INTO resource_version SELECT site, type, id, version, last_updated, hash, run, body "
        "FROM resource WHERE site = ? AND type = ? AND id = ?", key,
    )  # fmt: skip
    db.execute(
        "UPDATE resource SET version = ?, last_updated = ?, hash = ?, subject = ?, run = ?, body = ? "
        "WHERE site = ? AND type = ? AND id = ?", (*values, resource.subject, run, resource.body, *key),
    )  # fmt: skip
    return "changed"


def _is_before(version: str | None, updated: str | None, their_version: str | None, their_updated: str | None) -> bool:
    """Whether the first is known to be older: by the server's clock, else by numbered versions."""
    ours, theirs = _moment(updated), _moment(their_updated)
    if ours and theirs and ours != theirs:
        return ours < theirs
    numbered = [int(v) for v in (version, their_version) if v and v.isdecimal() and len(v) < 20]
    return len(numbered) == 2 and numbered[0] < numbered[1]


def _moment(updated: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(updated or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def set_aside(
    db: sqlite3.Connection, site: str, patient: str, query: str, place: str, reason: str, body: bytes, run: int
) -> None:
    """Keep bytes that are no resource, with where they stood and why, and the run that saw them last."""
    digest = hashlib.sha256(body).hexdigest()
    db.execute(
        "INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET run = excluded.run",
        (site, patient, query, place, reason, digest, run, body),
    )


def clear_set_aside(db: sqlite3.Connection, site: str, query: str, patient: str, run: int) -> None:
    """Forget what earlier runs set aside of a query that `run` has read to its end: it did not see it again."""
    key = (site, query, patient, run)
    db.execute("DELETE FROM quarantine WHERE site = ? AND query = ? AND patient = ? AND run <> ?", key)


def has_set_aside(db: sqlite3.Connection, site: str, query: str, patient: str = "") -> bool:
    """Whether anything of this query is set aside."""
    key = (site, query, patient)
    return (
        db.execute("SELECT 1 FROM quarantine WHERE site = ? AND query = ? AND patient = ?", key).fetchone() is not None
    )


def resources_of(db: sqlite3.Connection, site: str, subject: str) -> Iterator[Stored]:
    """One patient's current resources, in order of type and id."""
    rows = db.execute(
        "SELECT type, id, version, last_updated, body FROM resource WHERE site = ? AND subject = ? ORDER BY type, id",
        (site, subject),
    )
    return map(Stored._make, rows)


def resources_of_type(db: sqlite3.Connection, site: str, type_name: str) -> Iterator[Stored]:
    """A site's current resources of one type, whoever's they are, in order of id."""
    rows = db.execute(
        "SELECT type, id, version, last_updated, body FROM resource WHERE site = ? AND type = ? ORDER BY id",
        (site, type_name),
    )
    return map(Stored._make, rows)


def has_resource(db: sqlite3.Connection, site: str, reference: str) -> bool:
    """Whether `Type/id` is in the store."""
    type_name, _, id_ = reference.partition("/")
    found = db.execute(
        "SELECT 1 FROM resource WHERE site = ? AND type = ? AND id = ?", (site, type_name, id_)
    ).fetchone()
    return found is not None


def subjects(db: sqlite3.Connection, site: str) -> list[str]:
    """The patients whose records the store holds, as references, in order."""
    rows = db.execute(
        "SELECT DISTINCT subject FROM resource WHERE site = ? AND subject LIKE 'Patient/%' ORDER BY subject", (site,)
    )
    return [row[0] for row in rows]


def fingerprint(db: sqlite3.Connection, site: str, subject: str) -> str:
    """Changes whenever one of the patient's resources does."""
    digest = hashlib.sha256()
    for row in db.execute(
        "SELECT type, id, hash FROM resource WHERE site = ? AND subject = ? ORDER BY type, id", (site, subject)
    ):
        digest.update("\0".join(row).encode())
    return digest.hexdigest()


def fingerprint_of_type(db: sqlite3.Connection, site: str, type_name: str) -> str:
    """Changes whenever one of the site's resources of this type does."""
    digest = hashlib.sha256()
    for row in db.execute("SELECT id, hash FROM resource WHERE site = ? AND type = ? ORDER BY id", (site, type_name)):
        digest.update("\0".join(row).encode())
    return digest.hexdigest()


def counts_by_type(db: sqlite3.Connection, site: str) -> dict[str, int]:
    """How many current resources of each type a site has."""
    return dict(db.execute("SELECT type, count(*) FROM resource WHERE site = ? GROUP BY type ORDER BY type", (site,)))


def without_patient(db: sqlite3.Connection, site: str, types: Sequence[str]) -> dict[str, int]:
    """How many current resources of each of these types name no patient, so that no case can hold them."""
    marks = ", ".join("?" * len(types))
    rows = db.execute(
        f"SELECT type, count(*) FROM resource WHERE site = ? AND type IN ({marks}) "
        "AND (subject IS NULL OR subject NOT LIKE 'Patient/%') GROUP BY type ORDER BY type",
        (site, *types),
    )
    return dict(rows)


def quarantined(db: sqlite3.Connection, site: str) -> list[tuple[str, str]]:
    """What was set aside at a site: where it stood (a file's line, or a patient's query and page), and why."""
    rows = db.execute(
        "SELECT CASE WHEN query LIKE 'file: %' THEN place ELSE trim(patient || ' ' || query) || ', ' || place END, reason "
        "FROM quarantine WHERE site = ? ORDER BY 1",
        (site,),
    )
    return [(row[0], row[1]) for row in rows]
