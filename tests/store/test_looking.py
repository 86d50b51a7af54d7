"""A look at a store tells what it knows, and leaves everything as it was."""

import sqlite3
from pathlib import Path

import pytest

from dm_fhir.store.database import open_store
from dm_fhir.store.facts import remember
from dm_fhir.store.ledger import begin_run
from dm_fhir.store.looking import Known, look
from dm_fhir.store.members import join, leave


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A closed store that knows something of leon and of bern."""
    path = tmp_path / "study.sqlite"
    db = open_store(path, "anifrolumab")
    begin_run(db, "pull")
    remember(db, "leon", "strict Observation", "no")
    remember(db, "leon", "batch", "no")
    remember(db, "bern", "page_size", "100")
    join(db, "leon", ["Patient/3", "Patient/1", "Patient/2"], 1)
    join(db, "bern", ["Patient/9"], 1)
    leave(db, "leon", ["Patient/1"])
    db.close()
    return path


def test_what_the_store_knows_of_a_site(store: Path) -> None:
    known = look(store, "leon", most_members=2)

    assert [(fact.name, fact.value) for fact in known.facts] == [("batch", "no"), ("strict Observation", "no")]
    assert all(fact.learned.endswith("Z") for fact in known.facts)
    assert known.members == ("Patient/2", "Patient/3")
    assert look(store, "leon", most_members=1).members == ("Patient/2",)
    assert look(store, "nobody", most_members=2) == Known()


def test_nothing_is_left_beside_the_store(store: Path) -> None:
    before = store.read_bytes(), store.stat().st_mtime_ns
    look(store, "leon", most_members=2)

    assert (store.read_bytes(), store.stat().st_mtime_ns) == before
    assert list(store.parent.iterdir()) == [store]


def test_a_store_in_use_shows_what_was_committed_last(store: Path) -> None:
    db = open_store(store, "anifrolumab")
    remember(db, "leon", "batch", "yes")
    known = look(store, "leon", most_members=2)
    db.close()

    assert {fact.name: fact.value for fact in known.facts}["batch"] == "yes"


def test_no_store_is_made(tmp_path: Path) -> None:
    assert look(tmp_path / "none.sqlite", "leon", most_members=2) == Known()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_store_or_an_old_one_knows_nothing(tmp_path: Path) -> None:
    other, old = tmp_path / "other file?#.sqlite", tmp_path / "old.sqlite"
    other.write_bytes(b"no database at all, but long enough to be looked at as if it were one" * 20)
    db = sqlite3.connect(old)
    db.execute("CREATE TABLE unit (site TEXT)")
    db.close()

    assert look(other, "leon", most_members=2) == look(old, "leon", most_members=2) == Known()
