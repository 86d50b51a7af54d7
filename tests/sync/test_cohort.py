"""Who is in the cohort is remembered: whoever was found stays, whoever left is computed no more, and no failure empties it."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from dm_fhir.errors import ServerUnavailable
from dm_fhir.sync import pull as pull_module

from ..servers.hospital import Ask, Hospital, Json, refusal
from ..servers.records import DRUG, ck, infusion, person, population
from ..servers.study import Study

StudyOf = Callable[..., Study]
BY_MEDICATION, BY_GROUP = 'by = "medication"', 'by = "group"\ngroup = "Group/dm"'


def cohort(study: Study) -> list[str]:
    """Who is in it, without `Patient/`."""
    found = {patient for patient, query in study.units() if query == "Patient"}
    return sorted(patient.removeprefix("Patient/") for patient in found)


def states(study: Study) -> dict[str, int]:
    """How many patients are cases, and how many are none for which reason."""
    return dict(json.loads(study.type("status", "--json").out)["sites"][0]["patients"])


def group(*members: str, inactive: tuple[str, ...] = ()) -> Json:
    """The Group dm, and a practitioner in it."""
    entities: list[Json] = [{"entity": {"reference": one}} for one in members]
    entities += [{"entity": {"reference": one}, "inactive": True} for one in inactive]
    return {"resourceType": "Group", "id": "dm", "member": [*entities, {"entity": {"reference": "Practitioner/7"}}]}


def test_a_later_pull_finds_who_was_newly_given_an_old_stock(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(
        {"resourceType": "Medication", "id": "stock", "code": DRUG, "meta": {"lastUpdated": "2020-01-01T00:00:00Z"}}
    )
    study = study_of(patients=(), cohort=BY_MEDICATION)
    study.type("pull")
    now = {"versionId": "1", "lastUpdated": f"{hospital.now:%Y-%m-%dT%H:%M:%SZ}"}
    new = infusion("from-stock", "p4", medicationReference={"reference": "Medication/stock"}, meta=now)
    hospital.put(person("p4"), new, ck("p4-old", "p4"))
    hospital.asked.clear()

    assert study.type("pull").code == 0
    assert cohort(study) == ["p1", "p2", "p3", "p4"]
    assert "p4-old" in study.bodies("Observation"), "a new patient's old records are missing"
    cohort_searches = [ask for ask in hospital.searches("MedicationAdministration") if not ask.has("patient")]
    assert len(cohort_searches) == 2
    assert all(ask.has("_lastUpdated") for ask in cohort_searches), "the whole hospital was asked for again"


def test_once_somebody_is_known_a_search_that_is_refused_stops_nobody(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of(patients=(), cohort=BY_MEDICATION)
    study.type("pull")
    hospital.put(ck("p1-new", "p1", meta={"lastUpdated": f"{hospital.now:%Y-%m-%dT%H:%M:%SZ}"}))
    hospital.refuse.append(
        lambda ask: refusal(400, "no") if ask.has("code") and ask.type == "MedicationAdministration" else None
    )
    ran = study.type("pull")

    assert ran.code == 3, ran.text
    assert "p1-new" in study.bodies("Observation")
    assert study.unit("cohort: MedicationAdministration by code", "").state == "unsupported"


@pytest.mark.parametrize("how", ["empty", "gone", "not a Group"])
def test_a_group_without_patients_empties_no_cohort(hospital: Hospital, study_of: StudyOf, how: str) -> None:
    hospital.put(group("Patient/p1"))
    study = study_of(patients=(), cohort=BY_GROUP)
    study.type("pull")
    if how == "empty":
        hospital.put(group(inactive=("Patient/p1",)))
    elif how == "gone":
        hospital.remove("Group/dm")
    else:
        hospital.refuse.append(lambda ask: refusal(200) if ask.path == "Group/dm" else None)
    ran = study.type("pull")

    assert ran.code == 3, ran.text
    assert study.unit("cohort: Group/dm", "").state != "complete"
    assert cohort(study) == ["p1"]
    assert study.type("compute").code == 0
    assert states(study) == {"case": 1}


def test_who_leaves_the_group_is_computed_no_more_and_may_come_back(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(group("Patient/p1", "Patient/p2"))
    study = study_of(patients=(), cohort=BY_GROUP)
    study.type("sync")
    assert states(study) == {"case": 2}

    hospital.put(group("Patient/p1"))
    ran = study.type("sync")
    assert ran.code == 0, ran.text
    assert states(study) == {"case": 1, "left the cohort": 1}
    assert outcomes(study) == {"Patient/p1"}
    assert "p2-ck" in study.bodies("Observation"), "what was pulled is kept"

    hospital.put(group("Patient/p1", "Patient/p2"))
    study.type("sync")
    assert states(study) == {"case": 2}
    assert outcomes(study) == {"Patient/p1", "Patient/p2"}


def outcomes(study: Study) -> set[str]:
    """The patients who have outcomes."""
    with closing(sqlite3.connect(study.config.with_name("dm-fhir.sqlite"))) as db:
        return {patient for (patient,) in db.execute("SELECT DISTINCT patient FROM outcome")}


def test_who_is_no_longer_on_the_list_has_no_outcomes_any_more(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of(patients=["p1", "p2"])
    study.type("sync")
    (study.config.parent / "patients.txt").write_text("p1\n", encoding="utf-8")
    hospital.asked.clear()
    ran = study.type("sync")

    assert ran.code == 0, ran.text
    assert outcomes(study) == {"Patient/p1"}
    assert {patient for patient, _ in study.units() if patient} == {"Patient/p1"}
    assert not [ask for ask in hospital.asked if "p2" in ask.parameter("patient")]


def test_a_list_that_is_not_there_is_a_mistake_in_the_config(hospital: Hospital, study_of: StudyOf) -> None:
    study = study_of()
    (study.config.parent / "patients.txt").unlink()
    ran = study.type("pull")

    assert ran.code == 2
    assert "patients.txt cannot be read" in ran.out


def test_whom_a_cohorts_search_has_found_is_not_forgotten_when_the_run_dies(
    hospital: Hospital, study_of: StudyOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later searches ask only for what has changed: whoever was found once must be known from then on."""
    study = study_of(patients=(), cohort=BY_MEDICATION)

    def dying(*_: object) -> None:
        raise ServerUnavailable("dead")

    with monkeypatch.context() as patch:
        patch.setattr(pull_module, "pull_patients", dying)
        assert study.type("pull").code == 4
    hospital.asked.clear()

    assert study.type("pull").code == 0
    assert all(ask.has("_lastUpdated") for ask in hospital.searches("MedicationAdministration") if ask.has("code"))
    assert cohort(study) == ["p1", "p2", "p3"]
    assert set(study.bodies("Observation")) == {"p1-ck", "p2-ck", "p3-ck"}


def test_a_cohorts_search_that_breaks_off_keeps_whom_it_has_found_and_stays_open(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.held = population("p1", "p2", "p3", "p4")
    hospital.most_per_page = 2
    hospital.refuse.append(lambda ask: refusal(500) if breaks(ask) else None)
    study = study_of(patients=(), cohort=BY_MEDICATION)
    ran = study.type("pull")

    assert ran.code == 3, ran.text
    assert cohort(study) == ["p1", "p2"]
    assert study.unit("cohort: MedicationAdministration by code", "").watermark is None
    hospital.refuse.clear()
    assert study.type("pull").code == 0
    assert cohort(study) == ["p1", "p2", "p3", "p4"]


def breaks(ask: Ask) -> bool:
    """The second page of the cohort's search, however large its pages are."""
    return ask.type == "MedicationAdministration" and ask.has("code") and ask.page > 1
