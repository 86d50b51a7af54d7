"""A pull that is killed or interrupted on several threads, of several patients at once: the next one goes on as if nothing had been."""

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from ..faults.processes import Forks, Process, forks
from ..faults.study import Study as FaultStudy
from ..servers.hospital import Ask, Hospital, Reply
from ..servers.records import cks, population, record
from ..servers.study import Study, new_study

StudyOf = Callable[..., Study]
WITHIN_SECONDS = 20


@pytest.fixture(scope="module")
def forking() -> Iterator[Forks]:
    with forks() as one:
        yield one


def content(study: Study) -> dict[str, Any]:
    """What must be the same however often a pull was killed."""
    with closing(sqlite3.connect(study.config.with_name("dm-fhir.sqlite"))) as db:
        return {
            "resources": db.execute("SELECT type, id, hash, deleted FROM resource ORDER BY 1, 2").fetchall(),
            "older": db.execute("SELECT type, id, hash FROM resource_version ORDER BY 1, 2").fetchall(),
            "units": db.execute("SELECT patient, query, state, reason FROM unit ORDER BY 1, 2").fetchall(),
            "cohort": db.execute("SELECT patient, gone FROM cohort_member ORDER BY 1").fetchall(),
            "set aside": db.execute("SELECT patient, query, reason FROM quarantine ORDER BY 1, 2").fetchall(),
        }


def test_killed_at_every_commit_of_a_pull_of_many_patients(hospital: Hospital, forking: Forks, tmp_path: Path) -> None:
    hospital.put(*cks("p1", 3), *cks("p3", 3), record("AdverseEvent", "e1", "p2", actuality="actual"))
    hospital.most_per_page = 3

    def fresh(name: str) -> Study:
        folder = tmp_path / name
        folder.mkdir()
        return new_study(folder, hospital.endpoint, patients=(), cohort='by = "medication"', pull={"concurrency": "1"})

    def run(study: Study, **settings: Any) -> tuple[int, int]:
        code, report, said = forking.run(FaultStudy(study.config), "pull", **settings)
        assert code in (0, -signal.SIGKILL), said
        return code, report.get("commits", 0)

    undisturbed = fresh("undisturbed")
    code, commits = run(undisturbed)
    assert code == 0
    wanted = content(undisturbed)
    assert len(wanted["resources"]) == 3 + 3 + 9 + 1
    assert commits > 25
    for number in range(1, commits + 1):
        study = fresh(str(number))
        killed = (number, "before" if number % 2 else "after")
        assert run(study, kill_at=killed)[0] == -signal.SIGKILL, number
        assert run(study)[0] == 0, number
        assert content(study) == wanted, number


def test_interrupted_while_two_threads_wait_for_the_server(hospital: Hospital, study_of: StudyOf) -> None:
    many = tuple(f"m{number}" for number in range(6))
    hospital.held = population(*many)
    waiting, release = [Event(), Event()], Event()

    def hold(ask: Ask) -> Reply | None:
        if ask.is_search and ask.type in ("Observation", "Condition") and not release.is_set():
            waiting[ask.type == "Condition"].set()
            release.wait(WITHIN_SECONDS)
        return None

    hospital.refuse.append(hold)
    study = study_of(patients=many, pull={"concurrency": "2"})
    process = Process(FaultStudy(study.config), "pull")
    for one in waiting:
        process.reaches(one)
    started = time.monotonic()
    process.send(signal.SIGINT)
    ran, _, _ = process.ended()
    seconds = time.monotonic() - started
    release.set()

    assert ran.code == 130, ran.text
    assert seconds < 2
    assert "interrupted; what was finished is kept" in ran.err
    assert study.unit("Patient", "m1").state == "complete"
    assert study.unit("whole plan", "").state == "partial"
    assert study.type("status").code == 3
    assert study.type("pull").code == 0
    assert len(study.bodies("Observation")) == 6
