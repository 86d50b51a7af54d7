"""Every write fault of `write_scenarios.py`: what dm-fhir did, and what a second push to the healthy server makes of it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from .hospital import Json
from .outcomes import KEYS
from .server import FaultServer
from .study import Ran
from .write_checks import ALL, check_always, check_provenance, check_row, check_standing
from .write_faults import REMARK, WRITE_FAULTS
from .write_scenarios import AT_SERVERS, EVERYWHERE, WRITE_SCENARIOS, Start, WriteScenario
from .write_study import Began, Beginnings, content

ObserveWrite = Callable[[WriteScenario, Began, Ran], None]


@pytest.fixture(scope="module")
def beginnings(server: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Beginnings:
    return Beginnings(server, tmp_path_factory.mktemp("beginnings"))


@pytest.mark.parametrize(
    ("scenario", "sort"), AT_SERVERS, ids=lambda value: value.id if isinstance(value, WriteScenario) else value
)
def test_write_fault(
    beginnings: Beginnings, tmp_path: Path, observe_write: ObserveWrite, scenario: WriteScenario, sort: str
) -> None:
    names = [scenario.fault] if scenario.fault else []
    began = beginnings.begin(tmp_path / "study", scenario.start, sort, *names, login=scenario.login, pull=scenario.pull)
    ours = beginnings.contents(scenario.start)
    _prepare(scenario, beginnings, began)
    first = began.study.type("-v", "push")
    observe_write(scenario, began, first)
    check_row(scenario, began, first, ours)
    check_always(began, first)

    is_done, asked = first.code == 0, len(began.run.log)
    began.run.heal()
    second = began.study.type("-v", "push")
    assert second.code in scenario.again, second.text
    check_always(began, second)
    if second.code:
        check_standing(scenario, began, second, ours)
    else:
        _check_healed(scenario, began, second, ours)
    assert not (is_done and began.run.log[asked:]), "nothing was left to be done"


def _check_healed(scenario: WriteScenario, began: Began, ran: Ran, ours: Mapping[str, Json]) -> None:
    healed = WriteScenario(
        t=scenario.t, fault="", does="", states={k: v for k, v in scenario.states.items() if v == "retracted"}
    )
    check_standing(healed, began, ran, ours)
    check_provenance(began)


def _prepare(scenario: WriteScenario, beginnings: Beginnings, began: Began) -> None:
    """What is on the server before the push begins."""
    shelf = began.run.shelf
    if scenario.fault == "w412many":
        copies = [beginnings.contents("new")["k3"]] * (2 if scenario.start == "new" else 1)
        for one in copies:
            shelf.add(one)
    elif scenario.fault == "wgone-edited":
        shelf.edit("k3", note=[{"text": REMARK}])


@pytest.mark.parametrize("sort", ["transactions", "updates", "creates", "searches"])
def test_what_was_rejected_is_written_when_its_source_has_been_mended(
    beginnings: Beginnings, tmp_path: Path, sort: str
) -> None:
    began = beginnings.begin(tmp_path / "study", "new", sort, "w422")
    assert began.study.type("push").code == 3
    began.run.heal()
    began.run.suffer(*began.run.faults, WRITE_FAULTS["corrected"])
    ran = began.study.type("sync")
    assert ran.code == 0, ran.text
    check_always(began, ran)
    assert began.run.shelf.count() == dict.fromkeys(ALL, 1)
    (mended,) = began.run.shelf.of("k3")
    assert content(mended) == content(beginnings.contents("changed")["k3"])


@pytest.mark.parametrize("start", ["new", "changed"])
@pytest.mark.parametrize("sort", EVERYWHERE)
def test_copies_are_retired_on_request(beginnings: Beginnings, tmp_path: Path, sort: str, start: Start) -> None:
    began = beginnings.begin(tmp_path / "study", start, sort)
    shelf, ours = began.run.shelf, beginnings.contents(start)["k3"]
    for _ in range(2 if start == "new" else 1):
        shelf.add(beginnings.contents("new")["k3"])
    assert began.study.type("push").code == 7
    repaired = began.study.type("push", "--repair", "--yes")
    last = began.study.type("push")
    # What has changed beside that is the next push's to write.
    assert (repaired.code, last.code) == (0 if start == "new" else 3, 0), f"{repaired.text}\nthen {last.text}"
    standing = [one for one in shelf.of("k3") if one["status"] != "entered-in-error"]
    assert [content(one) for one in standing] == [content(ours)]
    assert len(shelf.of("k3")) == 2, "the other is still there, and says that it does not hold"
    assert {key: shelf.count()[key] for key in ALL if key != "k3"} == {key: 1 for key in ALL if key != "k3"}


def test_every_write_fault_has_a_scenario() -> None:
    tried = {name for one, sort in AT_SERVERS for name in (one.fault, sort)}
    assert set(WRITE_FAULTS) - tried == {"corrected", "withdrawn"}, "and these two are how scenarios start"


def test_every_write_fault_of_the_table_has_a_scenario() -> None:
    assert {one.t for one in WRITE_SCENARIOS} == set(range(64, 78))
    assert len({one.id for one in WRITE_SCENARIOS}) == len(WRITE_SCENARIOS)


def test_the_twenty_outcomes_are_all_that_is_computed(beginnings: Beginnings) -> None:
    assert list(beginnings.contents("new")) == list(KEYS.values())
