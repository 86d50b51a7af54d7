"""Visits: which window a follow-up belongs to, and which of several assessments stands for it (R-VISIT).

Day 0 is the day of the first exposure. A study has one schedule; what lies in none of its windows is unscheduled.
"""

from collections.abc import Sequence
from datetime import date, tzinfo
from typing import NamedTuple

from dm_fhir.model.dates import Span, first_day, last_day
from dm_fhir.model.definitions import Visit
from dm_fhir.outcomes.baseline import Dated


class Placed(NamedTuple):
    """The window that a time lies in, or None with the reason. `day` is its day since the first exposure, if it is one day."""

    visit: Visit | None
    day: int | None
    reason: str | None = None


def place(moment: Span, day_0: date, visits: Sequence[Visit], zone: tzinfo) -> Placed:
    """The window of `moment`. Reasons: `no_window`; `window_unknown` where a partial date may lie in one or not."""
    first, last = ((found - day_0).days for found in (first_day(moment, zone), last_day(moment, zone)))
    day = first if first == last else None
    inside = [visit for visit in visits if visit.first_day <= first and last <= visit.last_day]
    if inside:
        return Placed(inside[0], day)
    touched = any(visit.first_day <= last and first <= visit.last_day for visit in visits)
    return Placed(None, day, "window_unknown" if touched else "no_window")


def nearest(days: Sequence[int], target: int) -> int:
    """The day that is nearest to the target; of two equally near the later. Raises ValueError without days."""
    return min(days, key=lambda day: (abs(day - target), -day))


def at_visit(later: Sequence[Dated], visit: Visit, day_0: date, zone: tzinfo) -> Dated | None:
    """Of the follow-ups `later` the one that stands for the visit: nearest to its target, of two equally near the later.

    A partial date that lies wholly inside the window stands for it only where no day does. None if none lies in it.
    """
    placed = [(one, place(one.span, day_0, (visit,), zone)) for one in later]
    inside = [(one, found.day) for one, found in placed if found.visit is not None]
    dated = [(one, day) for one, day in inside if day is not None]
    if not dated:
        return inside[-1][0] if inside else None
    best = nearest([day for _, day in dated], visit.day)
    return [one for one, day in dated if day == best][-1]


def standing(later: Sequence[Dated], visits: Sequence[Visit], day_0: date, zone: tzinfo) -> dict[str, str]:
    """Of the follow-ups `later`, which are in order of time, those that stand for a visit, by place: the visit's name."""
    inside: dict[Visit, list[Dated]] = {}
    for one in later:
        visit = place(one.span, day_0, visits, zone).visit
        if visit is not None:
            inside.setdefault(visit, []).append(one)
    found = (
        (visit, at_visit(some, visit, day_0, zone) if len(some) > 1 else some[0]) for visit, some in inside.items()
    )
    return {one.assessment.source.place: visit.name for visit, one in found if one is not None}
