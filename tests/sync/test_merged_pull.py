"""A merged patient: both records are pulled, one case comes of them, and two again when the link is gone."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing

from ..servers.hospital import Hospital, Json
from ..servers.records import ck, infusion, person
from ..servers.study import Study

StudyOf = Callable[..., Study]


def linked(hospital: Hospital, name: str, kind: str, other: str) -> Json:
    """Patient/name, as the hospital has just merged it."""
    link = [{"type": kind, "other": {"reference": f"Patient/{other}"}}]
    return person(name, link=link, meta=stamp(hospital, "2"))


def stamp(hospital: Hospital, version: str) -> Json:
    return {"versionId": version, "lastUpdated": f"{hospital.now:%Y-%m-%dT%H:%M:%SZ}"}


def cases(study: Study) -> dict[str, int]:
    """How many administrations each case has, by patient; why they are none for the others."""
    with closing(sqlite3.connect(study.config.with_name("dm-fhir.sqlite"))) as db:
        rows = db.execute("SELECT patient, state, body FROM case_document").fetchall()
    return {
        patient.removeprefix("Patient/"): len(json.loads(body)["administrations"]) if state == "case" else state
        for patient, state, body in rows
    }


def members(study: Study) -> set[str]:
    """Who is in the cohort."""
    with closing(sqlite3.connect(study.config.with_name("dm-fhir.sqlite"))) as db:
        return {patient for (patient,) in db.execute("SELECT patient FROM cohort_member WHERE gone IS NULL")}


def test_one_case_of_both_records_and_two_when_the_link_is_gone(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.put(linked(hospital, "p2", "replaced-by", "p1"))
    study = study_of()
    assert study.type("sync").code == 0
    assert cases(study) == {"p1": 2, "p2": "merged into Patient/p1", "p3": 1}

    hospital.put(person("p2", meta=stamp(hospital, "3")))
    assert study.type("sync").code == 0
    assert cases(study) == {"p1": 1, "p2": 1, "p3": 1}


def test_a_merge_that_the_hospital_makes_later_is_followed_to_a_patient_never_heard_of(
    hospital: Hospital, study_of: StudyOf
) -> None:
    hospital.put(person("old"), infusion("old-infusion", "old"), ck("old-ck", "old"))
    study = study_of(patients=["p1"])
    study.type("sync")
    assert cases(study) == {"p1": 1}

    hospital.put(linked(hospital, "p1", "replaces", "old"))
    ran = study.type("sync")
    assert ran.code == 0, ran.text
    assert cases(study) == {"p1": 2, "old": "merged into Patient/p1"}
    assert study.unit("Observation?patient", "old").state == "complete"
    assert members(study) == {"Patient/p1", "Patient/old"}


def test_each_of_a_merged_pair_is_asked_for_alone(hospital: Hospital, study_of: StudyOf) -> None:
    """A server may answer for either with the records of both."""
    hospital.put(linked(hospital, "p2", "replaced-by", "p1"))
    hospital.bend.append(
        lambda ask, bundle: (
            {**bundle, "total": 2, "entry": [{"resource": ck("p1-ck", "p1")}, {"resource": ck("p2-ck", "p2")}]}
            if ask.is_search and ask.type == "Observation" and ask.parameter("patient") in ("p1", "p2")
            else bundle
        )
    )
    study = study_of()

    assert study.type("pull").code == 0
    assert sorted(ask.parameter("patient") for ask in hospital.searches("Observation")) == ["p1", "p2", "p3"]
    assert set(study.bodies("Observation")) == {"p1-ck", "p2-ck", "p3-ck"}
