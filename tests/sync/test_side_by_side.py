"""Sites side by side: so many at a time, in order, a silent one gives its place away, the first failure ends it."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dm_fhir.config import Auth, Pull, Site
from dm_fhir.sync import side_by_side as module
from dm_fhir.sync.side_by_side import side_by_side

WITHIN_SECONDS = 10


class Work:
    """Sites that are at work until they are told to end; `heard` says when their servers were last heard of."""

    def __init__(self, names: str) -> None:
        self.sites = [Site(name, "https://fhir.test", "UTC", (), {}, Auth(), Pull()) for name in names]
        self.begun, self.looks = list[str](), list[int]()
        self.ends = {name: threading.Event() for name in names}
        self.faults: dict[str, BaseException] = {}
        self.raised: list[BaseException] = []
        self.silent: set[str] = set()
        self.thread = threading.Thread(target=self._all, args=(2,), daemon=True)

    def _all(self, most: int) -> None:
        try:
            side_by_side(self.sites, self._one, most, self._heard, self.looks.append)
        except BaseException as error:  # noqa: BLE001
            self.raised.append(error)

    def _one(self, site: Site) -> None:
        self.begun.append(site.name)
        self.ends[site.name].wait(WITHIN_SECONDS)
        if site.name in self.faults:
            raise self.faults[site.name]

    def _heard(self, name: str) -> float:
        return 0.0 if name in self.silent else time.monotonic()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    monkeypatch.setattr(module, "_LOOK_EVERY_SECONDS", 0.005)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    one = Work("abcde")
    one.thread.start()
    yield one
    for end in one.ends.values():
        end.set()
    one.thread.join(WITHIN_SECONDS)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_so_many_at_a_time_in_order_as_long_as_they_are_heard_of(work: Work) -> None:
    for number, name in enumerate("abcde"):
        until(lambda number=number: len(work.begun) == min(number + 2, 5))
        time.sleep(0.1)  # beyond their patience: they are heard of, and keep their places
        assert work.begun == list("abcde"[: number + 2])
        work.ends[name].set()
        until(lambda number=number: work.looks[-1] == number + 1)
    work.thread.join(WITHIN_SECONDS)
    assert work.looks == sorted(work.looks)
    assert work.looks[-1] == 5
    assert not work.thread.is_alive()
    assert work.raised == []


def test_a_site_that_falls_silent_gives_its_place_to_the_next_and_goes_on(work: Work) -> None:
    until(lambda: work.begun == ["a", "b"])
    work.silent.add("a")
    until(lambda: work.begun == ["a", "b", "c"])
    time.sleep(0.1)
    assert work.begun == ["a", "b", "c"]
    work.silent.remove("a")
    work.ends["b"].set()
    time.sleep(0.1)
    assert work.begun == ["a", "b", "c"], "it is heard of again, and has a place again"
    for name in "acde":
        work.ends[name].set()
    work.thread.join(WITHIN_SECONDS)
    assert work.looks[-1] == 5


def test_one_that_has_just_begun_has_a_place_though_its_server_was_never_heard_of(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", WITHIN_SECONDS)
    work.silent.update("abcde")
    until(lambda: work.begun[:2] == ["a", "b"])
    begun = len(work.begun)
    time.sleep(0.05)
    assert len(work.begun) == begun


def test_the_first_failure_ends_it_and_nobody_waits_for_the_others(work: Work) -> None:
    until(lambda: len(work.begun) == 2)
    work.faults["b"] = KeyboardInterrupt()
    work.ends["b"].set()
    work.thread.join(WITHIN_SECONDS)
    assert work.raised == [work.faults["b"]]
    assert work.begun == ["a", "b"]
    assert not work.ends["a"].is_set()
    assert {thread.daemon for thread in threading.enumerate() if thread.name == "a"} == {True}
