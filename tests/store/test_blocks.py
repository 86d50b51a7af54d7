"""The bytes of resources in compressed blocks: whatever is kept comes back, from however many blocks."""

import os
import sqlite3

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm_fhir.store.blocks import keep, kept, kept_with
from dm_fhir.store.database import transaction


@given(bodies=st.lists(st.binary(max_size=50)), order=st.randoms(use_true_random=False))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_kept_comes_back_in_any_order(db: sqlite3.Connection, bodies: list[bytes], order: object) -> None:
    with transaction(db):
        places = keep(db, bodies)
    assert len(places) == len(bodies)
    found = list(zip(places, bodies, strict=True))
    order.shuffle(found)  # type: ignore[attr-defined]  # a random.Random that hypothesis can replay
    assert list(kept(db, [place for place, _ in found])) == [body for _, body in found]


def test_many_share_a_block_and_a_large_one_has_its_own(db: sqlite3.Connection) -> None:
    small = [b"%d" % number * 1000 for number in range(10)]
    large = os.urandom(600_000)
    places = keep(db, [*small, large, *small])
    numbers = [block for block, _, _ in places]
    assert numbers == [numbers[0]] * 10 + [numbers[10]] + [numbers[11]] * 10
    assert len(set(numbers)) == 3
    assert list(kept(db, places)) == [*small, large, *small]


def test_more_blocks_than_stay_open_are_read_one_after_the_other(db: sqlite3.Connection) -> None:
    bodies = [os.urandom(1000) for _ in range(50)]
    places = [place for body in bodies for place in keep(db, [body])]
    assert len({block for block, _, _ in places}) == 50
    assert list(kept(db, [*places, *reversed(places)])) == [*bodies, *reversed(bodies)]


def test_alike_resources_take_little_space(db: sqlite3.Connection) -> None:
    body = b'{"resourceType":"Observation","id":"%05d","text":"' + b"a narrative of the usual kind" * 50 + b'"}'
    keep(db, [body % number for number in range(1000)])
    ((stored,),) = db.execute("SELECT sum(length(body)) FROM block")
    assert stored < 1000 * len(body) / 10


def test_nothing_to_keep_makes_no_block(db: sqlite3.Connection) -> None:
    assert keep(db, []) == []
    assert db.execute("SELECT count(*) FROM block").fetchone() == (0,)
    assert list(kept(db, iter(()))) == []
    assert list(kept(db, [])) == []


def test_only_what_holds_the_text_is_found_and_not_its_neighbours_in_the_block(db: sqlite3.Connection) -> None:
    places = [*keep(db, [b"has it", b"has not", b"it too"]), *keep(db, [b"nothing"])]
    named = list(zip("abcd", places, strict=True))

    assert list(kept_with(db, b"it", named)) == [("a", b"has it"), ("c", b"it too")]
    assert list(kept_with(db, b"itit", named)) == []
