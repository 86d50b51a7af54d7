"""All records of a site, one after the other: however many they are, one of them is in memory."""

import sqlite3
from collections.abc import Iterator
from itertools import tee
from typing import NamedTuple

from dm_fhir.store.blocks import kept


class Record(NamedTuple):
    """A resource's current version, and whose it is: a reference, None if it names nobody."""

    type: str
    id: str
    version: str | None
    last_updated: str | None
    body: bytes
    subject: str | None


def records(db: sqlite3.Connection, site: str) -> Iterator[Record]:
    """The site's current resources; those of one patient stand together."""
    rows = db.execute(
        "SELECT type, id, version, last_updated, subject, block, start, length FROM resource "
        "WHERE site = ? AND deleted IS NULL ORDER BY subject",
        (site,),
    )
    heads, places = tee(rows)
    bodies = kept(db, (row[5:] for row in places))
    return (Record._make((*row[:4], body, row[4])) for row, body in zip(heads, bodies, strict=True))
