"""Scanning, measured: the few patients with a drug out of a hospital's export, and the taking in of a cohort's own export."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from computed import Computed
from given import Bench
from peers.environment import program, versions
from processes import Run, RunFailed, measured
from results import Cell, Found, Ratio, Table
from scan_export import Export, written

_HERE = Path(__file__).parent
_PROGRAM = Path(sys.executable).with_name("dm-fhir")
_LINES, _QUICK_LINES, _COHORT, _ROUNDS = 5_000_000, 500_000, 50, 3
#: The lines of an export of nobody but the cohort.
_OWN_LINES, _QUICK_OWN_LINES = 200_000, 50_000
_CORES = os.cpu_count() or 1
_ONE, _ALL, _SPARK = "dm-fhir, one process", f"dm-fhir, {_CORES} processes", f"dm-fhir on Spark, local[{_CORES}]"
_IN_ONE, _IN_ALL = ("--processes", "1"), ("--processes", str(_CORES))
_CAT, _BARE = "cat", "a bare msgspec loop and bare SQLite"
_PEAK_MB, _FLAT = 100, 1.1
Rounds = Mapping[str, Sequence[Run]]
Start = Callable[[Path, Path], list[str | Path]]


class Way(NamedTuple):
    """How the lines are found: its name, its command for an export and a folder, and whether it is run in every round."""

    name: str
    start: Start
    every_round: bool = True


def measure(bench: Bench) -> Found:
    """All ways in every round, in a whole export, in a tenth of it, and in one of the cohort alone."""
    rounds = 1 if bench.is_quick else _ROUNDS
    bench.say("the export is written")
    whole = written(bench.folder / "export", _QUICK_LINES if bench.is_quick else _LINES, _COHORT)
    runs = _rounds(whole, _ways(bench), rounds, bench)
    shutil.rmtree(whole.folder)
    tenth = written(bench.folder / "tenth", whole.lines // 10, _COHORT)
    small = _run(Way(_ONE, _own(*_IN_ONE)), tenth, bench.folder / "work")
    own = written(bench.folder / "own", _QUICK_OWN_LINES if bench.is_quick else _OWN_LINES, sys.maxsize)
    taken = _rounds(own, [Way(_ONE, _own(*_IN_ONE)), Way(_ALL, _own(*_IN_ALL)), Way(_BARE, _bare)], rounds, bench)
    about = (
        f"{whole.lines:,} lines, {whole.size_bytes / 1e9:.2f} GB, of {whole.patients:,} patients, {whole.cohort} of whom were given the drug; "
        f"and an export of {own.cohort:,} patients who all were, {own.lines:,} lines, {own.size_bytes / 1e6:.0f} MB. Whole processes, "
        f"{rounds} rounds, Spark in the first; the files are in memory."
    )
    tables = (_table("The few out of all:", whole, runs), _table("The cohort's own export, taken in:", own, taken))
    return Found(about, tuple(ratios(runs, small.peak_mb, taken)), tables)


def ratios(runs: Rounds, small_peak_mb: float, taken: Rounds) -> Iterator[Ratio]:
    """What is compared, round by round; `small_peak_mb`: the peak for a tenth of the lines."""
    yield Ratio("times an orjson loop, in one process", _times(runs["orjson"], runs[_ONE]), "times", "more", 2)
    if "pyspark" in runs:
        yield Ratio("times PySpark, on all cores", _times(runs["pyspark"], runs[_ALL]), "times", "more", 5)
    if _SPARK in runs:
        yield Ratio("times dm-fhir on Spark, on all cores", _times(runs[_SPARK], runs[_ALL]), "times", "more")
    yield Ratio(
        "times one process, on all cores", _times(runs[_ONE], runs[_ALL]), "times", "more", 1.5 if _CORES > 1 else None
    )
    yield Ratio("of a bare msgspec loop, in one process", _times(runs["msgspec"], runs[_ONE]), "share", "more")
    yield Ratio(f"of {_CAT}, in one process", _times(runs[_CAT], runs[_ONE]), "share", "more")
    peak = max(run.peak_mb for name in (_ONE, _ALL) for run in runs[name])
    yield Ratio("peak memory of a process", peak, "MB", "less", _PEAK_MB)
    peak = max(run.peak_mb for run in runs[_ONE])
    yield Ratio("peak memory, of that for a tenth of the lines", peak / small_peak_mb, "times", "less", _FLAT)
    yield Ratio(f"the cohort's own export: of {_BARE}", _times(taken[_BARE], taken[_ONE]), "share", "more", 0.4)
    peak = max(run.peak_mb for name in (_ONE, _ALL) for run in taken[name])
    yield Ratio("the cohort's own export: peak memory of a process", peak, "MB", "less", _PEAK_MB)


def _times(other: Sequence[Run], ours: Sequence[Run]) -> float:
    """How many times as fast as the other we were, in the rounds that both have."""
    return median(theirs.wall_seconds / our.wall_seconds for theirs, our in zip(other, ours, strict=False))


def _ways(bench: Bench) -> list[Way]:
    peers = [Way(name, _peer(name)) for name in ("orjson", "msgspec")]
    if "JAVA_HOME" in os.environ or shutil.which("java"):
        peers.append(Way("pyspark", _peer("pyspark"), every_round=False))
        peers.append(Way(_SPARK, _own("--engine", "spark", "--master", f"local[{_CORES}]"), every_round=False))
    else:
        bench.say("no Java 17 on this machine (apt-get install openjdk-17-jre-headless): Spark is left out")
    return [Way(_CAT, _cat), Way(_ONE, _own(*_IN_ONE)), Way(_ALL, _own(*_IN_ALL)), *peers]


def _cat(export: Path, _: Path) -> list[str | Path]:
    return ["sh", "-c", 'cat "$0"/*.ndjson | wc -c >&2', export]


def _own(*options: str) -> Start:
    """`dm-fhir pull --from` into a new store; the cohort is the default, whoever was given the drug."""

    def start(export: Path, work: Path) -> list[str | Path]:
        study = Computed.empty(work / "study", "http://127.0.0.1:9/fhir").folder
        config = ["--config", study / "dm-fhir.toml"]
        return [_PROGRAM, *config, "pull", "--from", export, *options, "--json"]

    return start


def _peer(name: str) -> Start:
    return lambda export, _: [program("python"), _HERE / "peers" / "scan.py", name, export]


def _bare(export: Path, _: Path) -> list[str | Path]:
    return [sys.executable, _HERE / "bare_store.py", export]


def _rounds(export: Export, ways: Sequence[Way], rounds: int, bench: Bench) -> dict[str, list[Run]]:
    """Every way in every round, in turn, so that a slow minute of the machine is everybody's."""
    runs: dict[str, list[Run]] = {}
    for number in range(rounds):
        for way in ways:
            if number and not way.every_round:
                continue
            run = _run(way, export, bench.folder / "work")
            runs.setdefault(way.name, []).append(run)
            bench.say(
                f"{export.lines:,} lines, round {number + 1} of {rounds}, {way.name}: {run.wall_seconds:.2f} s, peak {run.peak_mb:.0f} MB"
            )
    return runs


def _run(way: Way, export: Export, work: Path) -> Run:
    """Raises RunFailed unless it has found every line of the cohort and no other."""
    work.mkdir()
    run = measured(way.start(export.folder, work), work)
    found = export.kept if way.name == _CAT else _found(run.output)
    if found != export.kept:
        raise RunFailed(f"{way.name} found {found} of {export.kept} lines")
    beside = work / "beside.json"  # of a process that it started and did not wait for
    more: dict[str, float] = json.loads(beside.read_bytes()) if beside.exists() else {}
    shutil.rmtree(work)
    peak_mb = max(run.peak_mb, more.get("peak_mb", 0))
    return run._replace(peak_mb=peak_mb, cpu_seconds=run.cpu_seconds + more.get("cpu_seconds", 0))


def _found(output: str) -> int:
    """How many lines a program says it has found: a number, or what `pull --json` says is in the store."""
    said = json.loads(output.split("\n")[-2] if output.endswith("\n") else output)
    return said if isinstance(said, int) else sum(said["sites"][0]["resources"].values())


def _table(title: str, export: Export, runs: Rounds) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, some in runs.items():
        seconds = median(run.wall_seconds for run in some)
        said = f"{name} {versions()[name]}" if name in versions() else name
        cpu = median(run.cpu_seconds for run in some)
        rows.append(
            (
                said,
                seconds,
                export.size_bytes / 1e6 / seconds,
                export.lines / seconds,
                cpu,
                max(run.peak_mb for run in some),
            )
        )
    return Table(title, ("", "s", "MB/s", "lines/s", "processor s", "peak MB of the largest process"), tuple(rows))
