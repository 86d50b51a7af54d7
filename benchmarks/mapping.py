"""The mapping, measured: stored bytes to the case series, against two programs that only parse the same resources.

python benchmarks/mapping.py            everything, about five minutes; prints Markdown
python benchmarks/mapping.py --quick    fewer patients and no million, about one minute
python benchmarks/mapping.py --save     also writes the tables into docs/benchmarks.md
"""

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

from peers.environment import program, versions
from population import PER_PATIENT, entries_of, patient_ids, rows
from processes import Run, RunFailed, measured

_HERE = Path(__file__).parent
_WORK = _HERE / "build"
_DOCS = _HERE.parent / "docs" / "benchmarks.md"
_BEGIN, _END = "### Parse and map, the last run\n", "## The last run\n"
_PATIENTS, _ROUNDS = 400, 5
_STREAMS = (10_000, 100_000, 1_000_000)
#: How many times as fast as each the cases are wanted.
_WANTED = {"fhir.resources": 40, "fhirclient": 25}
#: The most that the peak may grow from the shortest to the longest stream and still be called flat.
_FLAT = 1.1


class Way(NamedTuple):
    """One way through the file, and the command of it."""

    name: str
    command: list[str | Path]


WAYS = (
    Way("cases", [sys.executable, _HERE / "mapped.py", "cases"]),
    Way("outcomes", [sys.executable, _HERE / "mapped.py", "outcomes"]),
    Way("fhir.resources", [_HERE / "peers" / "parse_fhir_resources.py"]),
    Way("fhirclient", [_HERE / "peers" / "parse_fhirclient.py"]),
)


def main() -> int:
    """Run what was asked for, print the tables, and return the exit code."""
    options = _options()
    patients, rounds = (_PATIENTS // 4, 3) if options.quick else (_PATIENTS, _ROUNDS)
    streams = _STREAMS[:-1] if options.quick else _STREAMS
    shutil.rmtree(_WORK, ignore_errors=True)
    _WORK.mkdir()
    try:
        file = _written(_WORK / "population.ndjson", patients)
        seconds = _rounds(file, rounds)
        peaks = {resources: _streamed(resources) for resources in streams}
    except RunFailed as error:
        _say(str(error))
        return 1
    finally:
        shutil.rmtree(_WORK, ignore_errors=True)
    page = _page(entries_of(patients), seconds, peaks)
    sys.stdout.write(page)
    if options.save:
        kept, heading, rest = _DOCS.read_text(encoding="utf-8").partition(_BEGIN)
        _DOCS.write_text(f"{kept}{heading}\n{page}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the patients, three rounds, no million")
    parser.add_argument("--save", action="store_true", help="write the tables into docs/benchmarks.md")
    return parser.parse_args()


def _written(file: Path, patients: int) -> Path:
    """The records of so many patients, a line each."""
    with file.open("wb") as lines:
        for patient in patient_ids(patients):
            for kind in PER_PATIENT:
                lines.writelines(row.body + b"\n" for row in rows(kind, patient))
    return file


def _rounds(file: Path, rounds: int) -> dict[str, list[float]]:
    """The processor seconds of every way in every round, in turn, so that a slow minute of the machine is everybody's."""
    seconds: dict[str, list[float]] = {way.name: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS:
            command = way.command if len(way.command) > 1 else [program("python"), *way.command]
            seconds[way.name].append(float(measured([*command, file], _WORK).output))
        _say(f"round {number + 1}: " + ", ".join(f"{name} {found[-1]:.2f} s" for name, found in seconds.items()))
    return seconds


def _streamed(resources: int) -> Run:
    """At least so many resources, one patient after the other, in one process."""
    patients = -(-resources // entries_of(1))
    run = measured([sys.executable, _HERE / "mapped.py", "stream", str(patients)], _WORK)
    if int(run.output) != entries_of(patients):
        raise RunFailed(f"{run.output.strip()} of {entries_of(patients)} resources were mapped")
    _say(f"{int(run.output):,} resources: peak {run.peak_mb:.0f} MB")
    return run


def _page(resources: int, seconds: dict[str, list[float]], peaks: dict[int, Run]) -> str:
    day = datetime.now(UTC).date().isoformat()
    machine = f"{day}, {platform.system()} on {os.cpu_count()} shared {platform.machine()} cores, Python {platform.python_version()}"
    rate = {name: resources / median(found) for name, found in seconds.items()}
    about = f"{machine}; {resources:,} resources, {len(seconds['cases'])} rounds, medians of processor time."
    return "\n\n".join((about, _targets(rate, peaks), _rates(rate), _memory(peaks))) + "\n"


def _targets(rate: dict[str, float], peaks: dict[int, Run]) -> str:
    found = [
        (f"at least {times} times {name}, which only parses", f"{rate['cases'] / rate[name]:.1f} times",
         "met" if rate["cases"] >= times * rate[name] else "**missed**")
        for name, times in _WANTED.items()
    ]  # fmt: skip
    least, most = min(peaks), max(peaks)
    growth = peaks[most].peak_mb / peaks[least].peak_mb
    said = f"memory flat (within {_FLAT - 1:.0%}) from {least:,} to {most:,} resources"
    found.append((said, f"{growth:.2f} times", "met" if growth <= _FLAT else "**missed**"))
    return _table(("wanted", "measured", ""), found)


def _rates(rate: dict[str, float]) -> str:
    names = {
        "cases": "dm-fhir, stored bytes to case", "outcomes": "dm-fhir, stored bytes to case with every outcome",
        "fhir.resources": f"fhir.resources {versions()['fhir.resources']} (R4B), parsing",
        "fhirclient": f"fhirclient {versions()['fhirclient']}, parsing",
    }  # fmt: skip
    found = [(names[name], f"{one:,.0f}", f"{1e6 / one:.1f} µs") for name, one in rate.items()]
    return _table(("", "resources/s", "each"), found)


def _memory(peaks: dict[int, Run]) -> str:
    found = [(f"{int(run.output):,}", f"{run.peak_mb:.0f} MB") for run in peaks.values()]
    return _table(("resources, one patient after the other", "peak memory"), found)


def _table(head: Sequence[str], found: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *found]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
