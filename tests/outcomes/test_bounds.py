"""What a value with a comparator decides, at its very end."""

from fractions import Fraction

import pytest

from dm_fhir.outcomes.bounds import Bounds, above, all_of, any_of, at_least, at_most, minus, negated, possible

TEN, TWENTY = Fraction(10), Fraction(20)
UP_TO_20, BELOW_20 = Bounds(TEN, TWENTY), Bounds(TEN, TWENTY, high_open=True)
FROM_10, ABOVE_10 = Bounds(TEN, None), Bounds(TEN, None, low_open=True)


@pytest.mark.parametrize(
    ("bounds", "threshold", "reaches", "exceeds"),
    [
        (UP_TO_20, 20, None, False),
        (BELOW_20, 20, False, False),
        (UP_TO_20, 10, True, None),
        (UP_TO_20, 9, True, True),
        (UP_TO_20, 21, False, False),
        (FROM_10, 10, True, None),
        (ABOVE_10, 10, True, True),
        (FROM_10, 11, None, None),
        (Bounds(None, None), 0, None, None),
        (Bounds(TEN, TEN), 10, True, False),
    ],
)
def test_a_threshold_at_the_end_of_a_bound(
    bounds: Bounds, threshold: int, reaches: bool | None, exceeds: bool | None
) -> None:
    assert at_least(bounds, threshold) is reaches
    assert above(bounds, threshold) is exceeds
    assert at_most(bounds, threshold) is negated(exceeds)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ("exact", Bounds(TEN, TEN)),
        ("upper_exclusive", Bounds(Fraction(0), TEN, high_open=True)),
        ("upper_inclusive", Bounds(Fraction(0), TEN)),
        ("lower_exclusive", Bounds(TEN, TWENTY, low_open=True)),
        ("lower_inclusive", Bounds(TEN, TWENTY)),
    ],
)
def test_a_bound_runs_to_the_end_of_its_scale(bound: str, expected: Bounds) -> None:
    assert possible(TEN, bound, Fraction(0), TWENTY) == expected


def test_an_open_end_stays_open_in_a_difference() -> None:
    assert minus(BELOW_20, UP_TO_20) == Bounds(-TEN, TEN, high_open=True)
    assert minus(UP_TO_20, BELOW_20) == Bounds(-TEN, TEN, low_open=True)
    assert minus(UP_TO_20, FROM_10) == Bounds(None, TEN)


def test_what_is_unknown_counts_only_where_it_could_decide() -> None:
    assert (all_of(True, None), all_of(False, None), all_of(True, True)) == (None, False, True)
    assert (any_of(True, None), any_of(False, None), any_of(False, False)) == (True, None, False)
