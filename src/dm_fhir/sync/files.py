"""Pull from files: every line and entry of FHIR files into the store, each file one unit of the ledger."""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from msgspec.structs import replace

from dm_fhir.fhir.sources import Source, find_sources
from dm_fhir.store.database import transaction
from dm_fhir.store.ledger import Unit, get_unit, now, put_unit, put_units
from dm_fhir.store.resources import clear_set_aside, put_resources, set_aside
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.scan.piece import pieces_of
from dm_fhir.sync.scan.questions import KeepAll
from dm_fhir.sync.scan.runners import Runner, in_turn
from dm_fhir.sync.scan.scanned import Faulty, Scanned

#: How the query of a file begins, which has no patient.
FILE = "file: "
Progress = Callable[[str, int, int], None]


def pull_files(
    db: sqlite3.Connection,
    site: str,
    paths: Sequence[str],
    mapper: Mapper,
    run: int,
    progress: Progress,
    runner: Runner = in_turn,
) -> tuple[Counter[str], list[str]]:
    """Read all files behind `paths`; how many resources of each type they held, and the files passed over.

    Raises ConfigError for a path that does not exist.
    """
    sources, passed_over = find_sources(list(paths))
    units = {source.path: _FileUnit(db, site, source, run) for source in sources}
    with transaction(db):
        put_units(db, [unit.begun for unit in units.values()])
    types: Counter[str] = Counter()
    pieces = pieces_of(sources)
    parcels = groupby(runner(pieces, KeepAll(mapper)), key=lambda parcel: pieces[parcel.piece].source.path)
    for done, (path, some) in enumerate(parcels):
        progress(site, done, len(sources))
        types += units[path].take(some)
    progress(site, len(sources), len(sources))
    return types, passed_over


class _FileUnit:
    """One file on its way into the store, and the ledger row that counts it. `begun`: that row before anything was read."""

    def __init__(self, db: sqlite3.Connection, site: str, source: Source, run: int) -> None:
        query = f"{FILE}{_printable(source.path)}"
        before = get_unit(db, site, "", query)
        self._db, self._path = db, source.path
        self.begun = self._unit = Unit(site, "", query, watermark=before.watermark if before else None, run=run)
        self._types: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._lines = 0  # of the parcels before the one at hand
        self._seen: set[int] = set()  # hashes of references: a file may hold millions

    def take(self, parcels: Iterable[Scanned]) -> Counter[str]:
        """Store what came of the file, parcel by parcel; how many resources of each type it held."""
        damage = None
        for parcel in parcels:
            self._commit(parcel)
            self._lines += parcel.lines
            damage = damage or parcel.damage
        self._end(damage)
        return self._types

    def _commit(self, parcel: Scanned) -> None:
        """Store a parcel together with the row that counts it."""
        self._types += parcel.types
        self._notes.update(parcel.notes)
        self._seen.update(hash(resource.reference) for resource in parcel.kept)
        with transaction(self._db):
            self._notes.update(put_resources(self._db, self._unit.site, parcel.kept, self._unit.run, "file"))
            for faulty in parcel.faulty:
                self._set_aside(faulty)
            put_unit(self._db, self._counted("interrupted"))

    def _end(self, damage: str | None) -> None:
        """The file's end was reached, or it broke off."""
        if damage:
            self._notes[damage] += 1
        with transaction(self._db):
            if damage:
                place = _printable(self._path)
                set_aside(self._db, self._unit.site, "", self._unit.query, place, damage, b"", self._unit.run)
            else:
                clear_set_aside(self._db, self._unit.site, self._unit.query, "", self._unit.run)
            put_unit(self._db, self._counted(damage))

    def _set_aside(self, faulty: Faulty) -> None:
        line = "" if faulty.line is None else f":{self._lines + faulty.line}"
        place = f"{_printable(self._path)}{line}{faulty.within}"
        set_aside(self._db, self._unit.site, "", self._unit.query, place, faulty.reason, faulty.body, self._unit.run)
        self._notes["set_aside"] += 1

    def _counted(self, reason: str | None) -> Unit:
        """The file's row: complete when its end was reached, whatever single lines were worth."""
        return replace(
            self._unit,
            state="partial" if reason else "complete",
            received=self._notes.total(),
            unique=len(self._seen),
            pages=1,
            reason=reason,
            notes={name: count for name, count in sorted(self._notes.items()) if count},
            watermark=self._unit.watermark if reason else now(),
        )


def _printable(path: str) -> str:
    """The path, also where its name is not UTF-8: SQLite takes no other text."""
    return os.fsencode(path).decode("utf-8", "replace")
