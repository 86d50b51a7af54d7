"""Whether anything may be written to a site: to which address a person, or the config, has agreed, and what was taken back."""

import sqlite3

from dm_fhir.store.ledger import now


def agreed_address(db: sqlite3.Connection, site: str) -> str | None:
    """The endpoint to which writing was agreed; "" where it was agreed and no longer is, None if it never was noted."""
    return _setting(db, f"push to {site}")


def note_agreed(db: sqlite3.Connection, site: str, address: str) -> None:
    """Writing to this endpoint is agreed. What was taken back may be written again."""
    _note(db, f"push to {site}", address)
    db.execute("DELETE FROM setting WHERE name = ?", (f"taken back of {site}",))


def taken_back(db: sqlite3.Connection, site: str) -> str | None:
    """Since when everything of ours is taken back, or being taken back; None where it is not."""
    return _setting(db, f"taken back of {site}")


def note_taken_back(db: sqlite3.Connection, site: str) -> None:
    """Everything of ours is taken back from now on. Nothing is written until that is agreed to again."""
    _note(db, f"taken back of {site}", now())
    _note(db, f"push to {site}", "")


def _setting(db: sqlite3.Connection, name: str) -> str | None:
    row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _note(db: sqlite3.Connection, name: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))
