"""The ledger: what is written is read back, and a site is complete only when everything of it is."""

import os
import sqlite3
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from dm_fhir.store.database import transaction
from dm_fhir.store.ledger import (
    Unit,
    advance,
    begin_run,
    complete_until,
    counts_by_state,
    end_run,
    forget_units,
    get_unit,
    interrupted_before,
    messages_of_complete,
    needs_attention,
    notes,
    now,
    open_units,
    put_unit,
    put_units,
    runs,
    standings,
    units,
    units_of_query,
)

EARLY, LATE = "2025-06-01T10:00:00Z", "2025-06-02T10:00:00Z"


def complete(query: str, watermark: str, patient: str = "Patient/1") -> Unit:
    """A unit that was read to its end."""
    return Unit("leon", patient, query, state="complete", reason=None, watermark=watermark, run=1)


def test_a_row_is_read_back_as_it_was_written(db: sqlite3.Connection) -> None:
    unit = Unit(
        "leon", "Patient/1", "Observation?patient", "partial", 1000, 990, 980, 10, 2, "short", "990 of 1000", {"duplicate": 10},
        EARLY, 1, asked="codes v1", read_in_full=EARLY, not_before=LATE,
    )  # fmt: skip
    put_unit(db, unit)
    read = get_unit(db, "leon", "Patient/1", "Observation?patient")
    assert read is not None
    assert replace(read, ended="") == unit
    assert read.ended.endswith("Z")


def test_a_unit_that_was_never_tried_has_no_row(db: sqlite3.Connection) -> None:
    put_unit(db, complete("Observation?patient", EARLY))
    keys = [
        ("leon", "Patient/1", "Condition?patient"),
        ("leon", "", "Observation?patient"),
        ("x", "Patient/1", "Observation?patient"),
    ]
    assert [get_unit(db, *key) for key in keys] == [None, None, None]


def test_a_unit_begins_as_interrupted() -> None:
    unit = Unit("leon", "", "q")
    assert (unit.state, unit.reason, unit.watermark) == ("partial", "interrupted", None)


def test_a_row_is_replaced_and_rows_are_in_order(db: sqlite3.Connection) -> None:
    for patient, query in (("Patient/2", "a"), ("Patient/1", "b"), ("Patient/1", "a"), ("Patient/2", "a")):
        put_unit(db, complete(query, EARLY, patient))
    assert [(unit.patient, unit.query) for unit in units(db, "leon")] == [
        ("Patient/1", "a"),
        ("Patient/1", "b"),
        ("Patient/2", "a"),
    ]
    assert (counts_by_state(db, "leon"), units(db, "madrid")) == ({"complete": 3}, [])


@pytest.mark.parametrize("state", ["partial", "failed", "refused", "unsupported"])
def test_a_site_is_complete_until_its_oldest_watermark_and_only_if_all_is_complete(
    db: sqlite3.Connection, state: str
) -> None:
    assert complete_until(db, "leon") is None
    put_unit(db, complete("a", LATE))
    assert complete_until(db, "leon") == LATE
    put_unit(db, complete("b", EARLY))
    assert complete_until(db, "leon") == EARLY
    put_unit(db, replace(complete("c", LATE), state=state))
    assert complete_until(db, "leon") is None
    assert counts_by_state(db, "leon") == {"complete": 2, state: 1}


def test_a_type_that_the_site_does_not_offer_holds_nothing_up(db: sqlite3.Connection) -> None:
    put_unit(db, complete("a", LATE))
    missing = replace(complete("AdverseEvent?subject", EARLY), state="unsupported")
    put_unit(db, missing)
    assert complete_until(db, "leon", ("AdverseEvent",)) == LATE
    assert complete_until(db, "leon", ("Condition",)) is None
    assert needs_attention(missing)
    assert not needs_attention(missing, ("AdverseEvent",))
    assert needs_attention(replace(missing, state="failed"), ("AdverseEvent",))


def test_a_complete_unit_without_a_watermark_proves_nothing(db: sqlite3.Connection) -> None:
    put_unit(db, complete("a", LATE))
    put_unit(db, replace(complete("b", LATE), watermark=None))
    assert complete_until(db, "leon") is None


def test_a_state_that_does_not_exist_is_refused(db: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        put_unit(db, replace(complete("a", LATE), state="done"))


def put_pair(db: sqlite3.Connection) -> None:
    """A good row and one that the store refuses."""
    put_unit(db, complete("a", LATE))
    put_unit(db, replace(complete("b", LATE), run=99))


def test_a_row_is_rolled_back_with_its_page(db: sqlite3.Connection) -> None:
    put_unit(db, complete("a", EARLY))
    with pytest.raises(sqlite3.IntegrityError), transaction(db):
        put_pair(db)
    assert complete_until(db, "leon") == EARLY


def test_many_rows_are_written_at_once(db: sqlite3.Connection) -> None:
    many = [complete(query, EARLY, f"Patient/{number:03}") for number in range(300) for query in ("a", "b")]
    put_units(db, many)
    assert [replace(unit, ended="") for unit in units(db, "leon")] == many
    assert len(units_of_query(db, "leon", "b")) == 300
    forget_units(db, "leon", "Patient/007", ["b", "c"])
    assert (len(units(db, "leon")), get_unit(db, "leon", "Patient/007", "b")) == (599, None)


def test_open_units_are_those_that_are_not_complete(db: sqlite3.Connection) -> None:
    put_units(db, [complete("a", EARLY), complete("b", EARLY)])
    for query, state in (("d", "failed"), ("c", "partial"), ("e", "unsupported"), ("f", "refused")):
        put_unit(db, replace(complete(query, EARLY), state=state))
    put_unit(db, replace(complete("g", EARLY), state="failed", site="madrid"))
    assert [(unit.query, unit.state) for unit in open_units(db, "leon")] == [
        ("c", "partial"),
        ("d", "failed"),
        ("e", "unsupported"),
        ("f", "refused"),
    ]


def test_a_mark_moves_all_units_of_a_query_that_were_once_complete(db: sqlite3.Connection) -> None:
    """But not one of another query, another site, or of no patient, and never back."""
    rows = [
        Unit("leon", "Patient/1", "Condition", "complete", watermark="2026-01-01T00:00:00Z", run=1),
        Unit("leon", "Patient/2", "Condition", "partial", run=1),
        Unit("leon", "Patient/3", "Condition", "complete", watermark="2026-03-01T00:00:00Z", run=1),
        Unit("leon", "Patient/1", "Observation", "complete", watermark="2026-01-01T00:00:00Z", run=1),
        Unit("leon", "", "Condition", "complete", watermark="2026-01-01T00:00:00Z", run=1),
        Unit("madrid", "Patient/1", "Condition", "complete", watermark="2026-01-01T00:00:00Z", run=1),
    ]
    put_units(db, rows)
    run = begin_run(db, "pull")
    advance(db, "leon", {"Condition": "2026-02-01T00:00:00Z"}, run)
    moved = {(u.patient, u.query): u.watermark for u in units(db, "leon") if u.watermark != "2026-01-01T00:00:00Z"}
    assert moved == {
        ("Patient/1", "Condition"): "2026-02-01T00:00:00Z",
        ("Patient/2", "Condition"): None,
        ("Patient/3", "Condition"): "2026-03-01T00:00:00Z",
    }
    assert [unit.watermark for unit in units(db, "madrid")] == ["2026-01-01T00:00:00Z"]
    assert standings(db, "leon")["Observation"].oldest_watermark == "2026-01-01T00:00:00Z"


def test_what_a_later_run_says_of_a_unit_counts_more_than_an_older_mark(db: sqlite3.Connection) -> None:
    """A server's clock may be put back."""
    put_unit(db, Unit("leon", "Patient/1", "Condition", "complete", watermark="2026-01-01T00:00:00Z", run=1))
    run = begin_run(db, "pull")
    advance(db, "leon", {"Condition": "2026-02-01T00:00:00Z"}, run)
    later = begin_run(db, "pull")
    put_unit(db, Unit("leon", "Patient/1", "Condition", "complete", watermark="2026-01-15T00:00:00Z", run=later))
    assert [unit.watermark for unit in units(db, "leon")] == ["2026-01-15T00:00:00Z"]
    assert complete_until(db, "leon") == "2026-01-15T00:00:00Z"


def test_notes_are_summed_over_all_units_of_a_site(db: sqlite3.Connection) -> None:
    for query, noted in (("a", {"new": 3, "bom": 1}), ("b", {"new": 3, "bom": 1}), ("c", {"new": 4}), ("d", {})):
        put_unit(db, replace(complete(query, EARLY), notes=noted))
    put_unit(db, replace(complete("e", EARLY), notes={"new": 5}, state="failed"))
    put_unit(db, replace(complete("a", EARLY), notes={"new": 100}, site="madrid"))
    assert (notes(db, "leon"), notes(db, "lyon")) == ({"bom": 2, "new": 15}, {})


def test_messages_of_complete_units_are_counted_the_most_frequent_first(db: sqlite3.Connection) -> None:
    for query, said in (("a", "rare"), ("b", "usual"), ("c", "usual"), ("d", None)):
        put_unit(db, replace(complete(query, EARLY), message=said))
    put_unit(db, replace(complete("e", EARLY), message="500", state="failed"))
    assert list(messages_of_complete(db, "leon").items()) == [("usual", 2), ("rare", 1)]


def test_runs_are_numbered_and_the_newest_comes_first(db: sqlite3.Connection) -> None:
    assert begin_run(db, "sync") == 2
    newest, first = runs(db)
    assert (newest.id, newest.command, newest.ended, newest.exit_code, newest.pid) == (
        2,
        "sync",
        None,
        None,
        os.getpid(),
    )
    end_run(db, 2, 3)
    (ended,) = runs(db, 1)
    assert (ended.id, ended.exit_code) == (2, 3)
    assert str(ended.ended) >= newest.started
    assert runs(db)[1] == first


def test_a_killed_run_is_told_of_once_and_noted_as_interrupted(db: sqlite3.Connection) -> None:
    for command in ("sync", "pull"):
        begin_run(db, command)
    end_run(db, 2, 0)
    killed = interrupted_before(db)
    assert killed is not None
    assert (killed.id, killed.command) == (3, "pull")
    assert [(run.id, run.ended is None, run.exit_code) for run in runs(db)] == [
        (3, True, 130),
        (2, False, 0),
        (1, True, 130),
    ]
    assert interrupted_before(db) is None
    begin_run(db, "sync")
    assert runs(db, 1)[0].exit_code is None


def test_now_is_utc_to_the_second() -> None:
    said = datetime.fromisoformat(now())
    assert said.tzinfo == UTC
    assert abs((datetime.now(UTC) - said).total_seconds()) < 2
    assert len(now()) == len("2025-06-01T10:00:00Z")
