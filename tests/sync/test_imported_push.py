"""Imported scores on the hospital's server: written where the site lets it, never twice, taken back, and never counted twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.cli import main
from dm_fhir.testing import MockedServer, mocked_server

SYSTEM = "https://w3id.org/dm-fhir/imported"
CONFIG = """
[study]
title = "Scores in a table"
drug = "anifrolumab"
timezone = "Europe/Madrid"

[[site]]
name = "leon"
endpoint = "https://fhir.test/r4"

[site.push]
enabled = true
unattended = true
imported = true

[site.import]
map = "clinic.toml"
"""
MAP = """
name = "clinic"
[patient]
column = "MRN"
system = "urn:mrn"
[date]
column = "Visit"
formats = ["YYYY-MM-DD hh:mm", "YYYY-MM-DD"]
[[score]]
variable = "cdasi_activity"
column = "CDASI"
"""
TABLE = "MRN,Visit,CDASI\nmrn-1,2025-03-01 9:30,20\nmrn-1,2025-05-01,5\nmrn-1,2025-06-01,4\n"
RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p1", "identifier": [{"system": "urn:mrn", "value": "mrn-1"}]},
    {
        "resourceType": "MedicationAdministration", "id": "i1", "status": "completed", "subject": {"reference": "Patient/p1"},
        "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]},
        "effectiveDateTime": "2025-03-03T10:00:00+01:00", "dosage": {"dose": {"value": 300, "unit": "mg"}},
    },
]  # fmt: skip


class Study:
    """A study and its hospital."""

    def __init__(self, folder: Path, server: MockedServer, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.server, self._capsys = folder, server, capsys
        self.config(CONFIG)
        (folder / "clinic.toml").write_text(MAP, encoding="utf-8")
        self.table(TABLE)

    def config(self, text: str) -> None:
        (self.folder / "dm-fhir.toml").write_text(text, encoding="utf-8")

    def table(self, text: str) -> None:
        (self.folder / "scores.csv").write_text(text, encoding="utf-8")

    def type(self, *words: str, code: int = 0) -> Any:
        self._capsys.readouterr()
        assert main.call(["-q", *words, "--json"]) == code
        return json.loads(self._capsys.readouterr().out)

    def scores(self) -> list[dict[str, Any]]:
        """The imported scores on the server, in order of time."""
        found = [one for one in self.server.resources.values() if _system(one) == SYSTEM]
        return sorted(found, key=lambda one: str(one["effectiveDateTime"]))

    def writes(self) -> list[str]:
        return [one for one in self.server.requests if not one.startswith("GET")]


def _system(resource: dict[str, Any]) -> str:
    return next((str(one["system"]) for one in resource.get("identifier", [])), "")


@pytest.fixture
def study(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """A study whose patients have been pulled, and whose scores stand in a table."""
    monkeypatch.chdir(tmp_path)
    with mocked_server(RESOURCES) as server:
        study = Study(tmp_path, server, capsys)
        study.type("pull")
        yield study


def imported(study: Study, *words: str) -> Any:
    study.type("import", "scores.csv", *words)
    study.type("compute")
    return study.type("push")


def test_scores_are_written_once_and_outcomes_name_them_by_identifier(study: Study) -> None:
    assert imported(study)["pushed_imported"] == {"leon": {"new": 3}}
    scores = study.scores()
    assert [one["valueQuantity"]["value"] for one in scores] == [20, 5, 4]
    assert scores[0]["effectiveDateTime"] == "2025-03-01T09:30:00+01:00"
    assert not [one for one in study.server.resources if "dm-fhir-import" in one]
    names = {one["identifier"][0]["value"] for one in scores}
    derived = [one["derivedFrom"] for one in study.server.resources.values() if "derivedFrom" in one]
    assert derived
    assert {one["identifier"]["value"] for some in derived for one in some} == names
    study.server.requests.clear()
    assert study.type("push")["pushed_imported"] == {"leon": {"unchanged": 3}}
    assert study.server.requests == []


def test_what_is_pulled_again_does_not_count_twice(study: Study) -> None:
    imported(study)
    before = study.type("status")["sites"][0]["resources"]
    ran = study.type("sync")
    after = study.type("status")["sites"][0]["resources"]
    assert after["Observation"] == before["Observation"] + 3  # the copies are in the store, and not used
    assert ran["computed"]["leon"]["mapped"] == 1
    assert set(ran["pushed"]["leon"]) == {"unchanged", "blocked"}
    assert ran["pushed_imported"] == {"leon": {"unchanged": 3}}
    writes = len(study.writes())
    study.type("sync")
    assert len(study.writes()) == writes


def test_a_corrected_score_is_a_new_version_and_a_withdrawn_one_is_taken_back(study: Study) -> None:
    imported(study)
    study.type("sync")
    study.table(TABLE.replace(",5\n", ",6\n"))
    assert imported(study)["pushed_imported"] == {"leon": {"unchanged": 2, "changed": 1}}
    second = study.scores()[1]
    assert (second["status"], second["valueQuantity"]["value"], second["meta"]["versionId"]) == ("amended", 6, "2")
    study.table(TABLE.replace("mrn-1,2025-05-01,5\n", ""))
    assert imported(study, "--replace")["pushed_imported"] == {"leon": {"unchanged": 2, "retract": 1}}
    assert [one["status"] for one in study.scores()] == ["final", "entered-in-error", "final"]
    assert study.type("push")["pushed_imported"] == {"leon": {"unchanged": 2}}
    study.table(TABLE)  # and it counts again
    assert imported(study)["pushed_imported"] == {"leon": {"unchanged": 2, "changed": 1}}
    assert [one["status"] for one in study.scores()] == ["final", "amended", "final"]


def test_without_the_setting_nothing_of_them_is_written_and_what_was_written_stays(study: Study) -> None:
    study.config(CONFIG.replace("imported = true", "imported = false"))
    assert "pushed_imported" not in imported(study)
    assert study.scores() == []
    study.config(CONFIG)
    study.type("push")
    study.config(CONFIG.replace("imported = true", ""))
    study.type("import", "scores.csv")
    assert set(study.type("push")["pushed"]["leon"]) == {"unchanged", "blocked"}
    assert [one["status"] for one in study.scores()] == ["final"] * 3


def test_what_somebody_else_has_changed_is_left_as_it_is(study: Study) -> None:
    imported(study)
    place = f"Observation/{study.scores()[1]['id']}"
    study.server.put({**study.server.resources[place], "valueQuantity": {"value": 9}})
    study.table(TABLE.replace(",5\n", ",6\n"))
    study.type("import", "scores.csv")
    ran = study.type("push", code=7)
    assert ran["pushed_imported"] == {"leon": {"unchanged": 2, "conflict": 1}}
    assert study.server.resources[place]["valueQuantity"]["value"] == 9


def test_a_push_that_breaks_off_is_settled_and_what_is_refused_is_named(study: Study) -> None:
    study.config(CONFIG.replace("[site.push]", '[site.push]\nway = "conditional-update"'))
    study.type("import", "scores.csv")
    study.type("compute")
    study.server.fail("PUT Observation", "truncated")
    study.server.fail("PUT Observation", 422)
    first = study.type("push", code=3)["pushed_imported"]["leon"]
    assert first == {"new": 2, "rejected": 1}
    study.type("push", code=3)
    assert len({json.dumps(one["identifier"]) for one in study.scores()}) == len(study.scores()) == 2


def test_a_dry_run_lists_them_apart_and_sends_nothing(study: Study) -> None:
    study.type("import", "scores.csv")
    study.server.requests.clear()
    assert study.type("push", "--dry-run")["planned"] == {"leon": {"new": 3}}
    assert study.server.requests == []
