"""A search that is too large for its server, in pieces by date. What has no date is in no piece: the announced total tells."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise

import msgspec

from dm_fhir.fhir.resource import NOT_READABLE
from dm_fhir.fhir.search import Parameters

PIECES = 8
#: Where it is open, a window is also cut so many days before the first known date and behind the last.
_BEYOND = tuple(timedelta(days=days) for days in (30, 365, 3 * 365, 10 * 365))
#: A day without zone may begin up to so much earlier or later than ours.
_MARGIN = timedelta(days=1)


class _Period(msgspec.Struct, frozen=True):
    start: str | None = None


class _Dated(msgspec.Struct, frozen=True):
    effectiveDateTime: str | None = None
    effectivePeriod: _Period | None = None
    effectiveInstant: str | None = None
    authoredOn: str | None = None
    recordedDate: str | None = None
    date: str | None = None


_DATED = msgspec.json.Decoder(_Dated)


def date_of(body: bytes) -> date | None:
    """The day that a resource is about, as the server's search by date sees it; None if it says none."""
    try:
        found = _DATED.decode(body)
    except NOT_READABLE:
        return None
    text = (
        found.effectiveDateTime
        or (found.effectivePeriod.start if found.effectivePeriod else None)
        or found.effectiveInstant
        or found.authoredOn
        or found.recordedDate
        or found.date
        or ""
    )
    try:
        return date.fromisoformat(f"{text}-01-01"[:10])
    except ValueError:
        return None


def windows(dates: Iterable[date], within: tuple[date | None, date | None]) -> list[tuple[date | None, date | None]]:
    """Pieces of `within` (from, before; None: open): about as many of `dates` in each, and a few where there are none.

    None if all dates are of one day. Without any date the pieces are equally long.
    """
    days = sorted(dates)
    cuts = [days[len(days) * part // PIECES] for part in range(1, PIECES)] if days else _equal_parts(*within)
    first, end = within
    inside = sorted(
        {cut for cut in cuts if cut not in days[:1] and (first or date.min) < cut and (end is None or cut < end)}
    )
    if not inside:
        return []
    before = {_moved(days[0], -far) for far in _BEYOND} if days and first is None else set()
    behind = {_moved(days[-1], far) for far in _BEYOND} if days and end is None else set()
    edges: Sequence[date | None] = (first, *sorted(before), *inside, *sorted(behind), end)
    return list(pairwise(edges))


def _moved(day: date, by: timedelta) -> date:
    """The day so much earlier or later, as far as there are days: hospitals write 0001-01-01 and 9999-12-31."""
    try:
        return day + by
    except OverflowError:
        return date.min if by < timedelta(0) else date.max


def _equal_parts(first: date | None, before: date | None) -> list[date]:
    if first is None or before is None:
        return []
    step = max(1, (before - first).days // PIECES)
    return [first + timedelta(days=days) for days in range(step, (before - first).days, step)]


def parameters(name: str, window: tuple[date | None, date | None]) -> Parameters:
    """The search parameters of a window, as instants with a margin on both sides; what comes twice is counted once."""
    return tuple(_bounds(name, window))


def _bounds(name: str, window: tuple[date | None, date | None]) -> Iterator[tuple[str, str]]:
    first, before = window
    if first is not None:
        yield name, f"ge{_moved(first, -_MARGIN)}T00:00:00Z"
    if before is not None:
        yield name, f"lt{_moved(before, _MARGIN)}T00:00:00Z"
