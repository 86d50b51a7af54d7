"""Exact confidence intervals: of a proportion, and of a rate of events over time."""

from fractions import Fraction
from typing import NamedTuple

CONFIDENCE = Fraction(95, 100)


class Interval(NamedTuple):
    """The ends of a confidence interval, in the unit of what it is of."""

    low: Fraction
    high: Fraction


def proportion_interval(count: int, n: int, confidence: Fraction = CONFIDENCE) -> Interval | None:
    """The interval of the share that `count` is of `n`, 0 to 1; None for an empty denominator.

    Clopper and Pearson (Biometrika 1934; 26:404-413), by scipy.stats.binomtest. Raises ValueError for a count that is
    none of `n`.
    """
    if not 0 <= count <= n:
        raise ValueError("a count lies from 0 to its denominator")
    if n == 0:
        return None
    from scipy import stats

    found = stats.binomtest(count, n).proportion_ci(float(confidence), method="exact")
    return Interval(Fraction(float(found.low)), Fraction(float(found.high)))


def rate_interval(events: int, time: Fraction, confidence: Fraction = CONFIDENCE) -> Interval | None:
    """The interval of `events` per unit of `time`; None where no time was observed.

    The exact interval of a Poisson count (Garwood, Biometrika 1936; 28:437-442) by quantiles of chi square
    (Ulm, Am J Epidemiol 1990; 131:373-375), divided by the time.
    """
    if time <= 0:
        return None
    from scipy import stats

    tail = (1 - float(confidence)) / 2
    low = stats.chi2.ppf(tail, 2 * events) / 2 if events else 0.0
    high = stats.chi2.ppf(1 - tail, 2 * events + 2) / 2
    return Interval(Fraction(float(low)) / time, Fraction(float(high)) / time)
