"""Resources as they were sent: the current version of each, and every older one."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, tee
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from dm_fhir.store.audit import note_read
from dm_fhir.store.blocks import Place, keep, kept, kept_with
from dm_fhir.store.database import batched, marks

Filed = Literal["new", "changed", "unchanged", "older"]
Origin = Literal["server", "file"]
_EXACT = msgspec.json.Decoder(float_hook=Decimal)
_CANONICAL = msgspec.json.Encoder(order="deterministic", decimal_format="number")


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


class _Current(NamedTuple):
    hash: str
    version: str | None
    last_updated: str | None
    deleted: str | None
    origin: Origin


_COLUMNS = "site, type, id, version, last_updated, hash, subject, run, origin, block, start, length"
_STORED = "type, id, version, last_updated, block, start, length"
_THIS = "WHERE site = ? AND type = ? AND id = ?"
#: Left to itself SQLite takes the index that has the order and reads the whole site for every patient.
_BY_SUBJECT = "resource INDEXED BY resource_by_subject"
#: As ranges: LIKE is not answered by an index. '0' is the character after '/'.
_OF_A_PATIENT = "subject >= 'Patient/' AND subject < 'Patient0'"
_OF_NO_PATIENT = ("subject IS NULL", "subject < 'Patient/'", "subject >= 'Patient0'")


def put_resources(
    db: sqlite3.Connection, site: str, incoming: Sequence[Incoming], run: int, origin: Origin = "server"
) -> list[Filed]:
    """File resources in order: each as the current version, or as a past one if we hold a later one.

    What became of each, in the same order. Nothing is ever overwritten. What was deleted and comes again from the server, or
    newer in a file, is back. What the server has sent is the server's, also where a file had it first. Whose they are is noted
    in the audit log.
    """
    note_read(db, run, site, {resource.subject for resource in incoming})
    known = _known(db, site, incoming)
    if incoming and not known and len({(one.type, one.id) for one in incoming}) == len(incoming):
        _insert(db, site, incoming, run, origin)
        _count_change(db, site)
        return ["new"] * len(incoming)
    filed: list[Filed] = []
    new: list[Incoming] = []
    for resource in incoming:
        key = (resource.type, resource.id)
        now = _Current(resource.hash, resource.version, resource.last_updated, None, origin)
        current = known.get(key)
        if current is None:
            new.append(resource)
            filed.append("new")
            known[key] = now
            continue
        _insert(db, site, new, run, origin)  # what comes twice must be there before it can change
        new = []
        became, known[key] = _filed_again(db, site, resource, current, now, run)
        filed.append(became)
    _insert(db, site, new, run, origin)
    if not {"new", "changed"}.isdisjoint(filed):
        _count_change(db, site)
    return filed


def changes(db: sqlite3.Connection, site: str) -> int:
    """A number that grows whenever what is current at the site changes."""
    row = db.execute("SELECT value FROM setting WHERE name = ?", (f"changes of {site}",)).fetchone()
    return int(row[0]) if row else 0


def _count_change(db: sqlite3.Connection, site: str) -> None:
    db.execute(
        "INSERT INTO setting VALUES (?, '1') ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + 1",
        (f"changes of {site}",),
    )


def _insert(db: sqlite3.Connection, site: str, new: Sequence[Incoming], run: int, origin: Origin) -> None:
    places = keep(db, [one.body for one in new])
    rows = [
        (
            site,
            one.type,
            one.id,
            one.version,
            one.last_updated,
            one.hash,
            one.subject,
            run,
            origin,
            block,
            start,
            length,
        )
        for one, (block, start, length) in zip(new, places, strict=True)
    ]
    for some in batched(rows):
        values = list(chain.from_iterable(some))
        db.execute(f"INSERT INTO resource ({_COLUMNS}) VALUES {marks(len(some), len(some[0]))}", values)


def _known(db: sqlite3.Connection, site: str, incoming: Sequence[Incoming]) -> dict[tuple[str, str], _Current]:
    found = {}
    for type_name in {resource.type for resource in incoming}:
        ids = [resource.id for resource in incoming if resource.type == type_name]
        for some in batched(ids):
            rows = db.execute(
                "SELECT id, hash, version, last_updated, deleted, origin FROM resource "
                f"WHERE site = ? AND type = ? AND id IN {marks(1, len(some))}", (site, type_name, *some),
            )  # fmt: skip
            found.update({(type_name, row[0]): _Current(*row[1:]) for row in rows})
    return found


def _filed_again(
    db: sqlite3.Connection, site: str, resource: Incoming, current: _Current, now: _Current, run: int
) -> tuple[Filed, _Current]:
    """File a resource of which we hold a version: what became of it, and what we hold now."""
    key = (site, resource.type, resource.id)
    origin: Origin = "server" if "server" in (current.origin, now.origin) else "file"
    is_back = current.deleted is not None and now.origin == "server"
    if _is_same(db, key, resource.body, current, now):
        if is_back:
            db.execute(f"UPDATE resource SET deleted = NULL, run = ?, origin = ? {_THIS}", (run, origin, *key))
            return "changed", current._replace(deleted=None, origin=origin)
        if origin != current.origin:
            db.execute(f"UPDATE resource SET origin = ? {_THIS}", (origin, *key))
        return "unchanged", current._replace(origin=origin)
    if not is_back and _is_before(resource.version, resource.last_updated, current.version, current.last_updated):
        if not _holds_version(db, key, now.hash):
            (place,) = keep(db, [resource.body])
            db.execute(
                f"INSERT INTO resource_version VALUES {marks(1, 10)}",
                (*key, now.version, now.last_updated, now.hash, run, *place),
            )
        return "older", current
    db.execute(
        "INSERT OR IGNORE INTO resource_version "
        f"SELECT site, type, id, version, last_updated, hash, run, block, start, length FROM resource {_THIS}", key,
    )  # fmt: skip
    (place,) = keep(db, [resource.body])
    db.execute(
        "UPDATE resource SET version = ?, last_updated = ?, hash = ?, subject = ?, run = ?, origin = ?, deleted = NULL, "
        f"block = ?, start = ?, length = ? {_THIS}",
        (now.version, now.last_updated, now.hash, resource.subject, run, origin, *place, *key),
    )
    return "changed", now._replace(origin=origin)


def _is_same(db: sqlite3.Connection, key: tuple[str, str, str], body: bytes, current: _Current, now: _Current) -> bool:
    """Whether the two are one version: by bytes, by version and time, or where a server has neither by content."""
    if current.hash == now.hash:
        return True
    if now.version is not None and now.last_updated is not None:
        return current[1:3] == now[1:3]
    if (now.version, now.last_updated, *current[1:3]) != (None, None, None, None):
        return False
    (stored,) = kept(db, [_place(db, key)])
    return _content(stored) == _content(body)


def _holds_version(db: sqlite3.Connection, key: tuple[str, str, str], digest: str) -> bool:
    return db.execute(f"SELECT 1 FROM resource_version {_THIS} AND hash = ?", (*key, digest)).fetchone() is not None


def _place(db: sqlite3.Connection, key: tuple[str, str, str]) -> Place:
    place: Place = db.execute(f"SELECT block, start, length FROM resource {_THIS}", key).fetchone()
    return place


def _content(body: bytes) -> bytes:
    """The same for the same content, in whatever order and with whatever blanks it is written."""
    return _CANONICAL.encode(_EXACT.decode(body))


def delete_resource(db: sqlite3.Connection, site: str, type_name: str, id_: str, when: str) -> bool:
    """Note that the server no longer has it: its versions stay, nothing is computed from it. False if it was noted."""
    cursor = db.execute(f"UPDATE resource SET deleted = ? {_THIS} AND deleted IS NULL", (when, site, type_name, id_))
    if cursor.rowcount > 0:
        _count_change(db, site)
    return cursor.rowcount > 0


def deleted_by_type(db: sqlite3.Connection, site: str) -> dict[str, int]:
    """How many resources of each type the server once had and has no longer."""
    return dict(
        db.execute(
            "SELECT type, count(*) FROM resource WHERE site = ? AND deleted IS NOT NULL GROUP BY type ORDER BY type",
            (site,),
        )
    )


def ids_from_server(
    db: sqlite3.Connection, site: str, type_name: str, subjects: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """What we hold of these patients from the server, of one type: subject and id."""
    for some in batched(subjects):
        rows = db.execute(
            # the + keeps SQLite from going through everything of the type instead of these patients
            "SELECT subject, id FROM resource WHERE site = ? AND +type = ? AND origin = 'server' AND deleted IS NULL "
            f"AND subject IN {marks(1, len(some))}", (site, type_name, *some),
        )  # fmt: skip
        yield from rows.fetchall()


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
    """Keep bytes that are no resource, with where they stood and why, and the run that saw them last.

    The same bytes of the same query are the same thing, wherever in the answer they stand: what somebody has acknowledged
    stays acknowledged.
    """
    digest = hashlib.sha256(body).hexdigest()
    seen = (run, place, site, patient, query, digest)
    same = "WHERE site = ? AND patient = ? AND query = ? AND hash = ? AND run <> ?"
    if db.execute(f"UPDATE OR IGNORE quarantine SET run = ?, place = ? {same}", (*seen, run)).rowcount == 0:
        db.execute(
            "INSERT INTO quarantine (site, patient, query, place, reason, hash, run, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET run = excluded.run",
            (site, patient, query, place, reason, digest, run, body),
        )


def clear_set_aside(db: sqlite3.Connection, site: str, query: str, patient: str, run: int) -> None:
    """Forget what earlier runs set aside of a query that `run` has read to its end: it did not see it again."""
    key = (site, query, patient, run)
    db.execute("DELETE FROM quarantine WHERE site = ? AND query = ? AND patient = ? AND run <> ?", key)


def have_set_aside(db: sqlite3.Connection, site: str) -> set[tuple[str, str]]:
    """The units, as patient and query, of which something is set aside."""
    return set(db.execute("SELECT DISTINCT patient, query FROM quarantine WHERE site = ?", (site,)))


def resources_of(db: sqlite3.Connection, site: str, subject: str) -> Iterator[Stored]:
    """One patient's current resources, in order of type and id."""
    rows = db.execute(
        f"SELECT {_STORED} FROM {_BY_SUBJECT} WHERE site = ? AND subject = ? AND deleted IS NULL ORDER BY type, id",
        (site, subject),
    )
    return _stored(db, rows.fetchall())


def resources_of_type(db: sqlite3.Connection, site: str, type_name: str) -> Iterator[Stored]:
    """A site's current resources of one type, whoever's they are, in order of id."""
    rows = db.execute(
        f"SELECT {_STORED} FROM resource WHERE site = ? AND type = ? AND deleted IS NULL ORDER BY id", (site, type_name)
    )
    return _stored(db, rows)


def _stored(db: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> Iterator[Stored]:
    heads, places = tee(rows)
    bodies = kept(db, (row[4:] for row in places))
    return (Stored._make((*row[:4], body)) for row, body in zip(heads, bodies, strict=True))


def has_resource(db: sqlite3.Connection, site: str, reference: str) -> bool:
    """Whether `Type/id` is in the store."""
    type_name, _, id_ = reference.partition("/")
    found = db.execute(
        "SELECT 1 FROM resource WHERE site = ? AND type = ? AND id = ?", (site, type_name, id_)
    ).fetchone()
    return found is not None


def has_records_of(db: sqlite3.Connection, site: str, patient: str) -> bool:
    """Whether the store holds, or held, anything of a patient."""
    row = db.execute("SELECT 1 FROM resource WHERE site = ? AND subject = ? LIMIT 1", (site, patient)).fetchone()
    return row is not None


def stored_resource(db: sqlite3.Connection, site: str, reference: str) -> bytes | None:
    """The current version of `Type/id`; None if there is none, or it was deleted."""
    type_name, _, id_ = reference.partition("/")
    row = db.execute(
        f"SELECT block, start, length FROM resource {_THIS} AND deleted IS NULL", (site, type_name, id_)
    ).fetchone()
    return next(kept(db, [row])) if row else None


def bodies_with(db: sqlite3.Connection, site: str, type_name: str, text: str) -> Iterator[tuple[str, bytes]]:
    """The current resources of a type whose bytes hold `text`: id and bytes, as they are when the first is asked for."""
    rows = db.execute(  # SQLite sorts them before it gives the first, so what is written meanwhile changes none
        "SELECT id, block, start, length FROM resource WHERE site = ? AND type = ? AND deleted IS NULL ORDER BY block, start",
        (site, type_name),
    )
    return kept_with(db, text.encode(), ((row[0], row[1:]) for row in rows))


def subjects(db: sqlite3.Connection, site: str) -> list[str]:
    """The patients whose records the store holds, as references, in order."""
    rows = db.execute(
        f"SELECT DISTINCT subject FROM resource WHERE site = ? AND deleted IS NULL AND {_OF_A_PATIENT} ORDER BY subject",
        (site,),
    )
    return [row[0] for row in rows]


def fingerprint(db: sqlite3.Connection, site: str, subject: str) -> str:
    """Changes whenever one of the patient's resources does."""
    digest = hashlib.sha256()
    for row in db.execute(
        f"SELECT type, id, hash FROM {_BY_SUBJECT} WHERE site = ? AND subject = ? AND deleted IS NULL ORDER BY type, id",
        (site, subject),
    ):
        digest.update("\0".join(row).encode())
    return digest.hexdigest()


def fingerprint_of_type(db: sqlite3.Connection, site: str, type_name: str) -> str:
    """Changes whenever one of the site's resources of this type does."""
    digest = hashlib.sha256()
    for row in db.execute(
        "SELECT id, hash FROM resource WHERE site = ? AND type = ? AND deleted IS NULL ORDER BY id", (site, type_name)
    ):
        digest.update("\0".join(row).encode())
    return digest.hexdigest()


def counts_by_type(db: sqlite3.Connection, site: str) -> dict[str, int]:
    """How many current resources of each type a site has."""
    deleted = deleted_by_type(db, site)
    rows = db.execute("SELECT type, count(*) FROM resource WHERE site = ? GROUP BY type ORDER BY type", (site,))
    return {
        type_name: count - deleted.get(type_name, 0) for type_name, count in rows if count > deleted.get(type_name, 0)
    }


def without_patient(db: sqlite3.Connection, site: str, types: Sequence[str]) -> dict[str, int]:
    """How many current resources of each of these types name no patient, so that no case can hold them."""
    found: Counter[str] = Counter()
    for of_none in _OF_NO_PATIENT:
        rows = db.execute(
            f"SELECT type, count(*) FROM {_BY_SUBJECT} WHERE site = ? AND {of_none} AND deleted IS NULL "
            f"AND type IN {marks(1, len(types))} GROUP BY type", (site, *types),
        )  # fmt: skip
        found.update(dict(rows))
    return dict(sorted(found.items()))


class Quarantined(NamedTuple):
    """One thing set aside. `number` is its name for `quarantine`; `acknowledged` is when somebody did, None: nobody."""

    number: int
    place: str
    reason: str
    size_bytes: int
    acknowledged: str | None


def quarantined(db: sqlite3.Connection, site: str) -> list[Quarantined]:
    """What is set aside at a site, by where it stood (a file's line, or a patient's query and page), and why."""
    rows = db.execute(
        "SELECT number, CASE WHEN query LIKE 'file: %' THEN place ELSE trim(patient || ' ' || query) || ', ' || place END, "
        "reason, length(body), acknowledged FROM quarantine WHERE site = ? ORDER BY 2, 1",
        (site,),
    )
    return list(map(Quarantined._make, rows))


def quarantined_body(db: sqlite3.Connection, site: str, number: int) -> bytes | None:
    """The bytes of one thing set aside; None if there is none of that number."""
    row = db.execute("SELECT body FROM quarantine WHERE site = ? AND number = ?", (site, number)).fetchone()
    return row[0] if row else None


def acknowledge(db: sqlite3.Connection, site: str, number: int, when: str) -> bool:
    """Note that somebody has looked at it and lets it be. False if there is none of that number."""
    cursor = db.execute(
        "UPDATE quarantine SET acknowledged = coalesce(acknowledged, ?) WHERE site = ? AND number = ?",
        (when, site, number),
    )
    return cursor.rowcount > 0
