"""What stopped a step of a site is kept until the step goes through."""

import sqlite3

import pytest

from dm_fhir.store import stops
from dm_fhir.store.ledger import begin_run
from dm_fhir.store.stops import Stop, clear_stop, note_stop


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The days on which it is noted, one after the other."""
    left = [f"2025-06-{day:02}T10:00:00Z" for day in range(1, 10)]
    monkeypatch.setattr(stops, "now", lambda: left.pop(0))
    return left


def test_a_step_that_stays_given_up_for_the_same_reason_has_been_so_since_the_first_time(
    db: sqlite3.Connection, days: list[str]
) -> None:
    found = []
    for number, (code, reason) in enumerate([(4, "tls"), (4, "tls"), (4, None), (4, None), (5, None), (5, None)]):
        note_stop(db, "leon", "pull", code, reason, f"{number}", begin_run(db, "pull"))
        found += [(one.since[8:10], one.tried[8:10], one.message) for one in stops.stops(db, "leon")]
    assert found == [
        ("01", "01", "0"), ("01", "02", "1"), ("03", "03", "2"), ("03", "04", "3"), ("05", "05", "4"), ("05", "06", "5"),
    ]  # fmt: skip


def test_a_step_that_goes_through_is_forgotten_by_itself_and_begins_anew(
    db: sqlite3.Connection, days: list[str]
) -> None:
    run = begin_run(db, "sync")
    for site, step in (("leon", "push"), ("leon", "pull"), ("madrid", "pull")):
        note_stop(db, site, step, 5, "auth", "no", run)
    clear_stop(db, "leon", "pull")
    assert [one.step for one in stops.stops(db, "leon")] == ["push"]
    assert [one.step for one in stops.stops(db, "madrid")] == ["pull"]
    note_stop(db, "leon", "pull", 5, "auth", "no", run)
    assert stops.stops(db, "leon") == [
        Stop("push", 5, "auth", "no", "2025-06-01T10:00:00Z", "2025-06-01T10:00:00Z", run),
        Stop("pull", 5, "auth", "no", "2025-06-04T10:00:00Z", "2025-06-04T10:00:00Z", run),
    ]
