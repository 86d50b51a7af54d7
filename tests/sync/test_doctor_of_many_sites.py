"""doctor at many sites: side by side within the budget of a run, none holds another, told in the order of the config."""

import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.cli import doctor
from dm_fhir.fhir import budget
from dm_fhir.sync import side_by_side

from .many import Hospitals, Manner, hospitals

HEAD = "[sync]\nsites_at_a_time = {}\nmost_requests = {}\n"
WITHIN_SECONDS = 20


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (budget, side_by_side):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)


@pytest.fixture
def few() -> Iterator[Hospitals]:
    manners: dict[str, Manner] = {
        "z-refuses": "refuses", "y-well": "well", "x-knows-nobody": "knows nobody", "w-breaks": "breaks", "v-well": "well",
    }  # fmt: skip
    with hospitals(manners, patients=1) as here:
        yield here


def test_what_is_said_of_each_is_what_is_said_of_it_alone_in_the_order_of_the_config(
    few: Hospitals, tmp_path: Path
) -> None:
    study = few.study(tmp_path / "study", HEAD.format(5, 32))
    together = study.type("doctor", "--json")
    assert together.code == 5
    told = together.json["sites"]
    assert [one["site"] for one in told] == list(few.manners)
    codes = {}
    for one in told:
        alone = study.type("doctor", "--site", one["site"], "--json")
        assert _without_times(alone.json["sites"][0]) == _without_times(one)
        codes[one["site"]] = alone.code
    assert codes == {"z-refuses": 4, "y-well": 0, "x-knows-nobody": 5, "w-breaks": 3, "v-well": 0}


def test_sites_that_hang_hold_up_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two places, two requests, and the first four sites never answer; how far it has come is said."""
    manners: dict[str, Manner] = {f"a-{number}": "hangs" for number in range(4)}
    manners |= {f"b-{number}": "well" for number in range(8)}
    original, ended, before_release = doctor._examined, list[str](), list[str]()
    with hospitals(manners, patients=1) as here:
        study = here.study(tmp_path / "study", HEAD.format(2, 2), read_timeout_seconds=10)

        def let_go() -> None:
            before_release.extend(ended)
            here.released.set()

        def examined(*given: Any) -> Any:
            done = original(*given)
            ended.append(given[1].name)
            if len(ended) == 8:
                let_go()
            return done

        monkeypatch.setattr(doctor, "_examined", examined)
        at_last = threading.Timer(8, let_go)
        at_last.start()
        ran = study.type("--log-format", "json", "doctor", "--json")
        at_last.cancel()
    assert sorted(before_release) == [f"b-{number}" for number in range(8)]
    assert [one["site"] for one in ran.json["sites"]] == list(manners)
    said = [json.loads(line) for line in ran.err.splitlines()]
    assert said[-1]["event"] == "doctor_progress"
    assert (said[-1]["sites_done"], said[-1]["sites"], said[-1]["sites_stopped"]) == (12, 12, 0)


def test_no_more_requests_at_a_time_than_a_run_may_have(tmp_path: Path) -> None:
    with hospitals({f"site-{number}": "slow" for number in range(4)}, patients=0) as here:
        assert here.study(tmp_path / "study", HEAD.format(4, 2)).type("doctor").code == 0
        assert max(active for _, active in here.asked) == 2


def test_a_mistake_of_ours_at_one_site_is_a_check_of_that_site_alone(
    few: Hospitals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few.manners.update(dict.fromkeys(few.manners, "well"))
    original = doctor.look

    def look(path: Path, site: str, most_members: int) -> Any:
        if site == "w-breaks":
            raise KeyError("Patient/7")
        return original(path, site, most_members)

    monkeypatch.setattr(doctor, "look", look)
    ran = few.study(tmp_path / "study").type("-v", "doctor", "--site", "[vwxy]*", "--json")
    assert ran.code == 1
    states = {one["site"]: {check["state"] for check in one["checks"]} for one in ran.json["sites"]}
    assert states == {
        "y-well": {"works"},
        "x-knows-nobody": {"works"},
        "w-breaks": {"fails"},
        "v-well": {"works"},
    }
    (check,) = ran.json["sites"][2]["checks"]
    assert re.fullmatch(r"internal error: KeyError at dm_fhir/cli/doctor\.py:\d+; please report it", check["said"])
    assert "Patient/7" not in ran.out + ran.err
    assert re.search(r"w-breaks: dm_fhir/cli/doctor\.py:\d+: _examined", ran.err)


def test_interrupted_it_ends_at_once_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with hospitals({f"site-{number}": "hangs" for number in range(12)}, patients=0) as here:
        process = here.study(tmp_path / "study", HEAD.format(12, 20), read_timeout_seconds=60).start("doctor")
        deadline = time.monotonic() + WITHIN_SECONDS
        while len(here.asked) < 12 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(list(temporary.iterdir())) == 12
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WITHIN_SECONDS)  # they hang for three times that
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert list(temporary.iterdir()) == []


def _without_times(told: dict[str, Any]) -> str:
    return re.sub(r"\d\d:\d\d(:\d\d)?|\d+ m?s\b", "", json.dumps(told))
