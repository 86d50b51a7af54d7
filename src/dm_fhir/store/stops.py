"""What stopped the last attempt at a step of a site, for whoever looks after the run is over."""

import sqlite3

import msgspec

from dm_fhir.store.ledger import now

_COLUMNS = "step, exit_code, reason, message, since, tried, run"


class Stop(msgspec.Struct, frozen=True):
    """A step (`pull`, `compute` or `push`) that was given up at a site when it was last tried.

    `reason` is the ledger's word for why, None where it has none; `message` is for people, with what mends it, and of the
    kind that the ledger keeps too. It has been so `since` then, and was last `tried` in `run`.
    """

    step: str
    exit_code: int
    reason: str | None
    message: str
    since: str
    tried: str
    run: int


def note_stop(
    db: sqlite3.Connection, site: str, step: str, exit_code: int, reason: str | None, message: str, run: int
) -> None:
    """The step was given up. What was so before, for the same reason, has been so since then."""
    tried = now()
    db.execute(
        f"INSERT INTO stop (site, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (site, step) DO UPDATE SET "
        "since = CASE WHEN exit_code = excluded.exit_code AND reason IS excluded.reason THEN since ELSE excluded.since END, "
        "exit_code = excluded.exit_code, reason = excluded.reason, message = excluded.message, tried = excluded.tried, "
        "run = excluded.run",
        (site, step, exit_code, reason, message, tried, tried, run),
    )


def clear_stop(db: sqlite3.Connection, site: str, step: str) -> None:
    """The step went through."""
    db.execute("DELETE FROM stop WHERE site = ? AND step = ?", (site, step))


def stops(db: sqlite3.Connection, site: str) -> list[Stop]:
    """The steps that were given up at a site when they were last tried, in order."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM stop WHERE site = ? ORDER BY run, tried, step", (site,))
    return [Stop(*row) for row in rows]
