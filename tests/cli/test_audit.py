"""dm-fhir audit, as it is typed: a line a run, a row a patient; what others show and take out is in it."""

import csv
import io
import sqlite3
from pathlib import Path

import pytest

from dm_fhir.store import audit
from dm_fhir.store.audit import entries, note_looked, note_read, note_written, who
from dm_fhir.store.ledger import begin_run

from .conftest import Study


@pytest.fixture
def noted(study: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Run 2 has read 70 patients and written two resources; run 3 has taken one back; Patient/1 was looked at."""
    times = iter(f"2026-01-0{day}T10:00:00Z" for day in range(1, 9))
    monkeypatch.setattr(audit, "now", lambda: next(times))
    run = begin_run(study.db, "sync", "anna")
    note_read(study.db, run, "leon", [f"Patient/{number}" for number in range(70)])
    note_written(study.db, run, "leon", "write", [("Patient/1", "Observation/7"), ("Patient/1", "Observation/8")])
    note_written(study.db, begin_run(study.db, "push", "ben"), "madrid", "retract", [("Patient/1", "Observation/9")])
    note_looked(study.db, "explain", ["leon"], "Patient/1", "ck_baseline")
    note_looked(study.db, "export", ["leon", "madrid"], reference="identified, as json to -")
    return study


def test_a_line_for_each_run_site_and_action_the_newest_first(noted: Study) -> None:
    ran = noted.type("audit")
    assert ran.code == 0
    assert ran.lines == [
        f"2026-01-05T10:00:00Z export by {who()}: madrid: export all of madrid identified, as json to -",
        f"2026-01-05T10:00:00Z export by {who()}: leon: export all of leon identified, as json to -",
        f"2026-01-04T10:00:00Z explain by {who()}: leon: explained Patient/1 ck_baseline",
        "2026-01-03T10:00:00Z run 3, push by ben: madrid: retracted 1 resource of 1 patient",
        "2026-01-02T10:00:00Z run 2, sync by anna: leon: wrote 2 resources of 1 patient",
        "2026-01-01T10:00:00Z run 2, sync by anna: leon: read data of 70 patients",
        "audit: exit 0 (complete)",
    ]


def test_one_patient_row_by_row(noted: Study) -> None:
    lines = noted.type("audit", "--patient", "1", "--site", "leon").lines
    assert [line.partition(": ")[2] for line in lines[:-1]] == [
        "leon: export all of leon identified, as json to -",
        "leon: explained Patient/1 ck_baseline",
        "leon: wrote Patient/1 Observation/8",
        "leon: wrote Patient/1 Observation/7",
        "leon: read Patient/1",
    ]
    assert noted.type("audit", "--patient", "Patient/1", "--site", "leon").lines == lines


def test_one_run_and_how_many_rows_are_not_shown(noted: Study) -> None:
    lines = noted.type("audit", "--run", "2").lines
    assert len(lines) == 52
    assert lines[-2] == "  … and 22 more earlier; all of them: with --csv FILE or --json"
    assert len(noted.type("audit", "--run", "2", "--json").json["audit"]) == 72


@pytest.mark.parametrize(
    ("since", "days"),
    [
        ("2026-01-03", [3, 4, 5, 5]),
        ("2026-01-03T11:00:00", [4, 5, 5]),
        ("2026-01-03T11:00:00+01:00", [3, 4, 5, 5]),
        ("2026-01-03T11:00:01+01:00", [4, 5, 5]),
        ("2027-01-01", []),
    ],
)
def test_since(noted: Study, since: str, days: list[int]) -> None:
    found = noted.type("audit", "--since", since, "--json").json["audit"]
    assert [int(one["when"][8:10]) for one in found] == days


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "0001-01-01T00:00:00+14:00", ""])
def test_what_is_no_time(study: Study, since: str) -> None:
    ran = study.type("audit", "--since", since)
    assert (ran.code, "--since takes a date" in ran.err) == (2, True)


def test_for_machines(noted: Study) -> None:
    told = noted.type("audit", "--json").json
    assert {key: told[key] for key in ("command", "state", "exit_code")} == {
        "command": "audit", "state": "complete", "exit_code": 0,
    }  # fmt: skip
    assert told["sites"] == [
        {"site": "leon", "actions": {"explain": 1, "export": 1, "read": 70, "write": 2}, "patients": 70},
        {"site": "madrid", "actions": {"export": 1, "retract": 1}, "patients": 1},
    ]
    assert len(told["audit"]) == 76
    assert told["audit"][70] == {
        "number": 71, "when": "2026-01-02T10:00:00Z", "user": "anna", "run": 2, "command": "sync", "site": "leon",
        "action": "write", "patient": "Patient/1", "reference": "Observation/7",
    }  # fmt: skip


def test_as_a_table_that_no_spreadsheet_runs(study: Study, tmp_path: Path) -> None:
    note_looked(study.db, "explain", ["leon"], "Patient/1", '=HYPERLINK("http://evil.example")')
    ran = study.type("audit", "--csv", str(tmp_path / "audit.csv"))
    rows = list(csv.reader(io.StringIO((tmp_path / "audit.csv").read_text(encoding="utf-8"))))
    assert rows[0] == list(audit.Entry._fields)
    assert rows[1][-1] == '\'=HYPERLINK("http://evil.example")'
    assert ran.err == f"1 row to {tmp_path / 'audit.csv'}\n"
    assert study.type("audit", "--csv", "-").out.startswith("number,when,user")
    assert study.type("audit", "--csv", "-", "--json").code == 2


def test_nothing_noted_yet(study: Study) -> None:
    assert study.type("audit").lines == ["nothing noted", "audit: exit 0 (complete)"]


def test_what_is_shown_from_the_quarantine_is_noted(study: Study) -> None:
    study.aside(b"secret")
    assert study.type("quarantine", "show", "1").code == 0
    assert study.type("quarantine", "show", "9").code == 2
    (row,) = entries(study.db)
    assert (row.user, row.command, row.site, row.action, row.reference) == (
        who(),
        "show",
        "leon",
        "show",
        "quarantine 1",
    )


def test_reports_and_exports_are_noted_before_anything_leaves(study: Study, tmp_path: Path) -> None:
    for words in (
        ("export", "-o", str(tmp_path / "a.json")),
        ("export", "--identified"),
        ("report", "-o", str(tmp_path / "r")),
    ):
        assert study.type(*words).code == 0
    assert study.type("export", "--site", "leon", "-o", str(tmp_path / "no" / "such" / "folder")).code == 2
    assert [(one.action, one.site, one.reference) for one in entries(study.db)] == [
        *[("export", site, f"pseudonymised, as json to {tmp_path}/a.json") for site in ("leon", "madrid")],
        *[("export", site, "identified, as json to -") for site in ("leon", "madrid")],
        *[("report", site, f"pseudonymised, to {tmp_path}/r") for site in ("leon", "madrid")],
        ("export", "leon", f"pseudonymised, as json to {tmp_path}/no/such/folder"),
    ]


def test_a_look_that_cannot_be_noted_is_told_and_not_refused(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.aside(b"secret")

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("dm_fhir.cli.study.note_looked", full)
    ran = study.type("quarantine", "show", "1")
    assert (ran.code, ran.out) == (0, "secret")
    assert "this could not be noted in the audit log: no space left" in ran.err
    assert list(entries(study.db)) == []
