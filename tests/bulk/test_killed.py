"""`kill -9` of a pull by export at any moment, again and again: the next run goes on, and in the end all is as if nothing had been."""

import os
import random
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ..faults.processes import Forks
from ..sync.exporting import Exporting
from .clinic import Undisturbed, clinic_in, content
from .server import BulkServer

SEED = 20260301
#: A chain of kills, and then a run that is left alone. With what follows below that is more than fifty kills.
CHAINS, KILLS, MOST_RUNS = 10, 4, 12
#: A kill never comes later than this: what a run takes here in seconds, more or less.
_LONGEST_SECONDS = 0.6


class Killing:
    """A run that is killed at its n-th request: before it is carried out, in the middle of its answer, or after it."""

    def __init__(self, clinic: Exporting, number: int, when: str) -> None:
        self.clinic, self.number, self.when = clinic, number, when
        self.pid = clinic.study.config.with_name("pid")
        self.seen = 0
        clinic.server.on_request, clinic.server.on_answer = self.before, self.after

    def before(self, line: str) -> None:
        self.seen += 1
        if self.seen == self.number and self.when == "before":
            self.kill()
        if self.seen == self.number and self.when == "within":
            self.clinic.server.cut(line, at=200)

    def after(self, _: str) -> None:
        if self.seen >= self.number and self.when != "before":
            self.kill()

    def kill(self) -> None:
        """Nobody there any more is as good."""
        with suppress(ProcessLookupError):
            os.kill(int(self.pid.read_text(encoding="utf-8")), signal.SIGKILL)


def killed(forking: Forks, clinic: Exporting, how: str, number: int, seconds: float = 0) -> bool:
    """Whether a pull was killed so; else it has come to its end before."""
    pid = clinic.study.config.with_name("pid")
    pid.unlink(missing_ok=True)
    if how.startswith("commit"):
        code, _, said = forking.run(clinic.study, "pull", kill_at=(number, how.rpartition(" ")[2]))
    elif how == "at any time":
        code, said = _killed_after(forking, clinic, pid, seconds)
    else:
        Killing(clinic, number, how)
        code, _, said = forking.run(clinic.study, "pull", pid=str(pid))
        clinic.server.on_request = clinic.server.on_answer = lambda _: None
    assert code in (-signal.SIGKILL, 0), said
    return code != 0


def _killed_after(forking: Forks, clinic: Exporting, pid: Path, seconds: float) -> tuple[int, str]:
    over = threading.Event()

    def kill() -> None:
        if not over.wait(seconds) and pid.exists() and (text := pid.read_text(encoding="utf-8")):
            with suppress(ProcessLookupError):
                os.kill(int(text), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    code, _, said = forking.run(clinic.study, "pull", pid=str(pid))
    over.set()
    thread.join()
    return code, said


def lost_jobs(server: BulkServer) -> list[int]:
    """The jobs whose address nobody has learned: begun, and the run was killed before it had noted where.

    Fails if any other was beside another one, or is still there.
    """
    asked = {int(line.rpartition("/")[2]) for line in server.lines("GET jobs/")}
    begun, alive = 0, set[int]()
    for logged in server.log:
        if logged.path.endswith("$export") and logged.status == 202:
            assert not alive & asked, f"job {begun + 1} was begun beside {alive & asked}"
            begun += 1
            alive.add(begun)
        elif logged.method == "DELETE":
            alive.discard(int(logged.path.rpartition("/")[2]))
    assert not alive & asked, f"{alive & asked} was not deleted"
    assert begun == len(server.jobs)
    return sorted(alive)


def ends_well(forking: Forks, clinic: Exporting, wanted: dict[str, Any], about: str) -> None:
    """The next run is complete, and the store as if nothing had been."""
    code, _, said = forking.run(clinic.study, "pull")
    assert code == 0, f"{about}: {said}"
    assert content(clinic) == wanted, about


@pytest.mark.parametrize("chain", range(CHAINS))
def test_killed_again_and_again(forking: Forks, undisturbed: Undisturbed, tmp_path: Path, chain: int) -> None:
    chance = random.Random(SEED + chain)  # noqa: S311 - no secret
    with clinic_in(tmp_path / "study") as clinic:
        done, kills, at_kick_off = [], 0, 0
        while kills < KILLS:
            assert len(done) < MOST_RUNS, done
            how = chance.choice(["before", "within", "after", "commit before", "commit after", "at any time"])
            number = chance.randint(1, undisturbed.commits if how.startswith("commit") else undisturbed.requests)
            seconds = chance.uniform(0, _LONGEST_SECONDS)
            is_killed = killed(forking, clinic, how, number, seconds)
            done.append(f"{how} {number} {seconds:.2f} {is_killed}")
            kills += is_killed
            at_kick_off += is_killed and clinic.server.lines()[-1:] == ["GET fhir/Patient/$export"]
        ends_well(forking, clinic, undisturbed.content, "; ".join(done))
        assert len(lost_jobs(clinic.server)) <= at_kick_off, done


@pytest.mark.parametrize("when", ["before", "within", "after"])
@pytest.mark.parametrize("step", ["GET fhir/Patient/$export", "GET jobs/1", "GET files/1/Observation", "DELETE jobs/1"])
def test_killed_at_each_step(forking: Forks, undisturbed: Undisturbed, tmp_path: Path, step: str, when: str) -> None:
    with clinic_in(tmp_path / "study") as clinic:
        killing = Killing(clinic, 0, when)

        def at_the_step(line: str) -> None:
            if line.startswith(step) and not killing.number:
                killing.number = killing.seen + 1
            killing.before(line)

        killing.number = 0
        clinic.server.on_request = at_the_step
        clinic.server.on_answer = lambda line: killing.after(line) if killing.number else None
        code, _, said = forking.run(clinic.study, "pull", pid=str(killing.pid))
        assert code == -signal.SIGKILL, said
        clinic.server.on_request = clinic.server.on_answer = lambda _: None
        ends_well(forking, clinic, undisturbed.content, f"{when} {step}")
        lost = lost_jobs(clinic.server)
        assert len(lost) <= (step == "GET fhir/Patient/$export")
        if step.startswith(("GET jobs", "GET files")):
            assert len(clinic.server.jobs) == 1


def test_a_file_that_was_there_is_not_downloaded_again(forking: Forks, tmp_path: Path) -> None:
    with clinic_in(tmp_path / "study") as clinic:
        Killing(clinic, 14, "before")
        code, _, said = forking.run(clinic.study, "pull", pid=str(clinic.study.config.with_name("pid")))
        assert code == -signal.SIGKILL, said
        clinic.server.on_request = clinic.server.on_answer = lambda _: None
        here = {path.name for path in clinic.spool() if path.suffix == ".ndjson"}
        before = len(clinic.server.log)
        assert forking.run(clinic.study, "pull")[0] == 0
        again = {
            logged.path.rpartition("/")[2] for logged in clinic.server.log[before:] if logged.path.startswith("files/")
        }
        assert here
        noted = len(here - again)
        assert noted >= len(here) - 2, "at most those whose end was not yet noted, one for each thread"
