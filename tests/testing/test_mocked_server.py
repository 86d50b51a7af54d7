"""A hospital tries its own table against the mocked server, by the commands it will run."""

import json
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.cli import main
from dm_fhir.testing import MockedServer, mocked_server

CONFIG = """
[study]
title = "A table on trial"
drug = "anifrolumab"
timezone = "Europe/Madrid"

[[site]]
name = "leon"
endpoint = "https://fhir.test/r4"
tables = ["leon.toml"]

[site.pull]
tries = 2
page_size = 2

[site.push]
enabled = true
unattended = true
"""
TABLE = """
[[medication]]
variable = "anifrolumab"
codes = [{ system = "urn:leon:pharmacy", code = "ANI" }]

[[measurement]]
variable = "cdasi_activity"
codes = [{ system = "urn:leon:forms", code = "CDASI-A" }]
"""


def observation(name: str, when: str, value: int) -> dict[str, Any]:
    """An invented patient's CDASI by the hospital's own code."""
    return {
        "resourceType": "Observation", "id": name, "status": "final", "subject": {"reference": "Patient/p1"},
        "code": {"coding": [{"system": "urn:leon:forms", "code": "CDASI-A"}]}, "effectiveDateTime": when,
        "valueQuantity": {"value": value, "unit": "{score}", "system": "http://unitsofmeasure.org", "code": "{score}"},
    }  # fmt: skip


RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p1", "gender": "female"},
    {
        "resourceType": "MedicationAdministration", "id": "i1", "status": "completed", "subject": {"reference": "Patient/p1"},
        "medicationCodeableConcept": {"coding": [{"system": "urn:leon:pharmacy", "code": "ANI"}]},
        "effectiveDateTime": "2025-03-03T10:00:00+01:00", "dosage": {"dose": {"value": 300, "unit": "mg"}},
    },
    observation("b", "2025-03-01", 20), observation("f", "2025-05-01", 5), observation("g", "2025-06-01", 4),
]  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "leon.toml").write_text(TABLE, encoding="utf-8")
    path = tmp_path / "dm-fhir.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def run(config: Path, *arguments: str) -> int:
    return main.call(["--quiet", "--config", str(config), *arguments])


def test_a_local_code_becomes_an_outcome_on_the_server(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mocked_server(RESOURCES) as server:
        assert run(config, "sync", "--json") == 0
        written = [one for place, one in server.resources.items() if place.startswith("Observation/made-")]
    assert json.loads(capsys.readouterr().out)["cohort"] == {"leon": 1}
    percents = {
        one["valueQuantity"]["value"] for one in written if one["code"]["text"].startswith("CDASI activity, percent")
    }
    assert percents == {75, 80}


def test_the_second_sync_asks_for_changes_only_and_writes_nothing(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mocked_server(RESOURCES) as server:
        run(config, "sync")
        server.requests.clear()
        assert run(config, "sync") == 0
        assert not [request for request in server.requests if request.startswith("PUT")]
        searches = [request for request in server.requests if request.startswith("GET Observation?")]
    assert searches
    assert all("_lastUpdated=ge" in request for request in searches)
    capsys.readouterr()


def test_without_the_table_nobody_is_in_the_cohort(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(CONFIG.replace('tables = ["leon.toml"]', ""), encoding="utf-8")
    with mocked_server(RESOURCES):
        assert run(config, "pull") == 0
    assert "nobody was given anifrolumab" in capsys.readouterr().err


def test_a_server_that_fails_leaves_the_unit_open_and_the_next_pull_closes_it(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with mocked_server(RESOURCES) as server:
        server.fail("GET Observation", 500, times=3)  # two tries, and one with half the page
        assert run(config, "pull") == 3
        assert "failed: Patient/p1 Observation?patient" in capsys.readouterr().out
        assert run(config, "pull") == 0
    capsys.readouterr()


def test_two_copies_are_refused_as_a_conditional_update_must(config: Path) -> None:
    twins = [
        {**observation(name, "2025-03-01", 20), "identifier": [{"system": "urn:x", "value": "1"}]}
        for name in ("t1", "t2")
    ]
    with mocked_server(twins) as server:
        import requests

        answer = requests.put(f"{server.endpoint}/Observation?identifier=urn:x|1", json=twins[0], timeout=1)
    assert answer.status_code == 412


def test_paging_gives_everything_once() -> None:
    import requests

    with mocked_server(RESOURCES) as server:
        found, url = [], f"{server.endpoint}/Observation?patient=Patient/p1&_count=2"
        while url:
            page = requests.get(url, timeout=1).json()
            found += [entry["resource"]["id"] for entry in page["entry"]]
            url = next((link["url"] for link in page.get("link", [])), "")
    assert sorted(found) == ["b", "f", "g"]
    assert isinstance(server, MockedServer)


def test_records_that_name_no_patient_are_counted_and_shown(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stray = {**observation("s", "2025-03-01", 20), "subject": {"display": "somebody"}}
    (tmp_path / "stray.ndjson").write_text(json.dumps(stray), encoding="utf-8")
    config.write_text(f'{CONFIG}\n[site.cohort]\nby = "everybody"\n', encoding="utf-8")
    assert run(config, "pull", "--from", str(tmp_path / "stray.ndjson")) == 0
    assert "in no case, because they name no patient: 1 Observation" in capsys.readouterr().out


def test_a_record_without_subject_belongs_to_the_patient_it_was_asked_for(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mocked_server(RESOURCES) as server:
        del server.resources["Observation/b"]["subject"]
        server.fail("GET Observation?patient", 200, _page(server, "b", "f", "g"))
        assert run(config, "sync", "--json") == 0
    assert json.loads(capsys.readouterr().out)["sites"][0]["without_patient"] == {}
    # Baseline, and improvement in points and percent at two follow-ups; the later one ends follow-up.
    assert len([one for one in server.resources.values() if "derivedFrom" in one]) == 6


def test_what_is_set_aside_stays_named_until_it_is_mended(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mocked_server(RESOURCES) as server:
        bad = _page(server, "b", "f", without_id="g")
        for _ in range(2):  # a second pull that asked for changes only would no longer see it, and forget it
            server.requests.clear()
            server.fail("GET Observation?patient", 200, bad)
            assert run(config, "pull") == 3
            assert "set aside: Patient/p1" in capsys.readouterr().out
        assert not [one for one in server.requests if one.startswith("GET Observation") and "_lastUpdated" in one]
        assert run(config, "pull") == 0
        assert "set aside" not in capsys.readouterr().out
        server.requests.clear()
        assert run(config, "pull") == 0
        assert [one for one in server.requests if one.startswith("GET Observation") and "_lastUpdated" in one]
    capsys.readouterr()


def test_a_pull_that_breaks_off_forgets_nothing_that_was_set_aside(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with mocked_server(RESOURCES) as server:
        server.fail("GET Observation?patient", 200, _page(server, "b", "f", without_id="g"))
        assert run(config, "pull") == 3
        server.fail("GET Observation?patient", 500, times=3)
        capsys.readouterr()
        assert run(config, "pull") == 3
        assert "set aside: Patient/p1" in capsys.readouterr().out
        server.requests.clear()
        assert run(config, "pull") == 0
        assert not [one for one in server.requests if one.startswith("GET Observation") and "_lastUpdated" in one]
    capsys.readouterr()


def _page(server: MockedServer, *names: str, without_id: str | None = None) -> bytes:
    entries = [{"resource": server.resources[f"Observation/{name}"]} for name in names]
    if without_id:
        nameless = {k: v for k, v in server.resources[f"Observation/{without_id}"].items() if k != "id"}
        entries.append({"resource": nameless})
    return json.dumps({"resourceType": "Bundle", "type": "searchset", "total": 3, "entry": entries}).encode()


def test_the_documented_way_through_the_commands_works_as_it_stands(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.chdir(config.parent)
    config.write_text(CONFIG.replace("tries = 2\n", ""), encoding="utf-8")
    text = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"RESOURCES": RESOURCES}
    exec(text.split("```python\n")[2].partition("```")[0], names)  # noqa: S102  # our own documentation
    names["test_the_hospital_gets_its_outcomes"]()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("fault", "times", "code"),
    [
        ("timeout", 1, 0), ("connection", 1, 0), ("truncated", 1, 0), (503, 1, 0),  # asked again, all is well
        ("duplicated-page", 1, 0), ("truncated", 9, 3), ("duplicated-page", 9, 0), ("bad-resource", 1, 3),
    ],
)  # fmt: skip
def test_each_fault_is_met_by_a_pull_and_the_next_one_is_complete(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fault: Any, times: int, code: int
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with mocked_server(RESOURCES) as server:
        server.fail("GET Observation", fault, times=times)
        assert run(config, "pull") == code
        server.heal()
        assert run(config, "pull") == 0
    capsys.readouterr()
