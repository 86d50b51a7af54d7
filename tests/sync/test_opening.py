"""What a server refuses about how it is asked is found out once, and only what then works is remembered."""

from collections.abc import Callable

import pytest

from ..servers.hospital import Ask, Hospital, refusal
from ..servers.study import Study

StudyOf = Callable[..., Study]


def of_conditions(ask: Ask) -> bool:
    return ask.is_search and ask.type == "Condition"


def ways(hospital: Hospital) -> list[tuple[str, bool, str]]:
    """How Conditions were asked for: method, strictly or not, page size."""
    return [(ask.method, "Prefer" in ask.headers, ask.parameter("_count")) for ask in hospital.searches("Condition")]


def test_ever_plainer_ways_are_tried_and_the_one_that_works_is_the_first_next_time(
    hospital: Hospital, study_of: StudyOf
) -> None:
    def refuse(ask: Ask) -> bool:
        return of_conditions(ask) and ("Prefer" in ask.headers or ask.parameter("_count") == "1000")

    hospital.refuse.append(lambda ask: refusal(400, "no") if refuse(ask) else None)
    study = study_of(pull={"patients_per_query": "1", "observations_by": '"whole"', "scope": '"all"'})
    assert study.type("pull").code == 0
    assert ways(hospital)[:4] == [
        ("GET", True, "1000"),
        ("GET", False, "1000"),
        ("GET", False, "100"),
        ("GET", False, "100"),
    ]
    found = {name: value for name, value in study.facts().items() if name != "server" and "counts" not in name}
    assert found == {"strict Condition": "no", "page_size": "100"}

    hospital.asked.clear()
    assert study.type("pull").code == 0
    assert set(ways(hospital)) == {("GET", False, "100")}

    hospital.asked.clear()
    assert study.type("pull", "--full").code == 0, "what was refused may be mended: it is found out anew"
    assert ("GET", True, "1000") in ways(hospital)


@pytest.mark.parametrize("status", [400, 404, 501])
def test_a_server_that_refuses_every_way_has_taught_nothing(hospital: Hospital, study_of: StudyOf, status: int) -> None:
    hospital.refuse.append(lambda ask: refusal(status, "the first refusal counts") if of_conditions(ask) else None)
    study = study_of(patients=["p1"])

    assert study.type("pull").code == 3
    assert set(study.facts()) == {"server"}
    unit = study.unit("Condition?patient")
    assert (unit.state, unit.unique) == ("unsupported", 0)


def test_a_page_size_that_the_site_has_set_is_not_made_smaller(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.refuse.append(lambda ask: refusal(400, "no") if of_conditions(ask) else None)
    study = study_of(patients=["p1"], pull={"page_size": "500"})

    assert study.type("pull").code == 3
    assert {count for _, _, count in ways(hospital)} == {"500"}


def test_a_refusal_for_lack_of_rights_is_not_about_the_way(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.refuse.append(lambda ask: refusal(403) if of_conditions(ask) else None)
    study = study_of(patients=["p1"])

    assert study.type("pull").code == 3
    assert ways(hospital) == [("GET", True, "1000")]


def test_another_server_at_the_same_address_is_asked_as_if_for_the_first_time(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.refuse.append(lambda ask: refusal(400) if of_conditions(ask) and "Prefer" in ask.headers else None)
    study = study_of()
    study.type("pull")
    assert study.facts()["strict Condition"] == "no"

    hospital.refuse.clear()
    hospital.software = "Successor"
    assert study.type("pull").code == 0
    assert "strict Condition" not in study.facts()
    assert ways(hospital)[-1][1]


@pytest.mark.parametrize("patients", [["p1"], ["p1", "p2", "p3"]], ids=["one", "many"])
def test_where_every_category_is_refused_the_last_word_is_not_complete(
    hospital: Hospital, study_of: StudyOf, patients: list[str]
) -> None:
    hospital.refuse.append(
        lambda ask: refusal(400, "category is required") if ask.is_search and ask.type == "Observation" else None
    )
    study = study_of(patients=patients, pull={"categories": '["laboratory", "exam"]'})

    for _ in range(2):
        ran = study.type("pull")
        assert ran.code == 3, ran.text
        open_units = {
            patient.removeprefix("Patient/") for (patient, query), unit in study.units().items()
            if query.startswith("Observation?") and unit.state == "unsupported"
        }  # fmt: skip
        assert open_units == set(patients)
