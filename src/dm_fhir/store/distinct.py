"""How many different things came, of however many: in a temporary table, since a file may hold more than memory does.

It is the connection's own, never in the store's file, and gone with the connection.
"""

import sqlite3
from collections.abc import Iterable
from itertools import chain

from dm_fhir.store.database import batched, marks


def note_distinct(db: sqlite3.Connection, tally: int, keys: Iterable[int]) -> int:
    """How many of the keys this tally had not noted before; they are noted with the transaction. Tallies know nothing of each other."""
    db.execute(
        "CREATE TEMP TABLE IF NOT EXISTS noted (tally INTEGER, key INTEGER, PRIMARY KEY (tally, key)) WITHOUT ROWID"
    )
    rows = [(tally, key) for key in sorted(set(keys))]
    return sum(
        db.execute(
            f"INSERT OR IGNORE INTO noted VALUES {marks(len(some), 2)}", tuple(chain.from_iterable(some))
        ).rowcount
        for some in batched(rows)
    )


def forget_distinct(db: sqlite3.Connection, tally: int) -> None:
    """Nothing more comes of this tally."""
    db.execute("DELETE FROM temp.noted WHERE tally = ?", (tally,))
