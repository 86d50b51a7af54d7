"""What a benchmark found, and the ratios within one round that are all that may be quoted."""

from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from processes import Run
from served import Request

DELAYS_MS = (0, 50, 200)
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
