"""The store as several threads use it: one at a time, and none any more once the work has been stopped."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dm_fhir.store.database import transaction


class Stopped(Exception):
    """The work has been stopped; a worker that notices leaves everything as it is committed."""


class SharedStore:
    """`stop` is set when no thread may begin to use the store any more."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.stop = threading.Event()
        self._lock = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The store, for this thread alone."""
        with self._lock:
            if self.stop.is_set():
                raise Stopped
            yield self.db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The store, for this thread alone, in one transaction."""
        with self.reading(), transaction(self.db):
            yield self.db

    def halt(self) -> None:
        """Let no thread begin to write any more; returns when none is writing."""
        self.stop.set()
        with self._lock:
            pass
