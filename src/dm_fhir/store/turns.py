"""One connection to the store for all threads of a run: a transaction is one thread's alone, and the others wait for its end.

It is the connection itself that sees to it. So nobody has to remember it, and no statement, not even one outside of any
transaction, can slip into another thread's.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any


class Stopped(Exception):
    """The work has been stopped; a thread that notices leaves everything as it is committed."""


class SharedConnection(sqlite3.Connection):
    """A connection whose statements wait while another thread has the store for itself (`alone`)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._turn = threading.RLock()
        self._only: int | None = None
        super().__init__(*args, **kwargs)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The store for this thread alone. Raises Stopped if it is another thread's for good."""
        with self._turn:
            self._check()
            yield

    def keep(self) -> None:
        """From now on the store is this thread's: all others hear Stopped, but for the end of a transaction that has begun."""
        self._only = threading.get_ident()
        with self._turn:
            pass

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """As sqlite3's own, when it is this thread's turn."""
        with self._turn:
            self._check()
            return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """As sqlite3's own, when it is this thread's turn."""
        with self._turn:
            self._check()
            return super().executemany(sql, parameters)

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        """As sqlite3's own, when it is this thread's turn."""
        with self._turn:
            self._check()
            return super().executescript(script)

    def close(self) -> None:
        """As sqlite3's own, when no thread is in a transaction."""
        with self._turn:
            super().close()

    def _check(self) -> None:
        if self._only not in (None, threading.get_ident()) and not self.in_transaction:
            raise Stopped


def keep(db: sqlite3.Connection) -> None:
    """From now on the store is this thread's alone. Returns when no other is in a transaction any more."""
    if isinstance(db, SharedConnection):
        db.keep()


def alone(db: sqlite3.Connection) -> AbstractContextManager[None]:
    """The store for this thread alone, as long as this is held. A connection that is not shared always is."""
    return db.turn() if isinstance(db, SharedConnection) else nullcontext()
