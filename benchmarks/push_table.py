"""What the benchmark of the push found, and the figures as Markdown."""

import os
import platform
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from typing import NamedTuple

from processes import Run

#: How many times as fast as a PUT per resource it is wanted, by the delay in milliseconds.
_WANTED = {0: 10, 50: 100}
_SECOND_SECONDS = 2


class Pushed(NamedTuple):
    """dm-fhir's first push and, with nothing changed, its second; and how many requests each sent."""

    outcomes: int
    first: Run
    second: Run
    requests: int
    second_requests: int

    @property
    def per_second(self) -> float:
        """Outcomes per second of the first push, whole process."""
        return self.outcomes / self.first.wall_seconds


class PeerRun(NamedTuple):
    """The peer putting so many of the same resources."""

    run: Run
    resources: int

    @property
    def per_second(self) -> float:
        """Resources per second, whole process."""
        return self.resources / self.run.wall_seconds


Rounds = Mapping[int, Sequence[tuple[Pushed, PeerRun]]]


def page(rounds: Rounds, load: float) -> str:
    """All tables; `load` is how many other processes wanted a core when it began."""
    outcomes = next(iter(rounds.values()))[0][0].outcomes
    day = datetime.now(UTC).date().isoformat()
    machine = (
        f"{day}, {platform.system()} on {os.cpu_count()} shared {platform.machine()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, requests {version('requests')}; {outcomes:,} outcomes; load {load:.0f} when it began. "
        "Medians; the machine is noisy, so only ratios of one run mean something."
    )
    wanted = _table(("wanted", "measured", ""), _targets(rounds))
    return "\n\n".join((machine, wanted, _pushes(rounds), _peers(rounds))) + "\n"


def times(pairs: Sequence[tuple[Pushed, PeerRun]]) -> float:
    """How many times as many resources a second as the peer dm-fhir wrote, round by round."""
    return median(pushed.per_second / peer.per_second for pushed, peer in pairs)


def _targets(rounds: Rounds) -> Iterable[tuple[str, str, str]]:
    for delay_ms, pairs in rounds.items():
        least, found = _WANTED.get(delay_ms, 10), times(pairs)
        yield (
            f"at least {least} times a PUT per resource, {delay_ms} ms per answer",
            f"{found:.1f} times",
            _met(found >= least),
        )
    for delay_ms, pairs in rounds.items():
        seconds = median(pushed.second.wall_seconds for pushed, _ in pairs)
        requests = max(pushed.second_requests for pushed, _ in pairs)
        yield (
            f"a second push with nothing changed under {_SECOND_SECONDS} s, without a request, {delay_ms} ms",
            f"{seconds:.2f} s, {requests} requests",
            _met(seconds < _SECOND_SECONDS and not requests),
        )


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def _pushes(rounds: Rounds) -> str:
    head = "per answer, outcomes/s, first push, processor, requests, second push, requests, peak memory"
    found = []
    for delay_ms, pairs in rounds.items():
        pushes = [pushed for pushed, _ in pairs]
        first, cpu, second = (
            median(seconds)
            for seconds in (
                [one.first.wall_seconds for one in pushes],
                [one.first.cpu_seconds for one in pushes],
                [one.second.wall_seconds for one in pushes],
            )
        )
        peak = max(run.peak_mb for one in pushes for run in (one.first, one.second))
        rate = median(one.per_second for one in pushes)
        requests, again = pushes[0].requests, pushes[0].second_requests
        found.append((f"{delay_ms} ms", f"{rate:,.0f}", f"{first:.2f} s", f"{cpu:.2f} s", f"{requests:,}", f"{second:.2f} s",
                      str(again), f"{peak:.0f} MB"))  # fmt: skip
    return _table(head.split(", "), found)


def _peers(rounds: Rounds) -> str:
    """The peer; where it put only some of the resources, what all would have taken."""
    found = []
    for delay_ms, pairs in rounds.items():
        outcomes, peer = pairs[0][0].outcomes, pairs[0][1]
        seconds = median(one.run.wall_seconds for _, one in pairs)
        rate = median(one.per_second for _, one in pairs)
        all_of_them = "measured" if peer.resources == outcomes else f"{outcomes / rate:,.0f} s, scaled"
        found.append((f"{delay_ms} ms", f"{peer.resources:,}", f"{seconds:.2f} s", f"{rate:,.0f}", all_of_them))
    return _table(("a PUT per resource, per answer", "resources", "time", "resources/s", "all of them"), found)


def _table(head: Sequence[str], found: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *found]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
