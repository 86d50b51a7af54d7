"""A look at a store that leaves no trace: none is made, migrated or locked, and no file is left beside it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

_MEMBERS = "SELECT patient FROM cohort_member WHERE site = ? AND gone IS NULL ORDER BY patient LIMIT ?"
_FACTS = "SELECT name, value, learned FROM server_fact WHERE site = ? ORDER BY name"


class Fact(msgspec.Struct, frozen=True):
    """One thing that was found out about a site's server, and when."""

    name: str
    value: str
    learned: str


class Known(NamedTuple):
    """What earlier pulls left: facts of the site's server, and the first members of its cohort."""

    facts: tuple[Fact, ...] = ()
    members: tuple[str, ...] = ()


def look(path: Path, site: str, most_members: int) -> Known:
    """What the store at `path` knows of a site; nothing where there is none, or none that can be read as it is."""
    try:
        with looking(path) as db:
            if db is None:
                return Known()
            facts = tuple(Fact(*row) for row in db.execute(_FACTS, (site,)))
            return Known(facts, tuple(row[0] for row in db.execute(_MEMBERS, (site, most_members))))
    except sqlite3.Error:
        return Known()


@contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection | None]:
    """The store at `path`, to be read only; None where there is no file."""
    if not path.is_file():
        yield None
        return
    # A reader makes two files beside a database in WAL mode, and leaves them, unless it is told that nobody else writes.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)) as db:
        yield db
