"""Dates as they were written; every expected moment is worked out by hand."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.model.dates import Span, completed_years, day, first_day, holding, last_day, moved, span, with_zone

NEW_YORK, MADRID = ZoneInfo("America/New_York"), ZoneInfo("Europe/Madrid")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "end", "precision"),
    [
        # New York is five hours behind UTC in winter, four in summer.
        ("2024", "2024-01-01T05:00", "2025-01-01T05:00", "year"),
        ("2024-03", "2024-03-01T05:00", "2024-04-01T04:00", "month"),
        ("2024-12", "2024-12-01T05:00", "2025-01-01T05:00", "month"),
        ("2024-02-29", "2024-02-29T05:00", "2024-03-01T05:00", "day"),
        ("2024-12-31", "2024-12-31T05:00", "2025-01-01T05:00", "day"),
        ("2124-06-30", "2124-06-30T04:00", "2124-07-01T04:00", "day"),
        ("2024-04-15T10:00:00-04:00", "2024-04-15T14:00", "2024-04-15T14:00", "time"),
        ("2024-04-15T10:00:00+05:30", "2024-04-15T04:30", "2024-04-15T04:30", "time"),
        ("2024-04-15T10:00Z", "2024-04-15T10:00", "2024-04-15T10:00", "time"),
        ("2024-04-15T24:00:00Z", "2024-04-16T00:00", "2024-04-16T00:00", "time"),
        ("2024-12-31T24:00:00Z", "2025-01-01T00:00", "2025-01-01T00:00", "time"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59", "2016-12-31T23:59:59", "time"),
        ("2024-04-15T10:00:00.000249Z", "2024-04-15T10:00:00.000249", "2024-04-15T10:00:00.000249", "time"),
        ("2024-04-15T10:00:00.9999999Z", "2024-04-15T10:00:00.999999", "2024-04-15T10:00:00.999999", "time"),
        ("2180-07-23T12:35:00-04:00", "2180-07-23T16:35", "2180-07-23T16:35", "time"),
    ],
)
def test_a_text_is_the_stretch_of_time_it_names(text: str, start: str, end: str, precision: str) -> None:
    assert span(text, NEW_YORK) == (utc(start), utc(end), precision, False)


def test_a_time_without_a_zone_borrows_the_sites_and_says_so() -> None:
    assert span("2024-04-15T10:00:00", NEW_YORK) == (utc("2024-04-15T14:00"), utc("2024-04-15T14:00"), "time", True)
    assert span("2024-04-15T24:00:00", MADRID).start == utc("2024-04-15T22:00")


def test_the_day_on_which_clocks_go_forward_has_23_hours() -> None:
    shortest, longest = span("2024-03-31", MADRID), span("2024-10-27", MADRID)

    assert (shortest.start, shortest.end) == (utc("2024-03-30T23:00"), utc("2024-03-31T22:00"))
    assert longest.end - longest.start == timedelta(hours=25)
    assert day("2024-03-31T23:30:00", MADRID) == date(2024, 3, 31)


def test_an_evening_infusion_keeps_its_day() -> None:
    assert day("2024-04-15T23:30:00-04:00", NEW_YORK) == date(2024, 4, 15)
    assert day("2024-04-16T03:30:00Z", NEW_YORK) == date(2024, 4, 15)
    assert day("2024-04-16T03:30:00Z", MADRID) == date(2024, 4, 16)
    assert day("2024-04-15", NEW_YORK) == date(2024, 4, 15)
    assert day("2024-04", NEW_YORK) is None
    assert day("2024", NEW_YORK) is None


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", date(2024, 1, 1), date(2024, 12, 31)),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("2024-03-31", date(2024, 3, 31), date(2024, 3, 31)),
        ("2024-03-31T00:00:00+01:00", date(2024, 3, 31), date(2024, 3, 31)),
    ],
)
def test_the_days_that_a_text_may_mean(text: str, first: date, last: date) -> None:
    moment = span(text, MADRID)

    assert (first_day(moment, MADRID), last_day(moment, MADRID)) == (first, last)


@pytest.mark.parametrize(
    "text",
    [
        "", " 2024", "2024 ", "2024-04-15\n", "24-04-15", "2024-13", "2024-00", "2024-02-30", "2023-02-29", "2024-4-5",
        "15/04/2024", "2024-04-15T", "2024-04-15T10", "2024-04-15T25:00:00Z", "2024-04-15T24:00:01Z",
        "2024-04-15T24:00:00.5Z", "2024-04-15T10:60:00Z", "2024-04-15T10:00:61Z", "2024-04-15T10:00:00z",
        "2024-04-15T10:00:00+2:00", "2024-04-15T10:00:00+25:00", "2024-04-15T10:00:00+02:60", "2024-04-15 10:00:00",
        "\u0662\u0660\u0662\u0664-04-15", "0000", "0001-01-01", "9999-12-31", "9999-12-31T23:59:59Z", "unknown",
    ],
)  # fmt: skip
def test_what_is_no_date_raises_and_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError) as error:
        span(text, NEW_YORK)

    assert len(text) < 4 or text not in str(error.value)


@pytest.mark.parametrize(
    ("one", "other", "before"),
    [
        ("2024-03", "2024-04-15T10:00:00-04:00", True),
        ("2024-04", "2024-04-15T10:00:00-04:00", False),
        ("2024-04-15", "2024-04-15T10:00:00-04:00", False),
        ("2024-04-14", "2024-04-15", True),
        ("2024-04-15", "2024-04-15", False),
        ("2024-04-15T09:59:59-04:00", "2024-04-15T10:00:00-04:00", True),
        ("2024-04-15T10:00:00-04:00", "2024-04-15T10:00:00-04:00", False),
        ("2024-04-15T10:00:00-04:00", "2024-04-15T15:00:00Z", True),
        # Midnight is the first moment of the day, not before it; the day before ends there.
        ("2024-04-15T00:00:00-04:00", "2024-04-15", False),
        ("2024-04-14", "2024-04-15T00:00:00-04:00", True),
        ("2024-04-14T23:59:59-04:00", "2024-04-15", True),
    ],
)
def test_surely_before(one: str, other: str, before: bool) -> None:
    assert span(one, NEW_YORK).surely_before(span(other, NEW_YORK)) is before
    assert not span(other, NEW_YORK).surely_before(span(one, NEW_YORK))


@pytest.mark.parametrize(
    ("birth", "when", "years"),
    [
        ("1970-04-15", "2024-04-14", (53, 53)),
        ("1970-04-15", "2024-04-15", (54, 54)),
        ("1970-04", "2024-04-15", (53, 54)),
        ("1970-04", "2024-05-01", (54, 54)),
        ("1970", "2024-04-15", (53, 54)),
        ("1970", "2024-12-31", (54, 54)),
        ("1970", "2024", (53, 54)),
        ("2000-02-29", "2023-02-28", (22, 22)),
        ("2000-02-29", "2023-03-01", (23, 23)),
        ("1970-04-15", "2024-04-15T03:00:00Z", (53, 53)),
    ],
)
def test_age_in_completed_years_is_a_range_where_dates_are_partial(
    birth: str, when: str, years: tuple[int, int]
) -> None:
    assert completed_years(birth, when, NEW_YORK) == years


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2024", "2024"),
        ("2024-04-15", "2024-04-15"),
        ("2024-04-15T10:00:00-04:00", "2024-04-15T10:00:00-04:00"),
        ("2024-04-15T10:00:00Z", "2024-04-15T10:00:00Z"),
        ("2024-04-15T10:00:00", "2024-04-15T10:00:00-04:00"),
        ("2024-04-15T10:00Z", "2024-04-15T06:00:00-04:00"),
        ("2024-01-15T10:00", "2024-01-15T10:00:00-05:00"),
        ("2024-04-15T24:00:00-04:00", "2024-04-16T00:00:00-04:00"),
    ],
)
def test_a_time_is_written_with_seconds_and_zone(text: str, written: str) -> None:
    assert with_zone(text, NEW_YORK) == written


MODEST = settings(deadline=None, derandomize=True, database=None)
ZONES = st.sampled_from([NEW_YORK, MADRID, ZoneInfo("Asia/Kolkata"), ZoneInfo("Pacific/Auckland"), ZoneInfo("UTC")])
DAYS = st.dates(date(2, 1, 2), date(9998, 12, 30))
CLOSE = datetime(2024, 3, 5, tzinfo=UTC)


def moments(one: Span) -> range:
    """Every moment that a short span may mean, in halves of a microsecond: time is finer than datetime."""
    start, end = ((moment - CLOSE) // timedelta(microseconds=1) * 2 for moment in (one.start, one.end))
    return range(start, start + 1 if one.precision == "time" else end)


@st.composite
def short_spans(draw: st.DrawFn) -> Span:
    start = CLOSE + timedelta(microseconds=draw(st.integers(0, 6)))
    length = draw(st.integers(0, 4))
    return Span(start, start + timedelta(microseconds=length), "day" if length else "time", zone_assumed=False)


@MODEST
@given(short_spans(), short_spans())
def test_before_is_true_or_false_only_where_no_moment_speaks_against_it(one: Span, other: Span) -> None:
    verdicts = {a < b for a in moments(one) for b in moments(other)}

    assert one.before(other) is (verdicts.pop() if len(verdicts) == 1 else None)


@MODEST
@given(DAYS, st.times(), ZONES)
def test_a_local_time_stays_on_its_day_and_inside_it(on: date, at: time, zone: ZoneInfo) -> None:
    text = f"{on.isoformat()}T{at.isoformat(timespec='seconds')}"
    moment, whole = span(text, zone), span(on.isoformat(), zone)

    assert moment.zone_assumed
    # An hour that the clocks leap over has no place on the day; no zone here leaps over midnight.
    assert day(text, zone) == on
    assert whole.start <= moment.start < whole.end


@MODEST
@given(DAYS, ZONES)
def test_a_day_lies_in_its_month_and_that_in_its_year(on: date, zone: ZoneInfo) -> None:
    text = on.isoformat()
    found, month, year = (span(text[:length], zone) for length in (10, 7, 4))

    assert year.start <= month.start <= found.start < found.end <= month.end <= year.end
    assert (first_day(found, zone), last_day(found, zone)) == (on, on)
    assert found.before(month) is None
    assert found.before(found) is None


@MODEST
@given(DAYS, DAYS, ZONES)
def test_days_are_ordered_as_the_calendar_orders_them(one: date, other: date, zone: ZoneInfo) -> None:
    expected = None if one == other else one < other

    assert span(one.isoformat(), zone).before(span(other.isoformat(), zone)) is expected


@MODEST
@given(DAYS, DAYS, ZONES)
def test_no_precise_date_contradicts_the_partial_one(birth: date, seen: date, zone: ZoneInfo) -> None:
    if birth > seen:
        birth, seen = seen, birth
    exact = completed_years(birth.isoformat(), seen.isoformat(), zone)
    least, greatest = completed_years(birth.isoformat()[:7], seen.isoformat()[:4], zone)

    assert exact[0] == exact[1]
    assert least <= exact[0] <= greatest


@MODEST
@given(DAYS, DAYS)
def test_a_period_lies_in_the_date_that_holds_it(one: date, other: date) -> None:
    start, end = sorted((one.isoformat(), other.isoformat()))
    found = holding(start, end)

    if found is None:
        assert start[:4] != end[:4]
    else:
        whole = span(found, MADRID)
        assert whole.start <= span(start, MADRID).start
        assert span(end, MADRID).end <= whole.end


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ("2024-03-05", "2024-03-05", "2024-03-05"),
        ("2024-03-05T10:00:00Z", "2024-03-05T11:00:00Z", "2024-03-05"),
        ("2024-03-05", "2024-03-20", "2024-03"),
        ("2024-03", "2024-03-20", "2024-03"),
        ("2024-03-05", "2024-11", "2024"),
        ("2019", "2021", None),
        ("2019-05", None, "2019-05"),
        (None, "2021", None),
        (None, None, None),
    ],
)
def test_the_date_that_holds_a_period(start: str | None, end: str | None, text: str | None) -> None:
    assert holding(start, end) == text


@settings(deadline=None, derandomize=True, database=None)
@given(st.integers(0, 300 * 365 * 86_400 * 10**6), st.integers(-14 * 60, 14 * 60))
def test_a_moment_survives_in_every_zone(microseconds: int, minutes: int) -> None:
    when = datetime(1900, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    text = when.astimezone(timezone(timedelta(minutes=minutes))).isoformat()

    assert span(text, NEW_YORK).start == when


_OFFSETS = st.sampled_from(["", "Z", "+02:00", "-05:00", "+05:45", "-11:00"])
_TIMES = st.builds(
    lambda moment, offset: f"{moment:%Y-%m-%dT%H:%M:%S}{offset}",
    st.datetimes(*map(datetime.fromisoformat, ("1950-01-01", "2050-01-01"))),
    _OFFSETS,
)
_DAYS = st.builds(date.isoformat, st.dates(date(1950, 1, 1), date(2050, 1, 1)))
_ZONES = st.sampled_from(["Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])


@given(st.one_of(_DAYS, _TIMES), st.one_of(_DAYS, _TIMES), st.integers(-9000, 9000), _ZONES)
def test_days_between_two_dates_hold_when_both_are_moved(one: str, other: str, days: int, name: str) -> None:
    zone = ZoneInfo(name)
    before, after = (
        [day(text, zone) for text in (one, other)],
        [day(moved(text, days, zone) or "", zone) for text in (one, other)],
    )
    moves = [there - here for here, there in zip(before, after, strict=True) if here and there]
    assert moves == [timedelta(days=days)] * 2


@given(_TIMES, st.integers(-9000, 9000), _ZONES)
def test_the_time_of_day_stays_by_the_clock_and_so_does_the_form(text: str, days: int, name: str) -> None:
    zone = ZoneInfo(name)
    there = moved(text, days, zone) or ""
    is_zoned = len(text) > len("2024-03-05T10:00:00")
    clocks = [(span(one, zone).start.astimezone(zone).time() if is_zoned else one[11:]) for one in (text, there)]
    a_jump = any(_is_changed(one, zone) for one in (text, there))  # an hour that the clock passes over, or passes twice
    assert clocks[0] == clocks[1] or a_jump
    assert (len(there) > len("2024-03-05T10:00:00")) == is_zoned


def _is_changed(text: str, zone: ZoneInfo) -> bool:
    """Whether the clocks are changed around that time."""
    moment = span(text, zone).start.astimezone(zone)
    return (moment - timedelta(hours=3)).utcoffset() != (moment + timedelta(hours=3)).utcoffset()


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31", "9999"])
def test_what_stands_for_unknown_and_for_ever_is_not_moved(text: str) -> None:
    assert moved(text, -100, MADRID) == text


@pytest.mark.parametrize("text", ["", "in spring", "2024-13-40", "05/03/2024"])
def test_what_is_no_date_is_not_moved(text: str) -> None:
    with pytest.raises(ValueError):
        moved(text, 1, MADRID)


def test_a_time_before_there_were_time_zones_cannot_be_said() -> None:
    assert moved("1901-06-01T10:00:00Z", -400, MADRID) is None
    assert moved("1901-06-01", -400, MADRID) == "1900-04-27"


def test_a_partial_date_that_is_not_moved_stays_as_it_is() -> None:
    assert [moved(text, 0, MADRID) for text in ("2024", "2024-02", "2024-02-29")] == ["2024", "2024-02", "2024-02-29"]
    assert [moved(text, 366, MADRID) for text in ("2024", "2024-02", "2024-02-29")] == [None, "2025", "2025-03-01"]
    assert moved("2024-01", -31, MADRID) == "2023-12"
