"""One connection for several threads: a transaction is one thread's, and after the end no other thread's statement comes."""

import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.store.database import transaction
from dm_fhir.store.turns import SharedConnection, Stopped, alone, keep

WITHIN_SECONDS = 10


def new() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=SharedConnection)
    db.execute("CREATE TABLE seen (number INTEGER PRIMARY KEY, thread INTEGER, work INTEGER)")
    return db


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    one = new()
    yield one
    one.close()


class Undone(Exception):
    """A transaction that is taken back."""


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["kept", "undone", "single"]), max_size=12), min_size=2, max_size=6),
    st.integers(),
)
def test_what_a_transaction_writes_stands_together_and_is_all_there_or_all_gone(
    works: list[list[str]], seed: int
) -> None:
    db, start = new(), threading.Barrier(len(works))
    failed: list[BaseException] = []

    def work(thread: int) -> None:
        random = Random(seed + thread)  # noqa: S311  # nothing is secret here
        start.wait(WITHIN_SECONDS)
        try:
            for number, kind in enumerate(works[thread]):
                if kind == "single":
                    db.execute("INSERT INTO seen (thread, work) VALUES (?, ?)", (thread, number))
                    continue
                with suppress(Undone), transaction(db):
                    for _ in range(3):
                        db.executemany("INSERT INTO seen (thread, work) VALUES (?, ?)", [(thread, number)])
                        threading.Event().wait(random.random() / 2000)
                    if kind == "undone":
                        raise Undone
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_SECONDS)
    assert failed == []
    numbers = defaultdict(list)
    for number, thread, work_ in db.execute("SELECT * FROM seen"):
        numbers[thread, work_].append(number)
    expected = {
        (thread, number): 1 if kind == "single" else 3
        for thread, kinds in enumerate(works)
        for number, kind in enumerate(kinds)
        if kind != "undone"
    }
    assert {key: len(some) for key, some in numbers.items()} == expected
    assert all(max(some) - min(some) == len(some) - 1 for some in numbers.values()), "another thread's row between them"
    db.close()


def test_whoever_keeps_the_store_waits_for_the_transaction_at_hand_and_then_no_other_thread_gets_in(
    db: sqlite3.Connection,
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    heard: list[type[BaseException]] = []

    def work() -> None:
        with transaction(db):
            db.execute("INSERT INTO seen (thread) VALUES (1)")
            inside.set()
            go_on.wait(WITHIN_SECONDS)
            db.execute("INSERT INTO seen (thread) VALUES (1)")
        for one in (
            lambda: db.execute("INSERT INTO seen (thread) VALUES (2)"),
            lambda: db.executemany("INSERT INTO seen (thread) VALUES (?)", [(2,)]),
            lambda: db.executescript("DELETE FROM seen"),
            lambda: alone(db).__enter__(),
        ):
            try:
                one()
            except Stopped as error:
                heard.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(WITHIN_SECONDS)
    threading.Timer(0.05, go_on.set).start()
    keep(db)
    assert db.execute("SELECT count(*) FROM seen").fetchone() == (2,)
    thread.join(WITHIN_SECONDS)
    assert heard == [Stopped] * 4
    with transaction(db):
        db.execute("INSERT INTO seen (thread) VALUES (3)")
    assert [row[0] for row in db.execute("SELECT thread FROM seen")] == [1, 1, 3]


def test_a_connection_that_is_nobody_elses_needs_no_turn() -> None:
    plain = sqlite3.connect(":memory:", isolation_level=None)
    keep(plain)
    with alone(plain), transaction(plain):
        plain.execute("CREATE TABLE one (a)")
    plain.close()


def test_whoever_keeps_the_store_waits_for_a_transaction_that_has_begun(db: sqlite3.Connection) -> None:
    begun, ended = threading.Event(), threading.Event()

    def write() -> None:
        with transaction(db):
            begun.set()
            ended.wait(0.2)
            db.execute("INSERT INTO seen VALUES (1, 1, 1)")

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(WITHIN_SECONDS)
    keep(db)
    assert not db.in_transaction
    assert db.execute("SELECT count(*) FROM seen").fetchone() == (1,)
    thread.join()


@pytest.mark.parametrize("what", ["execute", "executemany", "executescript", "close"])
def test_whatever_another_thread_wants_of_the_store_waits_for_the_end_of_a_transaction(
    db: sqlite3.Connection, what: str
) -> None:
    begun, order = threading.Event(), list[str]()
    calls = {
        "execute": lambda: db.execute("INSERT INTO seen (thread) VALUES (2)"),
        "executemany": lambda: db.executemany("INSERT INTO seen (thread) VALUES (?)", [(2,)]),
        "executescript": lambda: db.executescript("SELECT 1;"),
        "close": db.close,
    }

    def write() -> None:
        with transaction(db):
            begun.set()
            time.sleep(0.1)
            order.append("written")
            db.execute("INSERT INTO seen (thread) VALUES (1)")
        order.append("ended")

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(WITHIN_SECONDS)
    calls[what]()
    assert order[:1] == ["written"]
    thread.join()
    assert order == ["written", "ended"]
