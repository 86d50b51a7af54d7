"""Windows of visits and which assessment stands for one (R-VISIT)."""

import itertools
import json
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.model.case import Assessment, Source
from dm_fhir.model.dates import span
from dm_fhir.model.definitions import MONTHS, SCHEDULES, WEEKS
from dm_fhir.outcomes.baseline import Dated
from dm_fhir.outcomes.visits import at_visit, nearest, place

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "outcome_vectors.json").read_text(encoding="utf-8"))
ZONE = ZoneInfo("America/New_York")
DAY_0 = date(2024, 4, 15)


def of_topic(topic: str) -> Any:
    found = [pytest.param(c["inputs"], c["expected"], id=c["id"]) for c in VECTORS["cases"] if c["topic"] == topic]
    assert found
    return pytest.mark.parametrize(("inputs", "expected"), found)


@of_topic("visit_window")
def test_window(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    day_0 = date.fromisoformat(inputs["first_infusion"])
    found = place(span(inputs["observation"], ZONE), day_0, SCHEDULES[inputs["schedule"]], ZONE)

    assert (found.visit.name if found.visit else None, found.day, found.reason) == (
        expected["visit"],
        expected["day"],
        expected["reason"],
    )


@of_topic("visit_pick")
def test_pick(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    assert nearest(inputs["days"], inputs["target_day"]) == expected["picked_day"]


def test_the_windows_of_a_schedule_do_not_meet() -> None:
    for visits in (WEEKS, MONTHS):
        assert all(one.last_day < other.first_day for one, other in itertools.pairwise(visits))


def dated(when: str) -> Dated:
    return Dated(Assessment(Source("north", f"Observation/{when}"), when=when), span(when, ZONE))


def picked(visit_name: str, *times: str) -> str | None:
    visit = next(one for one in (*WEEKS, *MONTHS) if one.name == visit_name)
    found = at_visit(sorted(map(dated, times), key=lambda one: one.span.start), visit, DAY_0, ZONE)
    return found.assessment.when if found else None


@pytest.mark.parametrize(
    ("visit", "times", "expected"),
    [
        ("week_4", (), None),
        ("week_4", ("2024-05-05",), None),  # day 20
        ("week_4", ("2024-05-06", "2024-05-21"), "2024-05-06"),
        ("week_4", ("2024-05-12", "2024-05-14"), "2024-05-14"),  # one day early, one day late
        ("week_4", ("2024-05-13T08:00:00-04:00", "2024-05-13T16:00:00-04:00"), "2024-05-13T16:00:00-04:00"),
        ("month_6", ("2024-10",), "2024-10"),
        (
            "month_6",
            ("2024-10", "2024-11-11"),
            "2024-11-11",
        ),  # a day, though far from the target, is surer than a month
        ("month_6", ("2024-09",), None),
        ("month_6", ("2024",), None),
    ],
)
def test_which_assessment_stands_for_a_visit(visit: str, times: tuple[str, ...], expected: str | None) -> None:
    assert picked(visit, *times) == expected


@given(st.lists(st.integers(1, 400), min_size=1), st.integers(1, 400))
def test_nearest_is_nearest(days: list[int], target: int) -> None:
    found = nearest(days, target)

    assert found in days
    assert all(abs(found - target) <= abs(day - target) for day in days)
    assert nearest(list(reversed(days)), target) == found
