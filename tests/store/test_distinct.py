"""What came, each once, in tallies that know nothing of each other."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.store.database import transaction
from dm_fhir.store.distinct import forget_distinct, new_tally, not_noted, note_distinct

_NAMES = st.lists(st.text(max_size=1) | st.text(), max_size=20)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


@given(parts=st.lists(_NAMES, max_size=5), others=_NAMES)
def test_as_a_set_would_have_it(parts: list[list[str]], others: list[str]) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        one, other, seen = new_tally(db), new_tally(db), set[str]()
        note_distinct(db, other, others)
        for names in parts:
            assert note_distinct(db, one, names) == len(set(names) - seen)
            seen.update(names)
        assert list(not_noted(db, one, others)) == [name for name in others if name not in seen]
        assert list(not_noted(db, other, seen)) == [name for name in seen if name not in others]


def test_more_than_one_statement_takes(db: sqlite3.Connection) -> None:
    tally, names = new_tally(db), [f"Observation/{number}" for number in range(5000)]
    assert note_distinct(db, tally, names[:3000]) == 3000
    assert list(not_noted(db, tally, names)) == names[3000:]
    assert note_distinct(db, tally, names[1000:]) == 2000


def test_what_is_forgotten_is_no_longer_noted_and_others_are(db: sqlite3.Connection) -> None:
    one, other = new_tally(db), new_tally(db)
    note_distinct(db, one, ["Patient/7"])
    note_distinct(db, other, ["Patient/7"])
    forget_distinct(db, one)

    assert list(not_noted(db, one, ["Patient/7"])) == ["Patient/7"]
    assert list(not_noted(db, other, ["Patient/7"])) == []


def test_what_is_rolled_back_was_not_noted(db: sqlite3.Connection) -> None:
    tally = new_tally(db)
    with suppress(KeyError), transaction(db):
        note_distinct(db, tally, ["Patient/7"])
        raise KeyError
    assert note_distinct(db, tally, ["Patient/7"]) == 1
