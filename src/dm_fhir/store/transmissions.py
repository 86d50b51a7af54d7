"""What went out together to a hospital's server: one row per transmission, written before anything of it is sent."""

import sqlite3
from datetime import UTC, datetime
from typing import Literal, NamedTuple

#: What a transmission does to the outcomes in it, in the words of v3-DataOperation.
Activity = Literal["CREATE", "UPDATE", "NULLIFY"]


class Transmission(NamedTuple):
    """`recorded` is the instant (UTC, to the millisecond) that its Provenance has, and by which that is found again."""

    number: int
    recorded: str
    activity: Activity


def begin_transmission(db: sqlite3.Connection, site: str, run: int, activity: Activity) -> Transmission:
    """Note that something is about to be sent. Call it in the transaction that notes what."""
    recorded = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    row = db.execute(
        "INSERT INTO transmission (site, run, recorded, activity, state) VALUES (?, ?, ?, ?, 'sending') RETURNING number",
        (site, run, recorded, activity),
    ).fetchone()
    return Transmission(row[0], recorded, activity)


def set_state(db: sqlite3.Connection, number: int, state: str, provenance: str | None = None) -> None:
    """Note how far it is: `sending`, `sent`, `documented` by a Provenance on the server, or `undocumented`."""
    db.execute("UPDATE transmission SET state = ?, provenance = ? WHERE number = ?", (state, provenance, number))


def open_transmissions(db: sqlite3.Connection, site: str) -> list[Transmission]:
    """Those that are neither documented nor given up: a run was cut off, or the server had no time for it."""
    rows = db.execute(
        "SELECT number, recorded, activity FROM transmission WHERE site = ? AND state IN ('sending', 'sent') ORDER BY number",
        (site,),
    )
    return [Transmission._make(row) for row in rows]


def written_in(db: sqlite3.Connection, site: str, number: int) -> list[tuple[str, str | None]] | None:
    """What it wrote, each as (server id, version), in a fixed order; None while something of it is not settled."""
    rows = db.execute(
        "SELECT state, server_id, version FROM push WHERE site = ? AND transmission = ? ORDER BY identifier",
        (site, number),
    ).fetchall()
    if any(state == "sending" for state, _, _ in rows):
        return None
    return [(name, version) for state, name, version in rows if state in ("confirmed", "retracted") and name]
