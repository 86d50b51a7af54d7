"""What is hidden cannot be worked out from what is shown."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.statistics.small_cells import SHOW_ALL, SmallCells

FIVE = SmallCells(5)


def test_counts_of_few_are_hidden_and_nought_is_a_result() -> None:
    assert [FIVE.of(count, 24) for count in (0, 1, 4, 5, 12, 19, 20, 23, 24)] == [
        "0 of 24 (0 %)", "<5 of 24", "<5 of 24", "5 of 24 (21 %)", "12 of 24 (50 %)", "19 of 24 (79 %)", "≥5 of 24",
        "≥5 of 24", "24 of 24 (100 %)",
    ]  # fmt: skip
    assert FIVE.of(2, 3) == "<5 of <5"
    assert (FIVE.of(0, 3), FIVE.of(0, 0)) == ("0 of <5", "0 of 0")


def test_without_a_limit_all_is_shown() -> None:
    assert [SHOW_ALL.number(count) for count in range(4)] == ["0", "1", "2", "3"]
    assert SHOW_ALL.hidden({"a": 1, "b": 2}, 3, exclusive=True) == {}


def test_a_single_hidden_group_takes_the_smallest_other_with_it() -> None:
    assert FIVE.hidden({"classic": 11, "amyopathic": 10, "juvenile": 3}, 24, exclusive=True) == {
        "juvenile": "<5",
        "amyopathic": "≥5",
    }
    assert FIVE.hidden({"classic": 9, "amyopathic": 10, "juvenile": 3, "antisynthetase": 2}, 24, exclusive=True) == {
        "juvenile": "<5",
        "antisynthetase": "<5",
    }
    # Two hidden ones that sum to 2 are both 1; what is in none of the groups counts as a group.
    assert FIVE.hidden({"a": 8, "b": 14, "c": 1, "d": 1}, 24, exclusive=True) == {"c": "<5", "d": "<5", "a": "≥5"}
    assert FIVE.hidden({"a": 10, "b": 11}, 24, exclusive=True) == {"a": "≥5"}
    assert FIVE.hidden({"pruritus": 11, "ulcers": 3}, 24) == {"ulcers": "<5"}


def test_the_denominator_and_the_missing_follow() -> None:
    assert FIVE.of_evaluable(2, 2, 24, {"without baseline": 22, "without follow-up": 0}) == (
        "<5 of <5 evaluable; 22 of 24 without baseline"
    )
    assert (
        SHOW_ALL.of_evaluable(2, 2, 4, {"without baseline": 2}) == "2 of 2 evaluable (100 %); 2 of 4 without baseline"
    )


@given(st.lists(st.integers(0, 9), min_size=2, max_size=4), st.integers(0, 6), st.integers(3, 6))
def test_exclusive_groups_leave_more_than_one_possibility(counts: list[int], rest: int, below: int) -> None:
    small, n = SmallCells(below), sum(counts) + rest
    groups = {str(index): count for index, count in enumerate(counts)}
    hidden = small.hidden(groups, n, exclusive=True)
    few = [key for key, count in groups.items() if small.hides(count)]
    assert all(hidden[key] == f"<{below}" for key in few)
    if len(hidden) == len([count for count in counts if count]):
        return  # nothing is left to hide but the number of all
    # Everything that a reader may put in place of the hidden counts, with the sum that is known.
    choices = [
        range(1, below) if hidden.get(key) == f"<{below}" else range(below, n + 1) if key in hidden else [count]
        for key, count in groups.items()
    ]
    possible = [found for found in product(*choices) if sum(found) <= n and (rest or sum(found) == n)]
    for key in few:
        assert len({found[int(key)] for found in possible}) > 1, (groups, rest, hidden)
