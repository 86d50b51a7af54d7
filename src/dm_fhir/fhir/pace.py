"""How gently a site is asked: so many requests at a time, so many a second, and so much waiting in one run."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from dm_fhir.config import Pull
from dm_fhir.errors import ServerUnavailable

#: After so long without a complaint one more request at a time is tried.
_EASE_SECONDS = 60
_REMAINING = ("RateLimit-Remaining", "X-RateLimit-Remaining")
_RESET = ("RateLimit-Reset", "X-RateLimit-Reset")


class Pace:
    """Shared by all threads that ask one site. `waited_seconds` is what the run has spent waiting so far.

    `within` is the time of one request among those of all sites.
    """

    def __init__(
        self,
        limits: Pull,
        sleep: Callable[[float], None],
        within: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._most = self._allowed = limits.concurrency
        self._interval = 1 / limits.requests_per_second if limits.requests_per_second else 0.0
        self._budget = limits.waiting_budget_seconds
        self._sleep, self._within = sleep, within
        self._active = 0
        self._next_start = 0.0
        self._eased = time.monotonic()
        self._changed = threading.Condition()
        self.waited_seconds = 0.0

    @property
    def allowed(self) -> int:
        """How many requests may be under way at a time now."""
        return self._allowed

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The time of one request: begins when it may be sent."""
        with self._changed:
            while self._active >= self._allowed:
                self._changed.wait()
            self._active += 1
            pause = self._reserve_start()
        try:
            if pause > 0:
                self._sleep(pause)
            with self._within():
                yield
        finally:
            with self._changed:
                self._active -= 1
                self._ease()
                self._changed.notify_all()

    def throttle(self) -> None:
        """The server says that it is too much: half as many at a time."""
        with self._changed:
            self._allowed = max(1, self._allowed // 2)
            self._eased = time.monotonic()

    def wait(self, seconds: float, notes: Counter[str]) -> None:
        """Wait, within the run's budget. Raises ServerUnavailable when that is used up."""
        with self._changed:
            self.waited_seconds += seconds
            spent = self.waited_seconds
        if spent > self._budget:
            raise ServerUnavailable(
                f"this run has waited {self._budget / 60:.0f} minutes for the server in all, which is its budget",
                reason="waiting-budget",
                hint="run again later, or raise waiting_budget_seconds in [site.pull]",
            )
        notes["waited_milliseconds"] += round(seconds * 1000)
        self._sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Wait for what takes its time by agreement, such as an export: no budget is used up."""
        self._sleep(seconds)

    def heed(self, headers: Mapping[str, str], notes: Counter[str]) -> None:
        """Slow down before the server has to refuse: nothing is left of what it allows for now."""
        limits = [(_number(headers, _REMAINING), _number(headers, _RESET))]
        # One header with both, and with several limits: "requests";r=90;t=30, "points";r=0;t=30
        limits += [(_part(one, "r"), _part(one, "t")) for one in headers.get("RateLimit", "").split(",")]
        waits = [reset for left, reset in limits if left == 0 and reset is not None and 0 < reset <= _EASE_SECONDS]
        if waits:
            self.wait(max(waits), notes)

    def _reserve_start(self) -> float:
        now = time.monotonic()
        start = max(now, self._next_start)
        self._next_start = start + self._interval
        return start - now

    def _ease(self) -> None:
        if self._allowed < self._most and time.monotonic() - self._eased > _EASE_SECONDS:
            self._allowed += 1
            self._eased = time.monotonic()


def _number(headers: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    text = next((headers[name].strip() for name in names if name in headers), "")
    return float(text) if re.fullmatch("[0-9]{1,9}", text) else None


def _part(limit: str, name: str) -> float | None:
    found = re.search(rf";\s*{name}=([0-9]{{1,9}})\b", limit)
    return float(found[1]) if found else None
