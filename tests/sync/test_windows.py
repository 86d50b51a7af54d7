"""A search in pieces by date: whatever the dates, no day of the whole falls between two pieces."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dm_fhir.sync.windows import date_of, parameters, windows

Window = tuple[date | None, date | None]
_KNOWN_DAYS = st.dates(date(1990, 1, 1), date(2030, 12, 31))
#: Hospitals write the first and the last day that there are for days that nobody knows.
_DAYS = _KNOWN_DAYS | st.sampled_from([date.min, date.max])
ALL: Window = (None, None)
DAY = timedelta(days=1)


def holds(window: Window, day: date) -> bool:
    """Whether the day lies in the window as it stands, margins aside."""
    first, before = window
    return (first is None or first <= day) and (before is None or day < before)


def asked(window: Window, moment: str) -> bool:
    """Whether a server that compares instants finds this one by the window's parameters."""
    bounds = {value[:2]: value[2:] for _, value in parameters("date", window)}
    return bounds.get("ge", "") <= moment < bounds.get("lt", "9999")


@st.composite
def pieces(draw: st.DrawFn) -> tuple[Window, list[date]]:
    """What is to be cut, and dates that a server sends for it: a day too early or too late at most."""
    first, before = draw(st.none() | _DAYS), draw(st.none() | _DAYS)
    if first and before:
        first, before = sorted((first, before))
        before = None if first == before else before
    low = first - DAY if first and first > date.min else date.min
    high = before + DAY if before and before < date.max else date.max
    near = _DAYS.filter(lambda day: low <= day <= high)
    return (first, before), draw(st.lists(near | st.sampled_from([low, high]), max_size=60))


@given(pieces(), _DAYS)
def test_every_day_is_in_some_piece(piece: tuple[Window, list[date]], day: date) -> None:
    within, dates = piece
    cut = windows(dates, within)

    assert not cut or not holds(within, day) or any(holds(window, day) for window in cut)


@given(pieces())
@example(((date(2001, 1, 1), date(2002, 1, 1)), [date(2001, 1, 1), date(2002, 1, 1)]))
def test_pieces_begin_and_end_where_the_whole_does_and_are_each_smaller(piece: tuple[Window, list[date]]) -> None:
    within, dates = piece
    cut = windows(dates, within)

    assert not cut or (cut[0][0], cut[-1][1]) == within
    assert within not in cut
    assert all(parameters("date", window) for window in cut)


@given(st.lists(_KNOWN_DAYS, min_size=20, max_size=200, unique=True))
def test_no_piece_has_much_more_than_a_quarter(dates: list[date]) -> None:
    for window in windows(dates, ALL):
        assert sum(holds(window, day) for day in dates) <= len(dates) / 4 + 2


def test_dates_of_one_day_are_not_cut() -> None:
    assert windows([date(2025, 3, 1)] * 50, ALL) == []
    assert windows([], ALL) == []


@pytest.mark.parametrize(
    "moment",
    ["2025-02-28T23:59:59-12:00", "2025-03-01T00:00:00+14:00", "2025-03-15T12:00:00Z", "2025-03-31T23:59:59-12:00"],
)
def test_a_days_zone_does_not_matter(moment: str) -> None:
    """However far from ours the zone is in which it is the first of March."""
    instant = f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    day = date.fromisoformat(moment[:10])
    window: Window = (day, day + DAY)

    assert asked(window, instant)


@pytest.mark.parametrize(
    ("body", "day"),
    [
        (b'{"effectiveDateTime":"2025-03-01T10:00:00+01:00"}', date(2025, 3, 1)),
        (b'{"effectiveDateTime":"2025-03"}', date(2025, 3, 1)),
        (b'{"effectiveDateTime":"2025"}', date(2025, 1, 1)),
        (b'{"effectivePeriod":{"start":"2025-03-02","end":"2025-04-01"}}', date(2025, 3, 2)),
        (b'{"effectiveInstant":"2025-03-03T00:00:00Z"}', date(2025, 3, 3)),
        (b'{"authoredOn":"2025-03-04"}', date(2025, 3, 4)),
        (b'{"recordedDate":"2025-03-05"}', date(2025, 3, 5)),
        (b'{"date":"2025-03-06"}', date(2025, 3, 6)),
        (b'{"effectiveDateTime":"yesterday"}', None),
        (b'{"effectiveDateTime":7}', None),
        (b'{"effectivePeriod":{"end":"2025-04-01"}}', None),
        (b"{}", None),
        (b"\xff", None),
    ],
)
def test_the_day_that_a_record_is_about(body: bytes, day: date | None) -> None:
    assert date_of(body) == day
