"""Patients who come into the cohort after the first pull."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dm_fhir.sync import tally

if TYPE_CHECKING:
    from tests.acceptance.conftest import HospitalMaker, Json, StudyMaker


def test_a_new_patient_given_an_old_medication_is_found(
    new_hospital: HospitalMaker, new_study: StudyMaker, one_patient: list[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this server administrations that refer to a Medication are not found by code."""
    monkeypatch.setattr(tally, "OVERLAP", timedelta(0))
    infusion = next(one for one in one_patient if one["resourceType"] == "MedicationAdministration")
    code = infusion["medicationCodeableConcept"]
    medication = {"resourceType": "Medication", "id": "stock-1", "code": code}
    hospital = new_hospital([*one_patient, medication])
    study = new_study(hospital, push=False)
    time.sleep(1.1)  # the server's clock tells whole seconds; what was loaded is now older than the first pull
    assert study.type("pull", "--json").json["cohort"] == {"baltimore": 1}

    newcomer = {"resourceType": "Patient", "id": "newcomer", "gender": "female", "birthDate": "1970"}
    given = {name: value for name, value in infusion.items() if name != "medicationCodeableConcept"}
    given |= {"id": "newcomer-inf-1", "subject": {"reference": "Patient/newcomer"}}
    hospital.load([newcomer, given | {"medicationReference": {"reference": "Medication/stock-1"}}])
    ran = study.type("sync", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["cohort"] == {"baltimore": 2}
    assert ran.json["sites"][0]["patients"] == {"case": 2}


def test_a_medication_of_another_drug_makes_nobody_a_member(
    new_hospital: HospitalMaker, new_study: StudyMaker, one_patient: list[Json]
) -> None:
    other = {"resourceType": "Medication", "id": "stock-2", "code": {"text": "something else"}}
    patient = {"resourceType": "Patient", "id": "somebody"}
    given = {
        "resourceType": "MedicationAdministration", "id": "somebody-1", "status": "completed",
        "medicationReference": {"reference": "Medication/stock-2"}, "subject": {"reference": "Patient/somebody"},
        "effectiveDateTime": "2024-05-01",
    }  # fmt: skip
    study = new_study(new_hospital([*one_patient, other, patient, given]), push=False)

    assert study.type("pull", "--json").json["cohort"] == {"baltimore": 1}
    assert study.ask("SELECT id FROM resource WHERE subject = 'Patient/somebody'") == []
