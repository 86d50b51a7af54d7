"""A second pull when nothing has changed: one question for a type, of servers that are known to count honestly."""

import json
from collections.abc import Callable

import pytest

from ..servers.hospital import Ask, Hospital, Json, refusal
from ..servers.records import ck, infusion, person, record
from ..servers.study import Study

StudyOf = Callable[..., Study]
TYPES = (
    "Patient",
    "MedicationAdministration",
    "Observation",
    "Condition",
    "MedicationRequest",
    "MedicationStatement",
    "AdverseEvent",
)


@pytest.fixture
def study(hospital: Hospital, study_of: StudyOf) -> Study:
    """A study of three patients at a server that takes two to a query, pulled once."""
    study = study_of(pull={"patients_per_query": "2"})
    assert study.type("pull").code == 0
    hospital.asked.clear()
    return study


def amended(hospital: Hospital, one: Json) -> Json:
    """The record as it has just been changed."""
    meta = {"versionId": "2", "lastUpdated": f"{hospital.now:%Y-%m-%dT%H:%M:%SZ}"}
    return {**one, "meta": meta}


def counting(hospital: Hospital) -> dict[str, int]:
    """How often each type was only counted."""
    return {name: sum(ask.is_count for ask in hospital.asked if ask.type == name) for name in TYPES}


def test_one_question_for_each_type_and_no_other(hospital: Hospital, study: Study) -> None:
    ran = study.type("pull")

    assert ran.code == 0, ran.text
    assert counting(hospital) == dict.fromkeys(TYPES, 1)
    assert not [ask for name in TYPES for ask in hospital.searches(name)]


def test_what_has_changed_is_asked_for_and_other_types_are_not(hospital: Hospital, study: Study) -> None:
    hospital.put(amended(hospital, ck("p2-ck", "p2", 999)), amended(hospital, ck("p3-new", "p3", 5)))

    assert study.type("pull").code == 0
    assert b"999" in study.bodies("Observation")["p2-ck"]
    assert "p3-new" in study.bodies("Observation")
    assert len(hospital.searches("Observation")) == 2
    assert not hospital.searches("Condition")


def test_each_unit_is_then_complete_until_the_answer(hospital: Hospital, study: Study) -> None:
    started = study.unit("Observation?patient").watermark or ""
    study.change("UPDATE unit SET watermark = strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-1 day')")
    study.type("pull")

    marks = {unit.watermark or "" for (_, query), unit in study.units().items() if query == "Observation?patient"}
    assert started
    assert started <= min(marks)


def test_a_new_patient_has_everything_asked_for(hospital: Hospital, study: Study) -> None:
    hospital.put(person("p4"), ck("p4-ck", "p4"))
    (study.config.parent / "patients.txt").write_text("p1\np2\np3\np4\n", encoding="utf-8")

    assert study.type("pull").code == 0
    assert "p4-ck" in study.bodies("Observation")


@pytest.mark.parametrize("lie", ["nothing", "nothing lately", "no total", "refuses"])
def test_a_server_that_does_not_count_honestly_is_asked_for_the_records(
    hospital: Hospital, study_of: StudyOf, lie: str
) -> None:
    def lying(ask: Ask, bundle: Json) -> Json:
        if not ask.is_count or ask.type != "Observation":
            return bundle
        if lie == "no total":
            return {name: value for name, value in bundle.items() if name != "total"}
        is_lie = lie == "nothing" or (lie == "nothing lately" and ask.parameter("_lastUpdated"))
        return {**bundle, "total": 0} if is_lie else bundle

    hospital.bend.append(lying)
    if lie == "refuses":
        hospital.refuse.append(lambda ask: refusal(400) if ask.is_count and ask.type == "Observation" else None)
    study = study_of(pull={"patients_per_query": "2"})
    assert study.type("pull").code == 0
    hospital.put(amended(hospital, ck("p1-new", "p1")))

    assert study.type("pull").code == 0
    assert study.facts()["counts Observation"] == "no"
    assert "p1-new" in study.bodies("Observation")


def test_a_type_of_which_there_was_nothing_is_not_thought_empty_for_ever(hospital: Hospital, study: Study) -> None:
    hospital.put(amended(hospital, record("AdverseEvent", "e1", "p1", actuality="actual")))

    assert study.type("pull").code == 0
    assert set(study.bodies("AdverseEvent")) == {"e1"}


def test_a_unit_that_is_open_has_its_own_question(hospital: Hospital, study: Study) -> None:
    """Though nothing has changed since it was last complete."""
    hospital.put(amended(hospital, infusion("p1-new", "p1")))
    hospital.refuse.append(lambda ask: refusal(403) if ask in hospital.searches("MedicationAdministration") else None)
    assert study.type("pull").code == 3
    hospital.refuse.clear()
    hospital.remove("MedicationAdministration/p1-new")

    assert study.type("pull").code == 0


def test_what_comes_from_the_hospital_unchanged_sets_nothing_to_work(hospital: Hospital, study: Study) -> None:
    study.type("compute")
    before = study.changes()
    assert study.type("pull", "--full").code == 0
    ran = study.type("compute", "--json")

    assert study.changes() == before
    assert json.loads(ran.out)["computed"]["north"]["mapped"] == 0
