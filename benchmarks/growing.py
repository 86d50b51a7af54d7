"""Growth, measured: the time and memory of each command for a cohort ten and a hundred times as large, with the exponent.

An exponent of 1 is a time that is ten times as long for ten times as many patients. It is of what a command takes beyond its
start, which is what it takes for one patient.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from computed import Computed
from given import Bench
from population import write_population
from processes import Run, measured
from results import Cell, Found, Ratio, Table

_PROGRAM = Path(sys.executable).with_name("dm-fhir")
_SIZES, _QUICK_SIZES = (50, 500, 5000), (20, 200)
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


def measure(bench: Bench) -> Found:
    """Every command at one patient, which is its start, and at every size."""
    sizes = _QUICK_SIZES if bench.is_quick else _SIZES
    runs: dict[str, dict[int, Run]] = {name: {} for name in COMMANDS}
    for size in (1, *sizes):
        study = Computed.empty(bench.folder / str(size), "http://127.0.0.1:9/fhir").folder
        write_population(study / "population.ndjson", size)
        for name, command in COMMANDS.items():
            run = runs[name][size] = measured([_PROGRAM, *command], study)
            bench.say(f"{size:,} patients, {name}: {run.wall_seconds:.2f} s, peak {run.peak_mb:.0f} MB")
    about = (
        f"The same commands for {', '.join(f'{size:,}' for size in sizes)} patients of 26 resources each, whole processes, once each. "
        "Exponents by least squares on the logarithms, of what is beyond the command's start; processor time and peak memory."
    )
    return Found(about, tuple(ratios(runs)), (_table(runs, sizes, "cpu_seconds"), _table(runs, sizes, "peak_mb")))


def ratios(runs: Mapping[str, Sizes]) -> Iterator[Ratio]:
    """The exponents that can be told; a command that takes no longer than its start has none."""
    for name, of_sizes in runs.items():
        seconds = exponent({size: run.cpu_seconds for size, run in of_sizes.items()}, _LEAST_SECONDS)
        if seconds is not None:
            yield Ratio(f"{name}: time", seconds, "exponent", "less", MOST)
        memory = exponent({size: run.peak_mb for size, run in of_sizes.items()}, _LEAST_MB)
        if memory is not None:
            yield Ratio(f"{name}: memory", memory, "exponent", "less", MOST)


def exponent(by_size: Mapping[int, float], least: float) -> float | None:
    """With which power of the size a figure grows beyond that of the smallest size; None where fewer than two sizes are `least` beyond it."""
    start = by_size[min(by_size)]
    points = [(math.log(size), math.log(figure - start)) for size, figure in by_size.items() if figure - start >= least]
    return slope(points) if len(points) > 1 else None


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line that lies nearest to the points, by least squares. They must not all have one x."""
    mean_x, mean_y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def _table(runs: Mapping[str, Sizes], sizes: Sequence[int], figure: str) -> Table:
    """A row for each command; its start, each size, and how much a thousand patients more take."""
    title, unit = ("Processor time, seconds:", "s") if figure == "cpu_seconds" else ("Peak memory, MB:", "MB")
    rows: list[tuple[Cell, ...]] = []
    for name, of_sizes in runs.items():
        found = [float(getattr(of_sizes[size], figure)) for size in (1, *sizes)]
        more = (found[-1] - found[-2]) / (sizes[-1] - sizes[-2]) * 1000
        rows.append((name, *found, max(more, 0.0)))
    return Table(title, ("", "1 patient", *(f"{size:,}" for size in sizes), f"{unit} per 1,000 more"), tuple(rows))
