"""What we wrote to a hospital's server, by identifier: the memory that makes a push repeatable."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from dm_fhir.store.database import marks
from dm_fhir.store.ledger import now


class Pushed(NamedTuple):
    """One outcome as it was written. `server_id` and `version` are None until the server has told them.

    `made_from` is the fingerprint of what `body` was built from, "" where nobody noted it. `transmission` is the number of the
    transmission in which it last went out, None before transmissions were counted.
    """

    identifier: str
    patient: str
    variable: str
    about: str
    state: str
    server_id: str | None
    version: str | None
    hash: str
    message: str | None
    body: bytes
    made_from: str = ""
    transmission: int | None = None


#: So many are asked for in one statement.
_TOGETHER = 200
_COLUMNS = (
    "identifier, patient, variable, about, state, server_id, version, hash, message, body, made_from, transmission"
)


def put_push(db: sqlite3.Connection, site: str, pushed: Pushed, run: int) -> None:
    """Write the row; committed at once unless a transaction is open."""
    put_pushes(db, site, [pushed], run)


def put_pushes(db: sqlite3.Connection, site: str, pushed: Iterable[Pushed], run: int) -> None:
    """Write the rows; call it inside a transaction, else each is committed by itself."""
    when = now()
    db.executemany(
        f'INSERT OR REPLACE INTO push (site, {_COLUMNS}, run, "when") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
        ((site, *one, run, when) for one in pushed),
    )


def settle_pushes(db: sqlite3.Connection, site: str, settled: Iterable[Pushed], run: int) -> None:
    """Write how rows stand whose contents are those of their intents. Call it inside a transaction."""
    when = now()
    db.executemany(
        'UPDATE push SET state = ?, server_id = ?, version = ?, message = ?, run = ?, "when" = ? WHERE site = ? AND identifier = ?',
        ((one.state, one.server_id, one.version, one.message, run, when, site, one.identifier) for one in settled),
    )


class Standing(NamedTuple):
    """How one outcome stands that was written; what was written of it is not told."""

    identifier: str
    patient: str
    variable: str
    about: str
    state: str
    server_id: str | None


def pushed(db: sqlite3.Connection, site: str) -> Iterator[Pushed]:
    """Everything written to a site, read one by one."""
    return map(Pushed._make, db.execute(f"SELECT {_COLUMNS} FROM push WHERE site = ?", (site,)))


def each_pushed(db: sqlite3.Connection, site: str, identifiers: Iterable[str]) -> Iterator[Pushed]:
    """Those of these that were written to a site, in their order; a few at a time are held."""
    names = iter(identifiers)
    while some := list(islice(names, _TOGETHER)):
        found = pushed_of(db, site, some)
        yield from (found[name] for name in some if name in found)


def pushed_of(db: sqlite3.Connection, site: str, identifiers: Sequence[str]) -> dict[str, Pushed]:
    """Those of these few that were written to a site, by identifier."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM push WHERE site = ? AND identifier IN {marks(1, len(identifiers))}",
        (site, *identifiers),
    )
    return {row[0]: Pushed._make(row) for row in rows.fetchall()}


def identifiers_of(db: sqlite3.Connection, site: str) -> Iterator[str]:
    """Those of everything that was written to a site."""
    return (row[0] for row in db.execute("SELECT identifier FROM push WHERE site = ?", (site,)))


def standing(db: sqlite3.Connection, site: str, states: Sequence[str] = ()) -> Iterator[Standing]:
    """How everything stands that was written to a site, or what is in one of these states; read one by one."""
    only = f"AND state IN {marks(1, len(states))}" if states else ""
    rows = db.execute(
        f"SELECT identifier, patient, variable, about, state, server_id FROM push WHERE site = ? {only}",
        (site, *states),
    )
    return map(Standing._make, rows)


def seconds_since_sent(db: sqlite3.Connection, site: str) -> float:
    """How long ago the last write went out of which nobody knows how it ended; 0 where there is none."""
    last = db.execute("SELECT max(\"when\") FROM push WHERE site = ? AND state = 'sending'", (site,)).fetchone()[0]
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(last)).total_seconds()) if last else 0.0


def counts_of_run(db: sqlite3.Connection, site: str, run: int) -> dict[str, int]:
    """How many outcomes of a site this run has sent, or found out about, by the state that they came to."""
    rows = db.execute(
        "SELECT iif(state IN ('confirmed', 'retracted'), 'written', iif(state = 'sending', 'not settled', state)), count(*) "
        "FROM push WHERE site = ? AND run = ? GROUP BY 1 ORDER BY 1",
        (site, run),
    )
    return dict(rows.fetchall())


def counts_by_state(db: sqlite3.Connection, site: str) -> dict[str, int]:
    """How many written outcomes of a site are in each state."""
    return dict(db.execute("SELECT state, count(*) FROM push WHERE site = ? GROUP BY state ORDER BY state", (site,)))


def note_made_from(db: sqlite3.Connection, site: str, made_from: Iterable[tuple[str, str]]) -> None:
    """Note what these, by identifier, would be built from now and come out the same. Call it inside a transaction."""
    db.executemany(
        "UPDATE push SET made_from = ? WHERE site = ? AND identifier = ?",
        ((mark, site, identifier) for identifier, mark in made_from),
    )


def forget(db: sqlite3.Connection, site: str, identifiers: Iterable[str]) -> None:
    """Drop the rows of what the server never had. Call it inside a transaction."""
    db.executemany("DELETE FROM push WHERE site = ? AND identifier = ?", ((site, one) for one in identifiers))


class Written(NamedTuple):
    """Where an outcome is on the server, and since when. `server_id` (`Observation/7`) and `version` are None until told.

    `run` is the run that last dealt with it, at `when`; `hash` that of its content.
    """

    identifier: str
    patient: str
    variable: str
    about: str
    state: str
    server_id: str | None
    version: str | None
    hash: str
    when: str
    run: int
    message: str | None


_WRITTEN = 'identifier, patient, variable, about, state, server_id, version, hash, "when", run, message'


def written(db: sqlite3.Connection, site: str) -> list[Written]:
    """All that was ever sent to a site, or kept back, in order of patient, variable and follow-up."""
    rows = db.execute(f"SELECT {_WRITTEN} FROM push WHERE site = ? ORDER BY patient, variable, about", (site,))
    return list(map(Written._make, rows))


def written_of(db: sqlite3.Connection, site: str, identifier: str) -> Written | None:
    """The same of one outcome; None where nothing was ever sent of it."""
    row = db.execute(f"SELECT {_WRITTEN} FROM push WHERE site = ? AND identifier = ?", (site, identifier)).fetchone()
    return Written._make(row) if row else None
