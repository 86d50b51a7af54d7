"""How gently a server is asked: fewer at a time when it is too much, slower before it has to refuse, and not for ever."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from dm_fhir.config import Pull
from dm_fhir.errors import ServerUnavailable
from dm_fhir.fhir.pace import Pace

from .hospital import Ask, Hospital, Json, Reply, refusal
from .records import population
from .study import Study

StudyOf = Callable[..., Study]


def test_after_a_complaint_half_as_many_are_asked_at_a_time(hospital: Hospital, study_of: StudyOf) -> None:
    names = [f"q{number}" for number in range(12)]
    hospital.held = population(*names)
    active, lock = Counter[str](), threading.Lock()
    seen: list[int] = []
    complained: list[int] = []

    def slowly(ask: Ask, bundle: Json) -> Json:
        with lock:
            active["now"] += 1
            seen.append(active["now"])
        threading.Event().wait(0.01)
        with lock:
            active["now"] -= 1
        return bundle

    def too_much(ask: Ask) -> Reply | None:
        with lock:
            if ask.type != "Observation" or complained or len(seen) < 10:
                return None
            complained.append(len(seen))
            return refusal(429, Retry_After="0")

    hospital.bend.append(slowly)
    hospital.refuse.append(too_much)
    study = study_of(patients=names, pull={"patients_per_query": "1", "concurrency": "4"})

    assert study.type("pull").code == 0
    # Four more may be under way when the complaint is read.
    assert max(seen[: complained[0]]) == 4
    assert max(seen[complained[0] + 8 :]) == 2
    assert sum(unit.notes.get("throttled", 0) for unit in study.units().values()) == 1


def test_a_minute_without_complaint_allows_one_more_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pace = Pace(Pull(concurrency=8), lambda _: None)
    pace.throttle()
    pace.throttle()
    allowed = [pace.allowed]
    for clock[0] in (30, 61, 100, 122, 183, 244, 305, 366, 427):
        with pace.turn():
            pass
        allowed.append(pace.allowed)

    assert allowed == [2, 2, 3, 3, 4, 5, 6, 7, 8, 8]
    for _ in range(9):
        pace.throttle()
    assert pace.allowed == 1


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "7"}, 7),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "7"}, 7),
        ({"RateLimit": '"default";r=0;t=7'}, 7),
        ({"RateLimit": '"requests";r=59000;t=60, "points";r=0;t=7'}, 7),
        ({"RateLimit": '"requests";r=59000;t=60, "points";r=1;t=7'}, 0),
        ({"RateLimit-Remaining": "1", "RateLimit-Reset": "7"}, 0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767225600"}, 0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3600"}, 0),
        ({"X-RateLimit-Remaining": "none", "X-RateLimit-Reset": "7"}, 0),
    ],
    ids=[
        "two headers",
        "X-",
        "one header",
        "several limits",
        "something left",
        "one left",
        "a date in seconds",
        "an hour",
        "no number",
    ],
)
def test_where_nothing_is_left_of_a_rate_limit_it_is_waited_for(
    hospital: Hospital, study_of: StudyOf, headers: dict[str, str], waits: int
) -> None:
    def limited(ask: Ask) -> Reply | None:
        return hospital.honest(ask)._replace(headers=headers) if ask.type == "Observation" else None

    hospital.refuse.append(limited)
    ran = study_of().type("pull")

    assert ran.code == 0
    assert sum(ran.waits) == waits


def test_requests_a_second_are_kept_to(hospital: Hospital, study_of: StudyOf) -> None:
    ran = study_of(pull={"requests_per_second": "0.5", "concurrency": "1"}).type("pull")

    # Nobody waits in these tests, so that the n-th request is due 2 n seconds after the first.
    expected = [2.0 * number for number in range(1, len(hospital.asked))]
    assert ran.code == 0
    assert [round(wait) for wait in ran.waits] == expected


def test_what_a_run_may_wait_in_all_is_limited(hospital: Hospital, study_of: StudyOf) -> None:
    hospital.refuse.append(lambda ask: refusal(503, Retry_After="100") if ask.type == "Observation" else None)
    study = study_of(patients=["p1"], pull={"waiting_budget_seconds": "250", "concurrency": "1"})
    ran = study.type("pull")

    assert (ran.code, sum(ran.waits)) == (4, 200)
    assert study.unit("Observation?patient").reason == "waiting-budget"
    assert json.loads(study.type("status", "--json").out)["exit_code"] == 4


def test_a_wait_beyond_the_budget_is_not_begun() -> None:
    slept: list[float] = []
    pace = Pace(Pull(waiting_budget_seconds=10), slept.append)
    pace.wait(8, Counter())
    with pytest.raises(ServerUnavailable) as error:
        pace.wait(3, Counter())

    assert (slept, error.value.reason) == ([8], "waiting-budget")
