"""Two write faults at a time, at random servers and from random starts: what must hold whatever happened, and how it ends."""

import json
import os
import random
from pathlib import Path

import pytest

from .server import FaultServer
from .write_checks import ALL, check_always, check_provenance
from .write_faults import WRITE_FAULTS
from .write_study import Beginnings, content

#: More of them with FAULT_SEEDS=200.
SEEDS = int(os.environ.get("FAULT_SEEDS", "16"))
#: What passes: afterwards nothing hinders the push.
PASSING = (
    "w409-once", "w412-moved", "w412-ours", "w422-503", "wpartial-19", "wpartial-order", "wlost", "wlost-504", "wlost-reset",
    "wthrottle-429", "wthrottle-503", "wthrottle-down", "w413", "wnosubject-409",
)  # fmt: skip
#: Sorts of servers at which anything may begin.
SORTS = sorted(name for name, fault in WRITE_FAULTS.items() if fault.manners)


@pytest.fixture(scope="module")
def beginnings(server: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Beginnings:
    return Beginnings(server, tmp_path_factory.mktemp("beginnings"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_two_write_faults(beginnings: Beginnings, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    start, sort, faults = chance.choice(("new", "changed", "gone")), chance.choice(SORTS), chance.sample(PASSING, 2)
    began = beginnings.begin(tmp_path / "study", start, sort, *faults)
    first = began.study.type("-v", "push")
    about = f"{start} at {sort}, {' and '.join(faults)}: {first.text}"
    check_always(began, first)

    began.run.heal()
    for _ in range(2):
        last = began.study.type("-v", "push")
        check_always(began, last)
    rejected = [key for key, state in began.states().items() if state == "rejected"]
    assert set(rejected) <= {"k3"}, about
    assert last.code == (3 if rejected else 0), f"{about}\nin the end {last.text}"
    assert began.run.shelf.count() == {key: 1 for key in ALL if key not in rejected or start != "new"}, about
    ours = beginnings.contents(start)
    assert not [key for key in ALL if key not in rejected and content(began.run.shelf.of(key)[0]) != content(ours[key])]
    check_provenance(began)
    told = json.loads(began.study.type("status", "--json").out)
    assert sum(told["sites"][0]["pushed"].values()) == len(ALL)
