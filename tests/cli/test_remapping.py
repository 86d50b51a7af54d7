"""compute after a change of tables: exactly what the changed row concerns, from the store alone, and it says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.cli import main
from dm_fhir.config import load_config
from dm_fhir.model.case import Case
from dm_fhir.model.document import decode
from dm_fhir.model.exact import to_text
from dm_fhir.store.cases import cases
from dm_fhir.store.database import open_store
from dm_fhir.testing import mocked_server

from .hospital import infusion, measured, patient

CONFIG = """
[study]
title = "A table that changes"
drug = "anifrolumab"
timezone = "Europe/Madrid"

[[site]]
name = "leon"
endpoint = "https://fhir.test/r4"
tables = ["leon.toml"]
"""
TABLE = '[[measurement]]\nvariable = "ck"\nunits = { "kat-leon" = "60" }\n'
#: Both patients have CK; only that of p1 is in the unit whose factor changes, and only in part.
RECORDS = [
    patient("p1"), infusion("i1", "p1"), measured("b1", "p1", "2025-03-01", 10, "kat-leon"),
    measured("f1", "p1", "2025-05-01", 2, "kat-leon"), measured("f2", "p1", "2025-06-01", 90, "U/L"),
    patient("p2"), infusion("i2", "p2"), measured("b2", "p2", "2025-03-01", 900, "U/L"), measured("f3", "p2", "2025-05-01", 90, "U/L"),
]  # fmt: skip


def numbers(config: Path) -> dict[str, str]:
    """The numbers of all assessments and outcomes, by what they are."""
    db = open_store(load_config(config).store_path, "anifrolumab")
    found: dict[str, str] = {}
    for row in cases(db, "leon"):
        case = decode(row.body, Case)
        for one in case.assessments:
            found[one.source.reference] = _text(one.measured.result.number)
        for outcome in case.outcomes:
            found[f"{case.id} {outcome.variable} {outcome.about or ''}"] = _text(outcome.number)
    db.close()
    return found


def _text(number: Any) -> str:
    return "" if number is None else to_text(number)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "leon.toml").write_text(TABLE, encoding="utf-8")
    path = tmp_path / "dm-fhir.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_a_changed_unit_changes_exactly_the_values_in_it_and_no_server_is_asked(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> list[str]:
        assert main.call(["--quiet", "--config", str(config), *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    with mocked_server(RECORDS) as server:
        run("pull")
        run("compute")
        before = numbers(config)
        server.requests.clear()
        config.with_name("leon.toml").write_text(TABLE.replace('"60"', '"120"'), encoding="utf-8")
        lines = run("compute")
        again = run("compute")
        assert server.requests == []
    assert lines[:2] == ["leon: 2 patients computed, 0 unchanged", "  cases changed: 1 (tables changed)"]
    assert again[0] == "leon: 0 patients computed, 2 unchanged"
    assert not [line for line in again if "changed:" in line]
    after = numbers(config)
    assert before.keys() == after.keys()
    assert {name: (before[name], after[name]) for name in before if before[name] != after[name]} == {
        "Observation/b1": ("600", "1200"),
        "Observation/f1": ("120", "240"),
        "Patient/p1 ck_baseline ": ("600", "1200"),
        "Patient/p1 ck_improvement Observation/f1": ("480", "960"),
        # The percentage of f1 stays: both its values are in the changed unit.
        "Patient/p1 ck_improvement Observation/f2": ("510", "1110"),
        "Patient/p1 ck_percent_improvement Observation/f2": ("85", "92.5"),
    }


def test_what_changed_with_the_tables_is_told_apart_from_what_changed_in_the_records(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def computed() -> Any:
        assert main.call(["--quiet", "--config", str(config), "pull", "--full"]) == 0
        capsys.readouterr()
        assert main.call(["--quiet", "--config", str(config), "compute", "--json"]) == 0
        return json.loads(capsys.readouterr().out)["computed"]["leon"]["changed"]

    with mocked_server(RECORDS) as server:
        assert computed() == {"new": 2}
        server.put(measured("f3", "p2", "2025-05-01", 80, "U/L"))
        assert computed() == {"records changed": 1}
        config.with_name("leon.toml").write_text(TABLE.replace('"60"', '"120"'), encoding="utf-8")
        server.put(measured("f1", "p1", "2025-05-01", 3, "kat-leon"))
        assert computed() == {"tables and records changed": 1}
        config.write_text(CONFIG.replace("Europe/Madrid", "UTC"), encoding="utf-8")
        assert computed() == {"time zone changed": 2}
