"""Proof: what was written is read back from the server, and compared with what the ledger says."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple, TypeVar

from dm_fhir.config import Site
from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.resource import Resource
from dm_fhir.store.pushes import Pushed, each_pushed, standing
from dm_fhir.sync.push.content import altered
from dm_fhir.sync.push.request import tokens, without_servers_own
from dm_fhir.sync.push.resolve import find, is_retired, read
from dm_fhir.sync.push.ways import Ways

T = TypeVar("T")
_TOGETHER = 100


class Verified(NamedTuple):
    """How many written outcomes are on the server as the ledger says: by "same", "differs", "gone", "twice", "unknown".

    `troubles` names each that is not the same, by what is written and its reference.
    """

    counts: dict[str, int]
    troubles: list[str]


class Seen(NamedTuple):
    """A row of the ledger, and what the server holds of it. `copy` is None where there is none."""

    row: Pushed
    kind: Literal["same", "differs", "gone", "twice", "unknown"]
    message: str = ""
    copy: Resource | None = None


def verify_site(db: sqlite3.Connection, site: Site, connection: Connection, most: int | None) -> Verified:
    """Read what was written to a site, all of it or `most` spread over all, and compare. Nothing is written.

    Raises ServerUnavailable or LoginRefused.
    """
    # A conflict is over when ours is there again.
    there = standing(db, site.name, ("confirmed", "retracted", "conflict"))
    names = sorted(one.identifier for one in there if one.server_id)
    rows = each_pushed(db, site.name, spread(names, most) if most is not None else names)
    counts, troubles = Counter[str](), []
    for one in compared(connection, rows):
        counts[one.kind] += 1
        if one.kind != "same":
            troubles.append(f"{one.row.variable} of {one.row.patient}: {one.message}")
    return Verified(dict(counts), troubles)


def spread(things: Sequence[T], most: int) -> Sequence[T]:
    """So many of them, evenly over all; all if there are no more."""
    if len(things) <= most:
        return things
    return [things[index * len(things) // most] for index in range(most)]


def not_kept(connection: Connection, rows: Iterable[Pushed], ways: Ways) -> list[Pushed]:
    """Those of the rows, just written, that the server does not hold as they were sent, as they stand now."""
    return [_troubled(one, ways) for one in compared(connection, rows) if one.kind in ("differs", "twice")]


def compared(connection: Connection, rows: Iterable[Pushed]) -> Iterator[Seen]:
    """Each row with what the server holds of it. Raises ServerUnavailable or LoginRefused."""
    rest = iter(rows)
    while some := list(islice(rest, _TOGETHER)):
        names = {row.identifier: _token(row) for row in some}
        try:
            found = find(connection, list(names.values()))
        except RequestFailed:  # it does not search so: by id, then
            found = {name: [] for name in names.values()}
        for row in some:
            try:
                yield _seen(connection, row, found[names[row.identifier]])
            except RequestFailed as error:
                yield Seen(row, "unknown", f"{row.server_id} cannot be read: {error.message}")


def _token(row: Pushed) -> str:
    """The identifier that the row's resource has. What the server has made of it may have lost it."""
    return next((name for name in tokens(row.body) if name.endswith(f"|{row.identifier}")), f"|{row.identifier}")


def _seen(connection: Connection, row: Pushed, found: Sequence[Resource]) -> Seen:
    copies = {copy.reference: copy for copy in found}
    known = copies.get(row.server_id or "")
    if (known is None or known.version != row.version) and row.server_id:  # a search may be late
        known = read(connection, row.server_id)
    others = [copy for copy in copies.values() if copy.reference != row.server_id and not is_retired(copy)]
    if known is None and not others:
        return Seen(row, "gone", f"{row.server_id} is no longer on the server")
    if known is None:
        return Seen(
            row,
            "differs",
            f"{row.server_id} is no longer on the server; {others[0].reference} has its identifier",
            others[0],
        )
    if others:
        references = ", ".join(sorted([known.reference, *(one.reference for one in others)]))
        return Seen(
            row,
            "twice",
            f"{len(others) + 1} copies of one result on the server; see push --repair: {references}",
            known,
        )
    if differing := altered(known.body, row.body):
        if known.version != row.version:
            told = f"{known.reference} was changed since it was written: {', '.join(differing)}"
            return Seen(row, "differs", told, known)
        return Seen(row, "differs", f"the server changed {', '.join(differing)} of {known.reference}", known)
    return Seen(row, "same", copy=known)


def _troubled(seen: Seen, ways: Ways) -> Pushed:
    """The row of something just written that is not there as it was sent."""
    row, copy = seen.row, seen.copy
    lost = copy is not None and _token(row) not in tokens(copy.body)
    if lost:
        ways.loses_identifiers()
    state = "conflict" if lost or seen.kind == "twice" else "rejected"
    return row._replace(
        state=state,
        message=seen.message,
        body=without_servers_own(copy.body) if copy and seen.kind == "differs" else row.body,
    )
