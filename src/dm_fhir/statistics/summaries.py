"""What a paper says of many patients at once: counts, medians, means (R-ROUND, R-COHORT).

Everything stays exact until it is shown and is then rounded once, half up.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import isqrt
from statistics import quantiles
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
    ordered = sorted(map(Fraction, values))
    if not ordered:
        return None
    upper = len(ordered) // 2
    lower = upper if len(ordered) % 2 else upper - 1
    return MedianRange((ordered[lower] + ordered[upper]) / 2, ordered[0], ordered[-1])


class Quartiles(NamedTuple):
    """A quarter, a half and three quarters of the values lie at or below these."""

    lower: Fraction
    median: Fraction
    upper: Fraction


def quartiles(values: Iterable[Number]) -> Quartiles | None:
    """Quartiles by linear interpolation between the ordered values; of a single value all three are it. None without values.

    Definition 7 of Hyndman and Fan (Am Stat 1996; 50:361-365), which R and NumPy use unless told otherwise.
    """
    exact = list(map(Fraction, values))
    if len(exact) < 2:
        return Quartiles(exact[0], exact[0], exact[0]) if exact else None
    return Quartiles(*quantiles(exact, n=4, method="inclusive"))


def mean_sd(values: Iterable[Number]) -> MeanSd | None:
    """Mean and sample variance (n - 1 in the denominator). None without values."""
    exact = list(map(Fraction, values))
    if not exact:
        return None
    mean = sum(exact, Fraction(0)) / len(exact)
    squares = sum(((value - mean) ** 2 for value in exact), Fraction(0))
    return MeanSd(len(exact), mean, squares / (len(exact) - 1) if len(exact) > 1 else None)


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
