"""The store as the threads of one site use it: none any more once the site's work has been stopped."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dm_fhir.store.database import transaction
from dm_fhir.store.turns import Stopped, alone


class SharedStore:
    """`stop` is set when no thread of this site may begin to use the store any more. The store itself sees to the turns."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.stop = threading.Event()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The store, for this thread alone."""
        with alone(self.db):
            if self.stop.is_set():
                raise Stopped
            yield self.db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The store, for this thread alone, in one transaction."""
        with self.reading(), transaction(self.db):
            yield self.db

    def halt(self) -> None:
        """Let no thread of the site begin to write any more; returns when none is writing."""
        self.stop.set()
        with alone(self.db):
            pass
