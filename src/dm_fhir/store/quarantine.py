"""What arrived and is no resource, or could not be kept as one: its bytes, where they stood, why; until somebody has looked at it."""

import hashlib
import sqlite3
from typing import NamedTuple


class Quarantined(NamedTuple):
    """One thing set aside. `number` is its name for `quarantine`; `acknowledged` is when somebody did, None: nobody."""

    number: int
    place: str
    reason: str
    size_bytes: int
    acknowledged: str | None


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
