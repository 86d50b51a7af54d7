"""Resources kept and found again, one way, as a process of its own; prints a JSON object of seconds and sizes.

python stored.py own    through dm-fhir's store: versions, hashes, ledger of reads, compressed blocks
python stored.py bare   the least that SQLite takes: one row each, one index on the patient, the same pragmas
python stored.py file   the disk's limit: the bytes alone, written to a file and made to last as often
"""

import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from population import PER_PATIENT, patient_ids, rows

from dm_fhir.fhir.resource import Resource, read_resource
from dm_fhir.store.database import open_store, transaction
from dm_fhir.store.filing import put_resources
from dm_fhir.store.ledger import begin_run
from dm_fhir.store.resources import resources_of, stored_resource

PER_COMMIT = 5000
_READS = 1000
_SITE = "population"


class Own:
    """dm-fhir's store."""

    def __init__(self, folder: Path) -> None:
        self._db = open_store(folder / "own.sqlite", "anifrolumab")
        self._run = begin_run(self._db, "pull")

    def put(self, some: Sequence[Resource]) -> None:
        """One commit."""
        with transaction(self._db):
            put_resources(self._db, _SITE, some, self._run)

    def of_patient(self, patient: str) -> int:
        """How many resources of a patient there are, each read."""
        return sum(1 for _ in resources_of(self._db, _SITE, patient))

    def one(self, reference: str) -> bytes | None:
        """A resource's bytes."""
        return stored_resource(self._db, _SITE, reference)

    def close(self) -> None:
        """All of it is in one file."""
        self._db.close()


class Bare:
    """SQLite alone."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -32000"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE resource (type TEXT, id TEXT, subject TEXT, body BLOB, UNIQUE (type, id))")
        self._db.execute("CREATE INDEX by_subject ON resource (subject)")

    def put(self, some: Sequence[Resource]) -> None:
        """One commit."""
        self._db.execute("BEGIN")
        found = ((one.type, one.id, one.subject, one.body) for one in some)
        self._db.executemany("INSERT INTO resource VALUES (?, ?, ?, ?)", found)
        self._db.execute("COMMIT")

    def of_patient(self, patient: str) -> int:
        """How many resources of a patient there are, each read."""
        return len(self._db.execute("SELECT type, id, body FROM resource WHERE subject = ?", (patient,)).fetchall())

    def one(self, reference: str) -> bytes | None:
        """A resource's bytes."""
        found = self._db.execute("SELECT body FROM resource WHERE type = ? AND id = ?", reference.split("/")).fetchone()
        return found[0] if found else None

    def close(self) -> None:
        """All of it is in one file."""
        self._db.close()


class File:
    """A file."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "file.ndjson").open("wb")

    def put(self, some: Sequence[Resource]) -> None:
        """Lasting."""
        self._file.write(b"\n".join(one.body for one in some))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Nothing is left to be written."""
        self._file.close()


WAYS = {"own": Own, "bare": Bare, "file": File}


def main(way: str, patients: str) -> None:
    """Keep the resources of so many patients, then find some again."""
    people = patient_ids(int(patients))
    store = WAYS[way](Path())
    took, cpu, count = 0.0, 0.0, 0
    for some in _batches(people):
        began, used = time.perf_counter(), time.process_time()
        store.put(some)
        took, cpu, count = took + time.perf_counter() - began, cpu + time.process_time() - used, count + len(some)
    told: dict[str, float] = {"put": count / took, "put_cpu": count / cpu}
    if not isinstance(store, File):
        chosen = random.Random(1).sample(people, min(_READS, len(people)))  # noqa: S311 - which ones does not matter
        began, read = time.perf_counter(), 0
        for patient in chosen:
            read += store.of_patient(f"Patient/{patient}")
        told["of_patient"] = read / (time.perf_counter() - began)
        if read != len(chosen) * sum(PER_PATIENT.values()):
            raise SystemExit(f"{read} resources of {len(chosen)} patients were found")
        began = time.perf_counter()
        if not all(store.one(f"Observation/{patient}-o11") for patient in chosen):
            raise SystemExit("a resource was not found")
        told["one"] = len(chosen) / (time.perf_counter() - began)
    store.close()
    told["mb"] = sum(path.stat().st_size for path in Path().glob(f"{way}.*")) / 1e6
    sys.stdout.write(json.dumps(told))


def _batches(people: Sequence[str]) -> Iterator[Sequence[Resource]]:
    """The resources, as they come from pages, so many to a commit."""
    waiting: list[Resource] = []
    for patient in people:
        waiting += [read_resource(row.body) for kind in PER_PATIENT for row in rows(kind, patient)]
        if len(waiting) >= PER_COMMIT:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


if __name__ == "__main__":
    main(*sys.argv[1:])
