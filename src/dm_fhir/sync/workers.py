"""Jobs on several threads. Each writes to the store by itself, a page at a time; the first that cannot go on stops all."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from dm_fhir.config import Site

T = TypeVar("T")
#: A job does its part and returns what has turned out to be left to do.
Job = Callable[[], "Iterable[Job]"]
_LOOK_EVERY_SECONDS = 0.2


class Work(Protocol):
    """What the jobs are part of: how many at a time its site allows, and the way to stop it."""

    @property
    def site(self) -> Site: ...
    @property
    def stop(self) -> threading.Event: ...
    def halt(self) -> None: ...


def work_off(work: Work, jobs: Iterable[Job], progress: Callable[[int, int], None]) -> None:
    """Do the jobs, and those that they lead to, as many at a time as the site allows. Raises what the first failure raised.

    The threads are daemons: an interrupted run does not wait for a server that does not answer.
    """
    crew = _Crew(work, jobs)
    if not crew.waiting:
        return
    threads = [threading.Thread(target=crew.work, daemon=True) for _ in range(work.site.pull.concurrency)]
    try:
        for thread in threads:
            thread.start()
        while not crew.is_over():
            progress(crew.done, crew.total)
    except BaseException:
        work.halt()
        raise
    if crew.failure is not None:
        work.halt()
        raise crew.failure
    progress(crew.done, crew.total)


class _Crew:
    """The jobs that wait, how many are under way, and the failure that ended it."""

    def __init__(self, work: Work, jobs: Iterable[Job]) -> None:
        self.waiting = deque(jobs)
        self.total = len(self.waiting)
        self.done = self._active = 0
        self.failure: BaseException | None = None
        self._work = work
        self._changed = threading.Condition()

    def is_over(self) -> bool:
        """Whether all is done or it has failed, after waiting a little for that."""
        with self._changed:
            if not self._has_ended():
                self._changed.wait(_LOOK_EVERY_SECONDS)
            return self._has_ended()

    def work(self) -> None:
        """Take jobs until there are none."""
        while (job := self._next()) is not None:
            more: list[Job] = []
            try:
                more = list(job())
            except BaseException as error:  # noqa: BLE001  # it is raised again in the thread that waits
                self._failed(error)
                return
            finally:
                self._finished(more)

    def _next(self) -> Job | None:
        with self._changed:
            while not self.waiting and self._active and self.failure is None:
                self._changed.wait()
            if not self.waiting or self.failure is not None or self._work.stop.is_set():
                return None
            self._active += 1
            return self.waiting.popleft()

    def _finished(self, more: list[Job]) -> None:
        with self._changed:
            self._active -= 1
            self.done += 1
            self.total += len(more)
            self.waiting.extend(more)
            self._changed.notify_all()

    def _failed(self, error: BaseException) -> None:
        with self._changed:
            self.failure = self.failure or error
            self._changed.notify_all()

    def _has_ended(self) -> bool:
        return self.failure is not None or not (self.waiting or self._active)
