"""A store in which run 1 has begun, and records to put into it."""

import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.config import load_config
from dm_fhir.fhir.resource import read_resource
from dm_fhir.mappings.site import SiteMapper, site_mapper
from dm_fhir.store.database import open_store, transaction
from dm_fhir.store.filing import put_resources
from dm_fhir.store.ledger import begin_run

from ..servers.hospital import Hospital, serving
from ..servers.records import population
from ..servers.study import Study, new_study

PATIENTS = ("p1", "p2", "p3")
#: A pull that does not end by itself ends its test.
LONGEST_TEST_SECONDS = 30
CONFIG = """
[study]
title = "One hospital"
drug = "anifrolumab"
timezone = "Europe/Madrid"

[[site]]
name = "leon"
"""


class Records:
    """The records of site leon."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def put(self, *resources: dict[str, Any]) -> None:
        """Store them, in one page."""
        with transaction(self.db):
            put_resources(self.db, "leon", [read_resource(json.dumps(one).encode()) for one in resources], 1)

    def patient(self, name: str, *links: tuple[str, str], **more: Any) -> dict[str, Any]:
        """Patient/name with links to other patients."""
        link = [{"type": kind, "other": {"reference": f"Patient/{other}"}} for kind, other in links]
        return {"resourceType": "Patient", "id": name, "gender": "female", **({"link": link} if link else {}), **more}

    def infusion(self, name: str, patient: str, day: str = "2025-03-03") -> dict[str, Any]:
        """An infusion of the study drug."""
        return {
            "resourceType": "MedicationAdministration", "id": name, "status": "completed",
            "subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": f"{day}T10:00:00+01:00",
            "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]},
            "dosage": {"dose": {"value": 300, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}},
        }  # fmt: skip

    def ck(self, name: str, patient: str, day: str, value: float) -> dict[str, Any]:
        """A creatine kinase."""
        return {
            "resourceType": "Observation", "id": name, "status": "final", "subject": {"reference": f"Patient/{patient}"},
            "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]}, "effectiveDateTime": day,
            "valueQuantity": {"value": value, "unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"},
        }  # fmt: skip


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A store in which run 1 has begun."""
    store = open_store(tmp_path / "study.sqlite", "anifrolumab")
    assert begin_run(store, "sync") == 1
    yield store
    store.close()


@pytest.fixture
def records(db: sqlite3.Connection) -> Records:
    """Makes records and stores them."""
    return Records(db)


@pytest.fixture(scope="session")
def mapper(tmp_path_factory: pytest.TempPathFactory) -> SiteMapper:
    """The mappings of site leon, with the shipped tables."""
    path = tmp_path_factory.mktemp("study") / "dm-fhir.toml"
    path.write_text(CONFIG, encoding="utf-8")
    config = load_config(path)
    return site_mapper(config, config.sites[0])


@pytest.fixture
def hospital() -> Iterator[Hospital]:
    """A running server that holds three patients' records."""
    with serving(Hospital(population(*PATIENTS))) as hospital:
        yield hospital


@pytest.fixture
def _ends_by_itself() -> Iterator[None]:
    def stop(*_: object) -> None:
        pytest.fail(f"not over after {LONGEST_TEST_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST_TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def study_of(hospital: Hospital, tmp_path: Path, _ends_by_itself: None) -> Callable[..., Study]:
    """Makes a study of the hospital's three patients, or as told; one request at a time, unless told otherwise."""

    def make(*, pull: dict[str, str] | None = None, **more: Any) -> Study:
        settings = {"concurrency": "1", **(pull or {})}
        return new_study(tmp_path, hospital.endpoint, **{"patients": PATIENTS, "pull": settings, **more})

    return make
