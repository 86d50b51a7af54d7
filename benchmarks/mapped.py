"""dm-fhir's own part of the mapping benchmark, as a process of its own: from stored bytes to the case series.

python mapped.py cases FILE       the records of a file as cases; prints the processor time in seconds, and how many were used
python mapped.py outcomes FILE    the same with every outcome computed
python mapped.py stream PATIENTS  so many patients of the population, one after the other, as cases with outcomes
"""

import gc
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from population import PER_PATIENT, rows

from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.medication import Medications, read_medications
from dm_fhir.mappings.scope import Scope
from dm_fhir.mappings.site import SiteMapper
from dm_fhir.model.case import Case

_Map = Callable[[str, list["Record"], Medications], Case]
#: Findings of a record that is no part of the case and is not counted as left out.
_NOT_USED = ("unreadable", "medication_unresolved", "modifier_unknown")


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

    def with_outcomes(patient: str, records: list[Record], medications: Medications) -> Case:
        return mapper.case(patient, records, medications)

    def without(patient: str, records: list[Record], medications: Medications) -> Case:
        return read_case(patient, mapper.site, mapper.timezone, mapper.drug, records, tables, medications, mapper.known)

    if how == "stream":
        sys.stdout.write(f"{_streamed(with_outcomes, int(what))}\n")
    else:
        sys.stdout.write("{} {}\n".format(*_seconds(with_outcomes if how == "outcomes" else without, Path(what))))


def _seconds(map_one: _Map, file: Path) -> tuple[float, int]:
    """The processor time of mapping every patient of the file once, without reading the file; and how many records were used."""
    people: dict[str, list[Record]] = defaultdict(list)
    drugs: list[Record] = []
    for line in file.read_bytes().splitlines():
        head = msgspec.json.decode(line, type=dict[str, Any])
        record = Record(head["resourceType"], head["id"], "1", head["meta"].get("lastUpdated"), line)
        if record.type == "Medication":
            drugs.append(record)
        else:
            people[f"Patient/{head['id']}" if record.type == "Patient" else head["subject"]["reference"]].append(record)
    for patient, records in list(people.items())[:2]:  # what is made at first use is not counted
        map_one(patient, records, {})
    gc.freeze()  # the records lie in a store, not in memory: looking through them for garbage is not part of the mapping
    began = time.process_time()
    medications = read_medications(drugs)
    used = sum(_used(map_one(patient, records, medications), len(records)) for patient, records in people.items())
    return time.process_time() - began, used


def _streamed(map_one: _Map, patients: int) -> int:
    """How many resources were read; nothing of a patient is kept."""
    read = 0
    for number in range(1, patients + 1):  # a list of all names would be what grows
        name = f"p{number:05d}"
        records = list(_records(name))
        read += _used(map_one(f"Patient/{name}", records, {}), len(records))
    return read


def _records(name: str) -> Iterator[Record]:
    for kind in PER_PATIENT:
        for row in rows(kind, name):
            yield Record(kind, row.id, "1", None, row.body)


def _used(case: Case, records: int) -> int:
    """How many of a patient's records became a part of the case; each of the others is accounted for."""
    parts = (
        case.conditions,
        case.administrations,
        case.other_administrations,
        case.therapies,
        case.assessments,
        case.adverse_events,
    )
    used = (case.subject is not None) + sum(map(len, parts))
    found = used + sum(case.left_out.values()) + sum(one.code in _NOT_USED for one in case.findings)
    if found != records:
        raise SystemExit(f"{found} of {records} resources were used, left out or a finding")
    return used


if __name__ == "__main__":
    main(*sys.argv[1:])
