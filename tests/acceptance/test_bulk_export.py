"""Bulk exports of a real server at all three levels, with login by SMART Backend Services, by the real command."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Hospital, HospitalMaker, Json, Study, StudyMaker

GROUP = {"resourceType": "Group", "id": "clinic", "type": "person", "actual": True}
#: Whoever is in no cohort.
STRANGER = [
    {"resourceType": "Patient", "id": "stranger", "gender": "female", "birthDate": "1970"},
    {
        "resourceType": "Condition",
        "id": "stranger-1",
        "subject": {"reference": "Patient/stranger"},
        "code": {"text": "something else"},
    },
]
LEVELS = {
    "system": '[site.bulk]\nlevel = "system"\n',
    "patient": "",
    "group": '[site.bulk]\ngroup = "Group/clinic"\n',
    "group-is-cohort": '[site.cohort]\nby = "group"\ngroup = "Group/clinic"\n',
}


def held(study: Study) -> list[tuple[str, str, str]]:
    """Type, id and hash of whatever is current in the store."""
    rows = study.ask("SELECT type, id, hash FROM resource WHERE deleted IS NULL ORDER BY type, id")
    return [tuple(row) for row in rows]


def jobs(study: Study) -> list[tuple[str, bool]]:
    """How each export ended, and whether it was of changes only."""
    return [
        (state, since is not None) for state, since in study.ask("SELECT state, since FROM bulk_job ORDER BY number")
    ]


def exports(hospital: Hospital) -> list[str]:
    """The kick-offs that the server answered."""
    return [one for one in hospital.requests() if "/$export" in one]


@pytest.fixture
def hospital(new_hospital: HospitalMaker, one_patient: list[Json]) -> Hospital:
    member = {
        "entity": {"reference": next(f"Patient/{one['id']}" for one in one_patient if one["resourceType"] == "Patient")}
    }
    made = new_hospital([*one_patient, *STRANGER, GROUP | {"member": [member]}])
    time.sleep(1.1)  # the server's clock tells whole seconds: what was loaded is now older than the first export
    return made


@pytest.mark.parametrize("level", LEVELS)
def test_an_export_brings_what_searches_bring(hospital: Hospital, new_study: StudyMaker, level: str) -> None:
    searched = new_study(hospital, push=False)
    assert searched.type("pull").code == 0
    study = new_study(hospital, push=False, more='mode = "bulk"', extra=LEVELS[level])
    ran = study.type("pull", "--json")

    assert ran.code == 0, ran.out + ran.err
    assert held(study) == held(searched)
    assert jobs(study) == [("ended", False)]
    assert [one for one in hospital.requests() if one.startswith("DELETE ")][-1].startswith("DELETE /fhir/bulk-status/")
    assert len(exports(hospital)) == 1


def test_syncs_one_after_the_other(hospital: Hospital, new_study: StudyMaker, one_patient: list[Json]) -> None:
    study = new_study(hospital, push=True, more='mode = "bulk"')
    first = study.type("sync", "--json")
    assert first.code == 0, first.out + first.err
    assert first.json["sites"][0]["patients"] == {"case": 1}

    before = held(study)
    again = study.type("sync", "--json")
    assert again.code == 0, again.out + again.err
    assert held(study) == before  # our own outcomes are among what has changed there, and are not kept
    assert jobs(study) == [("ended", False), ("ended", True)]
    assert again.json["outcomes"].get("written", 0) == 0

    score = next(one for one in one_patient if one["resourceType"] == "Observation" and "valueQuantity" in one)
    time.sleep(1.1)
    hospital.put(score | {"valueQuantity": score["valueQuantity"] | {"value": 7}})
    changed = study.type("sync", "--json")
    assert changed.code == 0, changed.out + changed.err
    assert jobs(study)[2:] == [("ended", True)]
    rows = dict(zip([row[:2] for row in before], [row[2] for row in before], strict=True))
    now = {row[:2]: row[2] for row in held(study)}
    assert {key for key in now if rows.get(key) != now[key]} == {("Observation", score["id"])}


def test_whoever_joins_later_is_read_in_full(
    hospital: Hospital, new_study: StudyMaker, one_patient: list[Json]
) -> None:
    study = new_study(hospital, push=False, more='mode = "bulk"')
    assert study.type("pull").code == 0
    infusion = next(one for one in one_patient if one["resourceType"] == "MedicationAdministration")
    hospital.put(infusion | {"id": "stranger-inf", "subject": {"reference": "Patient/stranger"}})
    ran = study.type("pull", "--json")
    assert ran.code == 0, ran.out + ran.err
    assert ran.json["cohort"] == {"baltimore": 2}
    assert jobs(study) == [("ended", False), ("ended", True), ("ended", False)]
    assert ("Patient", "stranger") in [row[:2] for row in held(study)]


def test_deletions_show_in_full_exports(hospital: Hospital, new_study: StudyMaker, one_patient: list[Json]) -> None:
    """This server's manifests do not say what was deleted."""
    study = new_study(hospital, push=False, more='mode = "bulk"')
    assert study.type("pull").code == 0
    score = next(one for one in one_patient if one["resourceType"] == "Observation")
    hospital.delete(f"Observation/{score['id']}")
    assert study.type("pull").code == 0
    assert ("Observation", score["id"]) in [row[:2] for row in held(study)]
    assert study.type("pull", "--full").code == 0
    assert ("Observation", score["id"]) not in [row[:2] for row in held(study)]


def test_doctor_finds_the_export(hospital: Hospital, new_study: StudyMaker) -> None:
    study = new_study(hospital, push=False, more='mode = "bulk"', extra=LEVELS["system"])
    ran = study.type("doctor")
    assert "bulk export:" in ran.out
    assert exports(hospital) == []
