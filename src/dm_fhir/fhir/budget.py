"""How many requests all sites of a run have under way together, and which site has gone silent."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: So long a request may wait for its answer, or a site say nothing, before it holds no place that others could use.
PATIENCE_SECONDS = 5.0


class Budget:
    """The requests of a run. One that has waited for long counts no more: a server that hangs holds up nobody but itself."""

    def __init__(self, most_requests: int) -> None:
        self._most = most_requests
        self._begun: dict[object, float] = {}  # in order of time
        self._heard: dict[str, float] = {}
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, site: str) -> Iterator[None]:
        """The time of one request of the site: begins when it may be sent."""
        request = object()
        with self._changed:
            while (seconds := self._seconds_until_free()) > 0:
                self._changed.wait(seconds)
            self._begun[request] = self._heard[site] = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                del self._begun[request]
                self._heard[site] = time.monotonic()
                self._changed.notify()

    def heard(self, site: str) -> float:
        """When the site last sent something or got an answer, by the monotonic clock; 0 if it never did."""
        return self._heard.get(site, 0.0)

    def _seconds_until_free(self) -> float:
        """0 if there is room now; else the time until the oldest request that counts will count no more."""
        since = time.monotonic() - PATIENCE_SECONDS
        counting = [begun for begun in self._begun.values() if begun > since]
        return counting[0] - since if len(counting) >= self._most else 0.0
