"""FHIR dates and times as they were written: partial dates stay partial, zones are kept, order may be unknown.

A date is text (`2024`, `2024-03`, `2024-03-05`, `2024-03-05T10:00:00-04:00`). Where a comparison is needed it becomes
a `Span`: the stretch of time in which it may lie (FHIR R4, data type dateTime).
"""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Literal, NamedTuple

Precision = Literal["year", "month", "day", "time"]
#: From the coarsest to the finest.
PRECISIONS: tuple[Precision, ...] = ("year", "month", "day", "time")

_FORM = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?P<fraction>\.\d+)?)?(?P<zone>Z|[+-]\d\d:[0-5]\d)?)?)?)?",
    re.ASCII,
)


class Span(NamedTuple):
    """From `start` up to, not including, `end`, both in UTC. A time is a span without length."""

    start: datetime
    end: datetime
    precision: Precision
    zone_assumed: bool

    def surely_before(self, other: "Span") -> bool:
        """True only if every moment of this span lies before every moment of `other`."""
        # A time has no length: it may lie on the first moment of a day without lying before that day.
        return self.start < other.start if self.precision == "time" else self.end <= other.start

    def before(self, other: "Span") -> bool | None:
        """Whether the moment it means lies before the one that `other` means; None where the two leave that open."""
        if self.surely_before(other):
            return True
        latest = other.start if other.precision == "time" else other.end
        return False if self.start >= latest else None


@lru_cache(maxsize=10_000)  # a record is looked at again and again, and many are of the same day
def span(text: str, zone: tzinfo) -> Span:
    """The stretch of time that `text` names; days, and times written without a zone, are those of `zone`.

    Raises ValueError for anything that is no FHIR date or dateTime; the text is not repeated in it.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError("not a FHIR date or dateTime")
    # Years 1 and 9999 stand for "unknown" and "for ever", and have no neighbour to move into with another zone.
    if not 1 < int(form["year"]) < 9999:
        raise ValueError("a year that no record of a patient can mean")
    if form["hour"] is not None:
        return _time(form, zone)
    first = date(int(form["year"]), int(form["month"] or 1), int(form["day"] or 1))
    precision: Precision = "day" if form["day"] else "month" if form["month"] else "year"
    return Span(_midnight(first, zone), _midnight(_next(first, precision), zone), precision, zone_assumed=False)


def day(text: str, zone: tzinfo) -> date | None:
    """The calendar day in `zone`; None if `text` names only a month or a year. Raises ValueError as `span` does."""
    moment = span(text, zone)
    return moment.start.astimezone(zone).date() if moment.precision in ("day", "time") else None


def holding(start: str | None, end: str | None) -> str | None:
    """The most precise date that holds all of a period: 2024-03 from 2024-03-02 to 2024-03-20; its start if it is open.

    The dates are taken as they were written, each in its own zone. None for a period over the end of a year, or one
    that has only an end, or none of both.
    """
    if not start or not end or start == end:
        return start or None
    for length in (len("2024-03-05"), len("2024-03"), len("2024")):
        if len(start) >= length and start[:length] == end[:length]:
            return start[:length]
    return None


def first_day(moment: Span, zone: tzinfo) -> date:
    """The first calendar day in `zone` that `moment` may mean."""
    return moment.start.astimezone(zone).date()


def last_day(moment: Span, zone: tzinfo) -> date:
    """The last calendar day in `zone` that `moment` may mean."""
    end = moment.end if moment.precision == "time" else moment.end - timedelta(microseconds=1)
    return end.astimezone(zone).date()


def on_or_before(text: str | None, limit: date, zone: tzinfo) -> bool | None:
    """Whether `text` lies on or before the day `limit` in `zone`; None where it is absent, partial or no date and so leaves that open."""
    try:
        moment = span(text or "", zone)
    except ValueError:
        return None
    if last_day(moment, zone) <= limit:
        return True
    return False if first_day(moment, zone) > limit else None


def moved(text: str, days: int, zone: tzinfo) -> str | None:
    """The date or time so many days later, in the form and precision in which it is written; its time of day by the clock of `zone` stays.

    A month or a year cannot be moved by days: it becomes the most precise date that surely holds all of it, None where that
    would be two years. A time from before there were time zones has no form in FHIR: None. Years 1 and 9999 ("unknown", "for
    ever") stay. Raises ValueError for what is no FHIR date or dateTime.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError("not a FHIR date or dateTime")
    if int(form["year"]) in (1, 9999) or not days:
        return text
    moment, further = span(text, zone), timedelta(days=days)
    if moment.precision in ("year", "month"):
        first, last = first_day(moment, zone) + further, last_day(moment, zone) + further
        return holding(first.isoformat(), last.isoformat())
    if form["zone"] is None:
        written = date(int(form["year"]), int(form["month"]), int(form["day"])) + further
        return written.isoformat() + text[len("2024-03-05") :]
    local = moment.start.astimezone(zone)
    there = datetime.combine(local.date() + further, local.time(), zone)
    second = f":{form['second']}{form['fraction'] or ''}" if form["second"] else ""
    text = f"{there:%Y-%m-%dT%H:%M}{second}{there.isoformat()[-6:]}"
    return text if is_date(text) else None


def is_date(text: str) -> bool:
    """Whether `text` has the form of a FHIR date or dateTime."""
    return _FORM.fullmatch(text) is not None


def completed_years(birth: str, when: str, zone: tzinfo) -> tuple[int, int]:
    """The least and the greatest age in completed years that the two dates allow; equal where the age is certain."""
    born, seen = span(birth, zone), span(when, zone)
    least = _years(last_day(born, zone), first_day(seen, zone))
    return least, _years(first_day(born, zone), last_day(seen, zone))


def with_zone(text: str, zone: tzinfo) -> str:
    """`text` as FHIR R4 demands it: a time has seconds and a zone, here that of `zone` if it had none."""
    form = _FORM.fullmatch(text)
    if form is None or form["hour"] is None or (form["second"] and form["zone"] and form["hour"] != "24"):
        return text
    return span(text, zone).start.astimezone(zone).isoformat()


def _years(born: date, seen: date) -> int:
    return seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))


def _time(form: re.Match[str], zone: tzinfo) -> Span:
    hour, second = int(form["hour"]), int(form["second"] or 0)
    microsecond = int((form["fraction"] or "")[1:7].ljust(6, "0"))
    # 24:00 is the next day's midnight; a leap second has no room in datetime and counts as the second before it.
    day_over = hour == 24 and form["minute"] == "00" and second == microsecond == 0
    offset = zone if form["zone"] is None else _offset(form["zone"])
    moment = datetime(
        int(form["year"]), int(form["month"]), int(form["day"]), 0 if day_over else hour, int(form["minute"]),
        59 if second == 60 else second, microsecond, tzinfo=offset,
    )  # fmt: skip
    moment = (moment + timedelta(days=day_over)).astimezone(UTC)
    return Span(moment, moment, "time", zone_assumed=form["zone"] is None)


def _offset(text: str) -> tzinfo:
    return UTC if text == "Z" else datetime.fromisoformat(f"2000-01-01T00:00:00{text}").tzinfo or UTC


def _midnight(when: date, zone: tzinfo) -> datetime:
    return datetime(when.year, when.month, when.day, tzinfo=zone).astimezone(UTC)


def _next(first: date, precision: Precision) -> date:
    if precision == "day":
        return first + timedelta(days=1)
    if precision == "year":
        return date(first.year + 1, 1, 1)
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)
