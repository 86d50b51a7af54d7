"""Pull from files: every line and entry of FHIR files into the store, each file one unit of the ledger."""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

from msgspec.structs import replace

from dm_fhir.fhir.files import DAMAGE, Item, find_files, read_file
from dm_fhir.fhir.resource import Resource
from dm_fhir.store.database import transaction
from dm_fhir.store.ledger import Unit, get_unit, now, put_unit
from dm_fhir.store.resources import clear_set_aside, put_resources, set_aside
from dm_fhir.sync.mapper import Mapper

#: How the query of a file begins, which has no patient.
FILE = "file: "
ITEMS_PER_COMMIT = 5000
Progress = Callable[[str, int, int], None]


def pull_files(
    db: sqlite3.Connection, site: str, paths: Sequence[str], mapper: Mapper, run: int, progress: Progress
) -> tuple[Counter[str], list[str]]:
    """Read all files behind `paths`; how many resources of each type they held, and the files passed over.

    Raises ConfigError for a path that does not exist.
    """
    files, passed_over = find_files(list(paths))
    types: Counter[str] = Counter()
    for index, path in enumerate(files):
        progress(site, index, len(files))
        types += _FileUnit(db, site, path, mapper, run).pull()
    progress(site, len(files), len(files))
    return types, passed_over


class _FileUnit:
    """One file on its way into the store, and the ledger row that counts it."""

    def __init__(self, db: sqlite3.Connection, site: str, path: str, mapper: Mapper, run: int) -> None:
        query = f"{FILE}{_printable(path)}"
        before = get_unit(db, site, "", query)
        self._db, self._path, self._mapper = db, path, mapper
        self._unit = Unit(site, "", query, watermark=before.watermark if before else None, run=run)
        self._types: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._seen: set[int] = set()  # hashes of references: a file may hold millions

    def pull(self) -> Counter[str]:
        """Store the whole file, batch by batch; how many resources of each type it held."""
        put_unit(self._db, self._unit)
        items = read_file(self._path)
        while batch := list(islice(items, ITEMS_PER_COMMIT)):
            self._commit(batch, "interrupted")
        self._commit((), next((reason for reason in DAMAGE if self._notes[reason]), None))
        return self._types

    def _commit(self, batch: Sequence[Item], reason: str | None) -> None:
        """Store a batch together with the row that counts it; no reason: the file's end was reached."""
        with transaction(self._db):
            self._file([item.resource for item in batch if item.resource is not None])
            for item in batch:
                if item.resource is None:
                    self._set_aside(item)
            if reason is None:
                clear_set_aside(self._db, self._unit.site, self._unit.query, "", self._unit.run)
            put_unit(self._db, self._counted(reason))

    def _file(self, resources: Sequence[Resource]) -> None:
        """Store resources and count what became of each. What we wrote ourselves is only counted."""
        self._types.update(resource.type for resource in resources)
        self._seen.update(hash(resource.reference) for resource in resources)
        others = [one for one in resources if one.type != "Observation" or not self._mapper.is_own(one.body)]
        self._notes["own_outcome"] += len(resources) - len(others)
        self._notes.update(put_resources(self._db, self._unit.site, others, self._unit.run, "file"))

    def _set_aside(self, item: Item) -> None:
        reason, place = item.reason or "unreadable", _printable(item.place)
        set_aside(self._db, self._unit.site, "", self._unit.query, place, reason, item.body, self._unit.run)
        self._notes[reason if reason in DAMAGE else "set_aside"] += 1

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
