"""The figures as Markdown."""

import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from statistics import median

from figures import BARE_LOOPS, Figures
from peers.environment import versions

_TIMES_PEER, _SHARE_OF_BARE, _TIMES_WAITING, _SECOND_SHARE, _PEAK_MB = 10, 0.40, 1.5, 0.05, 200


def page(figures: Figures) -> str:
    """All tables that the figures allow for."""
    parts = [_machine(figures)]
    if figures.pulls:
        parts += [_targets(figures), _pulls(figures)]
    if figures.peers:
        parts.append(_peers(figures))
    return "\n\n".join(parts) + "\n"


def _machine(figures: Figures) -> str:
    day = datetime.now(UTC).date().isoformat()
    return (
        f"{day}, {platform.system()} on {os.cpu_count()} shared {platform.machine()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, server on loopback on the same machine; {figures.patients:,} patients. "
        "Medians; the machine is noisy, so only ratios of one run mean something."
    )


def _targets(figures: Figures) -> str:
    rows = list(_target_rows(figures))
    return "### What is wanted, and what is\n\n" + _table(("wanted", "measured", ""), rows)


def _target_rows(figures: Figures) -> Iterable[tuple[str, str, str]]:
    for delay_ms in figures.pulls:
        names = [name for name, delay in figures.peers if delay == delay_ms]
        if names:
            times = {name: figures.times_peer(name, delay_ms) for name in names}
            fastest = min(times, key=lambda name: times[name])
            wanted = f"at least {_TIMES_PEER} times every peer, {delay_ms} ms per answer"
            yield wanted, f"{times[fastest]:.0f} times {fastest}, the fastest", _met(times[fastest] >= _TIMES_PEER)
    for how, runs in figures.bare.items():
        share = figures.share_of_bare(how)
        bare = median(one.entries_per_second for one in runs)
        wanted = (
            f"at least {_SHARE_OF_BARE:.0%} of a bare requests + msgspec loop over the same pages, to {BARE_LOOPS[how]}"
        )
        yield wanted, f"{share:.0%} of {bare:,.0f} entries/s", _met(share >= _SHARE_OF_BARE)
    slowest = max(figures.pulls)
    if slowest:
        times_waiting = figures.times_waiting(slowest)
        wanted = f"at {slowest} ms per answer within {_TIMES_WAITING} times the waiting that the plan cannot avoid"
        waiting = figures.pulls[slowest][0].unavoidable_seconds
        yield wanted, f"{times_waiting:.2f} times {waiting:.1f} s", _met(times_waiting <= _TIMES_WAITING)
    for delay_ms, pulls in figures.pulls.items():
        share = figures.second_share(delay_ms)
        wanted = f"a second pull with nothing changed under {_SECOND_SHARE:.0%} of the first one's time, {delay_ms} ms"
        yield wanted, f"{share:.1%}", _met(share < _SECOND_SHARE)
        requests, most = max(pull.second_requests for pull in pulls), pulls[0].most_requests
        wanted = f"its requests: at most /metadata and one per type and 100 patients, {delay_ms} ms"
        yield wanted, f"{requests} of {most}", _met(requests <= most)
    peak = figures.peak_mb()
    yield f"peak memory under {_PEAK_MB} MB", f"{peak:.0f} MB", _met(peak < _PEAK_MB)


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def _pulls(figures: Figures) -> str:
    head = "per answer, entries/s, first pull, processor, requests, unavoidable waiting, second pull, requests, peak memory, store"
    rows = []
    for delay_ms, pulls in figures.pulls.items():
        first = median(pull.first.wall_seconds for pull in pulls)
        cpu = median(pull.first.cpu_seconds for pull in pulls)
        second = median(pull.second.wall_seconds for pull in pulls)
        peak = max(pull.first.peak_mb for pull in pulls)
        one = pulls[0]
        waiting = f"{one.unavoidable_seconds:.2f} s" if delay_ms else "none"
        rows.append(
            (
                f"{delay_ms} ms", f"{figures.pull_rate(delay_ms):,.0f}", f"{first:.2f} s", f"{cpu:.2f} s", f"{len(one.requests):,}",
                waiting, f"{second:.2f} s", f"{one.second_requests:,}", f"{peak:.0f} MB", f"{one.store_mb:.0f} MB",
            )
        )  # fmt: skip
    title = f"### dm-fhir: {figures.pulls[next(iter(figures.pulls))][0].entries:,} entries, {figures.at_a_time} requests at a time\n\n"
    return title + _table(head.split(", "), rows)


def _peers(figures: Figures) -> str:
    delays = list(dict.fromkeys(delay for _, delay in figures.peers))
    names = list(dict.fromkeys(name for name, _ in figures.peers))
    rows = []
    if figures.pulls:
        rows.append(("dm-fhir", *(f"{figures.pull_rate(delay):,.0f}" for delay in delays)))
    rows += [(f"{name} {versions()[name]}", *(_peer_cell(figures, name, delay) for delay in delays)) for name in names]
    head = ("entries/s", *(f"{delay} ms" for delay in delays))
    return "### Peers, each with a share of the patients\n\n" + _table(head, rows)


def _peer_cell(figures: Figures, name: str, delay_ms: int) -> str:
    cell = f"{figures.peer_rate(name, delay_ms):,.0f} ({figures.peers[name, delay_ms][0].patients} patients)"
    return f"{cell}, 1/{figures.times_peer(name, delay_ms):.0f}" if figures.pulls else cell


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
