"""What the benchmarks found: for people as tables, for programs as JSON.

A `Ratio` is worked out within one run and may be compared between runs; everything else in a table says something of this machine
and this hour only.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

FORMAT_VERSION = 1
Unit = Literal["times", "share", "MB", "s", "requests", "exponent"]
Cell = str | int | float | None


class Ratio(msgspec.Struct, frozen=True):
    """One figure that is compared. `target`: at least, or where less is `better` at most, that much is wanted; None: no wish.

    A `share` is of 1; an `exponent` is that of the size, so that 1 means twice the time for twice the size.
    """

    what: str
    value: float
    unit: Unit
    better: Literal["more", "less"]
    target: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether it is as wanted; None where nothing is."""
        if self.target is None:
            return None
        return self.value >= self.target if self.better == "more" else self.value <= self.target


class Table(msgspec.Struct, frozen=True):
    """Figures of this run, a column's unit in its head. None: not measured."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Found(msgspec.Struct, frozen=True):
    """What a part brings: a sentence on what was measured, the ratios, the tables."""

    about: str
    ratios: tuple[Ratio, ...]
    tables: tuple[Table, ...]


class Part(msgspec.Struct, frozen=True):
    """One part as it was run: when it began (UTC), how many processes wanted a core then, how long it took."""

    name: str
    began: str
    commit: str
    load: float
    seconds: float
    is_quick: bool
    found: Found


class Machine(msgspec.Struct, frozen=True):
    """Where it ran. `disk` is the file system of the stores; `libraries` are versions by name."""

    system: str
    processor: str
    cores: int
    memory_gb: float
    disk: str
    python: str
    libraries: dict[str, str]


class Results(msgspec.Struct, frozen=True):
    """All parts that were run on one machine, the latest run of each."""

    machine: Machine
    parts: tuple[Part, ...]
    format_version: int = FORMAT_VERSION

    def part(self, name: str) -> Part | None:
        """The part of this name; None if it was not run."""
        return next((part for part in self.parts if part.name == name), None)


def merged(before: Results | None, machine: Machine, parts: Sequence[Part], order: Sequence[str]) -> Results:
    """`parts` in place of those of the same name; those of another machine are not kept."""
    kept = {} if before is None or before.machine != machine else {part.name: part for part in before.parts}
    kept |= {part.name: part for part in parts}
    return Results(machine, tuple(kept[name] for name in order if name in kept))


def read_results(path: Path) -> Results:
    """Results that were written. Raises msgspec.ValidationError for a file of another shape, OSError where there is none."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def write_results(path: Path, results: Results) -> None:
    """Write them all at once, so that a run that is stopped leaves a whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    fresh.replace(path)


def schema() -> bytes:
    """The JSON Schema of the results."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Results)}
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(schema())
