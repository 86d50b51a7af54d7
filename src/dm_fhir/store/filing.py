"""Resources into the store as they were sent: the current version of each, and every older one. Nothing is ever overwritten."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import Literal, NamedTuple, Protocol

import msgspec

from dm_fhir.store.audit import note_read
from dm_fhir.store.blocks import Place, keep, kept
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


class _Current(NamedTuple):
    hash: str
    version: str | None
    last_updated: str | None
    deleted: str | None
    origin: Origin


_COLUMNS = "site, type, id, version, last_updated, hash, subject, run, origin, block, start, length"
_THIS = "WHERE site = ? AND type = ? AND id = ?"


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


def delete_resource(db: sqlite3.Connection, site: str, type_name: str, id_: str, when: str) -> bool:
    """Note that the server no longer has it: its versions stay, nothing is computed from it. False if it was noted."""
    cursor = db.execute(f"UPDATE resource SET deleted = ? {_THIS} AND deleted IS NULL", (when, site, type_name, id_))
    if cursor.rowcount > 0:
        _count_change(db, site)
    return cursor.rowcount > 0


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
