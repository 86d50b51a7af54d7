"""Files in the ledger: what comes of them goes into the store in parcels, each in one transaction with the row that counts it.

A row is complete for what was `asked` of its files as they were. While both stay so, the files need not be read again.
"""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.config import Site
from dm_fhir.fhir.packed import BROKEN, CUT_OFF, DAMAGE, damage_of
from dm_fhir.fhir.sources import Source, check_unchanged, opened, printable
from dm_fhir.store.database import transaction
from dm_fhir.store.distinct import forget_distinct, new_tally, note_distinct
from dm_fhir.store.filing import Origin, put_resources
from dm_fhir.store.ledger import Unit, get_unit, now, put_unit, put_units
from dm_fhir.store.quarantine import clear_set_aside, set_aside
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.scan.piece import Piece, pieces_of
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.runners import Runner
from dm_fhir.sync.scan.scanned import Faulty, Scanned

#: How the query of a file begins, which has no patient.
FILE = "file: "
Progress = Callable[[str, int, int], None]
_MB = 10**6
#: Whoever waits for a pass over so much wants to hear how far it is, also where it is only the search for the cohort.
_LONG_PASS_BYTES = 100 * _MB


def unit_of_file(source: Source) -> str:
    """The query of a file's unit."""
    return f"{FILE}{printable(source.path)}"


def begun(db: sqlite3.Connection, site: str, query: str, run: int, asked: str = "") -> Unit:
    """The row of a query that is not one patient's, before anything is read."""
    before = get_unit(db, site, "", query)
    return Unit(site, "", query, watermark=before.watermark if before else None, run=run, asked=asked)


class Reading(NamedTuple):
    """What the passes over one site's sources share.

    `unit_of` names the query of the ledger in which a source is counted: it may be that of several. `expected` is by such a
    query how many resources its sources should hold, `watermark` until when they are complete: None stands for now. `called`
    has, by its path, the source that people know by another name. `full`: what is complete is read all the same. `took` is
    called with each parcel of the second pass and the query of its row, in its transaction. `in_full`: what was set aside
    before and is not seen again is mended.
    """

    db: sqlite3.Connection
    site: Site
    mapper: Mapper
    run: int
    progress: Progress
    runner: Runner
    unit_of: Callable[[Source], str]
    origin: Origin
    expected: Mapping[str, int]
    watermark: str | None
    called: Mapping[str, str]
    full: bool
    took: Callable[[str, Scanned], None] = lambda *_: None
    in_full: bool = True

    @property
    def name(self) -> str:
        """The site's name."""
        return self.site.name

    def unit(self, query: str) -> Unit | None:
        """The row of a query that is not one patient's."""
        return get_unit(self.db, self.name, "", query)

    def begun(self, query: str, asked: str = "") -> Unit:
        """Such a row before anything is read."""
        return begun(self.db, self.name, query, self.run, asked)

    def shown(self, source: Source) -> str:
        """What people call the source."""
        return printable(self.called.get(source.path, source.path))

    def is_done(self, query: str, asked: str) -> bool:
        """Whether all that is asked was read before, and the sources are still the same."""
        before = None if self.full or not asked else self.unit(query)
        return before is not None and before.state == "complete" and before.asked == asked


class Wanted(NamedTuple):
    """One pass over sources: its question, what makes it another one (None: it is always asked anew), and what is done with it.

    `prefix` begins the names of its rows. `within` is called with each parcel in its transaction, `at_end` when all of a row's
    sources have been read. `counts` are a row's notes beside what became of what was kept, from its sources, the types that
    they hold and the notes so far. `sets_aside`: faulty lines are kept here, and not in another pass.
    """

    question: Question
    asked: str | None
    prefix: str = ""
    within: Callable[[Scanned], None] = lambda _: None
    at_end: Callable[[Sequence[Source], Counter[str]], None] = lambda *_: None
    counts: Callable[[Sequence[Source], Counter[str], Counter[str]], Mapping[str, int]] = lambda *_: {}
    sets_aside: bool = False


class Read(NamedTuple):
    """What was read in a pass: which sources, how many lines, resources by type; what became of them."""

    sources: Sequence[Source]
    lines: int
    types: Counter[str]
    notes: Counter[str]


#: Nothing had to be read.
NOTHING = Read((), 0, Counter(), Counter())


def asked_of(sources: Sequence[Source], asked: str | None) -> str:
    """Changes with the sources' content and with what is asked of them; "" where nobody can tell whether they have changed."""
    if asked is None or not all(source.version for source in sources):
        return ""
    parts = (*((source.path, source.version) for source in sources), asked)
    return sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def units_of(reading: Reading, sources: Sequence[Source]) -> dict[str, list[Source]]:
    """The sources by the query in which they are counted, in order."""
    found: dict[str, list[Source]] = {}
    for source in sources:
        found.setdefault(reading.unit_of(source), []).append(source)
    return found


def not_done(reading: Reading, sources: Sequence[Source], wanted: Wanted) -> list[Source]:
    """The sources that are not complete for what is wanted."""
    return [
        source
        for query, some in units_of(reading, sources).items()
        if not reading.is_done(f"{wanted.prefix}{query}", asked_of(some, wanted.asked))
        for source in some
    ]


def begin(reading: Reading, sources: Sequence[Source], wanted: Wanted, *more: Unit) -> None:
    """Write the rows of what is going to be read, and `more`, before anything is."""
    rows = [
        reading.begun(f"{wanted.prefix}{query}", asked_of(some, wanted.asked))
        for query, some in units_of(reading, sources).items()
    ]
    with transaction(reading.db):
        put_units(reading.db, [*(replace(row, expected=reading.expected.get(row.query)) for row in rows), *more])


def read_through(reading: Reading, sources: Sequence[Source], wanted: Wanted) -> Read:
    """Read the sources for what is wanted. Their rows must have begun."""
    units = {
        query: _Unit(reading, f"{wanted.prefix}{query}", some, wanted)
        for query, some in units_of(reading, sources).items()
    }
    pieces = pieces_of(sources)
    last_of = {piece.source.path: number for number, piece in enumerate(pieces)}
    whole, done = sum(map(_size, pieces)), 0
    progress = reading.progress if wanted.sets_aside or whole >= _LONG_PASS_BYTES else lambda *_: None
    progress(reading.name, 0, -(-whole // _MB))
    for parcel in reading.runner(pieces, wanted.question):
        piece = pieces[parcel.piece]
        is_end = parcel.is_last and parcel.piece == last_of[piece.source.path]
        units[reading.unit_of(piece.source)].take(parcel, piece.source, is_end=is_end)
        done += _size(piece) if parcel.is_last else 0
        progress(reading.name, -(-done // _MB), -(-whole // _MB))
    return Read(
        sources,
        sum(unit.all_lines for unit in units.values()),
        sum((unit.types for unit in units.values()), Counter()),
        sum((Counter(unit.notes()) for unit in units.values()), Counter()),
    )


def _size(piece: Piece) -> int:
    if piece.end is not None:
        return piece.end - piece.start
    return max(1, (piece.source.size_bytes or 0) - piece.start)


class _Unit:
    """One row of the ledger at work."""

    def __init__(self, reading: Reading, query: str, sources: Sequence[Source], wanted: Wanted) -> None:
        self._reading, self._wanted, self._sources = reading, wanted, sources
        self._unit = reading.unit(query) or reading.begun(query)
        self.types: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._open = {source.path for source in sources}
        self._lines: Counter[str] = Counter()  # of each source, in the parcels before the one at hand
        self._tally, self._unique = new_tally(reading.db), 0
        self._damage: str | None = None

    @property
    def all_lines(self) -> int:
        """How many lines were read."""
        return self._lines.total()

    def take(self, parcel: Scanned, source: Source, *, is_end: bool) -> None:
        """Store a parcel of a source together with the row that counts it. `is_end`: nothing more comes of this source."""
        db, site, run = self._reading.db, self._reading.name, self._reading.run
        damage = parcel.damage or (_what_befell(source, parcel) if is_end else None)
        self.types += parcel.types
        self._notes.update(parcel.notes)
        with transaction(db):
            self._unique += note_distinct(db, self._tally, [resource.reference for resource in parcel.kept])
            self._notes.update(put_resources(db, site, parcel.kept, run, self._reading.origin))
            self._wanted.within(parcel)
            if self._wanted.sets_aside:
                self._reading.took(self._unit.query, parcel)
            for faulty in parcel.faulty:
                self._set_aside(faulty, source)
            if damage:
                self._note_damage(damage, source)
            if is_end:
                self._open.discard(source.path)
            if not self._open:
                forget_distinct(db, self._tally)
            self._write()
        self._lines[source.path] += parcel.lines

    def notes(self) -> dict[str, int]:
        """What became of what was kept, and why the rest was not."""
        found = {**self._notes, **self._wanted.counts(self._sources, self.types, self._notes)}
        return {name: count for name, count in sorted(found.items()) if count}

    def _write(self) -> None:
        """The row as it stands: open until the end of every source was reached, whatever single lines were worth."""
        row = self._counted("interrupted" if self._open else self._damage)
        arrived = self.types.total() + self._notes["set_aside"]
        if row.state == "complete" and row.expected is not None and arrived < row.expected:
            said = f"{arrived} of {row.expected} announced"
            row = replace(row, state="partial", reason="short", message=said, watermark=self._unit.watermark)
        if row.state == "complete" and self._wanted.sets_aside and self._reading.in_full:
            clear_set_aside(self._reading.db, row.site, row.query, "", row.run)
        if not self._open:
            self._wanted.at_end(self._sources, self.types)
        put_unit(self._reading.db, row)

    def _note_damage(self, damage: str, source: Source) -> None:
        self._damage = self._damage or damage
        self._notes[damage] += 1
        if self._wanted.sets_aside:
            self._put_aside(self._reading.shown(source), damage, b"")

    def _set_aside(self, faulty: Faulty, source: Source) -> None:
        self._notes["set_aside"] += 1
        if self._wanted.sets_aside:
            line = "" if faulty.line is None else f":{self._lines[source.path] + faulty.line}"
            self._put_aside(f"{self._reading.shown(source)}{line}{faulty.within}", faulty.reason, faulty.body)

    def _put_aside(self, place: str, reason: str, body: bytes) -> None:
        row = self._unit
        set_aside(self._reading.db, row.site, "", row.query, place, reason, body, row.run)

    def _counted(self, reason: str | None) -> Unit:
        arrived = self.types.total() + sum(self._notes[name] for name in ("set_aside", *DAMAGE))
        return replace(
            self._unit,
            state="partial" if reason else "complete",
            received=arrived,
            unique=self._unique,
            pages=1,
            reason=reason,
            notes=self.notes(),
            watermark=self._unit.watermark if reason else self._reading.watermark or now(),
        )


def _what_befell(source: Source, last: Scanned) -> str | None:
    """What is wrong with a source as a whole that was read to its end, by its last parcel; None: nothing."""
    try:
        check_unchanged(source)
        faulty = last.faulty[-1] if last.faulty else None
        is_last_line = faulty is not None and faulty.line == last.lines > 0 and not faulty.within
        if is_last_line and faulty is not None and faulty.reason == "not-json" and not _ends_a_line(source):
            return CUT_OFF  # in the middle of a line: more is missing than this one
    except BROKEN as error:
        return damage_of(error)
    return None


def _ends_a_line(source: Source) -> bool:
    with opened(source) as file:
        if not source.is_packed:
            file.seek(-1, os.SEEK_END)
        last = b""
        while chunk := file.read(2**20):
            last = chunk
    return last.endswith(b"\n")
