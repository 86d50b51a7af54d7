"""Many sites in one run: side by side within a budget, none holds another, and the result is the same whatever the number at a time."""

import json
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dm_fhir.fhir import budget
from dm_fhir.store.turns import SharedConnection
from dm_fhir.sync import side_by_side

from .many import Hospitals, Manner, content, hospitals
from .mocked import Study, new_study

#: Until when a site has been read.
_UNTIL = re.compile(r'("site-[0-9]+"):"[^"]*Z"')
WITHIN_SECONDS = 40
_OUTSIDE = '[metrics]\nfile = "metrics"\n[notify]\ncommand = ["tee", "told"]\n'
HEAD = "[sync]\nsites_at_a_time = {}\nmost_requests = {}\n"


@pytest.fixture
def sixteen() -> Iterator[Hospitals]:
    with hospitals({f"site-{number:02}": "well" for number in range(16)}, patients=1) as here:
        yield here


class Watched(NamedTuple):
    """Which threads had the store, and in whose transaction another one's statement came to stand."""

    users: set[int]
    intruders: list[tuple[int, int]]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The store looks who it is at each statement, which is when the others must be waiting."""
    found, owner, original = Watched(set(), []), [0], SharedConnection._check

    def look(self: SharedConnection) -> None:
        me = threading.get_ident()
        if not self.in_transaction:
            owner[0] = me
        elif owner[0] != me:
            found.intruders.append((owner[0], me))
        found.users.add(me)
        original(self)

    monkeypatch.setattr(SharedConnection, "_check", look)
    return found


def test_no_statement_gets_into_another_threads_transaction(
    sixteen: Hospitals, tmp_path: Path, watched: Watched
) -> None:
    study = sixteen.study(tmp_path / "study", HEAD.format(12, 64))
    assert study.type("sync").code == 0
    assert watched.intruders == []
    assert len(watched.users) > 12
    assert study.ask("PRAGMA integrity_check") == [("ok",)]


def test_the_store_and_the_export_are_the_same_one_site_at_a_time_and_eight(tmp_path: Path) -> None:
    found = []
    for number in (1, 8):
        with hospitals({f"site-{number:02}": "well" for number in range(14)}, patients=1) as here:
            here.manners["site-03"] = here.manners["site-09"] = "breaks"
            here.manners.update(dict.fromkeys(("site-05", "site-06"), "slow"))
            study = here.study(tmp_path / "study", HEAD.format(number, 32), concurrency=1)
            assert study.type("sync").code == 3
            exported = tmp_path / "study" / "cases.json"
            assert study.type("export", "--format", "json", "--identified", "-o", str(exported)).code == 0
            found.append((content(study), _UNTIL.sub(r"\1", exported.read_text())))
            assert {name for name, _ in here.asked} == set(here.manners)
            assert (max(most for _, most in here.asked) > 1) == (number > 1)
        study.config.parent.rename(tmp_path / str(number))
    (store, text), (other_store, other_text) = found
    assert sum(map(len, store.values())) > 500
    for table, rows in store.items():
        assert rows == other_store[table], table
    assert text == other_text


def test_sites_that_hang_hold_up_neither_the_requests_nor_the_places_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three places, two requests: the first five sites have them all, and never answer."""
    monkeypatch.setattr(budget, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(side_by_side, "PATIENCE_SECONDS", 0.2)
    manners: dict[str, Manner] = {f"a-{number}": "hangs" for number in range(5)}
    manners |= {f"b-{number}": "well" for number in range(4)}
    with hospitals(manners, patients=1) as here:
        study = here.study(tmp_path / "study", HEAD.format(3, 2), read_timeout_seconds=10)
        before_the_first_gave_up: list[set[str]] = []

        def give_up() -> None:
            deadline, complete = time.monotonic() + 8, set[str]()
            while len(complete) < 4 and time.monotonic() < deadline:
                time.sleep(0.05)
                complete = {
                    row[0]
                    for row in _asked(study, "SELECT site FROM unit WHERE query = 'whole plan' AND state = 'complete'")
                }
            before_the_first_gave_up.append(complete)
            here.released.set()

        watcher = threading.Thread(target=give_up)
        watcher.start()
        study.type("pull")
        watcher.join()
    assert before_the_first_gave_up == [{"b-0", "b-1", "b-2", "b-3"}]


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_requests_at_a_time_than_the_budget_has(tmp_path: Path, most: int) -> None:
    with hospitals({f"site-{number}": "slow" for number in range(6)}, patients=1) as here:
        study = here.study(tmp_path / "study", HEAD.format(6, most))
        assert study.type("pull").code == 0
        assert max(active for _, active in here.asked) == most


def test_forty_sites_of_all_manners_end_in_a_few_lines_and_the_next_sync_mends_what_it_can(tmp_path: Path) -> None:
    manners: dict[str, Manner] = {f"well-{number:02}": "well" for number in range(26)}
    bad: dict[str, Manner] = {"refuses": "refuses", "hangs": "hangs", "breaks": "breaks", "nobody": "knows nobody"}
    for name, manner in bad.items():
        manners |= {f"{name}-{number}": manner for number in range(3)}
    manners |= {"slow-1": "slow", "slow-2": "slow"}
    with hospitals(manners, patients=1) as here:
        study = here.study(tmp_path / "study", _OUTSIDE, concurrency=1)
        ran = study.type("--log-format", "json", "sync")
        assert ran.code == 5
        head, *lines, last = ran.lines
        assert head == "pulled: 28 sites, 28 patients in their cohorts"
        assert "40 sites: 28 complete, 12 failed" in lines
        grouped = [
            "at 3 sites: stopped: login refused: nobody-0, nobody-1, nobody-2; all new",
            "at 3 sites: stopped: server unavailable, try later (unreachable): refuses-0, refuses-1, refuses-2; all new",
            "at 3 sites: stopped: a request failed (http-500): breaks-0, breaks-1, breaks-2; all new",
            "at 3 sites: stopped: a request failed (read-timeout): hangs-0, hangs-1, hangs-2; all new",
        ]
        assert [line for line in lines if line.startswith("at ")] == grouped
        assert re.match("complete: 28 sites, all of them until 20", lines[-1])
        assert len(lines) < 20
        assert re.match(r"sync: units: \d+ complete; outcomes: \d+ written, .* s; exit 5 ", last)
        said = [json.loads(line) for line in ran.err.splitlines()]
        assert {one["run"] for one in said} == {1}
        progress = [one for one in said if one["event"].endswith("_progress")]
        assert {one["site"] for one in progress} == {None}
        ends = {one["event"]: one for one in progress}
        assert [(one["sites_done"], one["sites"]) for one in ends.values()] == [(40, 40), (40, 40), (28, 28)]
        assert {one["sites_stopped"] for one in ends.values()} == {12}
        assert len(progress) < 15
        stopped = [one for one in said if one["event"] == "site_stopped"]
        assert [one["site"] for one in stopped] == [name for name in manners if name.partition("-")[0] in bad]
        for one in stopped:
            manner = bad[one["site"].partition("-")[0]]
            assert (one["exit_code"] == 5) == (manner == "knows nobody")
        metrics = study.config.with_name("metrics").read_text()
        for name, manner in manners.items():
            complete = int(manner in ("well", "slow"))
            assert f'dm_fhir_site_complete{{site="{name}"}} {complete}\n' in metrics
        told = study.config.with_name("told").read_text().splitlines()
        of_sites = [line for line in told if re.match(r"[a-z]+-\d+: ", line)]
        assert [line.partition(":")[0] for line in of_sites] == [one["site"] for one in stopped]
        assert "28 more sites with nothing to see to" in told
        status = study.type("status")
        assert status.code == 5
        assert status.lines[1:6] == ["40 sites: 28 complete, 12 failed", *grouped]
        assert len(status.lines) < 20
        each = study.type("status", "--all")
        assert len([line for line in each.lines if re.match(r"[a-z]+-\d+: ", line)]) == 40
        assert len(study.type("status", "--json").json["sites"]) == 40

        here.manners.update({name: "well" for name in manners if not name.startswith("refuses")})
        asked = len(here.asked)
        again = study.type("sync", "--site", "[!r]*")
        assert again.code == 0, again.out
        assert again.lines[1:3] == ["computed: 9 patients computed, 28 unchanged", again.lines[2]]
        assert {name for name, _ in here.asked[asked:]} == {name for name in manners if not name.startswith("refuses")}


def test_the_doctor_names_sites_that_have_one_endpoint(tmp_path: Path) -> None:
    ends = {
        "leon": "http://127.0.0.1:9/fhir",
        "oviedo": "http://127.0.0.1:9/fhir/",
        "gijon": "http://127.0.0.1:9/other",
    }
    told = new_study(tmp_path, ends).type("doctor", "--json").json["sites"]
    shared = [[check for check in one["checks"] if check["what"] == "endpoint of its own"] for one in told]
    assert [len(checks) for checks in shared] == [1, 1, 0]
    assert (shared[0][0]["state"], shared[0][0]["said"]) == ("degrades", "leon has the same endpoint as oviedo")
    assert shared[1][0]["said"] == "oviedo has the same endpoint as leon"


def test_sigterm_ends_fifty_sites_that_wait_for_their_servers_within_two_seconds(tmp_path: Path) -> None:
    with hospitals({f"site-{number:02}": "hangs" for number in range(50)}, patients=0) as here:
        study = here.study(tmp_path / "study", HEAD.format(50, 100), read_timeout_seconds=60)
        process = study.start("sync")
        _until(lambda: len(here.asked) == 50)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=WITHIN_SECONDS)
        assert time.monotonic() - began < 2
    assert process.returncode == 130, err
    assert re.fullmatch(r"sync: units: none; .*exit 130 \(interrupted: the same command goes on\)\n", out)
    assert "Traceback" not in err
    assert study.ask("SELECT exit_code FROM run") == [(130,)]


def test_killed_at_any_time_the_next_pull_comes_to_the_same(tmp_path: Path) -> None:
    with hospitals({f"site-{number}": "well" for number in range(10)}, patients=1) as here:
        undisturbed = here.study(tmp_path / "undisturbed", HEAD.format(6, 32))
        assert undisturbed.type("pull").code == 0
        total = len(here.asked)
        study = here.study(tmp_path / "study", HEAD.format(6, 32))
        for share in (0.2, 0.6):
            asked = len(here.asked)
            process = study.start("pull")
            _until(lambda asked=asked, share=share: len(here.asked) > asked + share * total)
            process.kill()
            process.communicate()
        assert study.type("pull").code == 0
    assert study.ask("SELECT exit_code FROM run") == [(130,), (130,), (0,)]
    for table in ("resource", "cohort_member", "server_fact"):
        assert content(study)[table] == content(undisturbed)[table]
    states = "SELECT site, patient, query, state FROM unit ORDER BY 1, 2, 3"
    assert study.ask(states) == undisturbed.ask(states)


def _asked(study: Study, sql: str) -> list[Any]:
    """Rows of a store that may not be there yet."""
    try:
        return study.ask(sql)
    except sqlite3.OperationalError:
        return []


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_doctor_tells_of_many_sites_only_what_does_not_work(tmp_path: Path) -> None:
    with hospitals({f"site-{number:02}": "well" for number in range(11)}, patients=1) as here:
        here.manners["site-03"] = "breaks"
        study = here.study(tmp_path / "study")
        ran = study.type("doctor")
        lines = ran.out.splitlines()
    assert ran.code == 3
    assert lines[0].startswith("site-03: ")
    assert any(line.startswith("  fails ") for line in lines)
    assert not any(line.startswith("  works ") for line in lines)
    assert "at 10 sites everything works; each check of one: dm-fhir doctor --site NAME" in lines


def test_twenty_sites_with_faults_at_once_come_each_to_what_it_comes_to_alone(tmp_path: Path) -> None:
    kinds: list[Manner] = ["hangs", "resets", "breaks", "knows nobody", "cuts off", "slow", "forgets ids", "well"]
    manners = {f"{kind.replace(' ', '-')}-{number}": kind for number in range(2) for kind in kinds}
    manners |= {
        f"at-once-{number}": kind for number, kind in enumerate(("resets", "breaks", "knows nobody", "refuses"))
    }
    alone = [name for name in manners if not name.endswith("-1") or name == "at-once-1"]
    with hospitals(manners, patients=1) as here:
        here.only_at.update({name: "/Condition?" for name in manners if name.startswith("hangs")})
        here.only_at.update({f"{name}-{n}": "/Observation?" for name in ("breaks", "knows-nobody") for n in range(2)})
        here.only_at["at-once-0"] = ""
        patience = {"hangs-0": 0.5, "hangs-1": 0.5}
        study = here.study(tmp_path / "all", HEAD.format(20, 64), 1, WITHIN_SECONDS, patience=patience)
        assert study.type("pull").code == 5
        assert max(active for _, active in here.asked) > 4
        open_at = set()
        for name in alone:
            by_itself = here.study(tmp_path / name, "", 1, WITHIN_SECONDS, name, patience)
            by_itself.type("pull")
            found = content(study, name)
            assert found == content(by_itself, name), name
            open_at |= {(name, table) for table in ("quarantine", "stop") if found[table]}
            states = {state for (state,) in study.ask("SELECT state FROM unit WHERE site = ?", name)}
            open_at |= {(name, "unit")} if states - {"complete"} else set()
    at = {table: {name for name, where in open_at if where == table} for table in ("stop", "unit", "quarantine")}
    assert at == {
        "stop": {"knows-nobody-0", *(name for name in manners if name.startswith("at-once"))},
        "unit": {"hangs-0", "resets-0", "breaks-0", "knows-nobody-0", "cuts-off-0"},
        "quarantine": {"forgets-ids-0"},
    }


@pytest.mark.parametrize("count", [10, 11])
def test_of_up_to_ten_sites_each_says_how_far_it_has_come(tmp_path: Path, count: int) -> None:
    with hospitals({f"site-{number:02}": "well" for number in range(count)}, patients=1) as here:
        ran = here.study(tmp_path / "study").type("--log-format", "json", "pull", "--json")
    assert list(ran.json["cohort"]) == list(here.manners)
    said = [one for line in ran.err.splitlines() if (one := json.loads(line))["event"] == "pull_progress"]
    assert {one["site"] for one in said} == (set(here.manners) if count == 10 else {None})
