"""One sync: its last line whatever happens, what it says when quiet, and sites that fail apart."""

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_fhir.errors import DmFhirError
from dm_fhir.store.turns import SharedConnection
from dm_fhir.sync import compute as compute_step
from dm_fhir.sync import passes
from dm_fhir.sync.lock import locked
from dm_fhir.testing import MockedServer, mocked_server

from .mocked import Ran, Served, Study, new_study, served, treated, written

SECRET = "Ana-Maria-1970"
CLOSED = "http://127.0.0.1:9/fhir"  # nothing listens there


@pytest.fixture
def server() -> Iterator[MockedServer]:
    with mocked_server(treated("a", "b")) as server:
        yield server


@pytest.fixture
def study(server: MockedServer, tmp_path: Path) -> Study:
    """A study of the server's two patients, which is waited for no longer than it must be."""
    return new_study(tmp_path / "study", {"north": server.endpoint})


def test_a_sync_reads_computes_and_writes_and_then_has_nothing_to_do(server: MockedServer, study: Study) -> None:
    first = study.type("sync")
    assert first.code == 0, first.err
    count = len(written(server))
    assert count > 10
    assert re.fullmatch(
        rf"sync: units: 17 complete; outcomes: {count} written, \d+ blocked; \d+\.\d s; exit 0 \(complete\)",
        first.last_line,
    )
    before = len(server.requests)
    again = study.type("sync", "--json").json
    assert all(request.startswith("GET ") for request in server.requests[before:])
    assert again["outcomes"] == {"unchanged": count, "blocked": again["outcomes"]["blocked"]}
    assert again["computed"]["north"] == {"mapped": 0, "unchanged": 2, "changed": {}, "held": 0}
    assert (again["units"], again["exit_code"], again["state"]) == ({"complete": 17}, 0, "complete")
    assert set(again["seconds"]) == {"pull", "compute", "push", "total"}
    assert again["seconds"]["total"] >= again["seconds"]["pull"]


def test_quiet_has_the_last_line_and_what_needs_attention(server: MockedServer, study: Study) -> None:
    assert study.type("-q", "sync").out.count("\n") == 1
    server.fail("GET Observation", 500, times=50)
    ran = study.type("-q", "sync")
    head, *_, last = ran.out.splitlines()
    assert (ran.code, head) == (3, "north: not complete")
    assert "  failed: Patient/a Observation?patient" in ran.out
    assert "held back until their records are complete, with what they had: 2 patients" in ran.out
    assert "patients in the cohort" not in ran.out
    assert re.match(r"sync: units: 15 complete, 2 failed; outcomes: .*; exit 3 \(partial", last)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["sync", "--site", "nowhere"], 2),
        (["sync", "--no-such-option"], 2),
        (["sync", "too much"], 2),
        (["sync", "--site"], 2),
    ],
)
def test_the_last_line_of_a_wrong_command_line(study: Study, arguments: list[str], code: int, *, as_json: bool) -> None:
    has_ended(study.type(*arguments[:1], *["--json"] * as_json, *arguments[1:]), code, as_json=as_json)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("text", ["[study", "[study]\ntitle = 1", "", None])
def test_the_last_line_of_a_broken_config(study: Study, text: str | None, *, as_json: bool) -> None:
    study.config.unlink() if text is None else study.config.write_text(text)
    has_ended(study.type("sync", *["--json"] * as_json), 2, as_json=as_json)


@pytest.mark.parametrize("as_json", [False, True])
def test_the_last_line_while_another_run_is_at_work(server: MockedServer, study: Study, *, as_json: bool) -> None:
    assert study.type("sync").code == 0
    before, units = len(server.requests), study.ask("SELECT * FROM unit")
    with locked(study.config.with_name("dm-fhir.sqlite"), "sync") as tell:
        tell(41)
        ran = study.type("sync", *["--json"] * as_json)
    text = has_ended(ran, 11, as_json=as_json)
    assert f"run 41 (process {os.getpid()}, since " in (text if as_json else ran.err)
    assert len(server.requests) == before
    assert study.ask("SELECT * FROM unit") == units
    assert study.ask("SELECT count(*) FROM run") == [(1,)]


@pytest.mark.parametrize("as_json", [False, True])
def test_the_last_line_of_an_interrupted_run_counts_what_there_is(
    server: MockedServer, study: Study, monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(passes, "compute_site", interrupted)
    ran = study.type("sync", *["--json"] * as_json)
    has_ended(ran, 130, as_json=as_json)
    if as_json:
        assert (ran.json["units"], ran.json["sites"][0]["units"]) == ({"complete": 17}, {"complete": 17})
    else:
        assert ran.last_line.startswith("sync: units: 17 complete; ")
    assert study.ask("SELECT exit_code FROM run") == [(130,)]
    monkeypatch.undo()
    assert study.type("sync").code == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_the_last_line_when_the_disk_is_full(study: Study, monkeypatch: pytest.MonkeyPatch, *, as_json: bool) -> None:
    original = sqlite3.connect

    class Full(SharedConnection):
        """It takes the empty tables, and hardly anything more."""

        def execute(self, sql: str, *args: object) -> sqlite3.Cursor:  # type: ignore[override]
            if sql.startswith("INSERT INTO run"):
                pages = super().execute("PRAGMA page_count").fetchone()[0]
                super().execute(f"PRAGMA max_page_count = {pages}")
            return super().execute(sql, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: original(*a, **{**k, "factory": Full}))
    ran = study.type("sync", *["--json"] * as_json)
    text = has_ended(ran, 1, as_json=as_json)
    assert "no space left" in (text if as_json else ran.out + ran.err)
    monkeypatch.undo()
    assert study.type("sync").code == 0


def has_ended(ran: Ran, code: int, *, as_json: bool) -> str:
    """It has, with this code, by its last line or its only object; the error's text in that."""
    assert ran.code == code, ran.out + ran.err
    if not as_json:
        assert re.search(rf"^sync: (.*; )?\d+\.\d s; exit {code} \(", ran.last_line), ran.out
        return ""
    found = ran.json
    assert (found["command"], found["state"], found["exit_code"]) == ("sync", "failed", code)
    assert found["seconds"]["total"] >= 0
    return json.dumps(found)


@pytest.fixture
def south(tmp_path: Path) -> Iterator[Served]:
    with served(treated("c")) as one:
        yield one


def two_sites(tmp_path: Path, first: str, south: Served) -> Study:
    return new_study(tmp_path / "two", {"north": first, "south": south.endpoint})


def ends_well_at_south(ran: Ran, south: Served, study: Study) -> None:
    assert len(written(south.server)) > 5
    assert all(len(copies) == 1 for copies in written(south.server).values())
    assert study.ask("SELECT count(*) FROM case_document WHERE site = 'south' AND state = 'case'") == [(1,)]
    assert re.search(r"sync: units: \d+ complete(, 1 failed, 1 partial)?; outcomes: \d+ written, ", ran.last_line)


def test_a_site_whose_server_is_gone_does_not_hold_the_others(tmp_path: Path, south: Served) -> None:
    study = two_sites(tmp_path, CLOSED, south)
    ran = study.type("sync")
    assert ran.code == 4
    assert (
        "north: never pulled; 0 resources\n  stopped: cannot connect to 127.0.0.1:9: connection refused; nothing was pulled"
        in ran.out
    )
    ends_well_at_south(ran, south, study)


def test_a_site_that_refuses_the_login_does_not_hold_the_others(tmp_path: Path, south: Served) -> None:
    with served(treated("a")) as north:
        north.server.fail("GET", 401)
        do = north.server.do

        def refused(method: str, path: str, *more: object) -> object:
            return do(method, path, *more) if path == "metadata" else (401, {}, b"{}")  # type: ignore[arg-type]

        north.server.do = refused  # type: ignore[assignment,method-assign]
        study = two_sites(tmp_path, north.endpoint, south)
        ran = study.type("sync")
        assert ran.code == 5
        assert "  stopped: the server does not accept the credentials (401" in ran.out
        ends_well_at_south(ran, south, study)
        north.server.do = do  # type: ignore[method-assign]
        assert study.type("sync").code == 0
        assert len(written(north.server)) > 5


def test_a_mistake_of_ours_at_one_site_does_not_hold_the_others_and_tells_no_value(
    tmp_path: Path, south: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = compute_step.compute_site

    def mistaken(db: sqlite3.Connection, site: str, *more: object) -> object:
        if site == "north":
            raise KeyError(SECRET)
        return original(db, site, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(passes, "compute_site", mistaken)
    with served(treated("a")) as north:
        study = two_sites(tmp_path, north.endpoint, south)
        ran = study.type("-v", "sync")
        assert written(north.server) == {}
    assert ran.code == 1
    assert re.search(r"stopped: internal error: KeyError at dm_fhir/sync/passes.py:\d+; please report it", ran.out)
    assert "dm_fhir/sync/passes.py" in ran.err, "where it was, with -v"
    assert SECRET not in ran.out + ran.err
    ends_well_at_south(ran, south, study)


def test_what_befalls_the_store_befalls_every_site(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(passes, "compute_site", broken)
    ran = study.type("sync")
    assert ran.code == 1
    assert "failed: disk I/O error" in ran.err
    has_ended(ran, 1, as_json=False)


def test_a_site_that_may_not_be_written_to_is_read_and_computed(server: MockedServer, tmp_path: Path) -> None:
    study = new_study(tmp_path / "study", {"north": server.endpoint}, push="enabled = false")
    ran = study.type("sync", "--json").json
    assert (ran["exit_code"], ran["computed"]["north"]["mapped"], ran["pushed"], ran["outcomes"]) == (0, 2, {}, {})
    assert [request for request in server.requests if not request.startswith("GET ")] == []


def test_nothing_is_written_of_whoever_is_held_back(server: MockedServer, study: Study) -> None:
    assert study.type("sync").code == 0
    before = {name: [one["meta"]["versionId"] for one in copies] for name, copies in written(server).items()}
    server.put(
        {
            **server.resources["Observation/a-after"],
            "valueQuantity": {**server.resources["Observation/a-after"]["valueQuantity"], "value": 3},
        }
    )
    server.fail("GET Condition", 500, times=50)
    ran = study.type("sync")
    assert ran.code == 3
    assert {name: [one["meta"]["versionId"] for one in copies] for name, copies in written(server).items()} == before
    server.heal()
    again = study.type("sync", "--json").json
    assert again["exit_code"] == 0
    assert again["outcomes"]["written"] > 0
    assert again["computed"]["north"]["changed"] == {"records changed": 1}


def test_an_error_of_another_kind_ends_the_site_and_is_told(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise DmFhirError("it does not work", hint="try something else")

    monkeypatch.setattr(passes, "compute_site", stopped)
    ran = study.type("sync")
    assert (ran.code, "  stopped: it does not work; try something else" in ran.out) == (1, True)


def test_a_first_push_waits_for_somebody_and_the_rest_is_done(server: MockedServer, tmp_path: Path) -> None:
    study = new_study(tmp_path / "study", {"north": server.endpoint}, push="enabled = true")
    for _ in range(2):
        ran = study.type("-q", "sync")
        assert ran.code == 2
        assert re.search(r"  stopped: nothing is written to north: .*--site north --yes", ran.out), ran.out
        assert re.match(r"sync: units: 17 complete; .*exit 2 ", ran.last_line)
        said = "north: stopped: usage or configuration (not-confirmed); dm-fhir push --dry-run --site north\n"
        assert ran.err.endswith(said), ran.err
    assert study.ask("SELECT count(*) FROM case_document WHERE state = 'case'") == [(2,)]
    assert [request for request in server.requests if not request.startswith("GET ")] == []
    assert study.type("push", "--yes").code == 0
    assert study.type("sync").code == 0


def test_a_stopped_site_is_computed_from_what_it_has_and_not_written_to(server: MockedServer, study: Study) -> None:
    assert study.type("pull").code == 0
    server.fail("", "connection", times=1000)
    ran = study.type("sync", "--json").json
    assert (ran["exit_code"], ran["computed"]["north"]["mapped"], ran["pushed"]) == (4, 2, {})
    server.heal()
    assert study.type("sync").code == 0
    assert len(written(server)) > 10


def test_a_push_by_itself_holds_back_what_was_computed_before_the_hole(server: MockedServer, study: Study) -> None:
    assert [study.type(one).code for one in ("pull", "compute")] == [0, 0]
    server.fail("GET Condition", 500, times=50)
    assert [study.type(one).code for one in ("pull", "push")] == [3, 3]
    assert written(server) == {}
    server.heal()
    assert [study.type(one).code for one in ("pull", "push")] == [0, 0]
    assert len(written(server)) > 10
