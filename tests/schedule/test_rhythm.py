"""How often and when, in the words of each scheduler."""

from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.cli.schedule_run import Rhythm, rhythm

HERE = Path("/etc/dm-fhir/dm-fhir.toml")
EVERY = ["5m", "10m", "15m", "30min", "60m", "1h", "2h", "6h", "12h", "24h", "1d"]


@pytest.mark.parametrize(
    ("every", "at", "cron", "calendar", "words"),
    [
        (None, "02:30", "30 2 * * *", "02:30", "every day at 02:30"),
        ("1d", "2:05", "5 2 * * *", "02:05", "every day at 02:05"),
        ("6h", "14:30", "30 2-23/6 * * *", "02/6:30", "every 6 hours at minute 30"),
        ("1h", "14:30", "30 * * * *", "*:30", "every hour at minute 30"),
        ("60m", "00:00", "0 * * * *", "*:00", "every hour at minute 0"),
        ("12h", "23:59", "59 11-23/12 * * *", "11/12:59", "every 12 hours at minute 59"),
    ],
)
def test_in_the_words_of_each_scheduler(
    every: str | None, at: str | None, cron: str, calendar: str, words: str
) -> None:
    when = rhythm(every, at, HERE)
    assert (when.cron, when.calendar, when.words) == (cron, calendar, words)


@pytest.mark.parametrize("every", [None, *EVERY])
def test_without_a_time_the_minute_is_the_configs_own(every: str | None) -> None:
    assert rhythm(every, None, HERE) == rhythm(every, None, HERE)
    minutes = {rhythm(every, None, HERE.with_name(f"{number}.toml")).minute for number in range(1000)}
    assert minutes == set(range(min(rhythm(every, None, HERE).every_minutes, 60)))


def field(text: str, size: int) -> set[int]:
    """What a field of a crontab stands for, as crontab(5) says."""
    values, _, step = text.partition("/")
    first, _, last = (f"0-{size - 1}" if values == "*" else values).partition("-")
    return set(range(int(first), int(last or first) + 1, int(step or 1)))


@given(st.sampled_from(EVERY), st.booleans(), st.integers(0, 23), st.integers(0, 59))
def test_a_day_of_cron_is_evenly_spread(every: str, has_time: bool, hour: int, minute: int) -> None:
    is_short = every.endswith(("m", "min")) and every != "60m"
    when = rhythm(every, f"{hour:02}:{minute:02}" if has_time and not is_short else None, HERE)
    minutes, hours, *rest = when.cron.split()
    assert rest == ["*", "*", "*"]
    starts = sorted(60 * h + m for h in field(hours, 24) for m in field(minutes, 60))
    assert len(starts) == 1440 // when.every_minutes
    assert {later - before for before, later in zip(starts, [*starts[1:], starts[0] + 1440], strict=True)} == {
        when.every_minutes
    }
    if has_time and not is_short:
        assert 60 * hour + minute in starts


@pytest.mark.parametrize("every", ["7m", "4m", "0m", "90m", "5h", "48h", "2d", "hourly", "", "1", "-1h", "1.5h", "٣h"])
def test_what_cannot_be_done_evenly_is_refused(every: str) -> None:
    with pytest.raises(click.UsageError, match=f"--every {every}: must divide an hour or a day"):
        rhythm(every, None, HERE)


@pytest.mark.parametrize("at", ["24:00", "2", "02:60", "02:30:00", "half past two", "2:5"])
def test_what_is_no_time_of_day_is_refused(at: str) -> None:
    with pytest.raises(click.UsageError, match="must be HH:MM"):
        rhythm(None, at, HERE)


def test_a_time_of_day_is_for_hours_and_days() -> None:
    with pytest.raises(click.UsageError, match="--at is for whole hours and days"):
        rhythm("15m", "02:30", HERE)


def test_a_delay_never_reaches_the_next_run() -> None:
    assert [Rhythm(minutes, 0, 0).delay_minutes for minutes in (5, 15, 60, 1440)] == [1, 3, 15, 30]
