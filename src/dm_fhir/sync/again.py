"""What a pull of only what is open asks of a site: nothing, the open queries, or everything where it never got through."""

import sqlite3

from dm_fhir.config import Site
from dm_fhir.store import ledger
from dm_fhir.store.members import members
from dm_fhir.sync.pull import EVERYTHING, PLAN, Wish
from dm_fhir.sync.summary import stops_of


def asked_of(db: sqlite3.Connection, site: Site, wish: Wish) -> Wish | None:
    """What is to be pulled of the site; None where only what is open is wanted and nothing is: it is not even connected to.

    Where the last pull was stopped, or broke off, or there was none, all of it is open, and what is complete is asked only for
    changes. What is open of an export is judged by its own rows; what is
    open of files no server can answer.
    """
    if not wish.retry or site.pull.mode == "bulk":
        return wish
    if site.endpoint is None:
        return None
    rows = ledger.units(db, site.name)
    if not rows or any(row.query == PLAN and row.state != "complete" for row in rows) or _was_stopped(db, site):
        return EVERYTHING
    is_untried = bool(set(members(db, site.name)) - {row.patient for row in rows})
    is_open = any(ledger.needs_attention(row, site.pull.optional_types) for row in rows)
    return wish if is_open or is_untried else None


def _was_stopped(db: sqlite3.Connection, site: Site) -> bool:
    return any(stop.step == "pull" for stop in stops_of(db, site))
