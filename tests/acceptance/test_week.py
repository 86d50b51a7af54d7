"""A week of hourly syncs: the clock moves, the hospital writes on, its server fails now and then, and runs are killed."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from dm_fhir.config import load_config
from dm_fhir.mappings.site import site_mapper
from dm_fhir.model.case import Outcome
from dm_fhir.model.document import decode
from dm_fhir.sync.push.content import same_but_status, status_of

from ..sync.mocked import Served, Study, cdasi, infusion, new_study, person, served, treated, written

MONDAY = datetime(2026, 6, 1, tzinfo=UTC)
HOURS = 7 * 24
OUTAGE, NO_LOGIN, HOLES = range(40, 64), range(80, 83), range(90, 92)
KILLED = (10, 39, 75, 92, 105, 121, 140)
LOST = (33, 133)
QUIET = range(HOURS - 6, HOURS)
#: What a sync loads on its way, and an hour later at the latest.
_ON_THE_WAY = ("dm_fhir.cli.sync", "dm_fhir.sync.passes", "dm_fhir.fhir.login", "dm_fhir.cli.push")
#: A child of this process runs the command line at a given time, and kills itself at the n-th request that it makes.
_KILLING = """
import json, os, signal, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from tests.acceptance.test_week import Clock, moving
from dm_fhir.cli import sync
from dm_fhir.cli.main import run
from dm_fhir.fhir import connection
for line in sys.stdin:
    moment, number, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        original, left = connection.exchange, [number]
        def exchange(*args, **more):
            left[0] -= 1
            if left[0] == 0 and number % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = original(*args, **more)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer
        connection.exchange = exchange
        clock = Clock()
        clock.set(clock.moment.fromisoformat(moment))
        sys.argv = ["dm-fhir", *arguments]
        with moving(clock):
            run()
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Clock:
    """A clock that a test sets, and that goes on from there."""

    def __init__(self) -> None:
        self.set(MONDAY)

    def set(self, moment: datetime) -> None:
        self.moment, self._set = moment, time.monotonic()

    def now(self) -> datetime:
        return self.moment + timedelta(seconds=time.monotonic() - self._set)

    def sleep(self, seconds: float) -> None:
        """Nobody waits: the clock is put forward."""
        self.moment += timedelta(seconds=seconds)


@contextmanager
def moving(clock: Clock) -> Iterator[None]:
    """The whole program has this clock."""

    class Moving(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return clock.now().astimezone(tz)

    for name in _ON_THE_WAY:
        import_module(name)
    with pytest.MonkeyPatch.context() as patch:
        for module in _reading_the_clock():
            patch.setattr(module, "datetime", Moving)
        patch.setattr(time, "sleep", clock.sleep)
        yield
        assert _reading_the_clock() == [], "loaded since: they had the true time"


def _reading_the_clock() -> list[ModuleType]:
    """The modules of the program that look at the true clock."""
    loaded = [module for name, module in sys.modules.items() if name.startswith("dm_fhir.")]
    return [module for module in loaded if vars(module).get("datetime") is datetime]


class Hour(NamedTuple):
    """What one hour's sync came to; of a killed one there is no more than its code."""

    code: int
    requests: int
    writes: int
    seconds: float
    told: dict[str, Any]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def killing() -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", _KILLING, json.dumps([str(Path(__file__).parents[2])])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def something_new(hospital: Served, hour: int, chance: random.Random) -> None:
    """What the hospital writes down in this hour."""
    server, patient = hospital.server, chance.choice("abcde")
    if hour % 4 == 1 and hour not in QUIET:
        server.put(cdasi(f"{patient}-{hour}", patient, f"2026-05-{1 + hour % 28:02}", chance.randint(0, 40)))
    if hour % 24 == 20 and hour not in QUIET:
        server.put(infusion(f"{patient}-i{hour}", patient, f"2026-05-{1 + hour % 28:02}"))
    if hour == 100:  # a score is corrected
        server.put(cdasi("a-after", "a", "2026-04-05", 7, status="corrected"))
    if hour == 110:
        server.delete("Observation/b-after")
    if hour == 120:  # two patients turn out to be one
        server.put(person("a", "f"))
    if hour == 124:  # another score was somebody else's
        server.put(cdasi("c-after", "c", "2026-04-05", 12, status="entered-in-error"))
    if hour == 150:
        for one in treated("g"):
            server.put(one)


def something_wrong(hospital: Served, hour: int) -> None:
    """What the server does in this hour that it should not."""
    hospital.server.heal()
    if hour in (20, 68, 129):
        hospital.server.fail("GET Observation", 503, times=2, retry_after=3)
    if hour in OUTAGE:
        hospital.server.fail("", "connection", times=10_000)
    if hour in NO_LOGIN:
        hospital.server.fail("", 401, times=10_000)
    if hour in HOLES:
        hospital.server.fail("GET Condition", 500, times=10_000)


def test_a_week_of_hourly_syncs_ends_complete(clock: Clock, killing: "subprocess.Popen[str]", tmp_path: Path) -> None:
    chance = random.Random(20_261_125)  # noqa: S311
    with moving(clock), served(treated(*"abcdef"), clock.now) as hospital:
        study = new_study(tmp_path / "study", {"north": hospital.endpoint}, more="full_every_days = 1\ntries = 3")
        text = study.config.read_text(encoding="utf-8").replace("tries = 1\n", "")
        study.config.write_text(text, encoding="utf-8")
        hours = [_one_hour(hour, clock, hospital, study, killing, chance) for hour in range(HOURS)]
        _check_codes(hours)
        _check_the_server(hospital, study, _fresh(hospital, tmp_path))
        for some, most in (
            (range(6, 9), 10),
            (QUIET, 22),
        ):  # since two patients are one, they are asked for by themselves
            assert max(hours[hour].requests for hour in some) <= most, "an hour without anything new"
            assert sum(hours[hour].writes for hour in some) == 0
        assert hours[-1].told["computed"]["north"]["mapped"] == 0


def _one_hour(
    hour: int, clock: Clock, hospital: Served, study: Study, killing: "subprocess.Popen[str]", chance: random.Random
) -> Hour:
    clock.set(MONDAY + timedelta(hours=hour))
    something_new(hospital, hour, chance)
    something_wrong(hospital, hour)
    hospital.lost[:] = [lambda asked: not asked.startswith("GET ")] if hour in LOST else []
    clock.set(MONDAY + timedelta(hours=hour, minutes=20))
    before, began = len(hospital.server.requests), time.monotonic()
    if hour in KILLED:
        assert killing.stdin
        assert killing.stdout
        number = chance.randint(10, 16) if hour % 4 == 1 else chance.randint(2, 9)  # while it writes, or before
        told = [clock.now().isoformat(), number, ["--config", str(study.config), "sync"]]
        killing.stdin.write(json.dumps(told) + "\n")
        killing.stdin.flush()
        code, said = -(int(killing.stdout.readline()) & 0x7F), {}
    else:
        ran = study.type("sync", "--json")
        code, said = ran.code, ran.json
    asked = hospital.server.requests[before:]
    writes = sum(not one.startswith("GET ") for one in asked)
    return Hour(code, len(asked), writes, time.monotonic() - began, said)


def _check_codes(hours: list[Hour]) -> None:
    """Each hour ended as what happened in it says; the hour after it was well again."""
    codes = {hour: one.code for hour, one in enumerate(hours)}
    expected = dict.fromkeys(range(HOURS), 0)
    expected |= dict.fromkeys(OUTAGE, 4) | dict.fromkeys(NO_LOGIN, 5) | dict.fromkeys(HOLES, 3)
    odd = {hour: code for hour, code in codes.items() if code != expected[hour] and hour not in KILLED}
    assert odd == {}, Counter(codes.values())
    assert sum(codes[hour] == -signal.SIGKILL for hour in KILLED) >= len(KILLED) - 2, "most of the kills met something"
    assert {codes[hour] for hour in KILLED} <= {0, -signal.SIGKILL}
    assert all(len(hours[hour].told["sites"][0]["held"]) > 0 for hour in HOLES)
    assert all(hours[hour].writes > 0 for hour in LOST)


class Fresh(NamedTuple):
    """A study that pulls everything anew, and what is written from it by identifier: an Observation each."""

    study: Study
    bodies: dict[str, bytes]


def _fresh(hospital: Served, tmp_path: Path) -> Fresh:
    study = new_study(tmp_path / "fresh", {"north": hospital.endpoint}, push="enabled = false")
    assert study.type("sync").code == 0
    config = load_config(study.config)
    mapper = site_mapper(config, config.sites[0])
    found = {}
    for patient, body in study.ask("SELECT patient, body FROM outcome"):
        outcome = decode(body, Outcome)
        if outcome.when is not None:
            ready = mapper.ready(outcome, patient)
            found[json.loads(ready.body)["identifier"][0]["value"]] = ready.body
    return Fresh(study, found)


def _check_the_server(hospital: Served, study: Study, fresh: Fresh) -> None:
    """The store is that of a fresh pull; the server has one right resource for each outcome, and none in force beside."""
    for sql in (
        "SELECT type, id, hash, subject FROM resource WHERE deleted IS NULL ORDER BY 1, 2",
        "SELECT patient, state, body FROM case_document WHERE state <> 'no records any more' ORDER BY 1",
        "SELECT patient, variable, about, body FROM outcome ORDER BY 1, 2, 3",
        "SELECT patient, query, state FROM unit ORDER BY 1, 2",
        "SELECT patient, code, reference, path FROM finding ORDER BY 1, 2, 3, 4",
    ):
        assert study.ask(sql) == fresh.study.ask(sql), sql
    assert study.ask("PRAGMA integrity_check") == [("ok",)]
    copies = written(hospital.server)
    assert {name: len(some) for name, some in copies.items() if len(some) != 1} == {}
    bodies = {name: json.dumps(some[0], default=float).encode() for name, some in copies.items()}
    in_force = {name for name, body in bodies.items() if status_of(body) != "entered-in-error"}
    assert in_force == fresh.bodies.keys()
    assert [name for name in in_force if not same_but_status(bodies[name], fresh.bodies[name])] == []
    assert len(bodies) > len(in_force) > 40, "some were taken back"
    states = dict(study.ask("SELECT state, count(*) FROM push GROUP BY state"))
    assert states.pop("confirmed") == len(in_force)
    assert states == {"retracted": len(bodies) - len(in_force)}
    documents = [one for one in hospital.server.resources.values() if one["resourceType"] == "Provenance"]
    sent = dict(study.ask("SELECT state, count(*) FROM transmission GROUP BY state"))
    assert sent.pop("undocumented", 0) <= len(KILLED), "a run was killed before anything of it was written"
    assert sent == {"documented": len(documents)}
    of_them = "SELECT identifier FROM push JOIN transmission ON number = transmission WHERE transmission.state = 'undocumented'"
    assert study.ask(of_them) == []
