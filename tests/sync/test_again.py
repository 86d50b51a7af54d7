"""What a pull of only what is open asks of a site."""

import sqlite3
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from dm_fhir.config import Auth, Pull, Site
from dm_fhir.store.ledger import Unit, put_unit
from dm_fhir.store.members import join
from dm_fhir.store.stops import note_stop
from dm_fhir.sync.again import asked_of
from dm_fhir.sync.pull import EVERYTHING, PLAN, Wish

LEON = Site("leon", "https://fhir.test", "UTC", (), {}, Auth(), Pull(optional_types=("AdverseEvent",)))
BULK = replace(LEON, pull=Pull(mode="bulk"))
RETRY = Wish(retry=True)
Db = sqlite3.Connection


def unit(db: Db, query: str, state: str = "complete", patient: str = "Patient/1") -> None:
    put_unit(db, Unit("leon", patient, query, state=state, run=1))


def through(db: Db) -> None:
    """A pull that got through, with nothing open."""
    unit(db, PLAN, patient="")
    unit(db, "Observation?patient")
    join(db, "leon", ["Patient/1"], 1)


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        (lambda db: None, None),
        (lambda db: unit(db, "Condition?patient", "failed"), RETRY),
        (lambda db: unit(db, "AdverseEvent?subject", "unsupported"), None),
        (lambda db: join(db, "leon", ["Patient/2"], 1), RETRY),
        (lambda db: unit(db, PLAN, "partial", ""), EVERYTHING),
        (lambda db: note_stop(db, "leon", "pull", 5, None, "no", 1), EVERYTHING),
        (lambda db: note_stop(db, "leon", "push", 5, None, "no", 1), None),
        (lambda db: note_stop(db, "madrid", "pull", 5, None, "no", 1), None),
    ],
    ids=["nothing", "a query", "optional", "somebody new", "broke off", "stopped", "only a push", "another site"],
)  # fmt: skip
def test_where_a_pull_once_got_through(db: Db, more: Callable[[Db], None], asked: Wish | None) -> None:
    through(db)
    more(db)
    assert asked_of(db, LEON, RETRY) == asked
    assert asked_of(db, LEON, EVERYTHING) == EVERYTHING
    assert asked_of(db, BULK, RETRY) == RETRY, "an export has rows of its own that say what is open"


def test_where_none_ever_began_all_is_open_but_for_what_no_server_has(db: Db) -> None:
    assert asked_of(db, LEON, RETRY) == EVERYTHING
    assert asked_of(db, replace(LEON, endpoint=None), RETRY) is None
    assert asked_of(db, BULK, RETRY) == RETRY
