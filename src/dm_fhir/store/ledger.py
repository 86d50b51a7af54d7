"""The ledger: what is complete, per site x patient x query; and the runs that made it so."""

import os
import sqlite3
from collections.abc import Collection
from datetime import UTC, datetime

import msgspec

STATES = ("complete", "partial", "failed", "refused", "unsupported")


class Unit(msgspec.Struct, frozen=True):
    """One row of the ledger. `patient` is "" for a query that is not one patient's; `expected` None: nobody told.

    `watermark` is how far the unit has been read completely, None: never. A unit that is not complete keeps its old one.
    """

    site: str
    patient: str
    query: str
    state: str = "partial"
    expected: int | None = None
    received: int = 0
    unique: int = 0
    pages: int = 0
    retries: int = 0
    reason: str | None = "interrupted"
    message: str | None = None
    notes: dict[str, int] = {}
    watermark: str | None = None
    run: int = 0
    ended: str = ""


_COLUMNS = 'site, patient, query, state, expected, received, "unique", pages, retries, reason, message, notes, watermark, run, ended'


def put_unit(db: sqlite3.Connection, unit: Unit) -> None:
    """Write the row, in the transaction of the page that it counts."""
    values = {**msgspec.structs.asdict(unit), "notes": msgspec.json.encode(unit.notes).decode(), "ended": now()}
    db.execute(
        f"INSERT OR REPLACE INTO unit ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", list(values.values())
    )


def get_unit(db: sqlite3.Connection, site: str, patient: str, query: str) -> Unit | None:
    """The unit's row; None if it was never tried."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM unit WHERE site = ? AND patient = ? AND query = ?", (site, patient, query)
    ).fetchone()
    return _unit(row) if row else None


def units(db: sqlite3.Connection, site: str) -> list[Unit]:
    """All rows of a site, in order of patient and query."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM unit WHERE site = ? ORDER BY patient, query", (site,))
    return [_unit(row) for row in rows]


def counts_by_state(db: sqlite3.Connection, site: str) -> dict[str, int]:
    """How many units of a site are in each state."""
    return dict(db.execute("SELECT state, count(*) FROM unit WHERE site = ? GROUP BY state ORDER BY state", (site,)))


def needs_attention(unit: Unit, optional_types: Collection[str] = ()) -> bool:
    """Whether the unit keeps its site from being complete. A type in `optional_types` may be unsupported."""
    return unit.state != "complete" and not _is_optional(unit, optional_types)


def complete_until(db: sqlite3.Connection, site: str, optional_types: Collection[str] = ()) -> str | None:
    """The time up to which everything of the site is in the store; None while any unit needs attention."""
    asked = [unit for unit in units(db, site) if not _is_optional(unit, optional_types)]
    marks = [unit.watermark for unit in asked if unit.state == "complete" and unit.watermark is not None]
    return min(marks) if marks and len(marks) == len(asked) else None


def _is_optional(unit: Unit, optional_types: Collection[str]) -> bool:
    return unit.state == "unsupported" and unit.query.partition("?")[0] in optional_types


def begin_run(db: sqlite3.Connection, command: str) -> int:
    """A new run's number."""
    cursor = db.execute("INSERT INTO run (command, started, pid) VALUES (?, ?, ?)", (command, now(), os.getpid()))
    return int(cursor.lastrowid or 0)


def end_run(db: sqlite3.Connection, run: int, exit_code: int) -> None:
    """Note how the run ended. A run without this was killed."""
    db.execute("UPDATE run SET ended = ?, exit_code = ? WHERE id = ?", (now(), exit_code, run))


def last_run(db: sqlite3.Connection) -> tuple[str, str, str | None, int | None] | None:
    """The newest run: command, start, end (None: killed or still at work), exit code. None if there was none."""
    row = db.execute("SELECT command, started, ended, exit_code FROM run ORDER BY id DESC LIMIT 1").fetchone()
    return (row[0], row[1], row[2], row[3]) if row else None


def now() -> str:
    """This moment, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _unit(row: tuple[object, ...]) -> Unit:
    values = dict(zip(Unit.__struct_fields__, row, strict=True))
    values["notes"] = msgspec.json.decode(str(values["notes"]))
    return Unit(**values)  # type: ignore[arg-type]  # the columns have the types of the fields
