"""SIGINT, SIGTERM and kill -9 in each step of a sync, with real processes: an end within two seconds, and nothing lost or doubled."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from .mocked import Served, Study, new_study, served, treated, written

LONGEST_SECONDS = 2.0
PATIENCE_SECONDS = 40
#: The command line, with a case that takes long to compute: it says when it has begun.
_SLOW = """
import sys, time
from pathlib import Path
from dm_fhir.sync import persons
begun, original = sys.argv.pop(1), persons.Persons.case
def case(self, patient):
    if patient == "Patient/b":
        Path(begun).touch()
        time.sleep(60)
    return original(self, patient)
persons.Persons.case = case
from dm_fhir.cli.main import run
run()
"""


class Held:
    """The `number`th request that begins so is held until the test lets it go."""

    def __init__(self, begins: str, number: int = 1) -> None:
        self.reached, self.released = Event(), Event()
        self._begins, self._left = begins, number

    def __call__(self, asked: str) -> None:
        if asked.startswith(self._begins):
            self._left -= 1
            if self._left == 0:
                self.reached.set()
                self.released.wait(PATIENCE_SECONDS)


@pytest.fixture
def hospital() -> Iterator[Served]:
    with served(treated("a", "b", "c")) as one:
        yield one


@pytest.fixture
def study(hospital: Served, tmp_path: Path) -> Study:
    return new_study(tmp_path / "study", {"north": hospital.endpoint})


def wait_for(process: "subprocess.Popen[str]", is_there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it does not come so far"
        time.sleep(0.01)


def ended(process: "subprocess.Popen[str]", *signals: int) -> tuple[str, str]:
    """What it says when it gets these signals, one after another; it ends with 130 within two seconds."""
    began = time.monotonic()
    for number in signals:
        process.send_signal(number)
        time.sleep(0.03)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    seconds = time.monotonic() - began
    assert process.returncode == 130, out + err
    assert seconds < LONGEST_SECONDS
    assert "Traceback" not in err
    assert "interrupted; what was finished is kept, continue with the same command" in err
    return out, err


def goes_on(study: Study, hospital: Served) -> None:
    """The lock is free, the store whole, and the next sync leaves one right resource for each outcome."""
    assert not study.config.with_name("dm-fhir.sqlite.holder").exists()
    assert study.ask("PRAGMA integrity_check") == [("ok",)]
    assert study.ask("SELECT exit_code FROM run") == [(130,)]
    ran = study.type("sync")
    assert ran.code == 0, ran.out + ran.err
    assert study.ask("SELECT DISTINCT state FROM unit") == [("complete",)]
    found = written(hospital.server)
    assert {len(copies) for copies in found.values()} == {1}
    assert len(found) == study.ask("SELECT count(*) FROM push WHERE state = 'confirmed'")[0][0] > 20


#: What a process hears, the first of them more than once: the second signal must not disturb the end that the first began.
SIGNALS = [
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGINT, signal.SIGTERM, signal.SIGINT),
]


@pytest.mark.parametrize("signals", SIGNALS)
def test_while_threads_wait_for_the_server(hospital: Served, study: Study, signals: tuple[int, ...]) -> None:
    held = [Held("GET Observation"), Held("GET Condition")]
    hospital.before.extend(held)
    process = study.start("sync")
    for one in held:
        wait_for(process, one.reached.is_set)
    out, _ = ended(process, *signals)
    for one in held:
        one.released.set()
    assert re.fullmatch(
        r"sync: units: \d+ complete, \d+ partial; \d+\.\d s; exit 130 \(interrupted: the same command goes on\)\n", out
    )
    assert study.ask("SELECT state, reason FROM unit WHERE query = 'whole plan'") == [("partial", "interrupted")]
    goes_on(study, hospital)


@pytest.mark.parametrize("signals", SIGNALS[::2])
def test_while_cases_are_computed(hospital: Served, study: Study, signals: tuple[int, ...], tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    command = [sys.executable, "-c", _SLOW, str(begun), "--config", str(study.config), "sync", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for(process, begun.exists)
        out, _ = ended(process, *signals)
    told = json.loads(out)
    assert (told["exit_code"], told["units"], told["outcomes"]) == (130, {"complete": 24}, {})
    assert study.ask("SELECT count(*) FROM outcome") == [(0,)], "all patients of a transaction, or none"
    goes_on(study, hospital)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("signals", SIGNALS[1:])
def test_while_outcomes_are_written(hospital: Served, study: Study, number: int, signals: tuple[int, ...]) -> None:
    """The server carries out what it was sent, after we are gone."""
    held = Held(writing(hospital, study), number)
    hospital.before.append(held)
    process = study.start("sync")
    wait_for(process, held.reached.is_set)
    out, _ = ended(process, *signals)
    held.released.set()
    assert re.search(r"sync: units: 24 complete; .*exit 130 \(interrupted", out.splitlines()[-1])
    sending = study.ask("SELECT count(*) FROM push WHERE state = 'sending'")[0][0]
    assert bool(sending) == (number == 1), "the second of them is the Provenance of the first"
    time.sleep(0.1)
    goes_on(study, hospital)
    documents = [one for one in hospital.server.resources.values() if one["resourceType"] == "Provenance"]
    assert study.ask("SELECT state, count(*) FROM transmission GROUP BY state") == [("documented", len(documents))]


def writing(hospital: Served, study: Study) -> str:
    """How the first request that writes begins, as this program writes today."""
    folder = study.config.parent.with_name("look")
    with served(treated("a")) as other:
        asked: list[str] = []
        other.before.append(asked.append)
        assert new_study(folder, {"north": other.endpoint}).type("sync").code == 0
    return next(one.partition("?")[0] for one in asked if not one.startswith("GET "))


def test_killed_while_it_holds_the_lock(hospital: Served, study: Study) -> None:
    """The second run is told of the first within a second; when that is killed, nothing is left of the lock."""
    held = [Held("GET Observation"), Held("GET Condition")]  # so many ask at a time
    hospital.before.extend(held)
    first = study.start("sync")
    for one in held:
        wait_for(first, one.reached.is_set)
    asked: list[str] = []
    hospital.before.append(asked.append)
    second = study.type("sync")
    assert second.code == 11
    seconds = float(re.search(r"sync: (\d+\.\d) s; exit 11", second.last_line)[1])  # type: ignore[index]
    assert seconds < 1
    assert re.search(rf"run 1 \(process {first.pid}, since \S+Z\) holds the lock", second.err)
    assert asked == []
    assert study.ask("SELECT count(*) FROM run") == [(1,)]
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    for one in held:
        one.released.set()
    third = study.type("sync")
    assert third.code == 0, third.out + third.err
    assert "previous run was interrupted; continuing" in third.err
    assert study.ask("SELECT exit_code FROM run") == [(130,), (0,)]


def test_a_signal_that_was_ignored_from_the_start_stays_so(hospital: Served, study: Study) -> None:
    """As a shell starts what goes on in the background: Ctrl-C is not meant for it, SIGTERM is."""
    held = Held("GET Observation")
    hospital.before.append(held)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = study.start("sync")
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(process, held.reached.is_set)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    ended(process, signal.SIGTERM)
    held.released.set()
