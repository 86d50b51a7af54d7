"""R-AGE: whether diagnosis and first exposure can be in that order, of one patient and of two means."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.model.dates import span
from dm_fhir.model.exact import to_text
from dm_fhir.statistics.ages import age_order, diagnosis_order

MADRID = ZoneInfo("Europe/Madrid")
VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "outcome_vectors.json").read_text(encoding="utf-8"), parse_float=Fraction
)


def of_topic(topic: str, count: int) -> pytest.MarkDecorator:
    found = [pytest.param(c["inputs"], c["expected"], id=c["id"]) for c in VECTORS["cases"] if c["topic"] == topic]
    assert len(found) == count
    return pytest.mark.parametrize(("inputs", "expected"), found)


@of_topic("age_order", 3)
def test_age_order(inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    found = age_order(inputs["mean_dx"], inputs["mean_start"], same_n=inputs["same_n"])
    difference = f"{found.mean_difference.numerator}/{found.mean_difference.denominator}"
    assert (difference, found.finding) == (expected["mean_difference"], expected["finding"])
    assert Fraction(to_text(found.mean_difference)) == found.mean_difference


@of_topic("diagnosis_order", 4)
def test_diagnosis_order(inputs: dict[str, str], expected: dict[str, str]) -> None:
    found = diagnosis_order(span(inputs["diagnosis"], MADRID), span(inputs["first_exposure"], MADRID), MADRID)
    assert found == expected["order"]


@pytest.mark.parametrize(
    ("diagnosis", "start", "order"),
    [
        ("2024-04-20", "2024-04", "unknown"),
        ("2024-04", "2024-04-01", "unknown"),
        ("2024-04-15T23:30:00+02:00", "2024-04-15T09:00:00+02:00", "ok"),
    ],
)
def test_a_start_that_is_a_month_and_times_of_one_day(diagnosis: str, start: str, order: str) -> None:
    assert diagnosis_order(span(diagnosis, MADRID), span(start, MADRID), MADRID) == order


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 30)), min_size=1))
def test_the_same_patients_are_never_found_impossible(patients: list[tuple[int, int]]) -> None:
    at_diagnosis = Fraction(sum(age for age, _ in patients), len(patients))
    at_start = Fraction(sum(age + years for age, years in patients), len(patients))
    assert age_order(at_diagnosis, at_start, same_n=True).finding is None
