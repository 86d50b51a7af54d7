"""Searches in a batch Bundle, where a server takes no lists of patients: what does not work there is asked for by itself."""

import json
from collections.abc import Callable

import pytest

from ..servers.hospital import Ask, Hospital, Json, Reply
from ..servers.records import ck, cks, population
from ..servers.study import Study

StudyOf = Callable[..., Study]
CKS = {"p1-ck", "p2-ck", "p3-ck"}


@pytest.fixture
def batching(hospital: Hospital) -> Hospital:
    """The hospital as one that takes one patient to a search, and batches."""
    hospital.interactions = ("batch",)
    return hospital


@pytest.fixture
def study(batching: Hospital, study_of: StudyOf) -> Study:
    return study_of(pull={"patients_per_query": "1"})


def singly(hospital: Hospital, type_name: str) -> list[str]:
    """Whose records were asked for outside a batch."""
    return [ask.parameter("patient") for ask in hospital.searches(type_name) if ask.address != "in a batch"]


def in_batch(ask: Ask, patient: str) -> bool:
    """A search of this patient's Observations inside a batch."""
    return (ask.address, ask.type, ask.parameter("patient")) == ("in a batch", "Observation", patient)


def test_all_patients_come_in_one_request(batching: Hospital, study: Study) -> None:
    assert study.type("pull").code == 0
    assert singly(batching, "Observation") == []
    assert set(study.bodies("Observation")) == CKS
    assert study.unit("Observation?patient").watermark


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_search_that_fails_inside_a_batch_is_asked_for_alone(batching: Hospital, study: Study, status: int) -> None:
    empty = {"resourceType": "Bundle", "type": "searchset", "total": 0}
    batching.refuse.append(lambda ask: Reply(status, empty) if in_batch(ask, "p2") else None)

    assert study.type("pull").code == 0
    assert singly(batching, "Observation") == ["p2"]
    assert set(study.bodies("Observation")) == CKS
    assert "batch" not in study.facts()


def test_a_search_with_more_than_one_page_is_asked_for_alone(batching: Hospital, study: Study) -> None:
    batching.put(*cks("p3", 5))
    batching.most_per_page, batching.always_total = 2, False

    assert study.type("pull").code == 0
    assert singly(batching, "Observation")[:1] == ["p3"]
    assert len(study.bodies("Observation")) == 8
    assert study.unit("Observation?patient", "p3").unique == 6


def test_a_strangers_record_inside_a_batch_is_not_stored(batching: Hospital, study: Study) -> None:
    def adding(ask: Ask, bundle: Json) -> Json:
        stranger = {"resource": ck("s", "stranger")}
        return {**bundle, "entry": [*bundle["entry"], stranger]} if in_batch(ask, "p1") else bundle

    batching.bend.append(adding)

    assert study.type("pull").code == 0
    assert singly(batching, "Observation") == ["p1"]
    assert set(study.bodies("Observation")) == CKS


def test_an_answer_that_lacks_an_entry_is_no_answer(batching: Hospital, study: Study) -> None:
    def short(ask: Ask) -> Reply | None:
        if ask.path or ask.method != "POST":
            return None
        page = {"resourceType": "Bundle", "type": "searchset", "total": 0}
        entries = [{"resource": page, "response": {"status": "200"}} for _ in json.loads(ask.body)["entry"][1:]]
        return Reply(200, {"resourceType": "Bundle", "type": "batch-response", "entry": entries})

    batching.refuse.append(short)

    assert study.type("pull").code == 0
    assert set(study.bodies("Observation")) == CKS
    assert study.facts()["batch"] == "no"


def test_more_patients_than_a_batch_holds_go_in_several(batching: Hospital, study_of: StudyOf) -> None:
    many = tuple(f"m{number:02}" for number in range(45))
    batching.held = population(*many)
    study = study_of(patients=many, pull={"patients_per_query": "1"})

    assert study.type("pull").code == 0
    posted = [ask for ask in batching.asked if ask.method == "POST" and not ask.path]
    asked = [[entry["request"]["url"] for entry in json.loads(ask.body)["entry"]] for ask in posted]
    assert [len(urls) for urls in asked if urls[0].startswith("Observation")] == [20, 20, 5]
    assert len(study.bodies("Observation")) == 45


def test_a_site_that_says_no_gets_no_batch(batching: Hospital, study_of: StudyOf) -> None:
    study = study_of(pull={"patients_per_query": "1", "batch": "false"})

    assert study.type("pull").code == 0
    assert not [ask for ask in batching.asked if ask.method == "POST"]
    assert singly(batching, "Observation") == ["p1", "p2", "p3"]
