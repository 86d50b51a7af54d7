"""What came, each once, of however much: in a temporary table, since a file may hold more than memory does.

It is the connection's own, never in the store's file, and gone with the connection. Names stand there as numbers of 64 bits.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import chain, count, islice

from dm_fhir.store.database import batched, marks

_TALLIES = count()
_ASKED_AT_ONCE = 500


def new_tally(db: sqlite3.Connection) -> int:
    """The number of a tally that has noted nothing. Tallies know nothing of each other."""
    db.execute(
        "CREATE TEMP TABLE IF NOT EXISTS noted (tally INTEGER, key INTEGER, PRIMARY KEY (tally, key)) WITHOUT ROWID"
    )
    return next(_TALLIES)


def note_distinct(db: sqlite3.Connection, tally: int, names: Iterable[str]) -> int:
    """How many of the names the tally had not noted before; they are noted with the transaction."""
    rows = [(tally, key) for key in sorted(set(map(hash, names)))]
    return sum(
        db.execute(
            f"INSERT OR IGNORE INTO noted VALUES {marks(len(some), 2)}", tuple(chain.from_iterable(some))
        ).rowcount
        for some in batched(rows)
    )


def not_noted(db: sqlite3.Connection, tally: int, names: Iterable[str]) -> Iterator[str]:
    """Those of the names that the tally has not noted, in order."""
    names = iter(names)
    while some := list(islice(names, _ASKED_AT_ONCE)):
        keys = list(map(hash, some))
        rows = db.execute(f"SELECT key FROM noted WHERE tally = ? AND key IN {marks(1, len(keys))}", (tally, *keys))
        known = {row[0] for row in rows}
        yield from (name for name, key in zip(some, keys, strict=True) if key not in known)


def forget_distinct(db: sqlite3.Connection, tally: int) -> None:
    """Nothing more comes of this tally."""
    db.execute("DELETE FROM noted WHERE tally = ?", (tally,))
