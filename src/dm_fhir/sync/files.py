"""Pull from files: every line and entry of FHIR files into the store, each file one unit of the ledger."""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from dm_fhir.config import Site
from dm_fhir.fhir.listing import PassedOver, find_sources
from dm_fhir.fhir.sources import Source
from dm_fhir.store.database import transaction
from dm_fhir.store.ledger import Unit, get_unit, now, put_unit, put_units
from dm_fhir.store.resources import Origin, clear_set_aside, put_resources, set_aside
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.scan.piece import pieces_of
from dm_fhir.sync.scan.questions import KeepAll
from dm_fhir.sync.scan.runners import Runner, in_turn
from dm_fhir.sync.scan.scanned import Faulty, Scanned

#: How the query of a file begins, which has no patient.
FILE = "file: "
Progress = Callable[[str, int, int], None]


def unit_of_file(source: Source) -> str:
    """The query of a file's unit."""
    return f"{FILE}{_printable(source.path)}"


def pull_files(
    db: sqlite3.Connection,
    site: Site,
    paths: Sequence[str],
    mapper: Mapper,
    run: int,
    progress: Progress,
    runner: Runner = in_turn,
) -> tuple[Counter[str], list[PassedOver]]:
    """Read all files behind `paths`; how many resources of each type they held, and the files passed over.

    Raises ConfigError for a path that does not exist.
    """
    sources, passed_over = find_sources(paths, lambda count: progress(site.name, 0, count))
    return pull_sources(db, site, sources, mapper, run, progress, runner=runner), passed_over


def pull_sources(
    db: sqlite3.Connection,
    site: Site,
    sources: Sequence[Source],
    mapper: Mapper,
    run: int,
    progress: Progress,
    *,
    runner: Runner = in_turn,
    unit_of: Callable[[Source], str] = unit_of_file,
    origin: Origin = "file",
    expected: Mapping[str, int] = MappingProxyType({}),
    watermark: str | None = None,
) -> Counter[str]:
    """Read the sources into the store; how many resources of each type they held.

    `unit_of` names the query of the ledger in which a source is counted: it may be that of several. `expected` is by such a
    query how many resources its sources should hold, `watermark` until when they are complete: None stands for now.
    """
    several: dict[str, list[Source]] = {}
    for source in sources:
        several.setdefault(unit_of(source), []).append(source)
    units = {
        query: _UnitOfFiles(db, begun(db, site.name, query, run, expected.get(query)), some, origin, watermark)
        for query, some in several.items()
    }
    with transaction(db):
        put_units(db, [unit.begun for unit in units.values()])
    pieces = pieces_of(sources)
    last_of = {piece.source.path: number for number, piece in enumerate(pieces)}
    progress(site.name, 0, len(sources))
    done = 0
    for parcel in runner(pieces, KeepAll(mapper)):
        source = pieces[parcel.piece].source
        is_end = parcel.is_last and parcel.piece == last_of[source.path]
        units[unit_of(source)].take(parcel, source, is_end=is_end)
        if is_end:
            done += 1
            progress(site.name, done, len(sources))
    return sum((unit.types for unit in units.values()), Counter())


def begun(db: sqlite3.Connection, site: str, query: str, run: int, expected: int | None = None) -> Unit:
    """The row of a query that is not one patient's, before anything is read."""
    before = get_unit(db, site, "", query)
    return Unit(site, "", query, expected=expected, watermark=before.watermark if before else None, run=run)


class _UnitOfFiles:
    """One unit of the ledger on its way into the store. `begun`: its row before anything was read."""

    def __init__(
        self, db: sqlite3.Connection, begun: Unit, sources: Sequence[Source], origin: Origin, watermark: str | None
    ) -> None:
        self._db, self._origin, self._watermark = db, origin, watermark
        self.begun = self._unit = begun
        self.types: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._open = {source.path for source in sources}
        self._lines: Counter[str] = Counter()  # of each source, in the parcels before the one at hand
        self._seen: set[int] = set()  # hashes of references: a file may hold millions
        self._damage: str | None = None

    def take(self, parcel: Scanned, source: Source, *, is_end: bool) -> None:
        """Store a parcel of a source together with the row that counts it. `is_end`: nothing more comes of this source."""
        self.types += parcel.types
        self._notes.update(parcel.notes)
        self._seen.update(hash(resource.reference) for resource in parcel.kept)
        with transaction(self._db):
            self._notes.update(put_resources(self._db, self._unit.site, parcel.kept, self._unit.run, self._origin))
            for faulty in parcel.faulty:
                self._set_aside(faulty, source)
            if parcel.damage:
                self._note_damage(parcel.damage, source)
            if is_end:
                self._open.discard(source.path)
            self._write()
        self._lines[source.path] += parcel.lines

    def _write(self) -> None:
        """The row as it stands: open until the end of every source was reached, whatever single lines were worth."""
        row = self._counted("interrupted" if self._open else self._damage)
        arrived = self.types.total() + self._notes["set_aside"]
        if row.state == "complete" and row.expected is not None and arrived < row.expected:
            said = f"{arrived} of {row.expected} announced"
            row = replace(row, state="partial", reason="short", message=said, watermark=self._unit.watermark)
        if row.state == "complete":
            clear_set_aside(self._db, self._unit.site, self._unit.query, "", self._unit.run)
        put_unit(self._db, row)

    def _note_damage(self, damage: str, source: Source) -> None:
        place = _printable(source.path)
        self._damage = self._damage or damage
        self._notes[damage] += 1
        set_aside(self._db, self._unit.site, "", self._unit.query, place, damage, b"", self._unit.run)

    def _set_aside(self, faulty: Faulty, source: Source) -> None:
        line = "" if faulty.line is None else f":{self._lines[source.path] + faulty.line}"
        place = f"{_printable(source.path)}{line}{faulty.within}"
        set_aside(self._db, self._unit.site, "", self._unit.query, place, faulty.reason, faulty.body, self._unit.run)
        self._notes["set_aside"] += 1

    def _counted(self, reason: str | None) -> Unit:
        return replace(
            self._unit,
            state="partial" if reason else "complete",
            received=self._notes.total(),
            unique=len(self._seen),
            pages=1,
            reason=reason,
            notes={name: count for name, count in sorted(self._notes.items()) if count},
            watermark=self._unit.watermark if reason else self._watermark or now(),
        )


def _printable(path: str) -> str:
    """The path, also where its name is not UTF-8: SQLite takes no other text."""
    return os.fsencode(path).decode("utf-8", "replace")
