"""Numbers as the cells of a table show them: rounded once, half up, with the exact ones beside (R-ROUND)."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

from dm_fhir.model.exact import rounded, shown, to_text
from dm_fhir.report.sentence import EN_DASH
from dm_fhir.statistics.intervals import Interval, proportion_interval, rate_interval
from dm_fhir.statistics.small_cells import SmallCells
from dm_fhir.statistics.summaries import mean_sd, median_range, quartiles
from dm_fhir.statistics.table import Cell, Row

NOTHING = Cell(EN_DASH)
NOT_SHOWN = Cell("not shown")
#: Time over which a rate is counted.
PATIENT_YEARS = 100


def number(count: int, small: SmallCells) -> Cell:
    """A count alone."""
    return Cell(small.number(count), {} if small.hides(count) else {"count": str(count)})


def share(count: int, n: int, small: SmallCells, hidden: str | None = None, decimals: int = 0) -> Cell:
    """ "k of n (p %)"; `hidden` is what is shown of k instead."""
    hidden = hidden or small.instead(count, n)
    if hidden or small.hides(n):
        return Cell(f"{hidden or count} of {small.number(n)}")
    percent = {"percent": to_text(Fraction(100 * count, n))} if n else {}
    return Cell(small.of(count, n, decimals), {"count": str(count), "n": str(n), **percent})


def share_interval(count: int, n: int, small: SmallCells) -> Cell:
    """The exact 95 % confidence interval of a share, in percent."""
    found = proportion_interval(count, n)
    if found is None:
        return NOTHING
    if small.instead(count, n) or small.hides(n):
        return NOT_SHOWN
    return _interval(Interval(100 * found.low, 100 * found.high), " %")


def rate(events: int, days: int, small: SmallCells) -> Cell:
    """Events per 100 patient-years with the exact 95 % interval; a year is 365.25 days."""
    time = Fraction(days, PATIENT_YEARS) / Fraction("365.25")
    found = rate_interval(events, time)
    if found is None:
        return NOTHING
    if small.hides(events):
        return NOT_SHOWN
    exact = events / time
    interval = _interval(found, "")
    return Cell(f"{rounded(exact, 1)} ({interval.text})", {"rate": to_text(exact), **interval.values})


def median(values: Sequence[Fraction | int], small: SmallCells, show: Callable[[Fraction], str] = shown) -> Cell:
    """ "12 (5-21)": median with range, of a single value the value; mean, SD and quartiles stand beside it."""
    spread, mean, quarters = median_range(values), mean_sd(values), quartiles(values)
    if spread is None or mean is None or quarters is None:
        return NOTHING
    if small.hides(len(values)):
        return NOT_SHOWN
    numbers = {
        "n": str(len(values)), "median": to_text(spread.median), "low": to_text(spread.low), "high": to_text(spread.high),
        "lower_quartile": to_text(quarters.lower), "upper_quartile": to_text(quarters.upper), "mean": to_text(mean.mean),
    }  # fmt: skip
    if mean.variance is not None:
        numbers["variance"] = to_text(mean.variance)
    ends = f" ({between(spread.low, spread.high, show)})" if len(values) > 1 else ""
    return Cell(f"{show(spread.median)}{ends}", numbers)


def mean(values: Sequence[Fraction | int], small: SmallCells) -> Cell:
    """ "53.9 ± 19.8": mean with the sample SD, which a single value has not."""
    found = mean_sd(values)
    if found is None:
        return NOTHING
    if small.hides(found.n):
        return NOT_SHOWN
    sd, numbers = found.sd(), {"n": str(found.n), "mean": to_text(found.mean)}
    if found.variance is not None:
        numbers["variance"] = to_text(found.variance)
    return Cell(f"{rounded(found.mean, 1)}" + (f" ± {sd}" if sd is not None else " (one patient, no SD)"), numbers)


def middle_half(values: Sequence[Fraction | int], small: SmallCells) -> Cell:
    """ "12 (7-18)": median with the quartiles, which a single value has not."""
    quarters = quartiles(values)
    if quarters is None:
        return NOTHING
    if small.hides(len(values)):
        return NOT_SHOWN
    numbers = {
        "n": str(len(values)), "median": to_text(quarters.median), "lower_quartile": to_text(quarters.lower),
        "upper_quartile": to_text(quarters.upper),
    }  # fmt: skip
    ends = f" ({between(quarters.lower, quarters.upper, shown)})" if len(values) > 1 else ""
    return Cell(f"{shown(quarters.median)}{ends}", numbers)


def percent(value: Fraction) -> str:
    """A percentage with one decimal."""
    return f"{rounded(value, 1)} %"


def between(low: Fraction, high: Fraction, show: Callable[[Fraction], str]) -> str:
    """The two ends; a dash between them only where no minus sign could be taken for it."""
    return f"{show(low)}{EN_DASH if low >= 0 else ' to '}{show(high)}"


def counted_rows(
    counts: Mapping[str, int],
    n: int,
    lacking: int,
    small: SmallCells,
    words: Callable[[str], str] = str,
    *,
    exclusive: bool = False,
    open_: Mapping[str, int] = MappingProxyType({}),
) -> list[Row]:
    """A row for each count: its share of the `n` of whom it is known, and of how many it is not.

    `open_`: in how many of the `n` it is not known either, by key.
    """
    hidden = small.hidden(counts, n, exclusive=True) if exclusive else {}
    rows = []
    for key, count in counts.items():
        unknown = open_.get(key, 0)
        cells = share(count, n - unknown, small, hidden.get(key)), number(lacking + unknown, small)
        rows.append(Row(key, words(key), cells))
    return rows


def _interval(found: Interval, unit: str) -> Cell:
    text = f"{rounded(found.low, 1)}{EN_DASH}{rounded(found.high, 1)}{unit}"
    return Cell(text, {"low": to_text(found.low), "high": to_text(found.high)})
