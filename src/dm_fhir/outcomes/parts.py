"""What each measure of a composite came to: the parts that its outcome carries."""

from fractions import Fraction

from dm_fhir.model.case import Part
from dm_fhir.model.exact import to_text
from dm_fhir.outcomes import core_set, imacs
from dm_fhir.outcomes.bounds import Bounds, minus, times, word
from dm_fhir.outcomes.core_set import Compared
from dm_fhir.outcomes.imacs import Judged
from dm_fhir.outcomes.inactive import Kept
from dm_fhir.outcomes.tis import Scored


def of_score(one: Scored) -> Part:
    """A measure of the Total Improvement Score: its points, and its improvement in percent of the range of its scale."""
    exact, between = _told(one.percent)
    return Part(
        one.compared.measure.name, one.compared.variable, points=one.points, percent_of_range=exact, between=between,
        reasons=one.reasons,
    )  # fmt: skip


def of_verdict(one: Judged) -> Part:
    """A measure of a definition of improvement or worsening: in percent of its baseline, and what was asked of it."""
    exact, between = _told(percent_of_baseline(one.compared))
    verdicts = {name: said for name, met in one.verdicts.items() if (said := word(met)) is not None}
    return Part(
        one.compared.measure.name, one.compared.variable, percent_of_baseline=exact, between=between, verdicts=verdicts,
        reasons=imacs.unknown(one),
    )  # fmt: skip


def of_limit(one: Kept) -> Part:
    """A measure of inactive disease: whether it keeps its limit."""
    said = word(one.met)
    verdicts = {"limit_kept": said} if said is not None else {}
    measured = one.variable if one.assessment is not None else None
    return Part(one.variable, measured, verdicts=verdicts, reasons=one.reasons)


def percent_of_baseline(one: Compared) -> Bounds | None:
    """Improvement in percent of an exact baseline above 0; else None."""
    if one.ends is None or not one.ends[0].exact:
        return None
    first, last = one.ends
    points = minus(first, last) if core_set.SCALES[one.variable or ""].higher_is_worse else minus(last, first)
    return times(points, 100 / one.ends[0].exact)


def percent_text(percent: Bounds) -> str:
    """A percentage, exact; or between what it lies."""
    if percent.exact is not None:
        return to_text(percent.exact)
    low, high = (to_text(end) if end is not None else None for end in (percent.low, percent.high))
    ends = (
        f"{'>' if percent.low_open else '>='} {low}" if low else "",
        f"{'<' if percent.high_open else '<='} {high}" if high else "",
    )
    return ", ".join(end for end in ends if end)


def _told(percent: Bounds | None) -> tuple[Fraction | None, str | None]:
    """The percentage, or between what it lies."""
    if percent is None or percent.exact is not None:
        return percent and percent.exact, None
    return None, percent_text(percent) or None
