"""T76: `kill -9` at every commit of a push in turn, and at random requests; the same command again ends as if nothing had been."""

import os
import random
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .answers import Ask, Reply, refusal
from .faults import Fault
from .hospital import Json
from .outcomes import KEYS
from .processes import Forks, forks
from .server import FaultServer
from .test_write_faults import ObserveWrite
from .write_checks import check_only_ours, check_provenance
from .write_scenarios import EVERYWHERE, WRITE_SCENARIOS, Start
from .write_study import Began, Beginnings, content
from .writing import writes_of

SCENARIO = next(scenario for scenario in WRITE_SCENARIOS if scenario.t == 76)
#: Of the fifty kills at random moments, so many at each sort of server.
KILLS = 10
#: There are as many runs as there are commits: five outcomes are enough.
SOME = 'outcomes = ["dlqi_*"]'
SOME_KEYS = ("k3", "k7", "k11", "k12", "k13")
_STARTS: tuple[Start, ...] = ("new", "changed", "gone")


@pytest.fixture(scope="module")
def forking() -> Iterator[Forks]:
    with forks() as one:
        yield one


@pytest.fixture(scope="module")
def beginnings(server: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Beginnings:
    return Beginnings(server, tmp_path_factory.mktemp("beginnings"))


def _check_end(began: Began, ours: Mapping[str, Json], keys: tuple[str, ...], about: str) -> None:
    """Each outcome is there once, as we compute it, and has been documented once."""
    counts, states = began.run.shelf.count(), began.states()
    assert {key: counts[key] for key in KEYS.values()} == {key: int(key in keys) for key in KEYS.values()}, about
    assert set(states.values()) <= {"confirmed", "retracted"}, about
    assert set(states) == set(keys), about
    for key in keys:
        (one,) = began.run.shelf.of(key)
        assert content(one) == content(ours[key]), (about, key)
        assert (one["status"] == "entered-in-error") == (states[key] == "retracted"), (about, key)
    check_provenance(began)
    check_only_ours(began.run)


AT_COMMITS = [*((sort, "new") for sort in EVERYWHERE), ("transactions", "changed"), ("creates", "changed")]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("sort", "start"), AT_COMMITS)
def test_killed_at_every_commit(
    beginnings: Beginnings, forking: Forks, tmp_path: Path, sort: str, start: Start, when: str
) -> None:
    """Before those of odd numbers, after those of even numbers: what lies between two commits is met once."""
    ours, keys = beginnings.contents(start), SOME_KEYS if start == "new" else tuple(KEYS.values())
    push = SOME if start == "new" else ""
    undisturbed = beginnings.begin(tmp_path / "undisturbed", start, sort, push=push)
    code, report, said = forking.run(undisturbed.study, "push")
    assert code == 0, said
    _check_end(undisturbed, ours, keys, said)
    assert report["commits"] > 8, "what is about to be sent and what was sent is committed"
    for number in range(1 if when == "before" else 2, report["commits"] + 1, 2):
        began = beginnings.begin(tmp_path / str(number), start, sort, push=push)
        code, _, said = forking.run(began.study, "push", kill_at=(number, when))
        about = f"{when} commit {number}: {said}"
        assert code == -signal.SIGKILL, about
        code, _, said = forking.run(began.study, "-v", "push")
        assert code == 0, f"{about}\nthen {said}"
        _check_end(began, ours, keys, f"{about}\nthen {said}")


class _Killing:
    """Kills the client at its n-th request, before that is carried out or before it is answered."""

    def __init__(self, pid: Path, number: int, when: str) -> None:
        self.pid, self.number, self.when = pid, number, when
        self.asked = 0
        self.fault = Fault(refuse=self._before, reply=self._after)

    def _before(self, _: Ask, reply: Reply | None) -> Reply | None:
        self.asked += 1
        if self.asked == self.number and self.when == "before":
            self._kill()
            return refusal(503, "nobody is there any more")
        return reply

    def _after(self, _: Ask, reply: Reply) -> Reply:
        if self.asked == self.number and self.when == "after":
            self._kill()
        return reply

    def _kill(self) -> None:
        os.kill(int(self.pid.read_text(encoding="utf-8")), signal.SIGKILL)


def _killed_at(began: Began, forking: Forks, number: int, when: str) -> tuple[int, str]:
    """A push that is killed at its n-th request, if it sends so many; how it ended, and what it said."""
    pid = began.study.config.with_name("pid")
    began.run.suffer(*began.run.faults, _Killing(pid, number, when).fault)
    code, _, said = forking.run(began.study, "push", pid=str(pid))
    began.run.heal()
    return code, said


@pytest.mark.parametrize("sort", EVERYWHERE)
def test_killed_at_random_requests(beginnings: Beginnings, forking: Forks, tmp_path: Path, sort: str) -> None:
    """Every other time the push that mends it is killed too."""
    chance = random.Random(f"2026-11-25 {sort}")  # noqa: S311
    requests = {}
    for start in _STARTS:
        began = beginnings.begin(tmp_path / start, start, sort)
        assert forking.run(began.study, "push")[0] == 0
        requests[start] = len(began.run.log)
    for kill in range(KILLS):
        start = _STARTS[kill % len(_STARTS)]
        number, when = chance.randint(1, requests[start]), chance.choice(("before", "after"))
        began = beginnings.begin(tmp_path / str(kill), start, sort)
        code, said = _killed_at(began, forking, number, when)
        about = f"{start}, {when} request {number} of {requests[start]}: {said}"
        assert code == -signal.SIGKILL, about
        if kill % 2:
            again = chance.randint(1, 6)
            code, said = _killed_at(began, forking, again, when)
            about = f"{about}\nthen {when} request {again}: {said}"
            assert code in (-signal.SIGKILL, 0), about
        code, _, said = forking.run(began.study, "-v", "push")
        assert code == 0, f"{about}\nthen {said}"
        _check_end(began, beginnings.contents(start), tuple(KEYS.values()), f"{about}\nthen {said}")
    asked = len(began.run.log)
    code, _, said = forking.run(began.study, "push")
    assert (code, len(began.run.log)) == (0, asked), f"nothing was left to be done: {said}"


@pytest.mark.parametrize(
    ("sort", "unfinished"), [("creates", "1 unfinished write"), ("transactions", "19 unfinished writes")]
)
def test_killed_when_k3_is_stored(
    beginnings: Beginnings, forking: Forks, tmp_path: Path, observe_write: ObserveWrite, sort: str, unfinished: str
) -> None:
    began = beginnings.begin(tmp_path / "study", "new", sort)
    pid = began.study.config.with_name("pid")

    def kill(ask: Ask, reply: Reply) -> Reply:
        if any(one.key == "k3" for one in writes_of(ask)):
            os.kill(int(pid.read_text(encoding="utf-8")), signal.SIGKILL)
        return reply

    began.run.suffer(*began.run.faults, Fault(reply=kill))
    code, _, said = forking.run(began.study, "push", pid=str(pid))
    assert code == -signal.SIGKILL, said
    assert began.run.shelf.count()["k3"] == 1
    began.run.heal()
    again = began.study.type("-v", "push")
    observe_write(SCENARIO, began, again)
    assert again.code == 0, again.text
    assert f"{unfinished} checked" in again.text
    _check_end(began, beginnings.contents("new"), tuple(KEYS.values()), again.text)
    assert len(began.run.shelf.versions_of("k3")) == 1, "it was not written a second time"
