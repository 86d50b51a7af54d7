"""How long something lasts, where for some it had not ended when they were last seen: Kaplan and Meier.

J Am Stat Assoc 1958; 53:457-481. The estimate is kept as an exact fraction, because a product of binary floats may miss
the half that the median asks for; the confidence interval is scipy's (scipy.stats.ecdf).
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import isnan
from typing import NamedTuple

from dm_fhir.statistics.intervals import CONFIDENCE, Interval


class Followed(NamedTuple):
    """How long one patient was followed, in days; and whether the end came then. If not, it is censored."""

    days: int
    ended: bool


class Step(NamedTuple):
    """A day on which it ended for `ended` of those `at_risk`, and the share for whom it had not ended after that day.

    `interval` is pointwise, on the log-log scale; None where that is not defined (a share of 0).
    """

    day: int
    at_risk: int
    ended: int
    survival: Fraction
    interval: Interval | None


class Survival(NamedTuple):
    """The steps of the curve in order of time. `median_days` is None where the curve does not come down to a half."""

    followed: tuple[Followed, ...]
    steps: tuple[Step, ...]

    @property
    def median_days(self) -> int | None:
        """The first day after which at most half are left."""
        return next((step.day for step in self.steps if step.survival <= Fraction(1, 2)), None)

    def at_risk(self, day: int) -> int:
        """How many were followed until that day at least, and for whom it had not ended before."""
        return sum(one.days >= day for one in self.followed)

    def at(self, day: int) -> Step | None:
        """The last step up to and on that day; None before the first, when the share is still 1."""
        return next((step for step in reversed(self.steps) if step.day <= day), None)


def kaplan_meier(followed: Iterable[Followed], confidence: Fraction = CONFIDENCE) -> Survival:
    """The curve of those followed; without steps where it ended for nobody. One censored on a day was at risk on it."""
    everyone = tuple(sorted(followed))
    ended = Counter(one.days for one in everyone if one.ended)
    intervals = _intervals(everyone, sorted(ended), confidence)
    steps, survival, left = [], Fraction(1), len(everyone)
    leaving = Counter(one.days for one in everyone)
    for day in sorted(leaving):
        if ended[day]:
            survival *= 1 - Fraction(ended[day], left)
            steps.append(Step(day, left, ended[day], survival, intervals[day]))
        left -= leaving[day]
    return Survival(everyone, tuple(steps))


def _intervals(everyone: Sequence[Followed], days: Sequence[int], confidence: Fraction) -> dict[int, Interval | None]:
    if not days:
        return {}
    from scipy import stats

    sample = stats.CensoredData(
        uncensored=[one.days for one in everyone if one.ended], right=[one.days for one in everyone if not one.ended]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # not defined at a share of 0: told by None instead
        found = stats.ecdf(sample).sf.confidence_interval(float(confidence), method="log-log")
    ends = zip(days, found.low.evaluate(days), found.high.evaluate(days), strict=True)
    return {day: _interval(float(low), float(high)) for day, low, high in ends}


def _interval(low: float, high: float) -> Interval | None:
    return None if isnan(low) or isnan(high) else Interval(Fraction(low), Fraction(high))
