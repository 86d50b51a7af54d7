"""The log of a run: one line for each event, with run, site and a stable name, and nothing of a patient."""

from __future__ import annotations

import ast
import io
import json
import re
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dm_fhir.cli.study import opened_study, running
from dm_fhir.cli.voice import Voice
from dm_fhir.errors import LoginRefused, RequestFailed, StoreError
from dm_fhir.fhir.packed import DAMAGE
from dm_fhir.store.ledger import Unit, put_unit
from dm_fhir.store.pushes import Pushed, put_push
from dm_fhir.sync.public_words import NOTES, OTHER, REASONS, note_said, query_said, reason_said

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.cli.conftest import Study

ROOT = Path(__file__).parents[2]
PATIENT, NAME, BORN = "Patient/zwetschke-1", "Eulalia Zwetschkenbaum", "1961-11-23"


def logged(
    study: Study, units: Iterable[Unit] = (), steps: tuple[str, ...] = ("pull", "push"), error: Exception | None = None,
    pushed: Iterable[str] = (), **voice: bool,
) -> str:  # fmt: skip
    """The log of a run that leaves these units and outcomes."""
    with (
        redirect_stderr(io.StringIO()) as err,
        opened_study(study.config, Voice(**voice)) as opened,
        running(opened, "sync", steps) as run,
    ):
        for unit in units:
            put_unit(opened.db, msgspec.structs.replace(unit, run=run.work.run))
        for number, state in enumerate(pushed):
            row = Pushed(f"k{number}", PATIENT, "ck", "", state, None, None, "h", f"{NAME} was changed", b"{}")
            put_push(opened.db, "leon", row, run.work.run)
        if isinstance(error, LoginRefused | RequestFailed):
            run.work.errors["madrid"] = error
    return err.getvalue()


def partial(query: str = "Observation?patient", patient: str = PATIENT, **more: Any) -> Unit:
    """A unit that is not complete, and whose message says too much."""
    return Unit("leon", patient, query, reason="http-500", message=f"{NAME}, born {BORN}, answered 500", **more)


def events(text: str) -> list[dict[str, Any]]:
    """The lines as JSON."""
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_an_event_of_a_run(study: Study) -> None:
    err = logged(study, [partial(expected=1000, unique=500)], as_json=True)
    begun, open_unit, ended = events(err)
    assert [line["event"] for line in (begun, open_unit, ended)] == ["run_started", "unit_partial", "run_ended"]
    assert {line["run"] for line in (begun, open_unit, ended)} == {2}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["time"]) for line in (begun, open_unit, ended))
    name = study.type("failed", "--json").json["sites"][0]["failed"][0]["unit"]
    assert open_unit | {"time": ""} == {
        "time": "", "level": "warning", "run": 2, "site": "leon", "event": "unit_partial", "unit": name,
        "message": f"partial: one patient's Observation?patient (http-500, 500 of 1000 stored); dm-fhir failed --unit {name}",
        "query": "Observation?patient", "reason": "http-500", "expected": 1000, "unique": 500, "retries": 0,
    }  # fmt: skip
    assert ended["exit_code"] == 3


@pytest.mark.parametrize("as_json", [True, False])
def test_each_unit_that_is_not_complete_has_its_line_also_when_quiet(study: Study, as_json: bool) -> None:
    err = logged(study, [partial(patient=f"Patient/{number}") for number in range(3)], quiet=True, as_json=as_json)
    lines = err.splitlines()
    assert len(lines) == 3
    if not as_json:
        assert all(line.startswith("run 2: warning: leon: partial: one patient's Observation?patient (http-500); ") for line in lines)  # fmt: skip
        assert len(set(lines)) == 3


def test_what_an_earlier_run_left_open_is_not_told_again(study: Study) -> None:
    study.unit("Observation?patient", "partial")
    err = logged(study, quiet=True)
    assert err == ""


def test_a_flood_of_units_is_cut_and_counted(study: Study) -> None:
    err = logged(study, [partial(patient=f"Patient/{number}") for number in range(230)], as_json=True, quiet=True)
    *_, last = lines = events(err)
    assert (len(lines), last["event"], last["units"]) == (201, "units_open", 30)


def test_what_is_wrong_with_outcomes_and_sites_is_an_event_each(study: Study) -> None:
    refused = LoginRefused(f"the server does not accept {NAME}")
    states = ("conflict", "conflict", "rejected", "sending", "confirmed")
    study.aside(b"{}", b"[]")
    err = logged(study, error=refused, pushed=states, as_json=True, quiet=True)
    told = {(line["event"], line["site"]): line.get("count") for line in events(err)}
    assert told == {
        ("set_aside", "leon"): 2, ("push_conflict", "leon"): 2, ("push_rejected", "leon"): 1, ("push_unsettled", "leon"): 1,
        ("site_stopped", "madrid"): None,
    }  # fmt: skip
    said = [line["message"] for line in events(err) if line["event"] in ("push_conflict", "push_rejected")]
    assert [text.partition(":")[0] for text in said] == ["2 outcomes in conflict", "1 outcome rejected"]
    assert all(text.endswith("; dm-fhir push --dry-run --site leon") for text in said)


@pytest.mark.parametrize("as_json", [True, False])
def test_no_line_tells_of_a_patient(study: Study, as_json: bool) -> None:
    told = [
        partial(), partial("file: /home/x/Zwetschkenbaum 1961-11-23.ndjson", ""), partial("cohort: Group/zwetschke", ""),
        partial("Observation?patient&category=zwetschke"), partial("import: Zwetschkenbaum.csv by map.toml", ""),
    ]  # fmt: skip
    error = RequestFailed(f"{NAME} ({PATIENT})", reason="zwetschke", status=500)
    err = logged(study, told, error=error, pushed=["conflict"], as_json=as_json, verbose=True)
    text = err
    assert text.count("dm-fhir failed --unit ") == len(told)
    assert not re.search("zwetschke|Eulalia|1961", text, re.I)


def test_an_error_that_ends_a_run_is_one_line_without_ids(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise StoreError(f"{PATIENT} cannot be kept", hint="see Observation/zwetschke-1-ck; is the disk full?")

    monkeypatch.setattr("dm_fhir.sync.passes.compute", failing)
    text, told = study.type("compute"), study.type("--log-format", "json", "compute")
    assert text.err == "dm-fhir: Patient/… cannot be kept\n  see Observation/…; is the disk full?\n"
    *_, last = events(told.err)
    assert last["message"] == "Patient/… cannot be kept; see Observation/…; is the disk full?"
    assert (last["level"], last["event"], last["exit_code"]) == ("error", "command_failed", 1)


def test_what_machines_get_beside_the_text_names_no_patient_either() -> None:
    with redirect_stderr(io.StringIO()) as err:
        Voice(as_json=True).warn(f"about {PATIENT}", "remark", "leon", query=f"{PATIENT}?x", count=3)
    (line,) = events(err.getvalue())
    assert (line["message"], line["query"], line["count"]) == ("about Patient/…", "Patient/…?x", 3)


def test_a_person_who_asks_for_a_patient_is_told_about_that_patient(study: Study) -> None:
    assert "Patient/7" in study.type("explain", "Patient/7").err


def test_a_wrong_option_is_json_too(study: Study) -> None:
    ran = study.type("--log-format", "json", "status", "--bogus")
    (line,) = events(ran.err)
    assert (ran.code, line["event"], "--bogus" in line["message"]) == (2, "command_failed", True)


def test_files_that_are_none_are_counted_in_the_log_and_listed_with_the_result(study: Study, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("Zwetschkenbaum.txt", "other.md"):
        (tmp_path / "in" / name).write_text("no FHIR", encoding="utf-8")
    (tmp_path / "in" / "one.ndjson").write_text('{"resourceType":"Patient","id":"1"}\n', encoding="utf-8")
    ran = study.type("pull", "--site", "madrid", "--from", str(tmp_path / "in"))
    assert "2 files passed over" in ran.err
    assert "Zwetschkenbaum" not in ran.err
    assert f"  passed over, not a FHIR file: {tmp_path}/in/Zwetschkenbaum.txt" in ran.lines


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("Observation?patient", "Observation?patient"),
        ("Observation?patient&category=laboratory", "Observation?patient&category=laboratory"),
        ("Observation?patient&category=dr-zwetschke", "Observation?patient&category=other"),
        ("cohort: MedicationAdministration by code", "cohort: MedicationAdministration by code"),
        ("cohort: list of patients", "cohort: list of patients"),
        ("cohort: Group/zwetschke", "cohort: Group"),
        ("AdverseEvent, whole", "AdverseEvent, whole"),
        ("Condition/_history", "Condition/_history"),
        ("Patient", "Patient"),
        ("whole plan", "whole plan"),
        ("file: Zwetschke.json", "file"),
        ("cohort: file: Zwetschke.json", "cohort: file"),
        ("cohort: by Medication, file: Zwetschke.json", "cohort: by Medication, file"),
        ("cohort: links, file: Zwetschke.json", "cohort: links, file"),
        ("all files", "all files"),
        ("Medication in files", "Medication in files"),
        ("import: a.csv by b.toml", "import"),
        ("Zwetschke?patient", OTHER),
        ("Observation?zwetschke", OTHER),
        ("Observation?patient&name=Zwetschke", OTHER),
        ("Patient/7", OTHER),
        ("", OTHER),
    ],
)
def test_of_a_query_only_what_is_known_is_said(query: str, said: str) -> None:
    assert query_said(query) == said


def test_of_reasons_and_notes_only_what_is_known_is_said() -> None:
    assert [reason_said(one) for one in ("http-503", "refused-on-page-12", "short", None)] == [
        "http-503", "refused-on-page-12", "short", None,
    ]  # fmt: skip
    unknown = ("http-zwetschke", "http-19611123", "refused-on-page-", "zwetschke", "", "http-٣")
    assert {reason_said(one) for one in unknown} == {OTHER}
    assert [note_said(one) for one in ("gone", "filter_ignored:category", "zwetschke:1")] == ["gone", "filter_ignored", OTHER]  # fmt: skip


def test_every_reason_and_note_of_the_program_is_known() -> None:
    reasons, notes = set(), set()
    for folder in ("fhir", "sync", "store"):
        for path in (ROOT / "src/dm_fhir" / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                reasons |= _reasons(node)
                notes |= _notes(node)
    assert len(reasons) > 30
    assert len(notes) > 25
    assert {one for one in reasons if reason_said(one) == OTHER} == set()
    assert {one for one in notes if note_said(one) == OTHER} - {"retries", "waited_milliseconds"} == set()
    assert REASONS.isdisjoint(NOTES - {*DAMAGE})


def _reasons(node: ast.AST) -> set[str]:
    """Words given as `reason=`, or as the first of an Unusable."""
    if isinstance(node, ast.keyword) and node.arg == "reason" and isinstance(node.value, ast.Constant):
        return {node.value.value} if isinstance(node.value.value, str) else set()
    is_unusable = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Unusable"
    first = node.args[0] if is_unusable and node.args else None  # type: ignore[attr-defined]
    return {first.value} if isinstance(first, ast.Constant) else set()


def _notes(node: ast.AST) -> set[str]:
    """Words by which `notes` is added to."""
    if not (isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript)):
        return set()
    holder, key = node.target.value, node.target.slice
    name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
    return {key.value} if "notes" in name and isinstance(key, ast.Constant) else set()


def test_every_event_is_in_the_docs() -> None:
    calls = ("say", "detail", "note", "warn", "error")
    found = set()
    for path in (ROOT / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in calls:
                found |= {one.value for one in node.args[1:2] if isinstance(one, ast.Constant)}
    text = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    assert len(found) > 10
    assert [event for event in sorted(found) if f"`{event}`" not in text] == []


@pytest.mark.parametrize("as_json", [True, False])
def test_how_far_it_has_come_is_said_once(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    show = Voice(as_json=as_json).progress("push")
    for done in (0, 148, 148):
        show("leon", done, 148)
    show("madrid", 148, 148)
    lines = capsys.readouterr().err.splitlines()
    assert [re.findall(r"leon|madrid|\d+ of \d+", line) for line in lines if "of" in line] == (
        [["leon", "0 of 148"], ["leon", "148 of 148"], ["madrid", "148 of 148"]]
    )


@pytest.mark.parametrize("option", ["-q", "--log-format"])
def test_an_option_behind_the_command_is_told_where_it_belongs(study: Study, option: str) -> None:
    ran = study.type("sync", option)
    assert (ran.code, f"{option} goes before the command's name: dm-fhir {option}" in ran.err) == (2, True), ran.err
