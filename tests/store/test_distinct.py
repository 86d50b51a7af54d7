"""How many different things came, in tallies that know nothing of each other."""

import sqlite3
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from dm_fhir.store.database import transaction
from dm_fhir.store.distinct import forget_distinct, note_distinct

_KEYS = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5)


@given(parts=st.lists(st.lists(_KEYS, max_size=20), max_size=5))
def test_as_many_as_a_set_would_hold(parts: list[list[int]]) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    seen: set[int] = set()
    for keys in parts:
        seen.update(keys)
        assert note_distinct(db, 1, []) == 0
        assert note_distinct(db, 2, keys) == note_distinct(db, 1, keys)
    assert sum(note_distinct(db, 3, keys) for keys in parts) == len(seen)


def test_more_than_one_statement_takes() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    assert note_distinct(db, 1, range(3000)) == 3000
    assert note_distinct(db, 1, range(1000, 5000)) == 2000


def test_what_is_forgotten_is_counted_again_and_others_are_kept() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    note_distinct(db, 1, [7])
    note_distinct(db, 2, [7])
    forget_distinct(db, 1)

    assert note_distinct(db, 1, [7]) == 1
    assert note_distinct(db, 2, [7]) == 0


def test_what_is_rolled_back_was_not_noted() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    with suppress(KeyError), transaction(db):
        note_distinct(db, 1, [7])
        raise KeyError
    assert note_distinct(db, 1, [7]) == 1
