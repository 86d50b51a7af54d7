"""What a value with a comparator may be, and what can be said of it all the same: true, false, or unknown (None).

"<20" is every number from the lower end of its scale up to 20. A threshold is decided where every possible value falls on
one side of it. Three-valued logic throughout: unknown is neither counted as true nor as false.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from dm_fhir.model.case import Result
from dm_fhir.model.exact import to_text


class Bounds(NamedTuple):
    """Every number from `low` to `high`; None where there is no end. An open end does not itself belong to it."""

    low: Fraction | None
    high: Fraction | None
    low_open: bool = False
    high_open: bool = False

    @property
    def exact(self) -> Fraction | None:
        """The number, where it can only be one."""
        return self.low if self.low == self.high else None


def possible(number: Fraction, bound: str, lowest: Fraction | None, highest: Fraction | None) -> Bounds:
    """What a result may be, by its `bound` (see `model.case.Result`), on a scale that runs from `lowest` to `highest`."""
    if bound.startswith("upper"):
        return Bounds(lowest, number, high_open=bound == "upper_exclusive")
    if bound.startswith("lower"):
        return Bounds(number, highest, low_open=bound == "lower_exclusive")
    return Bounds(number, number)


SIGNS = {"upper_exclusive": "<", "upper_inclusive": "<=", "lower_exclusive": ">", "lower_inclusive": ">="}


def value_text(result: Result) -> str | None:
    """The value of a result in its unit, exact, with the sign of a bound: "12.5", "<20"; None without a number."""
    return SIGNS.get(result.bound, "") + to_text(result.number) if result.number is not None else None


def times(one: Bounds, factor: Fraction) -> Bounds:
    """Every possible value times a factor above 0."""
    low, high = (end * factor if end is not None else None for end in (one.low, one.high))
    return Bounds(low, high, one.low_open, one.high_open)


def minus(one: Bounds, other: Bounds) -> Bounds:
    """Every possible difference."""
    low = one.low - other.high if one.low is not None and other.high is not None else None
    high = one.high - other.low if one.high is not None and other.low is not None else None
    return Bounds(low, high, one.low_open or other.high_open, one.high_open or other.low_open)


def at_least(one: Bounds, threshold: Fraction | int) -> bool | None:
    """Whether it reaches the threshold, which counts as reaching it."""
    if one.low is not None and one.low >= threshold:
        return True
    ends_below = one.high is not None and (one.high < threshold or (one.high == threshold and one.high_open))
    return False if ends_below else None


def above(one: Bounds, threshold: Fraction | int) -> bool | None:
    """Whether it exceeds the threshold."""
    if one.low is not None and (one.low > threshold or (one.low == threshold and one.low_open)):
        return True
    return False if one.high is not None and one.high <= threshold else None


def at_most(one: Bounds, threshold: Fraction | int) -> bool | None:
    """Whether it does not exceed the threshold."""
    return negated(above(one, threshold))


def negated(verdict: bool | None) -> bool | None:
    """The contrary; the contrary of unknown is unknown."""
    return None if verdict is None else not verdict


def all_of(*verdicts: bool | None) -> bool | None:
    """Whether all hold: false as soon as one does not."""
    if False in verdicts:
        return False
    return None if None in verdicts else True


def any_of(*verdicts: bool | None) -> bool | None:
    """Whether one of them holds: true as soon as one does."""
    if True in verdicts:
        return True
    return None if None in verdicts else False


def so_many(least: int, verdicts: Iterable[bool | None]) -> bool | None:
    """Whether at least so many hold; decided as soon as the unknown ones cannot change it."""
    found = list(verdicts)
    if found.count(True) >= least:
        return True
    return False if found.count(True) + found.count(None) < least else None


def word(verdict: bool | None) -> str | None:
    """A verdict as an outcome's answer: "yes", "no", or None for unknown."""
    return None if verdict is None else "yes" if verdict else "no"
