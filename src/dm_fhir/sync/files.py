"""Pull from files: every line and entry of FHIR files into the store, each file one unit of the ledger."""

import sqlite3
from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from dm_fhir.fhir.files import Item, find_files, read_file
from dm_fhir.store.database import transaction
from dm_fhir.store.ledger import Unit, now, put_unit
from dm_fhir.store.resources import clear_set_aside, put_resource, set_aside
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.pull import Progress

ITEMS_PER_COMMIT = 5000


def pull_files(
    db: sqlite3.Connection, site: str, paths: Sequence[str], mapper: Mapper, run: int, progress: Progress
) -> tuple[Counter[str], list[str]]:
    """Read all files behind `paths`; how many resources of each type they held, and the files passed over by their name.

    Raises ConfigError for a path that does not exist.
    """
    files, passed_over = find_files(list(paths))
    types: Counter[str] = Counter()
    for index, path in enumerate(files):
        progress(site, index, len(files))
        types += _pull_file(db, site, path, mapper, run)
    progress(site, len(files), len(files))
    return types, passed_over


def _pull_file(db: sqlite3.Connection, site: str, path: str, mapper: Mapper, run: int) -> Counter[str]:
    unit = Unit(site, "", f"file: {path}", run=run)
    with transaction(db):
        clear_set_aside(db, site, unit.query)
        put_unit(db, unit)
    types: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    batch: list[Item] = []
    for item in read_file(path):
        batch.append(item)
        if len(batch) == ITEMS_PER_COMMIT:
            _commit(db, unit, batch, types, notes, mapper)
            batch = []
    _commit(db, unit, batch, types, notes, mapper, is_last=True)
    return types


def _commit(
    db: sqlite3.Connection,
    unit: Unit,
    batch: list[Item],
    types: Counter[str],
    notes: Counter[str],
    mapper: Mapper,
    *,
    is_last: bool = False,
) -> None:
    """Store a batch and the ledger row that counts it, in one transaction."""
    with transaction(db):
        for item in batch:
            if item.resource is None:
                notes["set_aside"] += 1
                set_aside(db, unit.site, "", unit.query, item.place, item.reason or "unreadable", item.body, unit.run)
                continue
            types[item.resource.type] += 1
            own = item.resource.type == "Observation" and mapper.is_own(item.resource.body)
            notes["own_outcome" if own else put_resource(db, unit.site, item.resource, unit.run)] += 1
        damage = next((item.reason for item in batch if item.reason in ("file-cut-off", "file-damaged")), None)
        put_unit(db, _counted(unit, types, notes, damage, is_last=is_last))


def _counted(unit: Unit, types: Counter[str], notes: Counter[str], damage: str | None, *, is_last: bool) -> Unit:
    """The file's row: complete when its end was reached, whatever single lines were worth."""
    reason = damage or (None if is_last else "interrupted")
    return replace(
        unit,
        state="partial" if reason else "complete",
        received=types.total() + notes["set_aside"],
        unique=types.total(),
        pages=1,
        reason=reason,
        notes=dict(sorted(notes.items())),
        watermark=None if reason else now(),
    )
