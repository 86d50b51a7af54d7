"""dm-fhir's own part of the mapping benchmark, as a process of its own: from stored bytes to the case series.

python mapped.py cases FILE       the records of a file as cases; prints the processor time in seconds
python mapped.py outcomes FILE    the same with every outcome computed
python mapped.py stream PATIENTS  so many patients of the population, one after the other, as cases with outcomes
"""

import gc
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
from population import PER_PATIENT, rows

from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.scope import Scope
from dm_fhir.mappings.site import SiteMapper
from dm_fhir.model.case import Case

#: One pass is over in a fraction of what a peer takes, too soon on a busy machine.
_PASSES = 5
_Map = Callable[[str, list["Record"]], Case]


class Record(NamedTuple):
    """What the store knows of a resource beside its bytes."""

    type: str
    id: str
    version: str | None
    last_updated: str | None
    body: bytes


def main(how: str, what: str) -> None:
    """Map as told and print what came of it."""
    tables = load_tables()
    mapper = SiteMapper("population", "Europe/Madrid", "anifrolumab", tables, Scope(tables))

    def with_outcomes(patient: str, records: list[Record]) -> Case:
        return mapper.case(patient, records, {})

    def without(patient: str, records: list[Record]) -> Case:
        return read_case(patient, mapper.site, mapper.timezone, mapper.drug, records, tables, {}, mapper.known)

    if how == "stream":
        sys.stdout.write(f"{_streamed(with_outcomes, int(what))}\n")
    else:
        sys.stdout.write(f"{_seconds(with_outcomes if how == 'outcomes' else without, Path(what))}\n")


def _seconds(map_one: _Map, file: Path) -> float:
    """The processor time of mapping every patient of the file, the median of a few times; without reading the file."""
    people: dict[str, list[Record]] = defaultdict(list)
    for line in file.read_bytes().splitlines():
        head = msgspec.json.decode(line, type=dict[str, Any])
        record = Record(head["resourceType"], head["id"], "1", head["meta"]["lastUpdated"], line)
        people[f"Patient/{head['id']}" if record.type == "Patient" else head["subject"]["reference"]].append(record)
    for patient, records in list(people.items())[:2]:  # what is made at first use is not counted
        map_one(patient, records)
    gc.freeze()  # the records lie in a store, not in memory: looking through them for garbage is not part of the mapping
    passes = []
    for _ in range(_PASSES):
        began = time.process_time()
        read = sum(_parts(map_one(patient, records)) for patient, records in people.items())
        passes.append(time.process_time() - began)
        _check(read, sum(map(len, people.values())))
    gc.unfreeze()
    return median(passes)


def _streamed(map_one: _Map, patients: int) -> int:
    """How many resources were read; nothing of a patient is kept."""
    read = 0
    for number in range(1, patients + 1):  # a list of all names would be what grows
        name = f"p{number:05d}"
        records = list(_records(name))
        parts = _parts(map_one(f"Patient/{name}", records))
        _check(parts, len(records))
        read += parts
    return read


def _records(name: str) -> Iterator[Record]:
    for kind in PER_PATIENT:
        for row in rows(kind, name):
            yield Record(kind, row.id, "1", None, row.body)


def _parts(case: Case) -> int:
    """How many records became a part of the case."""
    parts = (
        case.conditions,
        case.administrations,
        case.other_administrations,
        case.therapies,
        case.assessments,
        case.adverse_events,
    )
    return (case.subject is not None) + sum(map(len, parts))


def _check(read: int, expected: int) -> None:
    if read != expected:
        raise SystemExit(f"{read} of {expected} resources became parts of a case")


if __name__ == "__main__":
    main(*sys.argv[1:])
