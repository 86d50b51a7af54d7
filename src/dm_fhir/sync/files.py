"""Pull from files, in two passes: find the cohort, then keep what is the cohort's. Each file is one unit of the ledger.

The first pass (`file_cohort`) reads only files that may show who is in the cohort. The second (`file_records`) reads all of
them, and if it finds what the first should have seen, both are made again, until nobody new joins.
"""

import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.config import Site
from dm_fhir.errors import ConfigError, StoreError
from dm_fhir.fhir.archives import close_kept
from dm_fhir.fhir.listing import PassedOver, find_sources
from dm_fhir.fhir.sources import STANDARD_INPUT, Source, source_of
from dm_fhir.store import ledger
from dm_fhir.store.database import path_of, quick_commits, transaction
from dm_fhir.store.filing import Origin
from dm_fhir.store.ledger import now, put_unit
from dm_fhir.store.members import members, without_patient
from dm_fhir.store.place import create_private
from dm_fhir.sync.cohort import Named
from dm_fhir.sync.file_cohort import SHOWN, find_members, looks
from dm_fhir.sync.file_records import KEPT, NOT_KEPT, take_medications, take_records
from dm_fhir.sync.file_types import named_type, other_places
from dm_fhir.sync.file_units import FILE, Progress, Read, Reading, begun, unit_of_file
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.scan.runners import Runner, in_turn
from dm_fhir.sync.scan.scanned import Scanned

#: The unit that is complete when all files of a pull have been gone through.
ALL_FILES = "all files"
_NOT_THROUGH = "the last pull of files did not get through"
_MOST_PLACES = 3


class Taken(NamedTuple):
    """What a pull of files came to.

    `patients` are in the cohort now, `without_patient` of them have no Patient resource in the store, `named` are the lines of
    their list. Of so many `files` some were `complete` before and not read again; `lines` and `types` count what the others
    hold, `kept` what became of what was kept, `not_kept` why the rest was not. `shown` counts, by type, what the cohort is found
    by. `other_types` are places where a file holds another type than its name says, `gone` how many Medications that records
    refer to are in no file. `unsearched`: files of earlier pulls, which nobody has searched for those who are new.
    """

    patients: int
    without_patient: int
    named: list[Named]
    files: int
    complete: int
    lines: int
    types: Counter[str]
    kept: Counter[str]
    not_kept: Counter[str]
    shown: Counter[str]
    other_types: list[str]
    gone: int
    unsearched: int


def pull_files(
    db: sqlite3.Connection,
    site: Site,
    paths: Sequence[str],
    mapper: Mapper,
    run: int,
    progress: Progress,
    runner: Runner = in_turn,
    *,
    full: bool = False,
    listed: Callable[[int], None] = lambda _: None,
) -> tuple[Taken, list[PassedOver]]:
    """Read all files behind `paths`: what came of it, and the files passed over.

    `full`: files that are complete are read again. `listed` is told now and then how many were found. Raises ConfigError for
    a path that does not exist, and where no path leads to a FHIR file; StoreError where standard input cannot be kept.
    """
    try:
        found, passed_over = find_sources(paths, listed)
        if not found:
            raise _nothing_in(paths, passed_over)
        return _pull_found(db, site, found, mapper, run, progress, runner, full=full), passed_over
    finally:
        close_kept()  # an archive that was left open between two members


def _pull_found(
    db: sqlite3.Connection,
    site: Site,
    found: Sequence[Source],
    mapper: Mapper,
    run: int,
    progress: Progress,
    runner: Runner,
    *,
    full: bool,
) -> Taken:
    """The sources, within the unit that is complete when all of them have been gone through."""
    at_once = site.cohort.by == "everybody" and runner is in_turn
    with _spooled(db, found, at_once=at_once) as (sources, called):

        def unit_of(source: Source) -> str:
            return unit_of_file(replace(source, path=called.get(source.path, source.path)))

        through = replace(begun(db, site.name, ALL_FILES, run), message=_NOT_THROUGH)
        with transaction(db):
            put_unit(db, through)
        taken = pull_sources(
            db, site, sources, mapper, run, progress, runner=runner, unit_of=unit_of, called=called, full=full
        )
        with transaction(db):
            put_unit(db, replace(through, state="complete", reason=None, message=None, watermark=now()))
    return taken


def _nothing_in(paths: Sequence[str], passed_over: Sequence[PassedOver]) -> ConfigError:
    """A folder that is empty may be a disk that is not mounted: nobody should take that for a pull that is complete."""
    whys = Counter(one.why for one in passed_over)
    over = f"; passed over: {', '.join(f'{count} ({why})' for why, count in whys.items())}" if whys else ""
    return ConfigError(
        f"there is no FHIR file in {', '.join(paths)}{over}",
        hint="is it mounted, and is whoever writes it ready? Files are found by name: .ndjson, .jsonl or .json, also packed",
    )


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
    called: Mapping[str, str] = MappingProxyType({}),
    full: bool = False,
    took: Callable[[str, Scanned], None] = lambda *_: None,
    in_full: bool = True,
) -> Taken:
    """Bring the cohort and its records into the store as the sources have them. The ledger says how complete that is.

    The parameters are those of `Reading`. Raises ConfigError where the cohort's list cannot be read, or its Group is nowhere.
    """
    reading = Reading(
        db, site, mapper, run, progress, runner, unit_of, origin, expected, watermark, called, full, took, in_full
    )
    with quick_commits(db):
        before = set(members(db, site.name))
        named = find_members(reading, sources)
        read, has_more = take_records(reading, sources)
        reading = reading._replace(full=False)
        while has_more:
            named = find_members(reading, sources)
            again, has_more = take_records(reading, sources)
            read = again if again.sources else read
        gone = take_medications(reading, sources) if site.cohort.by != "everybody" else 0
    return _told(reading, sources, named, read, gone, before)


def _told(
    reading: Reading, sources: Sequence[Source], named: list[Named], read: Read, gone: int, before: set[str]
) -> Taken:
    db, site = reading.db, reading.name
    patients = members(db, site)
    units = {reading.unit_of(source) for source in sources}
    joined = bool(before) and not before.issuperset(patients) and reading.site.cohort.by != "everybody"
    earlier = [one for one in ledger.units_of_nobody(db, site) if one.query.startswith(FILE) and one.query not in units]
    return Taken(
        patients=len(patients),
        without_patient=without_patient(db, site),
        named=named,
        files=len(sources),
        complete=len(sources) - len(read.sources),
        lines=read.lines,
        types=read.types,
        kept=Counter({name: read.notes[name] for name in KEPT if read.notes[name]}),
        not_kept=Counter({name: read.notes[name] for name in NOT_KEPT if read.notes[name]}),
        shown=_shown(reading, sources),
        other_types=_other_types(reading, read),
        gone=gone,
        unsearched=len(earlier) if joined else 0,
    )


def _shown(reading: Reading, sources: Sequence[Source]) -> Counter[str]:
    """How many resources of the types that show members the first pass has seen, now or before."""
    types = {name for look in looks(reading) if look.prefix == SHOWN for name in look.types}
    rows = (reading.unit(f"{SHOWN}{query}") for query in sorted({reading.unit_of(source) for source in sources}))
    found: Counter[str] = Counter()
    for row in rows:
        found.update({name: row.notes.get(name, 0) for name in types} if row is not None else {})
    return found


def _other_types(reading: Reading, read: Read) -> list[str]:
    """The first places of other types in each file that was read and is named for a type."""
    found: list[str] = []
    for source in read.sources:
        row = reading.unit(reading.unit_of(source))
        if row is not None and row.notes.get("other_type"):
            type_name = named_type(source, read.types)
            if type_name is not None:
                found += other_places(source, reading.shown(source), type_name, _MOST_PLACES)
    return found


@contextmanager
def _spooled(
    db: sqlite3.Connection, sources: Sequence[Source], *, at_once: bool
) -> Iterator[tuple[list[Source], dict[str, str]]]:
    """The sources, with what is read more than once in a private file beside the store; and what that is called.

    Raises StoreError if it cannot be written.
    """
    clear_input(db)
    spool = _input(db)
    if at_once or all(source.path != STANDARD_INPUT for source in sources):
        yield list(sources), {}
        return
    try:
        create_private(spool)
        try:
            with spool.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, 2**20)
        except OSError as error:
            hint = "free some space, or give the files themselves"
            raise StoreError(f"standard input cannot be kept in {spool}: {error.strerror}", hint=hint) from error
        kept = replace(source_of(str(spool)), version="")
        yield [kept if one.path == STANDARD_INPUT else one for one in sources], {str(spool): STANDARD_INPUT}
    finally:
        spool.unlink(missing_ok=True)


def clear_input(db: sqlite3.Connection) -> None:
    """Remove what a killed pull has kept of its standard input: everybody's records."""
    _input(db).unlink(missing_ok=True)


def _input(db: sqlite3.Connection) -> Path:
    store = path_of(db)
    return store.with_name(f"{store.name}.stdin")
