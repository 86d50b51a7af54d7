"""How gently a server is asked: so many requests at a time and a second, fewer when it complains, and no endless waiting."""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from dm_fhir.config import Pull
from dm_fhir.errors import ServerUnavailable
from dm_fhir.fhir import pace as module
from dm_fhir.fhir.pace import Pace

WITHIN_SECONDS = 10


class Clock:
    """A clock that moves when somebody sleeps, or is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def pace_of(clock: Clock) -> Callable[..., Pace]:
    """Makes a pace with these limits."""
    return lambda **limits: Pace(Pull(**limits), clock.sleep)


def starts(pace: Pace, clock: Clock, count: int, lasting: float = 0) -> list[float]:
    """When so many requests, one after the other, are sent."""
    found = []
    for _ in range(count):
        with pace.turn():
            found.append(round(clock.now - 1000, 6))
            clock.now += lasting
    return found


def test_without_a_rate_nobody_waits(pace_of: Callable[..., Pace], clock: Clock) -> None:
    assert starts(pace_of(), clock, 3) == [0, 0, 0]
    assert clock.slept == []


def test_so_many_a_second(pace_of: Callable[..., Pace], clock: Clock) -> None:
    assert starts(pace_of(requests_per_second=4), clock, 5) == [0, 0.25, 0.5, 0.75, 1]


def test_slow_answers_wait_for_no_rate_and_what_was_missed_is_not_made_up_for(
    pace_of: Callable[..., Pace], clock: Clock
) -> None:
    pace = pace_of(requests_per_second=4)
    assert starts(pace, clock, 3, lasting=1) == [0, 1, 2]
    assert starts(pace, clock, 3) == [3, 3.25, 3.5]


def test_the_rate_holds_for_all_threads_together(clock: Clock) -> None:
    """Each is told its own moment, though all ask at the same."""
    told: list[float] = []
    pace = Pace(Pull(requests_per_second=10, concurrency=4), told.append)
    ready = threading.Barrier(4)

    def work() -> None:
        ready.wait(WITHIN_SECONDS)
        with pace.turn():
            pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_SECONDS)
    assert sorted(round(seconds, 6) for seconds in told) == [0.1, 0.2, 0.3]


def test_at_most_so_many_at_a_time(pace_of: Callable[..., Pace]) -> None:
    pace, inside, most = pace_of(concurrency=2), [0], [0]
    lock, both = threading.Lock(), threading.Barrier(2)

    def work() -> None:
        with pace.turn():
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            both.wait(WITHIN_SECONDS)
            with lock:
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_SECONDS)
    assert most == [2]


def test_a_failed_request_gives_its_turn_back(pace_of: Callable[..., Pace]) -> None:
    pace, failed = pace_of(concurrency=1), list[int]()

    def fail_twice() -> None:
        for number in range(2):
            with suppress(ValueError), pace.turn():
                failed.append(number)
                raise ValueError

    thread = threading.Thread(target=fail_twice, daemon=True)
    thread.start()
    thread.join(WITHIN_SECONDS)
    assert failed == [0, 1]


def test_complaints_halve_what_goes_at_a_time_and_quiet_minutes_bring_it_back(
    pace_of: Callable[..., Pace], clock: Clock
) -> None:
    pace = pace_of(concurrency=5)
    allowed = []
    for _ in range(4):
        pace.throttle()
        allowed.append(pace.allowed)
    assert allowed == [2, 1, 1, 1]

    clock.now += 59
    starts(pace, clock, 3)
    assert pace.allowed == 1
    for most in (2, 3, 4, 5, 5):
        clock.now += 61
        starts(pace, clock, 3)
        assert pace.allowed == most


def test_waiting_has_a_budget_for_the_whole_run(pace_of: Callable[..., Pace], clock: Clock) -> None:
    pace, notes = pace_of(waiting_budget_seconds=600), Counter[str]()
    for _ in range(3):
        pace.wait(200, notes)
    assert notes["waited_milliseconds"] == 600_000
    with pytest.raises(ServerUnavailable) as caught:
        pace.wait(0.5, notes)

    assert caught.value.reason == "waiting-budget"
    assert "waited 10 minutes" in caught.value.message
    assert sum(clock.slept) == 600, "it waits although it gives up"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "30"}, 30),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "7"}, 7),
        ({"RateLimit": '"default";r=0;t=12'}, 12),
        ({"RateLimit": '"requests";r=90;t=30, "points";r=0;t=9'}, 9),
        ({"RateLimit-Remaining": "1", "RateLimit-Reset": "30"}, None),
        ({"RateLimit-Remaining": "0"}, None),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "0"}, None),
        # A moment since 1970 rather than seconds from now, as some servers have it: Retry-After will tell.
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767225600"}, None),
        ({"RateLimit-Remaining": "none", "RateLimit-Reset": "soon"}, None),
        ({"RateLimit": '"default";r=5;t=12'}, None),
        ({}, None),
    ],
)
def test_who_has_nothing_left_waits_before_being_refused(
    pace_of: Callable[..., Pace], clock: Clock, headers: dict[str, Any], seconds: float | None
) -> None:
    pace_of().heed(headers, Counter())
    assert clock.slept == ([] if seconds is None else [seconds])
