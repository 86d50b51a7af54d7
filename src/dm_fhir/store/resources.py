"""The resources that the store holds, as they were sent: the current version of each."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from typing import Any, NamedTuple

from dm_fhir.store.blocks import kept, kept_with
from dm_fhir.store.database import batched, marks


class Stored(NamedTuple):
    """A resource's current version."""

    type: str
    id: str
    version: str | None
    last_updated: str | None
    body: bytes


_STORED = "type, id, version, last_updated, block, start, length"
_THIS = "WHERE site = ? AND type = ? AND id = ?"
#: Left to itself SQLite takes the index that has the order and reads the whole site for every patient.
_BY_SUBJECT = "resource INDEXED BY resource_by_subject"
#: As ranges: LIKE is not answered by an index. '0' is the character after '/'.
_OF_A_PATIENT = "subject >= 'Patient/' AND subject < 'Patient0'"
_OF_NO_PATIENT = ("subject IS NULL", "subject < 'Patient/'", "subject >= 'Patient0'")


def deleted_by_type(db: sqlite3.Connection, site: str) -> dict[str, int]:
    """How many resources of each type the server once had and has no longer."""
    return dict(
        db.execute(
            "SELECT type, count(*) FROM resource WHERE site = ? AND deleted IS NOT NULL GROUP BY type ORDER BY type",
            (site,),
        )
    )


def ids_from_server(
    db: sqlite3.Connection, site: str, type_name: str, subjects: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """What we hold of these patients from the server, of one type: subject and id."""
    for some in batched(subjects):
        rows = db.execute(
            # the + keeps SQLite from going through everything of the type instead of these patients
            "SELECT subject, id FROM resource WHERE site = ? AND +type = ? AND origin = 'server' AND deleted IS NULL "
            f"AND subject IN {marks(1, len(some))}", (site, type_name, *some),
        )  # fmt: skip
        yield from rows.fetchall()


def resources_of(db: sqlite3.Connection, site: str, subject: str) -> Iterator[Stored]:
    """One patient's current resources, in order of type and id."""
    rows = db.execute(
        f"SELECT {_STORED} FROM {_BY_SUBJECT} WHERE site = ? AND subject = ? AND deleted IS NULL ORDER BY type, id",
        (site, subject),
    )
    return _stored(db, rows.fetchall())


def resources_of_type(db: sqlite3.Connection, site: str, type_name: str) -> Iterator[Stored]:
    """A site's current resources of one type, whoever's they are, in order of id."""
    rows = db.execute(
        f"SELECT {_STORED} FROM resource WHERE site = ? AND type = ? AND deleted IS NULL ORDER BY id", (site, type_name)
    )
    return _stored(db, rows)


def _stored(db: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> Iterator[Stored]:
    heads, places = tee(rows)
    bodies = kept(db, (row[4:] for row in places))
    return (Stored._make((*row[:4], body)) for row, body in zip(heads, bodies, strict=True))


def has_resource(db: sqlite3.Connection, site: str, reference: str) -> bool:
    """Whether `Type/id` is in the store."""
    type_name, _, id_ = reference.partition("/")
    found = db.execute(
        "SELECT 1 FROM resource WHERE site = ? AND type = ? AND id = ?", (site, type_name, id_)
    ).fetchone()
    return found is not None


def has_records_of(db: sqlite3.Connection, site: str, patient: str) -> bool:
    """Whether the store holds, or held, anything of a patient."""
    row = db.execute("SELECT 1 FROM resource WHERE site = ? AND subject = ? LIMIT 1", (site, patient)).fetchone()
    return row is not None


def stored_resource(db: sqlite3.Connection, site: str, reference: str) -> bytes | None:
    """The current version of `Type/id`; None if there is none, or it was deleted."""
    type_name, _, id_ = reference.partition("/")
    row = db.execute(
        f"SELECT block, start, length FROM resource {_THIS} AND deleted IS NULL", (site, type_name, id_)
    ).fetchone()
    return next(kept(db, [row])) if row else None


def bodies_with(db: sqlite3.Connection, site: str, type_name: str, text: str) -> Iterator[tuple[str, bytes]]:
    """The current resources of a type whose bytes hold `text`: id and bytes, as they are when the first is asked for."""
    rows = db.execute(  # SQLite sorts them before it gives the first, so what is written meanwhile changes none
        "SELECT id, block, start, length FROM resource WHERE site = ? AND type = ? AND deleted IS NULL ORDER BY block, start",
        (site, type_name),
    )
    return kept_with(db, text.encode(), ((row[0], row[1:]) for row in rows))


def subjects(db: sqlite3.Connection, site: str) -> list[str]:
    """The patients whose records the store holds, as references, in order."""
    rows = db.execute(
        f"SELECT DISTINCT subject FROM resource WHERE site = ? AND deleted IS NULL AND {_OF_A_PATIENT} ORDER BY subject",
        (site,),
    )
    return [row[0] for row in rows]


def fingerprint(db: sqlite3.Connection, site: str, subject: str) -> str:
    """Changes whenever one of the patient's resources does."""
    digest = hashlib.sha256()
    for row in db.execute(
        f"SELECT type, id, hash FROM {_BY_SUBJECT} WHERE site = ? AND subject = ? AND deleted IS NULL ORDER BY type, id",
        (site, subject),
    ):
        digest.update("\0".join(row).encode())
    return digest.hexdigest()


def fingerprint_of_type(db: sqlite3.Connection, site: str, type_name: str) -> str:
    """Changes whenever one of the site's resources of this type does."""
    digest = hashlib.sha256()
    for row in db.execute(
        "SELECT id, hash FROM resource WHERE site = ? AND type = ? AND deleted IS NULL ORDER BY id", (site, type_name)
    ):
        digest.update("\0".join(row).encode())
    return digest.hexdigest()


def counts_by_type(db: sqlite3.Connection, site: str) -> dict[str, int]:
    """How many current resources of each type a site has."""
    deleted = deleted_by_type(db, site)
    rows = db.execute("SELECT type, count(*) FROM resource WHERE site = ? GROUP BY type ORDER BY type", (site,))
    return {
        type_name: count - deleted.get(type_name, 0) for type_name, count in rows if count > deleted.get(type_name, 0)
    }


def without_patient(db: sqlite3.Connection, site: str, types: Sequence[str]) -> dict[str, int]:
    """How many current resources of each of these types name no patient, so that no case can hold them."""
    found: Counter[str] = Counter()
    for of_none in _OF_NO_PATIENT:
        rows = db.execute(
            f"SELECT type, count(*) FROM {_BY_SUBJECT} WHERE site = ? AND {of_none} AND deleted IS NULL "
            f"AND type IN {marks(1, len(types))} GROUP BY type", (site, *types),
        )  # fmt: skip
        found.update(dict(rows))
    return dict(sorted(found.items()))
