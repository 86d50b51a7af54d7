"""The mapping, measured: stored bytes to the case series, against two programs that only parse the same resources."""

import gzip
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

from given import Bench
from peers.environment import program, versions
from population import entries_of, write_population
from processes import RunFailed, measured
from results import Cell, Found, Ratio, Table

_HERE = Path(__file__).parent
_PATIENTS, _ROUNDS = 400, 5
#: Real records of in-patients, where they lie beside the checkout, and the types of them that a pull asks for.
_REAL = _HERE.parents[1] / "shared" / "data" / "mimic-iv-demo-fhir"
_REAL_TYPES = ("Condition", "Medication", "Observation", "Patient")
_REAL_PATIENTS = 15
_STREAMS = (10_000, 100_000, 300_000)
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


def measure(bench: Bench) -> Found:
    """Both mixes, and the memory of ever longer streams."""
    patients, rounds = (_PATIENTS // 4, 2) if bench.is_quick else (_PATIENTS, _ROUNDS)
    timed = {mix: _rounds(mix, rounds, bench) for mix in _mixes(patients, bench)}
    peaks = {resources: _streamed(resources, bench) for resources in (_STREAMS[:-1] if bench.is_quick else _STREAMS)}
    used = "; ".join(
        f"{mix.name}: {mix.resources:,} resources, of which {one.used:,} were used" for mix, one in timed.items()
    )
    rates = {
        mix.name: {name: mix.resources / median(found) for name, found in one.seconds.items()}
        for mix, one in timed.items()
    }
    tables = (*(_rate_table(mix, rate) for mix, rate in rates.items()), _memory(peaks))
    return Found(f"{used}; {rounds} rounds, medians of processor time.", tuple(ratios(rates, peaks)), tables)


def _mixes(patients: int, bench: Bench) -> list[Mix]:
    """The population, of which everything is wanted; and a hospital, of which little is."""
    everything = write_population(bench.folder / "population.ndjson", patients)
    mixes = [Mix("everything wanted", everything, entries_of(patients))]
    if not _REAL.is_dir():
        bench.say(f"no records of a hospital in {_REAL.name} beside the checkout: that mix is left out")
        return mixes
    hospital = write_population(bench.folder / "hospital.ndjson", _REAL_PATIENTS)
    with hospital.open("ab") as lines:
        lines.writelines(_real_records(_REAL))
    return [*mixes, Mix("a hospital's", hospital, hospital.read_bytes().count(b"\n"))]


def _real_records(folder: Path) -> Iterator[bytes]:
    """Every record that a pull asks for, a line each."""
    for file in sorted(folder.glob("*.ndjson.gz")):
        if file.name.removeprefix("Mimic").startswith(_REAL_TYPES):
            for line in gzip.decompress(file.read_bytes()).splitlines():
                yield line + b"\n"


def _rounds(mix: Mix, rounds: int, bench: Bench) -> Timed:
    """Every way in every round, in turn, so that a slow minute of the machine is everybody's."""
    seconds: dict[str, list[float]] = {way.name: [] for way in WAYS}
    used = mix.resources
    for number in range(rounds):
        for way in WAYS:
            command = way.command if len(way.command) > 1 else [program("python"), *way.command]
            time, *told = measured([*command, mix.file], bench.folder).output.split()
            seconds[way.name].append(float(time))
            used = int(told[0]) if told else used
        said = ", ".join(f"{name} {found[-1]:.2f} s" for name, found in seconds.items())
        bench.say(f"{mix.name}, round {number + 1} of {rounds}: {said}")
    return Timed(seconds, used)


def _streamed(resources: int, bench: Bench) -> float:
    """The peak memory, in MB, of at least so many resources, one patient after the other, in one process."""
    patients = -(-resources // entries_of(1))
    run = measured([sys.executable, _HERE / "mapped.py", "stream", str(patients)], bench.folder)
    if int(run.output) != entries_of(patients):
        raise RunFailed(f"{run.output.strip()} of {entries_of(patients)} resources were mapped")
    bench.say(f"{int(run.output):,} resources: peak {run.peak_mb:.0f} MB")
    return run.peak_mb


def ratios(rates: Mapping[str, Mapping[str, float]], peaks: Mapping[int, float]) -> Iterator[Ratio]:
    """What is compared: resources a second by mix and way, and peak memory in MB by how many there were."""
    for mix, rate in rates.items():
        for name, times in _WANTED.items():
            yield Ratio(f"{mix}: times {name}, which only parses", rate["cases"] / rate[name], "times", "more", times)
    least, most = min(peaks), max(peaks)
    yield Ratio(f"peak memory from {least:,} to {most:,} resources", peaks[most] / peaks[least], "times", "less", _FLAT)


def _rate_table(mix: str, rate: Mapping[str, float]) -> Table:
    names = {
        "cases": "dm-fhir, stored bytes to case", "outcomes": "dm-fhir, stored bytes to case with every outcome",
        "fhir.resources": f"fhir.resources {versions()['fhir.resources']} (R4B), parsing",
        "fhirclient": f"fhirclient {versions()['fhirclient']}, parsing",
    }  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple((names[name], one, 1e6 / one) for name, one in rate.items())
    return Table(f"{mix.capitalize()}:", ("", "resources/s", "µs each"), rows)


def _memory(peaks: Mapping[int, float]) -> Table:
    return Table("One patient after the other:", ("resources", "peak MB"), tuple(peaks.items()))
