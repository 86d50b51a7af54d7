"""The audit log of a pull: whose records came, once a run, whatever became of them; nothing where nothing came."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

import pytest

from ..servers.hospital import Hospital
from ..servers.records import ck, record
from ..servers.study import Study
from .test_together import adding

StudyOf = Callable[..., Study]
EVERYBODY = {"Patient/p1", "Patient/p2", "Patient/p3"}


def noted(study: Study, run: int) -> list[str]:
    """Whose data a run has read, row by row."""
    with closing(sqlite3.connect(study.config.with_name("dm-fhir.sqlite"))) as db:
        rows = db.execute("SELECT patient FROM audit WHERE action = 'read' AND run = ? ORDER BY number", (run,))
        return [row[0] for row in rows]


def test_everybody_who_is_asked_for_once_and_nobody_when_nothing_came(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of()
    assert study.type("pull").code == 0
    assert sorted(noted(study, 1)) == sorted(EVERYBODY)
    assert study.type("pull").code == 0
    assert noted(study, 2) == []
    assert study.type("pull", "--full").code == 0
    assert sorted(noted(study, 3)) == sorted(EVERYBODY)


def test_a_strangers_record_that_is_not_kept_was_read_all_the_same(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.bend.append(adding("Observation", "p2", ck("s", "stranger")))
    study = study_of()
    assert study.type("pull").code == 3
    assert set(noted(study, 1)) == EVERYBODY | {"Patient/stranger"}
    assert len(noted(study, 1)) == 4


@pytest.mark.parametrize("at_once", ["3", "1"])
def test_a_record_that_no_table_knows_was_read_all_the_same(
    hospital: Hospital, study_of: StudyOf, at_once: str
) -> None:
    study = study_of(pull={"patients_per_query": at_once})
    assert study.type("pull").code == 0
    unknown = {"status": "completed", "medicationCodeableConcept": {"coding": [{"system": "urn:x", "code": "y"}]}}
    meta = {"versionId": "1", "lastUpdated": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    hospital.held.append(record("MedicationAdministration", "x9", "p3", meta=meta, **unknown))
    assert study.type("pull").code == 0
    assert noted(study, 2) == ["Patient/p3"]
    assert "x9" not in study.bodies("MedicationAdministration")


def test_what_is_set_aside_was_read_too(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of()
    assert study.type("pull").code == 0
    hospital.bend.append(adding("Observation", "p2", {"resourceType": "Observation", "status": "final"}))
    assert study.type("pull").code == 3
    assert noted(study, 2) == ["Patient/p2"]
