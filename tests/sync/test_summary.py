"""What the store says of a site, and the exit code that follows."""

import sqlite3
from typing import Any

import pytest

from dm_fhir.config import Auth, Pull, Site
from dm_fhir.mappings.patient import merges
from dm_fhir.store.ledger import Unit, put_unit
from dm_fhir.store.pushes import Pushed, put_push
from dm_fhir.store.quarantine import acknowledge, quarantined, set_aside
from dm_fhir.sync.summary import SiteSummary, summarise

LEON = Site("leon", "https://fhir.test/r4", "UTC", (), {}, Auth(), Pull(optional_types=("AdverseEvent",)))
UNTIL = "2025-06-01T10:00:00Z"


def put(db: sqlite3.Connection, query: str, state: str = "complete", patient: str = "Patient/1", **more: Any) -> None:
    """One row of the ledger."""
    values = {"reason": None if state == "complete" else "http-500", "watermark": UNTIL, "run": 1} | more
    put_unit(db, Unit("leon", patient, query, state=state, **values))


def summary(db: sqlite3.Connection) -> SiteSummary:
    """The site's."""
    return summarise(db, LEON, merges)


def test_what_was_never_pulled_is_not_complete(db: sqlite3.Connection) -> None:
    assert (summary(db).exit_code(), summary(db).complete_until) == (3, None)


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["complete", "complete"], 0),
        (["complete", "partial"], 3),
        (["complete", "refused"], 3),
        (["refused", "refused"], 5),
        (["refused", "failed"], 3),
        (["unsupported"], 3),
    ],
)
@pytest.mark.parametrize("with_plan", [False, True])
def test_the_exit_code_is_the_ledgers(db: sqlite3.Connection, states: list[str], code: int, with_plan: bool) -> None:
    """The plan itself asks the server nothing: with it, too, everything was refused."""
    for number, state in enumerate(states):
        put(db, f"q{number}", state)
    if with_plan:
        put(db, "whole plan", patient="")
    assert summary(db).exit_code() == code
    assert summary(db).exit_code(("compute",)) == (3 if code else 0), "the patient is held back"


@pytest.mark.parametrize(
    ("state", "code"),
    [("confirmed", 0), ("retracted", 0), ("blocked", 3), ("rejected", 3), ("sending", 3), ("conflict", 7)],
)
def test_the_exit_code_says_how_what_was_written_stands(db: sqlite3.Connection, state: str, code: int) -> None:
    put(db, "q")
    put_push(db, "leon", Pushed("k1", "Patient/1", "ck_baseline", "", state, None, None, "", None, b""), 1)
    assert summary(db).exit_code() == code
    assert summary(db).exit_code(("pull",)) == 0


def test_a_type_that_need_not_be_there_keeps_nothing_open(db: sqlite3.Connection) -> None:
    put(db, "Condition?patient")
    put(db, "AdverseEvent?subject", "unsupported")
    found = summary(db)
    assert (found.exit_code(), found.attention, found.complete_until) == (0, [], UNTIL)


def test_a_unit_that_needs_attention_is_told_whole(db: sqlite3.Connection) -> None:
    put(db, "Observation?patient", "partial", message="500 of 1000", expected=1000, unique=500, not_before="later")
    (one,) = summary(db).attention
    assert (one.patient, one.query, one.state, one.reason) == (
        "Patient/1",
        "Observation?patient",
        "partial",
        "http-500",
    )
    assert (one.message, one.expected, one.unique, one.watermark, one.not_before) == (
        "500 of 1000",
        1000,
        500,
        UNTIL,
        "later",
    )


def test_only_what_nobody_has_acknowledged_counts(db: sqlite3.Connection) -> None:
    put(db, "q")
    for number in range(2):
        set_aside(db, "leon", "Patient/1", "q", f"page 1, entry {number}", "no-id", b"%d" % number, 1)
    first, second = quarantined(db, "leon")
    assert (len(summary(db).set_aside), summary(db).exit_code()) == (2, 3)
    acknowledge(db, "leon", first.number, UNTIL)
    found = summary(db)
    assert (found.set_aside, found.acknowledged) == ({second.place: "no-id"}, {first.place: "no-id"})
    acknowledge(db, "leon", second.number, UNTIL)
    found = summary(db)
    assert (found.set_aside, len(found.acknowledged), found.exit_code()) == ({}, 2, 0)


def test_notes_and_messages_are_gathered(db: sqlite3.Connection) -> None:
    put(db, "a", notes={"new": 3, "filter_ignored:code": 1}, message="server: parts are left out")
    put(db, "b", notes={"new": 4}, message="server: parts are left out")
    put(db, "c", "failed", notes={"new": 5}, message="500")
    found = summary(db)
    assert found.notes == {"filter_ignored:code": 1, "new": 12}
    assert found.server_messages == {"server: parts are left out": 2}
