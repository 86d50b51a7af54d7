"""What a hospital deletes becomes a tombstone, whatever kind of record it is; and nothing is called deleted without proof."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from ..servers.hospital import Ask, Hospital, Json, Reply, refusal
from ..servers.records import ck, cks, record
from ..servers.study import Study

StudyOf = Callable[..., Study]
EVENT = record("AdverseEvent", "e1", "p1", actuality="actual")


def reads(hospital: Hospital) -> list[str]:
    """What was asked for by its id."""
    return [
        ask.path
        for ask in hospital.asked
        if ask.path.count("/") == 1 and not ask.path.endswith(("_search", "_history"))
    ]


def amended(hospital: Hospital, one: Json) -> Json:
    """The record as it has just been changed."""
    return {**one, "meta": {"versionId": "3", "lastUpdated": f"{hospital.now:%Y-%m-%dT%H:%M:%SZ}"}}


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("patients", [["p1"], ["p1", "p2", "p3"]], ids=["alone", "together"])
def test_gone_and_back(hospital: Hospital, study_of: StudyOf, status: int, patients: list[str]) -> None:
    hospital.put(ck("p1-other", "p1"))
    study = study_of(patients=patients)
    study.type("pull")
    hospital.remove("Observation/p1-ck")
    hospital.refuse.append(lambda ask: refusal(status) if ask.path == "Observation/p1-ck" else None)
    hospital.asked.clear()

    assert study.type("pull", "--full").code == 0
    assert study.deleted() == {"Observation": 1}
    assert [path for path in reads(hospital) if not path.startswith("Patient/")] == ["Observation/p1-ck"]
    assert study.unit("Observation?patient").notes["deleted"] == 1
    hospital.asked.clear()
    assert study.type("pull", "--full").code == 0
    assert "Observation/p1-ck" not in reads(hospital), "a tombstone is asked for again and again"

    hospital.refuse.clear()
    hospital.put(amended(hospital, ck("p1-ck", "p1", 123)))
    assert study.type("pull").code == 0
    assert study.deleted() == {}
    assert b"123" in study.bodies("Observation")["p1-ck"]


def test_what_may_not_be_read_by_its_id_is_not_called_deleted(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of()
    study.type("pull")
    hospital.remove("Observation/p1-ck")
    hospital.refuse.append(lambda ask: refusal(403) if ask.path == "Observation/p1-ck" else None)

    assert study.type("pull", "--full").code == 0
    assert study.deleted() == {}
    assert study.unit("Observation?patient").notes["missing_not_readable"] == 1


def test_an_answer_that_breaks_off_proves_no_deletion(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(*cks("p1", 9))
    hospital.most_per_page = 4
    study = study_of(patients=["p1"])
    study.type("pull")
    hospital.remove("Observation/p1-ck")
    hospital.refuse.append(lambda ask: refusal(403) if ask.type == "Observation" and ask.page == 2 else None)
    hospital.asked.clear()

    assert study.type("pull", "--full").code == 3
    assert study.deleted() == {}
    assert not [path for path in reads(hospital) if path.startswith("Observation")]
    hospital.refuse.clear()
    assert study.type("pull", "--full").code == 0
    assert study.deleted() == {"Observation": 1}


def test_an_answer_that_comes_short_proves_no_deletion(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(*cks("p1", 4))
    study = study_of(patients=["p1"])
    study.type("pull")
    hospital.bend.append(lambda ask, bundle: {**bundle, "entry": []} if "entry" in bundle and is_ck(ask) else bundle)
    hospital.asked.clear()

    assert study.type("pull", "--full").code == 3
    assert not [path for path in reads(hospital) if path.startswith("Observation")]


def is_ck(ask: Ask) -> bool:
    return ask.is_search and ask.type == "Observation"


def test_the_first_pull_looks_for_nothing(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of()
    study.type("pull")

    assert reads(hospital) == []


def test_a_patient_who_is_deleted_is_no_case_any_more(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of()
    study.type("pull")
    for one in [one for one in hospital.held if "p2" in one["id"]]:
        hospital.remove(f"{one['resourceType']}/{one['id']}")
    ran = study.type("pull", "--full")

    assert ran.code == 0, ran.text
    assert study.deleted() == {"MedicationAdministration": 1, "Observation": 1, "Patient": 1}
    assert '"case":2' in study.type("sync", "--json").out


def test_a_medication_that_is_deleted_is_found_out_when_all_is_asked_for(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(
        {"resourceType": "Medication", "id": "vial"},
        record(
            "MedicationStatement", "s1", "p1", status="active", medicationReference={"reference": "Medication/vial"}
        ),
    )
    study = study_of()
    study.type("pull")
    hospital.remove("Medication/vial")
    study.type("pull")
    assert study.deleted() == {}

    assert study.type("pull", "--full").code == 0
    assert study.deleted() == {"Medication": 1}


def test_a_type_that_is_read_as_a_whole_has_its_deletions_noticed(hospital: Hospital, study_of: StudyOf) -> None:
    strangers = record("AdverseEvent", "e2", "stranger")
    hospital.put(EVENT, strangers)
    study = study_of(pull={"whole_types": '["AdverseEvent"]'})
    assert study.type("pull").code == 0
    assert set(study.bodies("AdverseEvent")) == {"e1"}
    hospital.remove("AdverseEvent/e1")
    hospital.remove("AdverseEvent/e2")
    hospital.asked.clear()

    assert study.type("pull").code == 0
    assert study.deleted() == {"AdverseEvent": 1}
    assert [path for path in reads(hospital) if path.startswith("AdverseEvent")] == ["AdverseEvent/e1"]


def test_what_is_read_again_may_have_changed_and_is_then_kept_as_it_is_now(
    hospital: Hospital, study_of: StudyOf
) -> None:
    """A record that has come to another patient is no longer in the first one's search."""
    hospital.put(ck("p1-other", "p1"))
    study = study_of(patients=["p1"])
    study.type("pull")
    hospital.put(amended(hospital, ck("p1-ck", "p9", 321)))

    assert study.type("pull", "--full").code == 0
    assert b"321" in study.bodies("Observation")["p1-ck"]
    assert study.deleted() == {}


def test_the_history_is_asked_from_where_it_was_last_read_by_the_servers_clock(
    hospital: Hospital, study_of: StudyOf
) -> None:
    def history(ask: Ask) -> Reply | None:
        return Reply(200, {"resourceType": "Bundle", "type": "history"}) if ask.path.endswith("/_history") else None

    hospital.interactions = ("history-type",)
    hospital.refuse.append(history)
    hospital.skew = timedelta(hours=-3)
    study = study_of(pull={"history": "true"})
    study.type("pull")
    mark = study.unit("Condition/_history", "").watermark or ""
    assert mark <= f"{hospital.now:%Y-%m-%dT%H:%M:%SZ}", "in the server's own time, what happens next is left out"
    study.change("UPDATE unit SET watermark = '2026-01-01T00:00:00Z' WHERE query = 'Observation/_history'")
    hospital.asked.clear()
    study.type("pull")

    asked = {ask.path: ask.parameter("_since") for ask in hospital.asked if ask.path.endswith("_history")}
    assert set(asked) == {f"{name}/_history" for name in (
        "AdverseEvent", "Condition", "MedicationAdministration", "MedicationRequest", "MedicationStatement", "Observation", "Patient",
    )}  # fmt: skip
    assert asked["Observation/_history"] == "2026-01-01T00:00:00Z"
    assert study.unit("Observation/_history", "").watermark != "2026-01-01T00:00:00Z"
