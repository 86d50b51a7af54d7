"""Counts, medians and means against hand-checked vectors (tests/vectors/outcome_vectors.json)."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.model.exact import rounded, shown
from dm_fhir.outcomes.change import percent_improvement
from dm_fhir.statistics.summaries import (
    count_of_n,
    mean_sd,
    median_range,
    of_evaluable,
    percent_of_count,
    rounded_root,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "outcome_vectors.json").read_text(encoding="utf-8"))


def of_topic(topic: str) -> pytest.MarkDecorator:
    found = [pytest.param(c["inputs"], c["expected"], id=c["id"]) for c in VECTORS["cases"] if c["topic"] == topic]
    assert found
    return pytest.mark.parametrize(("given", "expected"), found)


def percents(pairs: list[list[int]]) -> list[Fraction]:
    found = [percent_improvement(Fraction(b), Fraction(f), higher_is_worse=True) for b, f in pairs]
    return [percent for percent in found if percent is not None]


def one_decimal(number: Fraction) -> str:
    return str(rounded(number, 1))


@of_topic("percent_of_count")
def test_percent_of_count(given: dict[str, int], expected: dict[str, Any]) -> None:
    assert percent_of_count(given["count"], given["n"], given["decimals"]) == expected["text"]


@of_topic("median_range")
def test_median_range(given: dict[str, list[int]], expected: dict[str, Any]) -> None:
    spread = median_range(given["values"])
    assert spread is not None
    assert [shown(value) for value in spread] == [expected["median"], expected["low"], expected["high"]]


@of_topic("mean_sd")
def test_mean_sd(given: dict[str, list[int]], expected: dict[str, Any]) -> None:
    found = mean_sd(given["values"])
    assert (found and one_decimal(found.mean)) == expected["mean_1dp"]
    sd = found.sd() if found else None
    assert (str(sd) if sd is not None else None) == expected["sd_sample_1dp"]


@of_topic("cohort_summary")
def test_cohort_summary(given: dict[str, list[list[int]]], expected: dict[str, Any]) -> None:
    changes = [before - after for before, after in given["pairs"]]
    points, relative = median_range(changes), median_range(percents(given["pairs"]))
    assert points is not None
    assert relative is not None
    assert (shown(points.median), [points.low, points.high]) == (expected["change_median"], expected["change_range"])
    assert one_decimal(relative.median) == expected["percent_median_1dp"]
    assert [one_decimal(relative.low), one_decimal(relative.high)] == expected["percent_range_1dp"]
    assert sum(change >= 4 for change in changes) == expected["cdasi_a_mcid_4"]
    assert sum(change >= 5 for change in changes) == expected["cdasi_a_mcid_5"]
    assert sum(change > 5 for change in changes) == expected["strictly_above_5"]
    assert sum(percent >= 40 for percent in percents(given["pairs"])) == expected["cdasi_a_pct_40"]
    assert sum(percent >= 50 for percent in percents(given["pairs"])) == expected["cdasi_a_pct_50"]


@of_topic("cohort_trap")
def test_the_median_of_percents_is_none_of_the_other_percents(
    given: dict[str, list[list[int]]], expected: dict[str, str]
) -> None:
    before, after = zip(*given["pairs"], strict=True)
    first, last = median_range(before), median_range(after)
    change, relative = median_range([b - a for b, a in given["pairs"]]), median_range(percents(given["pairs"]))
    assert first is not None
    assert last is not None
    assert change is not None
    assert relative is not None
    found = {
        "median_change_over_median_baseline": one_decimal(100 * change.median / first.median),
        "medians_compared": one_decimal(100 * (first.median - last.median) / first.median),
        "means_compared": one_decimal(Fraction(100 * (sum(before) - sum(after)), sum(before))),
        "median_of_percents": one_decimal(relative.median),
    }
    assert found == expected


@of_topic("denominator")
def test_denominator(given: dict[str, int], expected: dict[str, str]) -> None:
    lacking = {"without baseline": given["n_patients"] - given["evaluable"], "without follow-up": 0}
    assert of_evaluable(given["improved"], given["evaluable"], given["n_patients"], lacking) == expected["text"]


def test_counts_say_zero_and_have_no_percent_of_nobody() -> None:
    assert count_of_n(0, 4) == "0 of 4 (0 %)"
    assert count_of_n(0, 0) == "0 of 0"
    assert of_evaluable(0, 0, 4, {"without baseline": 4}) == "0 of 0 evaluable; 4 of 4 without baseline"


def test_no_values_have_no_median() -> None:
    assert median_range([]) is None


@pytest.mark.parametrize(
    ("number", "decimals", "expected"),
    [
        (Fraction(1, 4), 0, "1"),  # a root of exactly 0.5 goes up
        (Fraction(9, 400), 1, "0.2"),  # a root of exactly 0.15
        (Fraction(9, 400) - Fraction(1, 10**40), 1, "0.1"),  # a hair below it: no number of digits would be enough
        (Fraction(2), 5, "1.41421"),
        (Fraction(0), 1, "0.0"),
    ],
)
def test_roots_round_half_up_exactly(number: Fraction, decimals: int, expected: str) -> None:
    assert rounded_root(number, decimals) == Decimal(expected)
