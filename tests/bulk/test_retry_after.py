"""How long to wait, in every form that servers give it."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dm_fhir.fhir.retry_after import instant, seconds_asked

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        (" 7 ", 7),
        ('"7"', 7),
        ("2.5", 2.5),
        ("18000", 18000),
        ("5 minutes", 300),
        ("5min", 300),
        ("90s", 90),
        ("1 Hour", 3600),
        ("1500 ms", 1.5),
        ("1500 milliseconds", 1.5),
        ("3 months", None),
        (str(EPOCH + 60), 60),
        (str((EPOCH + 60) * 1000), 60),
        (str(EPOCH - 60), 0),
        ("200000000000", 0),  # in 1976, and in no year of its own
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 11:00:30 GMT", 0),
        ("2026-03-01T13:00:00+01:00", 0),
        ("2026-03-01T12:01:00Z", 60),
        ("2026-03-01 12:01:00", 60),
        ("-5", None),
        ("1e3", None),
        ("", None),
        ("soon", None),
        ("٣", None),
        ("nan", None),
        ("inf", None),
        ("2026-13-45T00:00:00Z", None),
    ],
)
def test_what_it_means(text: str, seconds: float | None) -> None:
    assert seconds_asked(text, NOW) == seconds


def test_a_time_without_a_zone_is_utc_wherever_this_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert seconds_asked("2026-03-01 12:01:00", NOW) == 60
        assert instant(NOW) == "2026-03-01T12:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(
    st.one_of(st.text(), st.from_regex(r"[-+]?[0-9]{1,400}([.e][0-9]{1,30})? ?(s|ms|minutes|days)?", fullmatch=True))
)
@example("9" * 400)
@example("Fri, 31 Dec 9999 23:00:00 -0300")
def test_nothing_breaks_it(text: str) -> None:
    seconds = seconds_asked(text, NOW)
    assert seconds is None or instant(NOW) <= instant(NOW + timedelta(seconds=seconds)) < "2037"


@given(st.integers(0, 10**6))
def test_every_form_of_the_same_moment_means_the_same(seconds: int) -> None:
    until = NOW + timedelta(seconds=seconds)
    forms = [str(seconds), f"{seconds} s", f"{seconds}.0", format_datetime(until, usegmt=True), until.isoformat(),
             str(EPOCH + seconds), str((EPOCH + seconds) * 1000), f"{seconds * 1000}ms"]  # fmt: skip
    assert {seconds_asked(form, NOW) for form in forms} == {seconds}
