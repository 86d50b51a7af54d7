"""The push, measured: dm-fhir against a PUT per resource with requests, on the same server in the same run."""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
from computed import Computed
from given import Bench
from processes import Run, RunFailed, measured
from results import Found, Ratio, Table
from served import Served, served

_HERE = Path(__file__).parent
#: Each has 49 outcomes to be written: 10,045.
_PATIENTS = 205
#: How often each is run, by how long the server holds an answer back, in milliseconds.
_ROUNDS = {0: 3, 50: 1}
#: How many resources the peer puts at each delay, where it would take minutes for all.
_OF_PEER = {50: 300}
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


def measure(bench: Bench) -> Found:
    """Everything in every round."""
    patients = _PATIENTS // 5 if bench.is_quick else _PATIENTS
    found: dict[int, list[tuple[Pushed, PeerRun]]] = {}
    with served(patients, "write_server.py") as server:
        bench.say(f"once, not counted: {patients} patients are read and computed")
        study = Computed.made(bench.folder / "study", server.base, patients)
        for delay_ms, rounds in _ROUNDS.items():
            for number in range(1 if bench.is_quick else rounds):
                bench.say(f"{delay_ms} ms per answer, round {number + 1}")
                found.setdefault(delay_ms, []).append(_round(study, server, delay_ms, bench))
    outcomes = found[0][0][0].outcomes
    about = f"{outcomes:,} outcomes of {patients} patients onto a server on loopback that has none. Whole processes, medians."
    return Found(about, tuple(ratios(found)), (_pushes(found), _peers(found)))


def _round(study: Computed, server: Served, delay_ms: int, bench: Bench) -> tuple[Pushed, PeerRun]:
    """Everything once, one after the other, so that a slow minute of the machine is everybody's."""
    folder = bench.folder / "round"
    pushed = _pushed(study.copied(folder), server, delay_ms)
    bench.say(f"  dm-fhir {pushed.first.wall_seconds:.2f} s, again {pushed.second.wall_seconds:.2f} s")
    bodies = folder / "bodies.json"
    bodies.write_bytes(msgspec.json.encode(server.told("/_bodies")))
    server.told("/_empty")
    server.delayed(delay_ms)
    resources = min(pushed.outcomes, _OF_PEER.get(delay_ms, pushed.outcomes))
    run = measured([sys.executable, _HERE / "put_one_by_one.py", server.base, bodies, str(resources)], folder)
    there = server.told("/_kept")["resources"].get("Observation")
    if int(run.output) != resources or there != resources:
        raise RunFailed(f"the peer put {run.output.strip()} of {resources}, and the server has {there}")
    bench.say(f"  requests {resources} resources in {run.wall_seconds:.2f} s")
    shutil.rmtree(folder)
    return pushed, PeerRun(run, resources)


def _pushed(study: Computed, server: Served, delay_ms: int) -> Pushed:
    """A first push to an empty server, and a second one with nothing changed."""
    server.told("/_empty")
    server.delayed(delay_ms)
    first, said = study.pushed()
    requests = server.requests()
    outcomes = said["pushed"]["population"]["new"]
    _once_each(server, outcomes)
    server.forget()
    second, again = study.pushed()
    if again["pushed"]["population"].get("unchanged") != outcomes:
        raise RunFailed(f"of {outcomes} outcomes the second push says {again['pushed']['population']}")
    _once_each(server, outcomes)
    return Pushed(outcomes, first, second, len(requests), len(server.requests()))


def _once_each(server: Served, outcomes: int) -> None:
    """Raises RunFailed unless the server has each outcome once, in one version."""
    kept = server.told("/_kept")
    versions = {int(version): count for version, count in kept["versions"].items()}
    if kept["resources"].get("Observation") != outcomes or set(versions) != {1}:
        raise RunFailed(f"{outcomes} outcomes were pushed; the server has {kept}")


def ratios(rounds: Rounds) -> Iterator[Ratio]:
    """What is compared, round by round."""
    for delay_ms, pairs in rounds.items():
        times = median(pushed.per_second / peer.per_second for pushed, peer in pairs)
        yield Ratio(f"times a PUT per resource, {delay_ms} ms per answer", times, "times", "more", _WANTED[delay_ms])
    for delay_ms, pairs in rounds.items():
        seconds = median(pushed.second.wall_seconds for pushed, _ in pairs)
        yield Ratio(
            f"a second push with nothing changed, {delay_ms} ms per answer", seconds, "s", "less", _SECOND_SECONDS
        )
        requests = max(pushed.second_requests for pushed, _ in pairs)
        yield Ratio(f"its requests, {delay_ms} ms per answer", requests, "requests", "less", 0)


def _pushes(rounds: Rounds) -> Table:
    head = "ms per answer, outcomes/s, first push s, processor s, requests, second push s, requests, peak MB"
    rows = []
    for delay_ms, pairs in rounds.items():
        pushes = [pushed for pushed, _ in pairs]
        rows.append((
            delay_ms, median(one.per_second for one in pushes), median(one.first.wall_seconds for one in pushes),
            median(one.first.cpu_seconds for one in pushes), pushes[0].requests,
            median(one.second.wall_seconds for one in pushes), pushes[0].second_requests,
            max(run.peak_mb for one in pushes for run in (one.first, one.second)),
        ))  # fmt: skip
    return Table("dm-fhir:", tuple(head.split(", ")), tuple(rows))


def _peers(rounds: Rounds) -> Table:
    """The peer; where it put only some of the resources, what all would have taken."""
    rows = []
    for delay_ms, pairs in rounds.items():
        outcomes, resources = pairs[0][0].outcomes, pairs[0][1].resources
        rate = median(peer.per_second for _, peer in pairs)
        seconds = median(peer.run.wall_seconds for _, peer in pairs)
        rows.append(
            (
                delay_ms,
                resources,
                seconds,
                rate,
                "measured" if resources == outcomes else f"{outcomes / rate:,.0f} s, scaled",
            )
        )
    head = ("ms per answer", "resources", "s", "resources/s", "all of them")
    return Table("A PUT per resource:", head, tuple(rows))
