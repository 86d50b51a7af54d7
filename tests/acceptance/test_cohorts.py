"""Cohorts by diagnosis, by Group and by list, on a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.demo.server import choose_ports, running

from .conftest import Hospital

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.conftest import Json, Study, StudyMaker

    from dm_fhir.demo.cohorts import SampleSite

MRN = "https://w3id.org/dm-fhir/sample/mrn"
OTHERS = ("asthmatic", "healthy")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory, private_key: Path, sample: SampleSite) -> Iterator[Hospital]:
    """The sample's four patients, two who do not have the disease, and a Group of three."""
    asthma = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "J45.909"}]}
    members: list[Json] = [{"entity": {"reference": f"Patient/{name}"}} for name in ("bal-1", "bal-2", "healthy")]
    members.append({"entity": {"reference": "Patient/bal-3"}, "inactive": True})
    with running(
        ["baltimore"], choose_ports(1, None), tmp_path_factory.mktemp("server"), private_key.with_name("public.pem")
    ) as servers:
        hospital = Hospital(servers[0], private_key)
        hospital.load(sample.resources)
        hospital.load([{"resourceType": "Patient", "id": name, "gender": "female"} for name in OTHERS])
        hospital.put(
            {"resourceType": "Condition", "id": "asthma", "code": asthma, "subject": {"reference": "Patient/asthmatic"}}
        )
        hospital.put({"resourceType": "Group", "id": "dm", "type": "person", "actual": True, "member": members})
        yield hospital


@pytest.fixture
def study_by(hospital: Hospital, new_study: StudyMaker) -> Any:
    """Makes a study of that hospital with this cohort."""

    def make(cohort: str, **files: str) -> Study:
        study = new_study(hospital, push=False, extra=f"[site.cohort]\n{cohort}\n")
        for name, text in files.items():
            study.config.with_name(f"{name}.txt").write_text(text, encoding="utf-8")
        return study

    return make


def members(study: Study) -> list[str]:
    return [name.removeprefix("Patient/") for (name,) in study.ask("SELECT patient FROM cohort_member ORDER BY 1")]


def test_by_diagnosis(study_by: Any) -> None:
    study = study_by('by = "condition"')
    ran = study.type("sync", "--json")

    assert ran.code == 0, ran.err
    assert members(study) == ["bal-1", "bal-2", "bal-3", "bal-4"]
    assert ran.json["sites"][0]["patients"] == {"case": 4}
    assert not study.ask("SELECT id FROM resource WHERE subject = 'Patient/asthmatic'")


def test_by_group(study_by: Any) -> None:
    study = study_by('by = "group"\ngroup = "Group/dm"')
    ran = study.type("sync", "--json")

    assert ran.code == 0, ran.err
    assert members(study) == ["bal-1", "bal-2", "healthy"]
    assert ran.json["sites"][0]["patients"] == {"case": 2, "no administration of the study drug": 1}


def test_by_a_group_that_is_not_there(study_by: Any) -> None:
    study = study_by('by = "group"\ngroup = "Group/nobody"')
    ran = study.type("pull")

    assert ran.code == 3, ran.out
    assert "Group/nobody" in ran.out
    assert members(study) == []


def test_by_a_list_of_ids_and_numbers(study_by: Any) -> None:
    listed = f"# this week\nPatient/bal-3\n{MRN}|bal-4\n{MRN}|unknown\n"
    study = study_by('by = "patients"\npatients = "patients.txt"', patients=listed)
    ran = study.type("pull", "--json")

    assert ran.code == 3
    assert [line["state"] for line in ran.json["listed"]["baltimore"]] == ["found", "found", "not found"]
    assert members(study) == ["bal-3", "bal-4"]
    study.config.with_name("patients.txt").write_text("bal-3\n", encoding="utf-8")
    again = study.type("sync", "--json")
    assert again.code == 0, again.err
    assert again.json["sites"][0]["patients"] == {"case": 1, "left the cohort": 1}


def test_one_patient_who_is_not_there(study_by: Any) -> None:
    study = study_by('by = "condition"')
    ran = study.type("pull", "--patient", "Patient/bal-1", "--patient", "Patient/nobody")

    assert ran.code == 3
    assert "the server has no Patient/nobody" in ran.out
    assert {patient for (patient,) in study.ask("SELECT DISTINCT patient FROM unit WHERE state <> 'complete'")} == {
        "Patient/nobody"
    }
