"""The ledger: what is complete, per site x patient x query; and the runs that made it so."""

import os
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from dm_fhir.store.database import batched, marks

_ENCODER = msgspec.json.Encoder()
STATES = ("complete", "partial", "failed", "refused", "unsupported")
#: The exit code of a run that was cut off.
INTERRUPTED = 130


class Unit(msgspec.Struct, frozen=True):
    """One row of the ledger. `patient` is "" for a query that is not one patient's; `expected` None: nobody told.

    `watermark` is how far the unit has been read completely, None: never. A unit that is not complete keeps its old one.
    `asked` changes with what is asked for, `read_in_full` is when all of it was last read to the end, `not_before` when the
    server wants to be asked again.
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
    asked: str = ""
    read_in_full: str | None = None
    not_before: str | None = None


_COLUMNS = (
    'site, patient, query, state, expected, received, "unique", pages, retries, reason, message, notes, watermark, run, '
    "ended, asked, read_in_full, not_before"
)


def put_unit(db: sqlite3.Connection, unit: Unit) -> None:
    """Write the row, in the transaction of the page that it counts."""
    put_units(db, [unit])


def put_units(db: sqlite3.Connection, units: Sequence[Unit]) -> None:
    """Write the rows, in the transaction of the page that they count."""
    ended = now()
    for some in batched(units):
        values = [value for unit in some for value in _values(unit, ended)]
        db.execute(
            f"INSERT OR REPLACE INTO unit ({_COLUMNS}) VALUES {marks(len(some), len(values) // len(some))}", values
        )


def _values(unit: Unit, ended: str) -> tuple[object, ...]:
    notes = _ENCODER.encode(unit.notes).decode() if unit.notes else "{}"
    return (
        unit.site, unit.patient, unit.query, unit.state, unit.expected, unit.received, unit.unique, unit.pages,
        unit.retries, unit.reason, unit.message, notes, unit.watermark, unit.run, ended, unit.asked, unit.read_in_full,
        unit.not_before,
    )  # fmt: skip


def get_unit(db: sqlite3.Connection, site: str, patient: str, query: str) -> Unit | None:
    """The unit's row; None if it was never tried."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM unit_now WHERE site = ? AND patient = ? AND query = ?", (site, patient, query)
    ).fetchone()
    return _unit(row) if row else None


def units(db: sqlite3.Connection, site: str) -> list[Unit]:
    """All rows of a site, in order of patient and query."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM unit_now WHERE site = ? ORDER BY patient, query", (site,))
    return [_unit(row) for row in rows]


def units_of_nobody(db: sqlite3.Connection, site: str) -> list[Unit]:
    """The rows of a site that are no single patient's, in order of query: its cohort, files, exports."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM unit_now WHERE site = ? AND patient = '' ORDER BY query", (site,))
    return [_unit(row) for row in rows]


def open_units(db: sqlite3.Connection, site: str) -> list[Unit]:
    """The rows of a site that are not complete, in order of patient and query."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM unit_now WHERE site = ? AND state <> 'complete' ORDER BY patient, query", (site,)
    )
    return [_unit(row) for row in rows]


def notes(db: sqlite3.Connection, site: str) -> dict[str, int]:
    """What was noted while the site's units were read: the sums of all rows, by name."""
    found: Counter[str] = Counter()
    for text, rows in db.execute("SELECT notes, count(*) FROM unit WHERE site = ? GROUP BY notes", (site,)):
        found.update({name: count * rows for name, count in msgspec.json.decode(text, type=dict[str, int]).items()})
    return dict(sorted(found.items()))


def messages_of_complete(db: sqlite3.Connection, site: str) -> dict[str, int]:
    """What the server said along with complete answers, and of how many units; the most frequent first."""
    rows = db.execute(
        "SELECT message, count(*) FROM unit WHERE site = ? AND state = 'complete' AND message IS NOT NULL "
        "GROUP BY message ORDER BY 2 DESC, 1",
        (site,),
    )
    return dict(rows.fetchall())


def units_of_query(db: sqlite3.Connection, site: str, query: str) -> dict[str, Unit]:
    """The rows of one query by patient."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM unit_now WHERE site = ? AND query = ?", (site, query))
    return {unit.patient: unit for unit in map(_unit, rows)}


class Standing(msgspec.Struct, frozen=True):
    """How one query stands over all its patients. `asked` is None where not all were asked the same.

    `timeless` are the units of which some resource does not say when it changed.
    """

    units: int
    complete: int
    timeless: int
    asked: str | None
    oldest_watermark: str | None
    oldest_full: str | None


def standings(db: sqlite3.Connection, site: str) -> dict[str, Standing]:
    """How the patients' units stand, by query; None for times where some unit has none."""
    rows = db.execute(
        "SELECT query, count(*), count(*) FILTER (WHERE state = 'complete'), "
        "count(*) FILTER (WHERE instr(notes, '\"no_last_updated\"')), "
        "CASE WHEN min(asked) = max(asked) THEN min(asked) END, "
        "CASE WHEN count(watermark) = count(*) THEN min(watermark) END, "
        "CASE WHEN count(read_in_full) = count(*) THEN min(read_in_full) END "
        "FROM unit_now WHERE site = ? AND patient <> '' GROUP BY query",
        (site,),
    )
    return {row[0]: Standing(*row[1:]) for row in rows}


def advance(db: sqlite3.Connection, site: str, watermarks: Mapping[str, str], run: int) -> None:
    """Every patient's units of these queries are complete until their `watermarks`: nothing of their type has changed.

    All of them must be complete. One that was never read completely stays so.
    """
    db.executemany(
        "INSERT OR REPLACE INTO query_mark VALUES (?, ?, ?, ?)",
        ((site, query, mark, run) for query, mark in watermarks.items()),
    )


def query_names(db: sqlite3.Connection, site: str) -> list[str]:
    """The names of all queries that patients of a site have been asked for."""
    return [row[0] for row in db.execute("SELECT DISTINCT query FROM unit WHERE site = ? AND patient <> ''", (site,))]


def note_plan(db: sqlite3.Connection, site: str, queries: Iterable[str]) -> None:
    """Note the names of the queries that every patient of the site is asked for from now on."""
    names = msgspec.json.encode(sorted(queries)).decode()
    db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (f"plan of {site}", names))


def has_plan(db: sqlite3.Connection, site: str) -> bool:
    """Whether it was noted what every patient of the site is asked for."""
    return db.execute("SELECT 1 FROM setting WHERE name = ?", (f"plan of {site}",)).fetchone() is not None


def not_asked(db: sqlite3.Connection, site: str, patients: Iterable[str]) -> list[str]:
    """Those of the patients who lack a row of a query of the site's plan, or have none at all.

    A query may have been split by category since: `Observation?patient&category=…` is a row of `Observation?patient`.
    """
    row = db.execute("SELECT value FROM setting WHERE name = ?", (f"plan of {site}",)).fetchone()
    planned: list[str] = msgspec.json.decode(row[0]) if row else []
    if row is not None and not planned:
        return []  # nothing is asked patient by patient
    given = ", ".join("?" * len(planned))
    rows = db.execute(
        f"SELECT patient, count(*) FILTER (WHERE query IN ({given})), "
        "count(*) FILTER (WHERE query LIKE '%&category=%') FROM unit WHERE site = ? AND patient <> '' GROUP BY patient",
        (*planned, site),
    )
    found = {patient: (exact, by_category) for patient, exact, by_category in rows}
    needed = len(planned)
    return [patient for patient in patients if not _has_all(found.get(patient), needed)]


def _has_all(rows: tuple[int, int] | None, needed: int) -> bool:
    """By how many rows of planned queries there are, and how many of categories that stand for one of them."""
    return rows is not None and (rows[0] >= needed or (rows[0] == needed - 1 and rows[1] > 0))


def between_two_runs(db: sqlite3.Connection, site: str, plan: str) -> list[str]:
    """The patients of whom some queries were read in the run of the unit `plan`, and others before it."""
    rows = db.execute(
        "SELECT unit.patient FROM unit JOIN unit AS plan ON plan.site = unit.site AND plan.patient = '' AND plan.query = ? "
        "LEFT JOIN query_mark AS mark ON mark.site = unit.site AND mark.query = unit.query "
        "WHERE unit.site = ? AND unit.patient <> '' GROUP BY unit.patient "
        "HAVING min(max(unit.run, coalesce(mark.run, 0))) < max(plan.run) AND max(unit.run) >= max(plan.run) "
        "ORDER BY unit.patient",
        (plan, site),
    )
    return [row[0] for row in rows]


def forget_units(db: sqlite3.Connection, site: str, patient: str, queries: Iterable[str]) -> None:
    """Drop rows of queries that the plan no longer has: they would stay open for ever."""
    db.executemany(
        "DELETE FROM unit WHERE site = ? AND patient = ? AND query = ?", ((site, patient, query) for query in queries)
    )


def counts_by_state(db: sqlite3.Connection, site: str) -> dict[str, int]:
    """How many units of a site are in each state."""
    return dict(db.execute("SELECT state, count(*) FROM unit WHERE site = ? GROUP BY state ORDER BY state", (site,)))


def needs_attention(unit: Unit, optional_types: Collection[str] = ()) -> bool:
    """Whether the unit keeps its site from being complete. A type in `optional_types` may be unsupported."""
    return unit.state != "complete" and not _is_optional(unit, optional_types)


def complete_until(db: sqlite3.Connection, site: str, optional_types: Collection[str] = ()) -> str | None:
    """The time up to which everything of the site is in the store; None while any unit needs attention."""
    if any(needs_attention(unit, optional_types) for unit in open_units(db, site)):
        return None
    return read_until(db, site, optional_types)


def read_until(db: sqlite3.Connection, site: str, optional_types: Collection[str] = ()) -> str | None:
    """The time up to which everything of the site has been read at some time; None while any unit never was.

    A unit that is open now counts with what it had before: this time stands still while a site is not complete.
    """
    held_open = [unit.watermark for unit in open_units(db, site) if needs_attention(unit, optional_types)]
    complete, marked, oldest = db.execute(
        "SELECT count(*), count(watermark), min(watermark) FROM unit_now WHERE site = ? AND state = 'complete'", (site,)
    ).fetchone()
    if None in held_open or marked < complete or not (complete or held_open):
        return None
    return str(min(mark for mark in (*held_open, oldest) if mark is not None))


def _is_optional(unit: Unit, optional_types: Collection[str]) -> bool:
    type_name = unit.query.removeprefix("cohort: ").removeprefix("bulk: ").replace("?", " ").partition(" ")[0]
    return unit.state == "unsupported" and type_name in optional_types


def begin_run(db: sqlite3.Connection, command: str, user: str = "") -> int:
    """A new run's number. `user` is who runs it."""
    cursor = db.execute(
        "INSERT INTO run (command, started, pid, user) VALUES (?, ?, ?, ?)", (command, now(), os.getpid(), user)
    )
    return int(cursor.lastrowid or 0)


def end_run(db: sqlite3.Connection, run: int, exit_code: int) -> None:
    """Note how the run ended. A run without this was killed."""
    db.execute("UPDATE run SET ended = ?, exit_code = ? WHERE id = ?", (now(), exit_code, run))


def interrupted_before(db: sqlite3.Connection) -> "Run | None":
    """The newest run that was killed and of which nobody has told yet; None if there is none.

    Call it under the store's lock, before `begin_run`: whoever has not ended then will not. They are noted as interrupted,
    without an end, since nobody knows when that was.
    """
    killed = [run for run in runs(db) if run.exit_code is None]
    db.execute("UPDATE run SET exit_code = ? WHERE exit_code IS NULL", (INTERRUPTED,))
    return killed[0] if killed else None


class Run(msgspec.Struct, frozen=True):
    """One run. `ended` is None while it is at work, and for ever if it was killed.

    `exit_code` is None too until the next run finds the killed one and notes it as interrupted. `user` is who ran it, "" where
    nobody noted it.
    """

    id: int
    command: str
    started: str
    ended: str | None
    exit_code: int | None
    pid: int
    user: str = ""


def runs(db: sqlite3.Connection, most: int = -1) -> list[Run]:
    """The runs, the newest first; at most so many."""
    rows = db.execute(
        "SELECT id, command, started, ended, exit_code, pid, user FROM run ORDER BY id DESC LIMIT ?", (most,)
    )
    return [Run(*row) for row in rows]


def last_runs(db: sqlite3.Connection) -> list[Run]:
    """The newest run of each command, in order of command."""
    rows = db.execute(
        "SELECT id, command, started, ended, exit_code, pid, user FROM run "
        "WHERE id IN (SELECT max(id) FROM run GROUP BY command) ORDER BY command"
    )
    return [Run(*row) for row in rows]


def last_successes(db: sqlite3.Connection) -> dict[str, str]:
    """When a run of each command last ended with 0, by command; a command that never did is not in it."""
    return dict(
        db.execute(
            "SELECT command, max(ended) FROM run WHERE exit_code = 0 GROUP BY command ORDER BY command"
        ).fetchall()
    )


def now() -> str:
    """This moment, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _unit(row: tuple[object, ...]) -> Unit:
    values = dict(zip(Unit.__struct_fields__, row, strict=True))
    values["notes"] = msgspec.json.decode(str(values["notes"]))
    return Unit(**values)  # type: ignore[arg-type]  # the columns have the types of the fields
