"""Jobs on several threads: every one is done, what they lead to as well, and the first that fails stops them all."""

import threading
import time
from collections.abc import Callable, Iterable
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.errors import ServerUnavailable
from dm_fhir.store.turns import Stopped
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.workers import Job, work_off

from ..servers.hospital import Ask, Hospital, Reply
from ..servers.records import population
from ..servers.study import Study

WITHIN_SECONDS = 10


def silent(done: int, total: int) -> None:
    """Nobody looks."""


def crew(concurrency: int = 2) -> Puller:
    """What the workers need of a pull."""
    stop = threading.Event()
    site = SimpleNamespace(pull=SimpleNamespace(concurrency=concurrency))
    return cast(Puller, SimpleNamespace(stop=stop, halt=stop.set, site=site))


def noting(done: list[Any], name: Any, more: Iterable[Job] = ()) -> Job:
    """A job that notes its name and leads to others."""

    def job() -> Iterable[Job]:
        done.append(name)
        return more

    return job


@settings(max_examples=30, deadline=None)
@given(
    tree=st.recursive(st.just(()), lambda below: st.lists(below, max_size=4).map(tuple), max_leaves=20),
    concurrency=st.integers(1, 5),
)
def test_every_job_is_done_once_and_so_is_every_job_it_leads_to(tree: tuple[Any, ...], concurrency: int) -> None:
    done: list[int] = []
    expected = [0]

    def jobs_of(branches: tuple[Any, ...]) -> list[Job]:
        jobs = []
        for branch in branches:
            expected[0] += 1
            jobs.append(noting(done, expected[0], jobs_of(branch)))
        return jobs

    told: list[tuple[int, int]] = []
    work_off(crew(concurrency), jobs_of(tree), lambda finished, total: told.append((finished, total)))

    assert sorted(done) == list(range(1, expected[0] + 1))
    assert not told or told[-1] == (expected[0], expected[0])


def test_as_many_at_a_time_as_the_site_allows_and_no_more() -> None:
    active, most, lock = [0], [0], threading.Lock()

    def job() -> Iterable[Job]:
        with lock:
            active[0] += 1
            most[0] = max(most[0], active[0])
        Event().wait(0.05)  # long enough for all who may to begin
        with lock:
            active[0] -= 1
        return ()

    work_off(crew(3), [job] * 9, silent)

    assert most == [3]


@pytest.mark.parametrize("error", [ServerUnavailable("gone"), KeyError("a mistake of ours"), SystemExit(3)])
def test_the_first_failure_stops_all_and_is_raised(error: BaseException) -> None:
    puller, done = crew(), list[Any]()
    failed = threading.Event()

    def failing() -> Iterable[Job]:
        failed.set()
        raise error

    def slow() -> Iterable[Job]:
        failed.wait(WITHIN_SECONDS)
        return [noting(done, "what a job leads to that ended after the failure")]

    with pytest.raises(type(error)) as raised:
        work_off(puller, [slow, failing, *[noting(done, number) for number in range(20)]], silent)

    assert raised.value is error
    assert puller.stop.is_set()
    assert len(done) < 20


def test_a_worker_that_hangs_keeps_nobody_from_hearing_of_a_failure() -> None:
    release = threading.Event()

    def hanging() -> Iterable[Job]:
        release.wait(WITHIN_SECONDS)
        return ()

    def failing() -> Iterable[Job]:
        raise ServerUnavailable("gone")

    started = time.monotonic()
    with pytest.raises(ServerUnavailable):
        work_off(crew(), [hanging, failing], silent)
    assert time.monotonic() - started < 2
    release.set()


def test_who_is_interrupted_while_waiting_stops_the_workers() -> None:
    puller, done = crew(1), list[Any]()

    def interrupted(finished: int, total: int) -> None:
        raise KeyboardInterrupt

    def slow() -> Iterable[Job]:
        puller.stop.wait(WITHIN_SECONDS)
        raise Stopped

    with pytest.raises(KeyboardInterrupt):
        work_off(puller, [slow, noting(done, "never")], interrupted)
    assert puller.stop.is_set()
    time.sleep(0.05)
    assert done == []


def test_nothing_to_do_starts_nobody() -> None:
    before = threading.active_count()
    work_off(crew(), [], silent)
    assert threading.active_count() == before


def test_a_pull_on_many_threads_comes_to_the_same_as_on_one(hospital: Hospital, study_of: Callable[..., Study]) -> None:
    many = tuple(f"m{number:02}" for number in range(20))
    hospital.held = population(*many)
    hospital.refuse.append(_slowly)
    found, most = [], []
    for concurrency in ("1", "6"):
        hospital.most_at_a_time = 0
        study = study_of(patients=many, pull={"concurrency": concurrency, "patients_per_query": "3"})
        assert study.type("pull").code == 0
        found.append(({unit: row.unique for unit, row in study.units().items()}, study.bodies("Observation")))
        study.config.with_name("dm-fhir.sqlite").unlink()
        most.append(hospital.most_at_a_time)

    assert found[0] == found[1]
    assert most[0] == 1 < most[1] <= 6


def _slowly(_: Ask) -> Reply | None:
    """Long enough for others to come in."""
    Event().wait(0.005)
    return None
