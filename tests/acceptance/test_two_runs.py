"""Two runs at once, and runs that are interrupted in the middle."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from subprocess import Popen

    from tests.acceptance.conftest import Hospital, HospitalMaker, Study, StudyMaker

MIDDLE = ("dm_fhir.fhir.connection:Connection.ask", 6, "before")
WITHIN_SECONDS = 20


@contextmanager
def hanging(hospital: Hospital, study: Study, command: str) -> Iterator[Popen[str]]:
    """A run that waits for its server, which stopped answering in the middle; it answers again at the end."""
    server = hospital.server.process.pid
    process = study.start_disturbed(*MIDDLE, command, sending=signal.SIGSTOP, to=server)
    try:
        wait_until(lambda: stopped(server))
        yield process
    finally:
        os.kill(server, signal.SIGCONT)
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def hospital(new_hospital: HospitalMaker) -> Hospital:
    """A server with the first patient."""
    return new_hospital()


@pytest.fixture
def study(hospital: Hospital, new_study: StudyMaker) -> Study:
    """Its study, nothing done yet. It waits long enough for these tests, and not for ever should they fail."""
    return new_study(hospital, more="read_timeout_seconds = 10\ntries = 1")


def test_the_second_of_two_runs_is_sent_away_and_told_by_whom(hospital: Hospital, study: Study) -> None:
    with hanging(hospital, study, "sync") as first:
        second = study.type("pull", "--json")

        assert second.code == 11
        assert f" (process {first.pid}, since " in second.err
        assert second.json == second.json | {"command": "pull", "state": "failed", "exit_code": 11, "sites": []}
        assert study.type("status").out.startswith("last run: sync, begun ")

        os.kill(hospital.server.process.pid, signal.SIGCONT)
        assert first.wait(WITHIN_SECONDS) == 0
    assert study.type("pull").code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_at_once_and_the_next_goes_on(
    hospital: Hospital, study: Study, number: signal.Signals
) -> None:
    with hanging(hospital, study, "sync") as process:
        time.sleep(0.2)
        started = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=WITHIN_SECONDS)
        seconds = time.monotonic() - started

    assert process.returncode == 130
    assert seconds < 2
    assert "dm-fhir: interrupted; what was finished is kept, continue with the same command" in err
    assert study.ask("SELECT command, exit_code FROM run") == [("sync", 130)]
    assert study.type("sync").code == 0
    assert not study.store.with_name("dm-fhir.sqlite.holder").exists()
