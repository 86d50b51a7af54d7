"""What one pull is asked to do: the whole plan, some patients, or only what is open; and when all is asked for again."""

import json
from collections.abc import Callable

import pytest

from dm_fhir.sync import passes

from ..servers.hospital import Ask, Hospital, refusal
from ..servers.records import ck, person, record
from ..servers.study import Study

StudyOf = Callable[..., Study]
PLAN = "whole plan"


def of(hospital: Hospital) -> set[tuple[str, str]]:
    """Type and patients of each search of records, and what was read by its id."""
    return {
        (ask.type, ask.parameter("patient") or ask.parameter("subject") or ask.parameter("_id") or ask.path)
        for ask in hospital.asked if ask.path != "metadata" and not ask.is_count
    }  # fmt: skip


def cohort(study: Study) -> set[str]:
    """Who has rows in the ledger."""
    return {patient.removeprefix("Patient/") for patient, _ in study.units() if patient}


def in_full(hospital: Hospital, type_name: str) -> list[bool]:
    """Of each search of a type, whether all was asked for."""
    return [not ask.has("_lastUpdated") for ask in hospital.searches(type_name)]


def test_one_patient_by_name_and_nobody_else(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of(patients=(), cohort='by = "medication"')
    for words in (["--patient", "Patient/p2"], ["--patient", "p2"]):
        hospital.asked.clear()
        ran = study.type("pull", *words, "--json")
        assert ran.code == 0, ran.text
        assert {whom.removeprefix("Patient/") for _, whom in of(hospital)} == {"p2"}
    assert cohort(study) == {"p2"}
    assert ("", PLAN) not in study.units(), "a part of the plan is not the plan"


def test_somebody_whom_the_server_does_not_have_is_named(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of(patients=(), cohort='by = "medication"')
    ran = study.type("pull", "--patient", "p1", "--patient", "nobody")

    assert ran.code == 3
    assert "failed: Patient/nobody Patient: the server has no Patient/nobody (404)" in ran.out
    assert study.unit("Patient", "nobody").reason == "not-found"
    assert study.unit("Observation?patient", "p1").state == "complete"


def test_a_file_of_patients_for_one_pull(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(person("p3", identifier=[{"system": "urn:mrn", "value": "4711"}]))
    study = study_of(patients=(), cohort='by = "medication"')
    today = study.config.with_name("today.txt")
    today.write_text("p1\nurn:mrn|4711\nurn:mrn|0815\n", encoding="utf-8")
    ran = study.type("pull", "--patient-file", str(today), "--json")

    assert cohort(study) == {"p1", "p3"}
    assert [one["state"] for one in json.loads(ran.out)["listed"]["north"]] == ["found", "found", "not found"]


def test_who_was_pulled_by_name_is_pulled_with_the_cohort_from_then_on(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(person("p4"), ck("p4-ck", "p4"))
    study = study_of(patients=(), cohort='by = "medication"')
    study.type("pull", "--patient", "p4")
    assert study.type("pull").code == 0

    assert cohort(study) == {"p1", "p2", "p3", "p4"}
    hospital.asked.clear()
    study.type("pull")
    assert all("p4" in ask.parameter("patient") for ask in hospital.searches("Observation"))


def test_only_what_is_open_is_tried_again(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.refuse.append(
        lambda ask: refusal(403) if ask.type == "Condition" and "p2" in ask.parameter("patient") else None
    )
    study = study_of()
    assert study.type("pull").code == 3
    hospital.refuse.clear()
    hospital.asked.clear()
    ran = study.type("pull", "--retry-failed")

    assert ran.code == 0, ran.text
    assert of(hospital) == {("Condition", "p2")}
    hospital.asked.clear()
    assert study.type("pull", "--retry-failed").code == 0
    assert of(hospital) == set()


def test_a_cohorts_search_that_is_open_is_tried_again_too(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of(patients=(), cohort='by = "medication"')
    study.type("pull", "--patient", "p1")
    hospital.refuse.append(lambda ask: refusal(500) if ask.has("code") and ask.type == "Medication" else None)
    assert study.type("pull").code == 3
    hospital.refuse.clear()
    hospital.asked.clear()

    assert study.type("pull", "--retry-failed").code == 0
    assert [ask.parameter("code") != "" for ask in hospital.searches("Medication")] == [True]
    assert not hospital.searches("Observation")


def test_codes_that_a_table_newly_knows_are_asked_for_from_the_beginning(hospital: Hospital, study_of: StudyOf) -> None:
    new = {"coding": [{"system": "urn:leon", "code": "KREA"}]}
    hospital.put(ck("p1-own-code", "p1", code=new))
    study = study_of()
    study.type("pull")
    assert "p1-own-code" not in study.bodies("Observation")
    hospital.asked.clear()
    study.type("pull")
    assert in_full(hospital, "Observation") == [False]

    table = '[[measurement]]\nvariable = "ck"\nunit = "U/L"\ncodes = [{ system = "urn:leon", code = "KREA" }]\n'
    study.config.with_name("own.toml").write_text(table, encoding="utf-8")
    text = study.config.read_text(encoding="utf-8")
    study.config.write_text(text.replace('name = "north"', 'name = "north"\ntables = ["own.toml"]'), encoding="utf-8")
    hospital.asked.clear()
    ran = study.type("pull")

    assert ran.code == 0, ran.text
    assert in_full(hospital, "Observation") == [True]
    assert "p1-own-code" in study.bodies("Observation")
    assert in_full(hospital, "Patient") == [False], "who they are has nothing to do with the tables"


@pytest.mark.parametrize(("days", "again"), [("0.00001", True), ("30", False)])
def test_how_often_all_is_asked_for(hospital: Hospital, study_of: StudyOf, days: str, again: bool) -> None:
    study = study_of(pull={"full_every_days": days})
    study.type("pull")
    study.change("UPDATE unit SET read_in_full = datetime('now', '-10 days') || 'Z' WHERE read_in_full IS NOT NULL")
    hospital.asked.clear()

    assert study.type("pull").code == 0
    assert in_full(hospital, "Observation") == [again]


def test_asked_for_changes_only_a_unit_stays_as_old_as_its_last_full_answer(
    hospital: Hospital, study_of: StudyOf
) -> None:
    study = study_of()
    study.type("pull")
    study.change(
        "UPDATE unit SET read_in_full = strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-2 days') WHERE read_in_full IS NOT NULL"
    )
    before = study.unit("Observation?patient").read_in_full
    hospital.asked.clear()

    assert study.type("pull").code == 0
    assert in_full(hospital, "Observation") == [False]
    assert study.unit("Observation?patient").read_in_full == before


def test_where_nothing_says_when_it_changed_new_types_of_record_are_found_too(
    hospital: Hospital, study_of: StudyOf
) -> None:
    """Nobody had an adverse event yet, so none could betray that they say nothing."""
    hospital.held = [{name: value for name, value in one.items() if name != "meta"} for one in hospital.held]
    study = study_of()
    assert study.type("pull").code == 0
    event = record("AdverseEvent", "e1", "p2", actuality="actual")
    hospital.put({name: value for name, value in event.items() if name != "meta"})

    assert study.type("pull").code == 0
    assert set(study.bodies("AdverseEvent")) == {"e1"}


def test_a_count_that_is_less_than_what_came_fills_no_hole(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(ck("p1-2", "p1"), ck("p1-3", "p1"))
    hospital.bend.append(lambda ask, bundle: {**bundle, "total": 1 if ask.is_count else 5} if is_ck(ask) else bundle)
    study = study_of(patients=["p1"])
    ran = study.type("pull")

    assert ran.code == 3, ran.text
    unit = study.unit("Observation?patient")
    assert (unit.state, unit.reason, unit.expected, unit.unique) == ("partial", "short", 5, 3)


def is_ck(ask: Ask) -> bool:
    return ask.is_search and ask.type == "Observation"


def test_a_type_that_the_hospital_does_not_offer_stops_the_pull_from_being_complete_unless_it_may(
    hospital: Hospital, study_of: StudyOf
) -> None:
    del hospital.listed["AdverseEvent"]
    ran = study_of().type("pull")
    assert ran.code == 3
    assert "AdverseEvent search is not supported by this server" in ran.out

    assert study_of(pull={"optional_types": '["AdverseEvent"]'}).type("pull").code == 0


def test_a_list_that_is_not_there_is_told_before_anybody_is_asked(hospital: Hospital, study_of: StudyOf) -> None:
    ran = study_of().type("pull", "--patient-file", "nowhere.txt")
    assert ran.code == 2
    assert "'nowhere.txt' does not exist" in ran.err
    assert hospital.asked == []


def test_only_a_whole_pull_says_how_much_the_next_may_take(study_of: StudyOf, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of()
    noted = list[int]()
    monkeypatch.setattr(passes, "note_growth", lambda _, before: noted.append(before))
    assert study.type("pull", "--patient", "p1").code == 0
    assert noted == []
    assert study.type("pull").code == 0
    assert len(noted) == 1
