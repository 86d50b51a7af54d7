"""What the hospital deletes on its server: noticed when all is asked for again, and at every pull by the server's history."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Hospital, HospitalMaker, Study, StudyMaker


def some(study: Study, type_name: str) -> str:
    """The id of one of the resources of a type."""
    [name] = study.ask("SELECT min(id) FROM resource WHERE type = ?", type_name)[0]
    return str(name)


def deleted(study: Study) -> list[tuple[str, str]]:
    return study.ask("SELECT type, id FROM resource WHERE deleted IS NOT NULL ORDER BY 1, 2")


def test_noticed_when_all_is_asked_for_again(new_hospital: HospitalMaker, new_study: StudyMaker) -> None:
    hospital = new_hospital()
    study = new_study(hospital, push=False)
    assert study.type("sync").code == 0
    gone = [
        ("MedicationAdministration", some(study, "MedicationAdministration")),
        ("Observation", some(study, "Observation")),
    ]
    outcomes = outcome_count(study)
    for type_name, name in gone:
        hospital.delete(f"{type_name}/{name}")
    assert study.type("sync").code == 0
    assert deleted(study) == []

    ran = study.type("pull", "--full")
    assert ran.code == 0, ran.out
    assert deleted(study) == gone
    assert study.type("compute").code == 0
    assert 0 < outcome_count(study) < outcomes, "outcomes are still computed from what was deleted"
    assert study.ask("SELECT count(*) FROM resource WHERE deleted IS NOT NULL AND length > 0") == [(2,)]

    put_back(hospital, study, *gone[1])
    assert study.type("pull").code == 0
    assert deleted(study) == gone[:1]


def test_noticed_by_history_without_asking_for_everything(new_hospital: HospitalMaker, new_study: StudyMaker) -> None:
    hospital = new_hospital()
    study = new_study(hospital, more="history = true", push=False)
    assert study.type("pull").code == 0
    name = some(study, "Observation")
    hospital.delete(f"Observation/{name}")
    before = len(hospital.requests())

    assert study.type("pull").code == 0
    assert deleted(study) == [("Observation", name)]
    asked = [request for request in hospital.requests()[before:] if "/Observation" in request]
    assert not [request for request in asked if "combo-code" in request and "_lastUpdated" not in request], asked


def outcome_count(study: Study) -> int:
    [(count,)] = study.ask("SELECT count(*) FROM outcome")
    return int(count)


def put_back(hospital: Hospital, study: Study, type_name: str, name: str) -> None:
    """The hospital enters it again under its id."""
    hospital.put(json.loads(study.body(type_name, name)))
