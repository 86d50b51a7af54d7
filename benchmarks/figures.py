"""What the pull's benchmark found, and the ratios within one round that are all that may be quoted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from peers.environment import versions
from processes import Run
from results import Cell, Found, Ratio, Table
from served import Request

_TIMES_PEER, _SHARE_OF_BARE, _TIMES_WAITING, _SECOND_SHARE, _PEAK_MB = 10, 0.40, 1.5, 0.05, 200
#: What the bare loop decodes pages to.
BARE_LOOPS = {"typed": "types and ids", "whole": "dictionaries"}


class Pulled(NamedTuple):
    """dm-fhir's first pull and, with nothing changed, its second. `most_requests`: /metadata, one per type and 100 patients."""

    first: Run
    second: Run
    entries: int
    requests: list[Request]
    second_requests: int
    most_requests: int
    unavoidable_seconds: float
    store_mb: float

    @property
    def entries_per_second(self) -> float:
        """Of the first pull, whole process."""
        return self.entries / self.first.wall_seconds


class Bare(NamedTuple):
    """The bare loop over the same pages."""

    run: Run
    entries: int

    @property
    def entries_per_second(self) -> float:
        """Whole process."""
        return self.entries / self.run.wall_seconds


class PeerRun(NamedTuple):
    """A peer reading a share of the patients."""

    run: Run
    entries: int
    patients: int

    @property
    def entries_per_second(self) -> float:
        """Whole process."""
        return self.entries / self.run.wall_seconds


@dataclass
class Figures:
    """All runs, by delay in milliseconds and, for the peers, by name. Runs of one index are of one round."""

    patients: int
    at_a_time: int
    pulls: dict[int, list[Pulled]] = field(default_factory=dict)
    bare: dict[str, list[Bare]] = field(default_factory=dict)
    peers: dict[tuple[str, int], list[PeerRun]] = field(default_factory=dict)

    def pull_rate(self, delay_ms: int) -> float:
        """dm-fhir's entries per second."""
        return median(pull.entries_per_second for pull in self.pulls[delay_ms])

    def peer_rate(self, name: str, delay_ms: int) -> float:
        """A peer's entries per second."""
        return median(run.entries_per_second for run in self.peers[name, delay_ms])

    def times_peer(self, name: str, delay_ms: int) -> float:
        """How many times as fast as a peer dm-fhir was, round by round."""
        pairs = zip(self.pulls[delay_ms], self.peers[name, delay_ms], strict=True)
        return median(pull.entries_per_second / run.entries_per_second for pull, run in pairs)

    def share_of_bare(self, how: str) -> float:
        """dm-fhir's entries per second as a share of the bare loop's, round by round."""
        pairs = zip(self.pulls[0], self.bare[how], strict=True)
        return median(pull.entries_per_second / bare.entries_per_second for pull, bare in pairs)

    def times_waiting(self, delay_ms: int) -> float:
        """The first pull's time, as so many times the waiting that cannot be avoided."""
        return median(pull.first.wall_seconds / pull.unavoidable_seconds for pull in self.pulls[delay_ms])

    def second_share(self, delay_ms: int) -> float:
        """The second pull's time as a share of the first's."""
        return median(pull.second.wall_seconds / pull.first.wall_seconds for pull in self.pulls[delay_ms])

    def peak_mb(self) -> float:
        """The most memory that any pull held."""
        return max(run.peak_mb for pulls in self.pulls.values() for pull in pulls for run in (pull.first, pull.second))

    def found(self) -> Found:
        """All ratios and tables."""
        entries = self.pulls[0][0].entries
        about = (
            f"{self.patients:,} patients, {entries:,} entries, {self.at_a_time} requests at a time, from a server on loopback that "
            "costs nothing. Whole processes, medians; each peer has read a share of the patients."
        )
        return Found(about, tuple(self._ratios()), (self._pull_table(), self._peer_table()))

    def _ratios(self) -> Iterator[Ratio]:
        for name, delay_ms in self.peers:
            yield Ratio(
                f"times {name}, {delay_ms} ms per answer", self.times_peer(name, delay_ms), "times", "more", _TIMES_PEER
            )
        for how, what in BARE_LOOPS.items():
            said = f"of a bare requests + msgspec loop over the same pages, to {what}"
            yield Ratio(said, self.share_of_bare(how), "share", "more", _SHARE_OF_BARE)
        slowest = max(self.pulls)
        said = f"the waiting that the plan cannot avoid, {slowest} ms per answer"
        yield Ratio(said, self.times_waiting(slowest), "times", "less", _TIMES_WAITING)
        for delay_ms, pulls in self.pulls.items():
            said = f"a second pull with nothing changed, of the first one's time, {delay_ms} ms per answer"
            yield Ratio(said, self.second_share(delay_ms), "share", "less", _SECOND_SHARE)
            requests = max(pull.second_requests for pull in pulls)
            said = f"its requests, {delay_ms} ms per answer: /metadata, and one per type and 100 patients"
            yield Ratio(said, requests, "requests", "less", pulls[0].most_requests)
        yield Ratio("peak memory", self.peak_mb(), "MB", "less", _PEAK_MB)

    def _pull_table(self) -> Table:
        head = "ms per answer, entries/s, first pull s, processor s, requests, unavoidable waiting s, second pull s, requests, peak MB, store MB"
        return Table("dm-fhir:", tuple(head.split(", ")), tuple(self._pull_row(delay_ms) for delay_ms in self.pulls))

    def _pull_row(self, delay_ms: int) -> tuple[Cell, ...]:
        pulls = self.pulls[delay_ms]
        first, again = [pull.first for pull in pulls], [pull.second for pull in pulls]
        return (
            delay_ms, self.pull_rate(delay_ms), median(run.wall_seconds for run in first), median(run.cpu_seconds for run in first),
            len(pulls[0].requests), pulls[0].unavoidable_seconds, median(run.wall_seconds for run in again),
            pulls[0].second_requests, max(run.peak_mb for run in first), pulls[0].store_mb,
        )  # fmt: skip

    def _peer_table(self) -> Table:
        rows: list[tuple[Cell, ...]] = [("dm-fhir", *(self.pull_rate(delay_ms) for delay_ms in self.pulls))]
        for name in dict.fromkeys(name for name, _ in self.peers):
            rows.append((f"{name} {versions()[name]}", *(self.peer_rate(name, delay_ms) for delay_ms in self.pulls)))
        return Table("Entries per second:", ("", *(f"{delay_ms} ms" for delay_ms in self.pulls)), tuple(rows))
