"""Growth, measured: the time and memory of each command for ten and a hundred times as many patients, or sites, with the exponent.

An exponent of 1 is a time that is ten times as long for ten times as many. It is of what a command takes beyond its start, which
is what it takes for one patient, or one site.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from computed import Computed
from given import Bench
from population import patient_ids, write_population
from processes import Run, measured
from results import Cell, Found, Ratio, Table
from served import served

_PROGRAM = Path(sys.executable).with_name("dm-fhir")
_SIZES, _QUICK_SIZES = (40, 400, 4000), (20, 200)
#: So often all but the largest size is measured: a tenth of a second that the machine adds is much of what a small one takes.
_TURNS = 3
#: Whatever grows faster than this is a fault of ours.
MOST = 1.15
#: Less than this beyond the start says nothing.
_LEAST_SECONDS, _LEAST_MB = 0.05, 2
COMMANDS = {
    "pull": ("pull", "--from", "population.ndjson"),
    "compute": ("compute",),
    "compute, nothing changed": ("compute",),
    "status": ("status",),
    "push --dry-run": ("push", "--dry-run", "--json"),
    "map check": ("map", "check"),
    "export, json": ("export", "--output", "series.json"),
    "export, csv": ("export", "--format", "csv", "--output", "tables"),
    "report": ("report", "--output", "report.html"),
}
Sizes = Mapping[int, Run]


#: What is run with ever more sites, each with a few patients behind one server on loopback.
SITE_COMMANDS = {
    "pull": ("pull",),
    "pull, nothing changed": ("pull",),
    "compute": ("compute",),
    "status": ("status",),
    "push --dry-run": ("push", "--dry-run", "--json"),
}
_SITES, _QUICK_SITES, _SITE_PATIENTS = (10, 100), (5, 25), 5
_SITE = """
[[site]]
name = "site-{number:03d}"
endpoint = "{base}"

[site.cohort]
by = "patients"
patients = "patients.txt"
"""


def measure(bench: Bench) -> Found:
    """Ever more patients at one site, then ever more sites."""
    sizes, sites = (_QUICK_SIZES, _QUICK_SITES) if bench.is_quick else (_SIZES, _SITES)
    turns = 1 if bench.is_quick else _TURNS
    of_patients = {
        size: _quickest(_of_patients(size, bench, turn) for turn in range(turns)) for size in (1, *sizes[:-1])
    }
    of_patients[sizes[-1]] = _of_patients(sizes[-1], bench)
    with served(_SITE_PATIENTS) as server:
        of_sites = {
            size: _quickest(_of_sites(size, server.base, bench, turn) for turn in range(turns))
            for size in (1, *sites[:-1])
        }
        of_sites[sites[-1]] = _of_sites(sites[-1], server.base, bench)
    patients, many = _by_command(of_patients), _by_command(of_sites)
    about = (
        f"The same commands for {_listed(sizes)} patients of 26 resources each at one site, and for {_listed(sites)} sites of {_SITE_PATIENTS} "
        f"patients each. Whole processes, the largest once, of the others the quickest of {turns}. Exponents by least squares on the logarithms, of what is beyond the command's "
        "start; processor time and peak memory."
    )
    tables = (
        _table("Processor time, seconds, by patients:", "s", patients, "cpu_seconds"),
        _table("Peak memory, MB, by patients:", "MB", patients, "peak_mb"),
        _table("Time that passes, seconds, by sites:", "s", many, "wall_seconds"),
        _table("Processor time, seconds, by sites:", "s", many, "cpu_seconds"),
        _table("Peak memory, MB, by sites:", "MB", many, "peak_mb"),
    )
    return Found(about, (*ratios("patients", patients), *ratios("sites", many)), tables)


def _quickest(turns: Iterable[Mapping[str, Run]]) -> dict[str, Run]:
    """Of each command the run that took least."""
    runs = list(turns)
    return {name: min((one[name] for one in runs), key=lambda run: run.cpu_seconds) for name in runs[0]}


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(f"{size:,}" for size in sizes)


def _of_patients(size: int, bench: Bench, turn: int = 0) -> dict[str, Run]:
    study = Computed.empty(bench.folder / f"patients-{size}-{turn}", "http://127.0.0.1:9/fhir").folder
    write_population(study / "population.ndjson", size)
    return _runs(COMMANDS, study, f"{size:,} patients", bench)


def _of_sites(size: int, base: str, bench: Bench, turn: int = 0) -> dict[str, Run]:
    study = Computed.empty(bench.folder / f"sites-{size}-{turn}", base).folder
    config = study / "dm-fhir.toml"
    head = config.read_text(encoding="utf-8").partition("[[site]]")[0]
    sites = (_SITE.format(number=number, base=base) for number in range(1, size + 1))
    config.write_text("".join((head, *sites)), encoding="utf-8")
    (study / "patients.txt").write_text("\n".join(patient_ids(_SITE_PATIENTS)) + "\n", encoding="utf-8")
    return _runs(SITE_COMMANDS, study, f"{size:,} sites", bench)


def _runs(commands: Mapping[str, Sequence[str]], study: Path, size: str, bench: Bench) -> dict[str, Run]:
    runs = {}
    for name, command in commands.items():
        run = runs[name] = measured([_PROGRAM, *command], study)
        bench.say(f"{size}, {name}: {run.wall_seconds:.2f} s, peak {run.peak_mb:.0f} MB")
    return runs


def _by_command(of_sizes: Mapping[int, Mapping[str, Run]]) -> dict[str, dict[int, Run]]:
    names = next(iter(of_sizes.values()))
    return {name: {size: runs[name] for size, runs in of_sizes.items()} for name in names}


def ratios(of_what: str, runs: Mapping[str, Sizes]) -> Iterator[Ratio]:
    """The exponents that can be told; a command that takes no longer than its start has none."""
    for name, of_sizes in runs.items():
        seconds = exponent({size: run.cpu_seconds for size, run in of_sizes.items()}, _LEAST_SECONDS)
        if seconds is not None:
            yield Ratio(f"{of_what}: {name}: time", seconds, "exponent", "less", MOST)
        memory = exponent({size: run.peak_mb for size, run in of_sizes.items()}, _LEAST_MB)
        if memory is not None:
            yield Ratio(f"{of_what}: {name}: memory", memory, "exponent", "less", MOST)


def exponent(by_size: Mapping[int, float], least: float) -> float | None:
    """With which power of the size a figure grows beyond that of the smallest size; None where fewer than two sizes are `least` beyond it."""
    smallest = min(by_size)
    start = by_size[smallest]
    points = [
        (math.log(size - smallest), math.log(figure - start))
        for size, figure in by_size.items()
        if figure - start >= least
    ]
    return slope(points) if len(points) > 1 else None


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line that lies nearest to the points, by least squares. They must not all have one x."""
    mean_x, mean_y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def _table(title: str, unit: str, runs: Mapping[str, Sizes], figure: str) -> Table:
    """A row for each command; its start, each size, and how much a thousand more take, by the two largest sizes."""
    rows: list[tuple[Cell, ...]] = []
    sizes = sorted(next(iter(runs.values())))
    for name, of_sizes in runs.items():
        found = [float(getattr(of_sizes[size], figure)) for size in sizes]
        more = (found[-1] - found[-2]) / (sizes[-1] - sizes[-2]) * 1000
        rows.append((name, *found, max(more, 0.0)))
    return Table(title, ("", *(f"{size:,}" for size in sizes), f"{unit} per 1,000 more"), tuple(rows))
