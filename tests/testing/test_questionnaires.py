"""A hospital that keeps the DLQI as a filled-in form only: from its table to the outcome, against the mocked server."""

import json
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.cli import main
from dm_fhir.testing import MockedServer, mocked_server

CONFIG = """
[study]
title = "A form on trial"
drug = "anifrolumab"
timezone = "Europe/Madrid"

[[site]]
name = "leon"
endpoint = "https://fhir.test/r4"
tables = ["leon.toml"]
"""
FORM = "https://forms.example.org/Questionnaire/dlqi"
TABLE = f'[[measurement]]\nvariable = "dlqi"\nforms = [{{ canonical = "{FORM}", total = "sum" }}]\n'
SUBJECT = {"subject": {"reference": "Patient/p1"}}


def filled(name: str, when: str, total: int, form: str = FORM) -> dict[str, Any]:
    return {
        "resourceType": "QuestionnaireResponse", "id": name, "status": "completed", "questionnaire": form, "authored": when,
        "item": [{"linkId": "sum", "answer": [{"valueInteger": total}]}], **SUBJECT,
    }  # fmt: skip


RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p1", "gender": "female"},
    {
        "resourceType": "MedicationAdministration", "id": "i1", "status": "completed", **SUBJECT,
        "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]},
        "effectiveDateTime": "2025-03-03T10:00:00+01:00", "dosage": {"dose": {"value": 300, "unit": "mg"}},
    },
    filled("b", "2025-03-01", 18), filled("f", "2025-05-01", 7), filled("x", "2025-05-01", 1, form="https://other.example.org"),
]  # fmt: skip


def pulled(folder: Path, table: str) -> MockedServer:
    folder.mkdir(exist_ok=True)
    (folder / "leon.toml").write_text(table, encoding="utf-8")
    (folder / "dm-fhir.toml").write_text(CONFIG, encoding="utf-8")
    with mocked_server(RESOURCES) as server:
        assert main.call(["--quiet", "--config", str(folder / "dm-fhir.toml"), "sync"]) == 0
    return server


def test_a_form_that_a_table_names_is_pulled_and_becomes_an_outcome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pulled(tmp_path, TABLE)
    capsys.readouterr()
    assert main.call(["--quiet", "--config", str(tmp_path / "dm-fhir.toml"), "export", "--identified"]) == 0
    [case] = json.loads(capsys.readouterr().out)["cases"]

    assert [one["measured"]["result"]["number"] for one in case["assessments"]] == ["18", "7"]
    assert {one["variable"]: one.get("number") for one in case["outcomes"]}["dlqi_improvement"] == "11"


def test_responses_to_other_forms_are_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pulled(tmp_path, TABLE)
    capsys.readouterr()
    assert main.call(["--quiet", "--config", str(tmp_path / "dm-fhir.toml"), "status", "--json"]) == 0
    [site] = json.loads(capsys.readouterr().out)["sites"]

    assert site["resources"]["QuestionnaireResponse"] == 2


def test_forms_are_not_asked_for_where_no_table_names_one(tmp_path: Path) -> None:
    asked = [one for one in pulled(tmp_path / "without", "").requests if "QuestionnaireResponse" in one]
    named = [one for one in pulled(tmp_path / "with", TABLE).requests if "QuestionnaireResponse" in one]

    assert (asked, bool(named)) == ([], True)
