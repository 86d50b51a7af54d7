"""What a paper says of many patients at once: counts, medians, means (R-ROUND, R-COHORT).

Everything stays exact until it is shown and is then rounded once, half up.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import isqrt, lcm
from typing import NamedTuple

from dm_fhir.model.exact import rounded

Number = Fraction | int


class MedianRange(NamedTuple):
    """The middle value, the lowest and the highest."""

    median: Fraction
    low: Fraction
    high: Fraction


class MeanSd(NamedTuple):
    """The mean of `n` values and their sample variance, which is None for a single value."""

    n: int
    mean: Fraction
    variance: Fraction | None

    def sd(self, decimals: int = 1) -> Decimal | None:
        """The sample standard deviation, rounded half up; None for a single value, never 0."""
        return None if self.variance is None else rounded_root(self.variance, decimals)


def median_range(values: Iterable[Number]) -> MedianRange | None:
    """Median with minimum and maximum; for an even number the mean of the two middle values. None without values."""
    ordered, unit = _in_order(values)
    if not ordered:
        return None
    upper = len(ordered) // 2
    lower = upper if len(ordered) % 2 else upper - 1
    return MedianRange(
        Fraction(ordered[lower] + ordered[upper], 2 * unit), Fraction(ordered[0], unit), Fraction(ordered[-1], unit)
    )


class Quartiles(NamedTuple):
    """A quarter, a half and three quarters of the values lie at or below these."""

    lower: Fraction
    median: Fraction
    upper: Fraction


def quartiles(values: Iterable[Number]) -> Quartiles | None:
    """Quartiles by linear interpolation between the ordered values; of a single value all three are it. None without values.

    Definition 7 of Hyndman and Fan (Am Stat 1996; 50:361-365), which R and NumPy use unless told otherwise.
    """
    ordered, unit = _in_order(values)
    if not ordered:
        return None
    return Quartiles(*(_quartile(ordered, unit, quarters) for quarters in (1, 2, 3)))


def _quartile(ordered: Sequence[int], unit: int, quarters: int) -> Fraction:
    place, rest = divmod((len(ordered) - 1) * quarters, 4)
    above = ordered[min(place + 1, len(ordered) - 1)]
    return Fraction((4 - rest) * ordered[place] + rest * above, 4 * unit)


def mean_sd(values: Iterable[Number]) -> MeanSd | None:
    """Mean and sample variance (n - 1 in the denominator). None without values."""
    exact, unit = _in_order(values)
    n, total = len(exact), sum(exact)
    if not n:
        return None
    squares = n * sum(value * value for value in exact) - total * total
    return MeanSd(n, Fraction(total, n * unit), Fraction(squares, n * (n - 1) * unit * unit) if n > 1 else None)


def _in_order(values: Iterable[Number]) -> tuple[list[int], int]:
    """The values from the least to the greatest as whole numbers of 1/unit, which are quick to compare and to add; and the unit."""
    exact = [value if isinstance(value, Fraction) else Fraction(value) for value in values]
    unit = lcm(*(value.denominator for value in exact))
    return sorted(value.numerator * (unit // value.denominator) for value in exact), unit


def rounded_root(number: Fraction, decimals: int) -> Decimal:
    """The square root rounded half up, without ever holding an approximation of it."""
    # A root r rounds up to k where r >= k - 1/2, so where 2r >= 2k - 1; isqrt finds the whole part of 2r exactly.
    doubled = isqrt(int(4 * number * 100**decimals))
    return rounded(Fraction((doubled + 1) // 2, 10**decimals), decimals)


def percent_of_count(count: int, n: int, decimals: int = 0) -> str | None:
    """The percentage that `count` is of `n`, half up; None for an empty denominator."""
    return f"{rounded(Fraction(100 * count, n), decimals):f}" if n else None


def count_of_n(count: int, n: int, decimals: int = 0) -> str:
    """ "k of n (p %)"; without a percentage where nobody is in the denominator."""
    percent = percent_of_count(count, n, decimals)
    return f"{count} of {n}" if percent is None else f"{count} of {n} ({percent} %)"


def of_evaluable(count: int, evaluable: int, n: int, lacking: Mapping[str, int]) -> str:
    """`count` among the evaluable patients, then how many of all `n` are not, by what they lack."""
    percent = percent_of_count(count, evaluable)
    among = f"{count} of {evaluable} evaluable" + (f" ({percent} %)" if percent is not None else "")
    return "; ".join((among, *(f"{number} of {n} {what}" for what, number in lacking.items() if number)))
