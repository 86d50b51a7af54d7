"""The mapping, measured: stored bytes to the case series, against two programs that only parse the same resources.

python benchmarks/mapping.py            everything, about five minutes; prints Markdown
python benchmarks/mapping.py --quick    fewer patients and no million, about one minute
python benchmarks/mapping.py --save     also writes the tables into docs/benchmarks.md
"""

import argparse
import gzip
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
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
_BEGIN, _END = "### Parse and map, the last run\n", "## Push\n"
_PATIENTS, _ROUNDS = 400, 5
#: Real records of in-patients, where they lie beside the checkout, and the types of them that a pull asks for.
_REAL = _HERE.parents[1] / "shared" / "data" / "mimic-iv-demo-fhir"
_REAL_TYPES = ("Condition", "Medication", "Observation", "Patient")
_REAL_PATIENTS = 15
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


class Mix(NamedTuple):
    """The resources that every way goes through: what they are called, where they lie, how many they are."""

    name: str
    file: Path
    resources: int


class Timed(NamedTuple):
    """The processor seconds of each way in every round, and how many of the resources dm-fhir used."""

    seconds: dict[str, list[float]]
    used: int


def main() -> int:
    """Run what was asked for, print the tables, and return the exit code."""
    options = _options()
    patients, rounds = (_PATIENTS // 4, 3) if options.quick else (_PATIENTS, _ROUNDS)
    streams = _STREAMS[:-1] if options.quick else _STREAMS
    shutil.rmtree(_WORK, ignore_errors=True)
    _WORK.mkdir()
    try:
        mixes = _mixes(patients)
        timed = {mix: _rounds(mix, rounds) for mix in mixes}
        peaks = {resources: _streamed(resources) for resources in streams}
    except RunFailed as error:
        _say(str(error))
        return 1
    finally:
        shutil.rmtree(_WORK, ignore_errors=True)
    page = _page(timed, peaks, rounds)
    sys.stdout.write(page)
    if options.save:
        kept, heading, rest = _DOCS.read_text(encoding="utf-8").partition(_BEGIN)
        _DOCS.write_text(f"{kept}{heading}\n{page}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")
    return 0


def _mixes(patients: int) -> list[Mix]:
    """The population, of which everything is wanted; and a hospital, of which little is."""
    everything = _written(_WORK / "population.ndjson", patients)
    mixes = [Mix("everything wanted", everything, entries_of(patients))]
    if not _REAL.is_dir():
        _say(f"no records of a hospital in {_REAL.name} beside the checkout: that mix is left out")
        return mixes
    hospital = _written(_WORK / "hospital.ndjson", _REAL_PATIENTS)
    with hospital.open("ab") as lines:
        lines.writelines(_real_records(_REAL))
    return [*mixes, Mix("a hospital's", hospital, hospital.read_bytes().count(b"\n"))]


def _real_records(folder: Path) -> Iterator[bytes]:
    """Every record that a pull asks for, a line each."""
    for file in sorted(folder.glob("*.ndjson.gz")):
        if file.name.removeprefix("Mimic").startswith(_REAL_TYPES):
            for line in gzip.decompress(file.read_bytes()).splitlines():
                yield line + b"\n"


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


def _rounds(mix: Mix, rounds: int) -> Timed:
    """Every way in every round, in turn, so that a slow minute of the machine is everybody's."""
    seconds: dict[str, list[float]] = {way.name: [] for way in WAYS}
    used = mix.resources
    for number in range(rounds):
        for way in WAYS:
            command = way.command if len(way.command) > 1 else [program("python"), *way.command]
            time, *told = measured([*command, mix.file], _WORK).output.split()
            seconds[way.name].append(float(time))
            used = int(told[0]) if told else used
        _say(
            f"{mix.name}, round {number + 1}: "
            + ", ".join(f"{name} {found[-1]:.2f} s" for name, found in seconds.items())
        )
    return Timed(seconds, used)


def _streamed(resources: int) -> Run:
    """At least so many resources, one patient after the other, in one process."""
    patients = -(-resources // entries_of(1))
    run = measured([sys.executable, _HERE / "mapped.py", "stream", str(patients)], _WORK)
    if int(run.output) != entries_of(patients):
        raise RunFailed(f"{run.output.strip()} of {entries_of(patients)} resources were mapped")
    _say(f"{int(run.output):,} resources: peak {run.peak_mb:.0f} MB")
    return run


def _page(timed: dict[Mix, Timed], peaks: dict[int, Run], rounds: int) -> str:
    day = datetime.now(UTC).date().isoformat()
    machine = f"{day}, {platform.system()} on {os.cpu_count()} shared {platform.machine()} cores, Python {platform.python_version()}"
    rates = {
        mix: {name: mix.resources / median(found) for name, found in one.seconds.items()} for mix, one in timed.items()
    }
    used = ", ".join(
        f"{mix.name}: {mix.resources:,} resources, of which {one.used:,} were used" for mix, one in timed.items()
    )
    about = f"{machine}; {used}; {rounds} rounds, medians of processor time."
    wanted = _targets({mix.name: rate for mix, rate in rates.items()}, peaks)
    return "\n\n".join((about, wanted, *(_rates(mix.name, rate) for mix, rate in rates.items()), _memory(peaks))) + "\n"


def _targets(rates: dict[str, dict[str, float]], peaks: dict[int, Run]) -> str:
    found = [
        (f"{mix}: at least {times} times {name}, which only parses", f"{rate['cases'] / rate[name]:.1f} times",
         "met" if rate["cases"] >= times * rate[name] else "**missed**")
        for mix, rate in rates.items()
        for name, times in _WANTED.items()
    ]  # fmt: skip
    least, most = min(peaks), max(peaks)
    growth = peaks[most].peak_mb / peaks[least].peak_mb
    said = f"memory flat (within {_FLAT - 1:.0%}) from {least:,} to {most:,} resources"
    found.append((said, f"{growth:.2f} times", "met" if growth <= _FLAT else "**missed**"))
    return _table(("wanted", "measured", ""), found)


def _rates(mix: str, rate: dict[str, float]) -> str:
    names = {
        "cases": "dm-fhir, stored bytes to case", "outcomes": "dm-fhir, stored bytes to case with every outcome",
        "fhir.resources": f"fhir.resources {versions()['fhir.resources']} (R4B), parsing",
        "fhirclient": f"fhirclient {versions()['fhirclient']}, parsing",
    }  # fmt: skip
    found = [(names[name], f"{one:,.0f}", f"{1e6 / one:.1f} µs") for name, one in rate.items()]
    return _table((mix, "resources/s", "each"), found)


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
