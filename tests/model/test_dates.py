"""Dates as they were written; every expected moment is worked out by hand."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.model.dates import completed_years, day, first_day, last_day, span, with_zone

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


@settings(deadline=None, derandomize=True, database=None)
@given(st.integers(0, 300 * 365 * 86_400 * 10**6), st.integers(-14 * 60, 14 * 60))
def test_a_moment_survives_in_every_zone(microseconds: int, minutes: int) -> None:
    when = datetime(1900, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    text = when.astimezone(timezone(timedelta(minutes=minutes))).isoformat()

    assert span(text, NEW_YORK).start == when
