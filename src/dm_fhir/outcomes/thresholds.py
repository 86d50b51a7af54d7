"""Published definitions as data: which change matters, and bands of severity. Each stands once, under its id.

Every edge is applied to the exact, unrounded value. A bound such as "<20" falls into a band only if every value that it
may mean does.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Literal, NamedTuple

from dm_fhir.model.exact import to_text

#: C: confirmed in its source. N: in use, not confirmed. D: decided by this project. What is N or D is never "the MCID".
Status = Literal["C", "N", "D"]
STATUS: dict[Status, str] = {"C": "confirmed", "N": "not confirmed", "D": "this project's own"}
_SENSES = {"improvement": "improvement", "worsening": "worsening", "either": "change in either direction"}
_UNITS = {"{score}": "points"}


class Interval(NamedTuple):
    """Values from `low` to `high`, both included unless open; None is no end."""

    low: Fraction | None = None
    high: Fraction | None = None
    low_open: bool = False
    high_open: bool = False

    def holds(self, other: "Interval") -> bool:
        """Whether every value of `other` lies in this one."""
        return _begins_within(self, other) and _ends_within(self, other)

    def divided_by(self, number: Fraction) -> "Interval":
        """The interval of the quotients by a number above 0."""
        low = self.low / number if self.low is not None else None
        if self.high is self.low:
            return Interval(low, low)
        return Interval(low, self.high / number if self.high is not None else None, self.low_open, self.high_open)

    @property
    def words(self) -> str:
        """ "0-3", "above 14", "4 to below 7"."""
        if self.low is None:
            return f"{'below' if self.high_open else 'up to'} {_text(self.high)}"
        if self.high is None:
            return f"above {_text(self.low)}" if self.low_open else f"{_text(self.low)} and above"
        if self.low == self.high:
            return _text(self.low)
        if not self.low_open and not self.high_open:
            return f"{_text(self.low)}-{_text(self.high)}"
        return f"{'above ' if self.low_open else ''}{_text(self.low)} to {'below ' if self.high_open else ''}{_text(self.high)}"


class Threshold(NamedTuple):
    """A change that matters: reached by at least `value`, in points of the score or in percent of the baseline.

    `sense` is whether an improvement reaches it, a worsening, or either. From `undecided_from` up to `value` it depends on
    what no number tells (`undecided_words`): there is no verdict then.
    """

    id: str
    value: Fraction
    source: str
    status: Status
    of: Literal["points", "percent"] = "points"
    sense: Literal["improvement", "worsening", "either"] = "improvement"
    undecided_from: Fraction | None = None
    undecided_words: str = ""

    def verdict(self, improvement: Fraction) -> str | None:
        """ "yes" or "no"; "better", "worse" or "no" of a change in either direction; None where it is not decided."""
        if self.sense == "either":
            return "better" if improvement >= self.value else "worse" if -improvement >= self.value else "no"
        change = improvement if self.sense == "improvement" else -improvement
        if self.undecided_from is not None and self.undecided_from <= change < self.value:
            return None
        return "yes" if change >= self.value else "no"

    def words(self, unit: str) -> str:
        """ "improvement of at least 4 points"; `unit` is the score's."""
        amount = "% of the baseline" if self.of == "percent" else _UNITS.get(unit, unit)
        said = f"{_SENSES[self.sense]} of at least {_text(self.value)} {amount}"
        if self.undecided_from is None:
            return said
        return f"{said}; from {_text(self.undecided_from)} {self.undecided_words}"


class Bands(NamedTuple):
    """Bands of a value, or of its multiple of the upper limit of normal. A value between two bands is in none."""

    id: str
    bands: tuple[tuple[str, Interval], ...]
    source: str
    status: Status
    of: Literal["value", "x_uln"] = "value"

    def verdict(self, values: Interval) -> str | None:
        """The name of the band that holds all these values; None if none does."""
        return next((name for name, band in self.bands if band.holds(values)), None)

    @property
    def words(self) -> str:
        """ "0-3 mild, 4-6 moderate, 7-10 major"."""
        said = ", ".join(f"{band.words} {name.replace('_', ' ')}" for name, band in self.bands)
        return f"in multiples of the upper limit of normal: {said}" if self.of == "x_uln" else said


def at_least(id_: str, value: str, source: str, status: Status) -> Bands:
    """Whether a value is at least so much: "yes" or "no"."""
    edge = Fraction(value)
    return Bands(id_, (("no", Interval(high=edge, high_open=True)), ("yes", Interval(edge))), source, status)


def closed(*bands: tuple[str, str, str]) -> tuple[tuple[str, Interval], ...]:
    """Bands of a name and two ends that both belong to it."""
    return tuple((name, Interval(Fraction(low), Fraction(high))) for name, low, high in bands)


def from_each(edges: Iterable[tuple[str, str]], last: str) -> tuple[tuple[str, Interval], ...]:
    """Bands that each begin with their edge and end before the next; the last of them ends with `last`, included."""
    begun = [(name, Fraction(edge)) for name, edge in edges]
    ends = [edge for _, edge in begun[1:]]
    inner = [(name, Interval(low, high, high_open=True)) for (name, low), high in zip(begun, ends, strict=False)]
    return (*inner, (begun[-1][0], Interval(begun[-1][1], Fraction(last))))


def possible(number: Fraction, bound: str) -> Interval:
    """The values that a result may mean: one, or all those on one side. Nothing that is measured here is below 0."""
    match bound:
        case "upper_exclusive":
            return Interval(Fraction(0), number, high_open=True)
        case "upper_inclusive":
            return Interval(Fraction(0), number)
        case "lower_exclusive":
            return Interval(number, low_open=True)
        case "lower_inclusive":
            return Interval(number)
    return Interval(number, number)


def _begins_within(outer: Interval, inner: Interval) -> bool:
    if outer.low is None or inner.low is None:
        return outer.low is None
    return inner.low > outer.low or (inner.low == outer.low and (inner.low_open or not outer.low_open))


def _ends_within(outer: Interval, inner: Interval) -> bool:
    if outer.high is None or inner.high is None:
        return outer.high is None
    return inner.high < outer.high or (inner.high == outer.high and (inner.high_open or not outer.high_open))


def _text(number: Fraction | None) -> str:
    return to_text(number) if number is not None else ""
