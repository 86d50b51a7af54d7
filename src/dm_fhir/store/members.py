"""Whose records are pulled: the members of a site's cohort, as found by its searches or named by somebody."""

import sqlite3
from collections.abc import Iterable

from dm_fhir.store.ledger import now


def join(db: sqlite3.Connection, site: str, patients: Iterable[str], run: int) -> None:
    """Take these patients into the cohort; whoever had left is back. Call it in the transaction of what named them."""
    db.executemany(
        "INSERT INTO cohort_member VALUES (?, ?, ?, NULL) ON CONFLICT DO UPDATE SET gone = NULL",
        ((site, patient, run) for patient in patients),
    )


def leave(db: sqlite3.Connection, site: str, patients: Iterable[str]) -> None:
    """These patients are no longer in the cohort: their records stay, nothing is computed from them or asked about them."""
    leaving, when = [(site, patient) for patient in patients], now()
    db.executemany(
        "UPDATE cohort_member SET gone = ? WHERE site = ? AND patient = ?", ((when, *one) for one in leaving)
    )
    db.executemany("DELETE FROM unit WHERE site = ? AND patient = ?", leaving)


def members(db: sqlite3.Connection, site: str) -> list[str]:
    """The patients in the cohort now, as references, in order."""
    rows = db.execute("SELECT patient FROM cohort_member WHERE site = ? AND gone IS NULL ORDER BY patient", (site,))
    return [row[0] for row in rows]


def have_left(db: sqlite3.Connection, site: str) -> set[str]:
    """The patients who were in the cohort once and are no longer."""
    return {
        row[0] for row in db.execute("SELECT patient FROM cohort_member WHERE site = ? AND gone IS NOT NULL", (site,))
    }


def without_patient(db: sqlite3.Connection, site: str) -> int:
    """How many in the cohort have no Patient resource in the store."""
    row = db.execute(
        "SELECT count(*) FROM cohort_member AS member WHERE site = ? AND gone IS NULL AND NOT EXISTS (SELECT 1 FROM resource "
        "WHERE site = member.site AND type = 'Patient' AND id = substr(member.patient, 9) AND deleted IS NULL)",
        (site,),
    ).fetchone()
    return int(row[0])
