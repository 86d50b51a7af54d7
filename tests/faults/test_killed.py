"""T60: `kill -9` at every commit of a pull in turn, and in the middle of a page; the same command again ends as if nothing had been."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from .answers import silence
from .checks import check_row
from .conftest import Observe
from .faults import Fault
from .hospital import OBSERVATIONS, PAGE_SIZE
from .processes import Forks, Process, forks
from .scenarios import SCENARIOS
from .server import FaultServer, Run
from .study import SITE, Study, new_study

ROWS = 250
SCENARIO = next(scenario for scenario in SCENARIOS if scenario.t == 60)


@pytest.fixture(scope="module")
def forking() -> Iterator[Forks]:
    with forks() as one:
        yield one


def _content(study: Study) -> dict[str, Any]:
    """What must be the same however often a pull was killed."""
    with closing(sqlite3.connect(f"file:{study.store}?mode=ro", uri=True)) as db:
        resources = db.execute("SELECT type, id, hash FROM resource WHERE site = ? ORDER BY 1, 2", (SITE,)).fetchall()
        older = db.execute("SELECT type, id, hash FROM resource_version ORDER BY 1, 2").fetchall()
    units = {query: (unit.state, unit.reason) for query, unit in study.units().items()}
    return {"resources": resources, "older": older, "units": units}


def _small(server: FaultServer, folder: Path) -> Study:
    """At a hospital with a few pages only: there are as many runs as there are commits."""
    study, run = _fresh(server, folder)
    large = {f"o{number}" for number in range(ROWS, OBSERVATIONS)}
    run.suffer(Fault(records=lambda held: [one for one in held if one["id"] not in large]))
    return study


def test_killed_at_every_commit(server: FaultServer, forking: Forks, tmp_path: Path) -> None:
    undisturbed = _small(server, tmp_path / "undisturbed")
    code, report, said = forking.run(undisturbed, "pull")
    assert code == 0, said
    commits = report["commits"]
    assert commits > ROWS // PAGE_SIZE + 8, "every page and every unit is committed"
    wanted = _content(undisturbed)
    assert len(undisturbed.observations()) == ROWS
    for number in range(1, commits + 1):
        study = _small(server, tmp_path / str(number))
        code, _, said = forking.run(study, "pull", kill_at=(number, "before" if number % 2 else "after"))
        assert code == -9, f"commit {number}: {said}"
        code, _, said = forking.run(study, "-v", "pull")
        assert code == 0, f"commit {number}: {said}"
        assert _content(study) == wanted, f"commit {number}"


def test_killed_in_the_middle_of_a_page(server: FaultServer, tmp_path: Path, observe: Observe) -> None:
    reached = Event()

    def deliver(connection: Any, head: bytes, body: bytes) -> bool:
        connection.sendall(head + body[: len(body) // 2])
        reached.set()
        return silence(connection, head, body)

    study, run = _fresh(server, tmp_path / "study")
    run.suffer(Fault(reply=lambda ask, reply: replace(reply, deliver=deliver) if ask.page == 6 else reply))
    process = Process(study, "pull")
    process.reaches(reached)
    process.send(9)
    killed, _, _ = process.ended()
    assert killed.code == -9
    before = {query for query, unit in study.units().items() if unit.state == "complete"}
    assert len(study.observations()) == 500
    run.heal()
    asked = len(run.log)
    again = study.type("-v", "pull")
    observe(SCENARIO, study, again)
    check_row(SCENARIO, study, run, again)
    types = {query.partition("?")[0] for query in before if "?" in query}
    assert not [line for line in run.log[asked:] if line.type in types and not line.parameter("_lastUpdated")]


def _fresh(server: FaultServer, folder: Path) -> tuple[Study, Run]:
    folder.mkdir()
    endpoint = server.endpoint("ok")
    return new_study(folder, endpoint), server.run(endpoint)
