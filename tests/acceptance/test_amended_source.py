"""A value corrected, then withdrawn, at the hospital: exactly what depends on it changes on the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Hospital, HospitalMaker, Json, Study, StudyMaker

AMENDED = "bal-1-cdasi-2"


@pytest.fixture
def hospital(new_hospital: HospitalMaker) -> Hospital:
    """A server with the first patient, nothing pushed yet."""
    return new_hospital()


@pytest.fixture
def study(hospital: Hospital, new_study: StudyMaker) -> Study:
    """Its study after the first sync."""
    found = new_study(hospital)
    assert found.type("sync").code == 0
    return found


def versions(hospital: Hospital) -> dict[str, str]:
    return {one["identifier"][0]["value"]: one["meta"]["versionId"] for one in hospital.outcomes()}


def dependents(study: Study, reference: str) -> set[str]:
    """The identifiers of the outcomes that were made of this record, by the store."""
    rows = study.ask(
        "SELECT push.identifier, outcome.body FROM push JOIN outcome USING (site, patient, variable, about)"
    )
    return {
        identifier
        for identifier, body in rows
        if reference in {one["source"]["reference"] for one in json.loads(body)["inputs"]}
    }


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() <= after.keys(), "an outcome was deleted"
    return {identifier for identifier, version in after.items() if before.get(identifier) != version}


def source(one_patient: list[Json], **changes: Any) -> Json:
    return next(one for one in one_patient if one["id"] == AMENDED) | changes


def test_only_what_depends_on_an_amended_value_gets_a_new_version(
    hospital: Hospital, study: Study, one_patient: list[Json]
) -> None:
    before, depending = versions(hospital), dependents(study, f"Observation/{AMENDED}")
    original = source(one_patient)["valueQuantity"]

    hospital.put(source(one_patient, valueQuantity={**original, "value": 8}))
    ran = study.type("sync", "--json")

    assert ran.code == 0, ran.err
    assert 0 < len(depending) < len(before)
    assert changed(before, versions(hospital)) == depending
    assert {one["identifier"][0]["value"] for one in hospital.outcomes() if one["status"] == "corrected"} == depending
    assert ran.json["pushed"]["baltimore"]["changed"] == len(depending)
    amended = [one for one in hospital.outcomes() if one["identifier"][0]["value"] in depending]
    assert {19, 27} & {one["valueQuantity"]["value"] for one in amended if one["valueQuantity"]["unit"] == "{score}"}
    assert {part["reference"] for one in amended for part in one["derivedFrom"] if AMENDED in part["reference"]} == {
        f"Observation/{AMENDED}/_history/2"
    }


def test_what_can_no_longer_be_derived_is_entered_in_error_and_never_deleted(
    hospital: Hospital, study: Study, one_patient: list[Json]
) -> None:
    before, depending = versions(hospital), dependents(study, f"Observation/{AMENDED}")

    hospital.put(source(one_patient, status="entered-in-error"))
    ran = study.type("sync", "--json")

    after = {one["identifier"][0]["value"]: one for one in hospital.outcomes()}
    assert ran.code == 0, ran.err
    assert after.keys() == before.keys()
    retracted = {name for name, one in after.items() if one["status"] == "entered-in-error"}
    # Follow-up ends on a day that other records show as well: it stands, and names them alone.
    standing = {name: after[name]["code"]["coding"][0]["code"] for name in depending - retracted}
    assert list(standing.values()) == ["follow-up-days"]
    assert retracted < depending
    assert changed(before, versions(hospital)) == depending
    pushed = ran.json["pushed"]["baltimore"]
    assert (pushed["retract"], pushed["changed"]) == (len(retracted), len(standing))


def test_after_that_nothing_is_written_any_more(hospital: Hospital, study: Study, one_patient: list[Json]) -> None:
    hospital.put(source(one_patient, status="entered-in-error"))
    study.type("sync")
    before, writes = versions(hospital), len(hospital.writes())

    ran = study.type("sync")

    assert ran.code == 0
    assert len(hospital.writes()) == writes
    assert versions(hospital) == before


def test_a_value_that_comes_back_makes_its_outcomes_hold_again(
    hospital: Hospital, study: Study, one_patient: list[Json]
) -> None:
    depending = dependents(study, f"Observation/{AMENDED}")
    contents = {one["identifier"][0]["value"]: one.get("valueQuantity") for one in hospital.outcomes()}
    hospital.put(source(one_patient, status="entered-in-error"))
    study.type("sync")
    retracted = {one["identifier"][0]["value"] for one in hospital.outcomes() if one["status"] == "entered-in-error"}

    hospital.put(source(one_patient))
    ran = study.type("sync")

    assert ran.code == 0
    statuses = {one["identifier"][0]["value"]: one["status"] for one in hospital.outcomes()}
    assert {name for name, status in statuses.items() if status == "corrected"} >= retracted
    assert {name for name, status in statuses.items() if status != "final"} == depending
    assert {one["identifier"][0]["value"]: one.get("valueQuantity") for one in hospital.outcomes()} == contents
