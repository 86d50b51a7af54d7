"""dm-fhir push as a person types it: shown first, agreed to, written, listed, taken back, written again."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from dm_fhir.cli import main
from dm_fhir.cli.push_plan import plan_document, planned_details
from dm_fhir.sync.push.plan import Item
from dm_fhir.testing import MockedServer, mocked_server

from ..ran import Ran

CONFIG = """
[study]
title = "Two hospitals"
drug = "anifrolumab"
timezone = "Europe/Madrid"
[[site]]
name = "leon"
endpoint = "https://fhir.test/r4"
[site.push]
enabled = true
"""
CDASI = {"system": "https://w3id.org/dm-fhir/CodeSystem/measurement", "code": "cdasi-activity"}
SYSTEM = "https://w3id.org/dm-fhir/outcome"
BASELINE = "cdasi_activity_baseline"


def cdasi(name: str, day: str, value: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation", "id": name, "status": "final", "subject": {"reference": "Patient/p1"},
        "code": {"coding": [CDASI]}, "effectiveDateTime": day, "valueQuantity": {"value": value},
    }  # fmt: skip


RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p1", "name": [{"family": "Zwetschke"}], "birthDate": "1961-07-19"},
    {
        "resourceType": "MedicationAdministration", "id": "i1", "status": "completed", "subject": {"reference": "Patient/p1"},
        "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]},
        "effectiveDateTime": "2025-03-03T10:00:00+01:00", "dosage": {"dose": {"value": 300, "unit": "mg"}},
    },
    cdasi("before", "2025-03-01", 20), cdasi("after", "2025-05-01", 5),
]  # fmt: skip


class Study:
    """A hospital, and a study of it whose records are pulled and computed."""

    def __init__(self, folder: Path, server: MockedServer, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.server, self._capsys = folder, server, capsys
        self.config()

    def config(self, push: str = "", more: str = "") -> None:
        (self.folder / "dm-fhir.toml").write_text(f"{CONFIG}{push}\n{more}\n", encoding="utf-8")

    def type(self, *words: str) -> Ran:
        self._capsys.readouterr()
        code = main.call(list(words))
        out, err = self._capsys.readouterr()
        return Ran(code, out, err)

    def amend(self, value: int) -> None:
        """The value before the first infusion is another now, and computed with."""
        self.server.put(cdasi("before", "2025-03-01", value))
        assert [self.type(word).code for word in ("pull", "compute")] == [0, 0]

    def outcomes(self) -> dict[str, dict[str, Any]]:
        """Ours on the server, by code."""
        found = [
            one for one in self.server.resources.values() if one.get("identifier", [{}])[0].get("system") == SYSTEM
        ]
        return {one["code"]["coding"][0]["code"].replace("-", "_"): one for one in found}

    def writes(self) -> list[str]:
        return [one for one in self.server.requests if not one.startswith("GET")]

    def everything(self) -> list[Any]:
        """All that the store holds."""
        with closing(sqlite3.connect(self.folder / "dm-fhir.sqlite")) as db:
            return list(db.iterdump())


@pytest.fixture
def study(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """Pulled and computed; nothing was ever written."""
    monkeypatch.chdir(tmp_path)
    with mocked_server(RESOURCES) as server:
        study = Study(tmp_path, server, capsys)
        assert [study.type(word).code for word in ("pull", "compute")] == [0, 0]
        server.requests.clear()
        yield study


@pytest.fixture
def written(study: Study) -> Study:
    """After the first push."""
    assert study.type("push", "--yes").code == 0
    study.server.requests.clear()
    return study


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[str]]:
    """Somebody sits there, and answers so; the questions that they were asked."""
    asked: list[str] = []

    def sits(answer: bool) -> list[str]:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr(click, "confirm", lambda question, **_: asked.append(question) or answer)
        return asked

    return sits


def test_a_dry_run_shows_each_outcome_and_changes_nothing(study: Study) -> None:
    before = study.everything()

    ran = study.type("push", "--dry-run")

    assert ran.code == 0
    assert f"  new: {BASELINE} of Patient/p1\n" in ran.out
    assert "  new: cdasi_activity_improvement@Observation/after of Patient/p1\n" in ran.out
    assert ": it speaks of no time\n" in ran.out
    assert "  it waits to be confirmed: nothing was written there before\n" in ran.out
    assert "dry run: nothing was sent" in ran.out
    assert (study.server.requests, study.everything()) == ([], before)


def test_a_change_is_shown_value_by_value(written: Study) -> None:
    written.amend(15)

    shown = written.type("push", "--dry-run").out
    told = written.type("push", "--dry-run", "--json").json

    reference = f"Observation/{written.outcomes()[BASELINE]['id']}"
    assert f"  changed: {BASELINE} of Patient/p1 ({reference}), corrected\n" in shown
    assert "    valueQuantity.value: 20 -> 15\n" in shown
    assert '    derivedFrom[0].reference: "Observation/before/_history/1" -> "Observation/before/_history/2"\n' in shown
    item = next(one for one in told["items"]["leon"] if one["variable"] == BASELINE)
    assert (item["action"], item["status"], item["reference"]) == ("changed", "corrected", reference)
    assert {"path": "valueQuantity.value", "before": "20", "after": "15"} in item["changes"]
    assert {"path": "status", "before": "final", "after": "corrected"} in item["changes"]
    assert told["planned"]["leon"]["changed"] == sum(one["action"] == "changed" for one in told["items"]["leon"])


def test_a_push_does_what_its_dry_run_showed(written: Study) -> None:
    written.amend(15)
    planned = written.type("push", "--dry-run", "--json").json
    changed = {one["variable"] for one in planned["items"]["leon"] if one["action"] == "changed"}
    versions = {name: one["meta"]["versionId"] for name, one in written.outcomes().items()}

    ran = written.type("push", "--json")

    assert (ran.code, ran.json["pushed"]["leon"]) == (0, planned["planned"]["leon"])
    assert changed
    assert {n for n, one in written.outcomes().items() if one["meta"]["versionId"] != versions[n]} == changed
    assert written.type("push", "--dry-run", "--json").json["planned"]["leon"].keys() == {"unchanged", "blocked"}


def test_unchanged_ones_are_counted_and_listed_on_request(written: Study) -> None:
    assert "unchanged:" not in written.type("push", "--dry-run").out
    assert f"  unchanged: {BASELINE} of Patient/p1\n" in written.type("-v", "push", "--dry-run").out
    actions = [
        {one["action"] for one in written.type(*words, "push", "--dry-run", "--json").json["items"]["leon"]}
        for words in ([], ["-v"])
    ]
    assert actions == [{"blocked"}, {"blocked", "unchanged"}]


def test_what_is_no_longer_derived_is_shown_as_taken_back(written: Study) -> None:
    written.server.put({**cdasi("after", "2025-05-01", 5), "status": "entered-in-error"})
    assert [written.type(word).code for word in ("pull", "compute")] == [0, 0]
    name = "cdasi_activity_improvement"
    reference = f"Observation/{written.outcomes()[name]['id']}"
    line = f"  retract: {name}@Observation/after of Patient/p1 ({reference}), entered-in-error\n"
    assert line in written.type("push", "--dry-run").out
    assert written.type("push").code == 0
    assert written.outcomes()[name]["status"] == "entered-in-error"


def test_without_anybody_to_ask_a_first_push_writes_nothing_and_names_the_way(study: Study) -> None:
    ran = study.type("push")
    assert ran.code == 2
    assert (
        "nothing is written to leon: nothing was written there before, and nobody has confirmed it; see what it would be: "
        "dm-fhir push --site leon --dry-run; then confirm it, once: dm-fhir push --site leon --yes; or set unattended = true "
        "under [site.push]"
    ) in ran.out
    assert (study.server.requests, study.type("push", "--list").out.splitlines()[0]) == ([], "leon: 0 in the ledger")
    assert study.type("push", "--json").json["exit_code"] == 2


def test_whoever_sits_at_a_terminal_is_told_how_much_goes_where(
    study: Study, on_a_terminal: Callable[[bool], list[str]]
) -> None:
    asked = on_a_terminal(False)
    assert study.type("push").code == 2
    count = study.type("push", "--dry-run", "--json").json["planned"]["leon"]["new"]
    assert asked == [
        f"Nothing was written there before.\n{count} Observations of 1 patient to leon, https://fhir.test/r4?"
    ]
    assert study.writes() == []
    on_a_terminal(True)
    assert study.type("push").code == 0
    assert len(study.outcomes()) == count
    assert len(asked) == 2


def test_what_was_agreed_to_is_not_asked_again(written: Study, on_a_terminal: Callable[[bool], list[str]]) -> None:
    asked = on_a_terminal(False)
    written.amend(15)
    assert written.type("push").code == 0
    assert asked == []


def test_a_switch_of_the_config_agrees_too(study: Study) -> None:
    study.config("unattended = true")
    assert "waits" not in study.type("push", "--dry-run").out
    assert study.type("push").code == 0
    study.config()  # it was agreed to then
    study.amend(15)
    assert study.type("push").code == 0


def test_another_endpoint_is_another_server(written: Study) -> None:
    text = (written.folder / "dm-fhir.toml").read_text(encoding="utf-8")
    (written.folder / "dm-fhir.toml").write_text(text.replace("fhir.test/r4", "other.test/r4"), encoding="utf-8")
    db = sqlite3.connect(written.folder / "dm-fhir.sqlite")
    db.execute("UPDATE push SET state = 'sending'")
    db.commit()
    db.close()
    ran = written.type("push")
    assert ran.code == 2
    assert "nothing is written to leon: what was written before went to another endpoint" in ran.out


def test_a_store_of_before_has_agreed_where_something_was_written(written: Study) -> None:
    db = sqlite3.connect(written.folder / "dm-fhir.sqlite")
    db.execute("DELETE FROM setting WHERE name LIKE 'push to %'")
    db.commit()
    db.close()
    written.amend(15)
    assert written.type("push").code == 0


def test_a_sync_that_nobody_has_agreed_to_reads_and_computes_and_says_so(study: Study) -> None:
    study.server.put(cdasi("before", "2025-03-01", 15))
    ran = study.type("sync")
    assert ran.code == 2
    assert "nothing is written to leon: nothing was written there before" in ran.out
    assert study.writes() == []
    assert "20 -> 15" not in ran.out
    assert study.type("push", "--yes").code == 0
    assert study.outcomes()[BASELINE]["valueQuantity"]["value"] == 15


def test_all_of_a_site_is_taken_back_and_nothing_is_written_until_that_is_lifted(written: Study) -> None:
    count = len(written.outcomes())
    shown = written.type("push", "--retract", "--dry-run")
    assert (shown.code, shown.out.count("  retract: ")) == (0, count)
    refused = written.type("push", "--retract")
    assert refused.code == 2
    assert "dm-fhir push --site leon --retract --yes" in refused.out
    assert written.writes() == []

    ran = written.type("push", "--retract", "--yes", "--json")

    assert (ran.code, ran.json["pushed"]["leon"]) == (0, {"retract": count})
    assert {one["status"] for one in written.outcomes().values()} == {"entered-in-error"}
    assert len(written.outcomes()) == count
    for word in ("push", "sync"):
        ran = written.type(word)
        assert ran.code == 2
        assert "nothing is written to leon: all that was written is taken back (since 20" in ran.out
        assert "dm-fhir push --site leon --again" in ran.out
    assert written.type("push", "--yes").code == 2  # a yes is not meant for this
    assert "  it waits to be confirmed: all that was written is taken back" in written.type("push", "--dry-run").out

    assert written.type("push", "--again").code == 2
    assert written.type("push", "--again", "--yes").code == 0
    assert {one["status"] for one in written.outcomes().values()} == {"corrected"}
    assert written.type("push", "--json").json["pushed"]["leon"].keys() == {"unchanged", "blocked"}


def test_nothing_of_ours_is_nothing_to_take_back(study: Study) -> None:
    assert study.type("push", "--retract", "--yes").code == 0
    assert study.server.requests == []
    assert study.type("push", "--yes").code == 0


def test_of_several_sites_one_is_named_to_take_back_from(study: Study) -> None:
    study.config(more='[[site]]\nname = "madrid"\n[site.push]\nenabled = true')
    ran = study.type("push", "--retract", "--yes")
    assert ran.code == 2
    assert "--site NAME, of leon, madrid" in ran.err
    assert study.type("push", "--retract", "--yes", "--site", "madrid").code == 0


def test_where_each_outcome_is_can_be_listed_and_explained(written: Study) -> None:
    one = written.outcomes()[BASELINE]
    reference, version = f"Observation/{one['id']}", one["meta"]["versionId"]
    listed = written.type("push", "--list")
    rows = written.type("push", "--list", "--json").json["written"]["leon"]
    row = next(row for row in rows if row["variable"] == BASELINE)
    assert (row["reference"], row["version"], row["state"], row["run"]) == (reference, version, "confirmed", 3)
    assert row["identifier"] == one["identifier"][0]["value"]
    where = f"{reference}, version {version}, {row['when']}, run 3"
    assert f"  confirmed: {BASELINE} of Patient/p1: {where}\n" in listed.out
    assert (listed.code, len(rows)) == (0, len(written.outcomes()))
    assert written.server.requests == []

    assert f"    on server  {where} (confirmed)\n" in written.type("explain", "p1", BASELINE).out
    (site,) = written.type("explain", "p1", BASELINE, "--json").json["sites"]
    assert site["written"] == row


def test_what_was_never_written_has_no_place(study: Study) -> None:
    assert "on server" not in study.type("explain", "p1", BASELINE).out
    assert study.type("explain", "p1", BASELINE, "--json").json["sites"][0]["written"] is None


def test_only_what_is_selected_is_begun_with(study: Study) -> None:
    study.config('outcomes = ["cdasi_activity_b*"]')
    assert study.type("push", "--yes").code == 0
    assert study.outcomes().keys() == {BASELINE}
    counts = study.type("push", "--dry-run", "--json").json["planned"]["leon"]
    assert (counts["unchanged"], counts["not selected"] > 3) == (1, True)


def test_a_pattern_that_matches_nothing_is_a_fault_of_the_config(study: Study) -> None:
    study.config('outcomes = ["cdasi_activty_b*", "tis"]')
    for words in (["push", "--dry-run"], ["pull"]):
        ran = study.type(*words)
        assert ran.code == 2
        assert "push.outcomes: 'cdasi_activty_b*' matches no outcome; near it: cdasi_activity_baseline" in ran.err
    looked = study.type("validate", "dm-fhir.toml", "--json").json
    assert looked["exit_code"] == 1
    assert "site[0].push.outcomes" in json.dumps(looked)
    assert study.server.requests == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--retract", "--again"], "--retract and --again exclude each other"),
        (["--list", "--dry-run"], "--list writes nothing"),
        (["--list", "--retract"], "--retract and --list exclude each other"),
        (["--verify", "--repair"], "--verify and --repair exclude each other"),
        (["--verify", "--yes"], "--verify writes nothing"),
        (["--sample", "3"], "--sample goes with --verify"),
        (["--relearn", "--dry-run"], "--relearn goes with what writes"),
    ],
)
def test_options_that_do_not_go_together_are_refused(study: Study, words: list[str], message: str) -> None:
    ran = study.type("push", *words)
    assert (ran.code, message in ran.err) == (2, True)


def test_a_site_that_may_not_be_written_to_can_still_be_planned(study: Study) -> None:
    text = (study.folder / "dm-fhir.toml").read_text(encoding="utf-8")
    (study.folder / "dm-fhir.toml").write_text(text.replace("enabled = true", "enabled = false"), encoding="utf-8")
    ran = study.type("push", "--dry-run")
    assert f"  new: {BASELINE} of Patient/p1\n" in ran.out
    assert "  nothing of it is written: [site.push] enabled is not true\n" in ran.out
    assert study.type("push", "--yes").code == 2
    assert study.type("push", "--retract", "--yes").code == 2
    assert study.server.requests == []


def test_nobodys_name_or_birth_date_is_shown(written: Study) -> None:
    written.amend(15)
    for words in (["--dry-run"], ["--dry-run", "--json"], ["--list", "--json"], ["--json"]):
        ran = written.type("-v", "push", *words)
        assert not [secret for secret in ("Zwetschke", "1961") if secret in ran.out + ran.err]


def twice(study: Study, **changes: Any) -> str:
    """A second copy of one of ours, as a server makes it that ignores conditions; its reference."""
    ours = study.outcomes()[BASELINE]
    study.server.put({**ours, "id": "copy", **changes})
    return f"Observation/{ours['id']}"


def test_what_is_there_as_it_was_written_is_verified(written: Study) -> None:
    ran = written.type("push", "--verify", "--json")
    count = len(written.outcomes())
    assert (ran.code, ran.json["verified"]) == (0, {"leon": {"counts": {"same": count}, "troubles": []}})
    assert written.writes() == []
    ran = written.type("push", "--verify", "--sample", "2")
    assert ran.code == 0
    assert "leon: read back: 2 same\n" in ran.out
    assert written.type("-v", "runs").out.startswith("run 5: push --verify")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda study, one: study.server.put({**one, "valueQuantity": {**one["valueQuantity"], "value": 7}}), "was changed since it was written: valueQuantity"),
        (lambda study, one: study.server.delete(f"Observation/{one['id']}"), "is no longer on the server"),
        (lambda study, one: twice(study), "2 copies of one result on the server; see push --repair"),
    ],
)  # fmt: skip
def test_whatever_is_not_as_it_was_written_is_a_conflict_and_left_alone(
    written: Study, spoil: Callable[..., Any], line: str
) -> None:
    spoil(written, written.outcomes()[BASELINE])
    before = written.everything()
    ran = written.type("push", "--verify")
    assert ran.code == 7
    assert f"  {BASELINE} of Patient/p1: " in ran.out
    assert line in ran.out
    assert written.writes() == []
    pushes = [[row for row in rows if 'INTO "push"' in row] for rows in (before, written.everything())]
    assert pushes[0] == pushes[1] != []
    assert "exit 7" in written.type("runs").out.splitlines()[0]


def test_of_several_copies_one_stays_when_that_is_agreed_to(written: Study) -> None:
    reference = twice(written)
    shown = written.type("push", "--repair", "--dry-run")
    told = written.type("push", "--repair", "--dry-run", "--json").json["copies"]["leon"]
    assert shown.code == 0
    assert f"  {BASELINE} of Patient/p1: {reference} stays; entered-in-error: Observation/copy\n" in shown.out
    assert [(one["stays"], one["others"]) for one in told] == [(reference, ["Observation/copy"])]
    ran = written.type("push", "--repair")
    assert ran.code == 2
    assert "dm-fhir push --site leon --repair --yes" in ran.out
    assert written.writes() == []

    ran = written.type("push", "--repair", "--yes", "--json")

    assert (ran.code, ran.json["pushed"]["leon"]) == (0, {"repaired": 1})
    statuses = {
        place: one["status"]
        for place, one in written.server.resources.items()
        if one.get("code") == written.outcomes()[BASELINE]["code"]
    }
    assert statuses == {reference: "final", "Observation/copy": "entered-in-error"}
    assert written.type("push", "--verify").code == 0


def test_without_copies_there_is_nothing_to_repair_or_to_agree_to(written: Study) -> None:
    ran = written.type("push", "--repair")
    assert ran.code == 0
    assert "leon: no result has copies" in ran.out
    assert written.writes() == []


def test_of_whom_the_records_are_not_complete_nothing_is_written_and_that_is_said(written: Study) -> None:
    written.amend(15)
    written.server.fail("GET Observation", 403, times=99)
    assert written.type("pull").code == 3
    written.server.heal()
    written.server.requests.clear()

    shown, ran = written.type("push", "--dry-run"), written.type("push")

    assert ": their records are not complete\n" in shown.out
    assert "of 1 patient not written: their records are not complete" in ran.out
    assert written.writes() == []


def test_a_server_that_was_mended_is_written_to_again_when_somebody_says_so(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = study.server.put
    monkeypatch.setattr(study.server, "put", lambda one: put({k: v for k, v in one.items() if k != "identifier"}))
    first = study.type("push", "--yes")
    assert (first.code, study.outcomes()) == (7, {})
    assert "when that is mended: dm-fhir push --relearn" in first.out
    monkeypatch.setattr(study.server, "put", put)
    assert study.type("push").code == 3
    assert study.type("push", "--relearn").code == 0
    assert study.type("push", "--verify").code == 0
    everything = [one for one in study.server.resources.values() if one["resourceType"] == "Observation"]
    assert len(everything) == len(study.outcomes()) + 2, "what had lost its identifier has it again"


def test_the_object_of_a_plan_is_the_same_in_parts() -> None:
    """Of several sites, and of more items than are held unpacked."""
    plans = {
        "leon": [
            Item("new", f"n{number}", "Patient/Zoë", "tis", "", b'{"status":"final"}', None) for number in range(450)
        ],
        "": [
            Item("unchanged", "a", "Patient/1", "tis", "", b"", None),
            Item("blocked", "b", "Patient/1", "ck", "", b"", None),
        ],
        "none": [],
    }
    waiting = {"leon": 'it "waits"', "": None, "none": None}
    for verbose, of_second in ((False, ["blocked"]), (True, ["unchanged", "blocked"])):
        details = {site: planned_details(items, verbose=verbose) for site, items in plans.items()}
        told = json.loads("".join(plan_document(details, waiting)))
        assert list(told) == ["command", "state", "exit_code", "sites", "planned", "items", "waiting", "dry_run"]
        assert told["planned"] == {"leon": {"new": 450}, "": {"unchanged": 1, "blocked": 1}, "none": {}}
        assert [one["identifier"] for one in told["items"]["leon"]] == [f"n{number}" for number in range(450)]
        assert [one["action"] for one in told["items"][""]] == of_second
        assert (told["items"]["none"], told["waiting"], told["dry_run"]) == ([], waiting, True)
