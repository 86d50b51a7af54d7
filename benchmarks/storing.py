"""The store, measured: resources kept and found again, against bare SQLite and a bare file."""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from given import Bench
from population import entries_of
from processes import measured
from results import Cell, Found, Ratio, Table
from stored import PER_COMMIT, WAYS

_SCRIPT = Path(__file__).with_name("stored.py")
_PATIENTS, _ROUNDS = 2000, 3
_NAMES = {"own": "dm-fhir's store", "bare": "bare SQLite", "file": "a bare file"}
#: What each figure is called in the table; all but the size are resources a second.
_COLUMNS = {
    "put": "kept/s", "put_cpu": "kept/s of processor", "of_patient": "found/s, all of a patient", "one": "found/s, one by its id", "mb": "MB",
}  # fmt: skip
Rounds = Sequence[Mapping[str, Mapping[str, float]]]


def measure(bench: Bench) -> Found:
    """Every way in every round."""
    patients, rounds = (_PATIENTS // 4, 1) if bench.is_quick else (_PATIENTS, _ROUNDS)
    found = []
    for number in range(rounds):
        bench.say(f"round {number + 1} of {rounds}")
        found.append({way: _one(way, patients, bench.folder / way) for way in WAYS})
    about = (
        f"{entries_of(patients):,} resources, {PER_COMMIT:,} to a commit that survives a power cut; {rounds} rounds."
    )
    return Found(about, tuple(ratios(found)), (_table(found),))


def _one(way: str, patients: int, folder: Path) -> dict[str, float]:
    folder.mkdir(mode=0o700)
    told: dict[str, float] = json.loads(measured([sys.executable, _SCRIPT, way, str(patients)], folder).output)
    shutil.rmtree(folder)
    return told


def ratios(rounds: Rounds) -> Iterator[Ratio]:
    """dm-fhir's store against bare SQLite, round by round."""
    for figure, said in (("put", "kept"), ("of_patient", "found, all of a patient"), ("one", "found, one by its id")):
        share = median(one["own"][figure] / one["bare"][figure] for one in rounds)
        yield Ratio(f"{said}: of bare SQLite", share, "share", "more")
    for way in ("bare", "file"):
        share = rounds[0]["own"]["mb"] / rounds[0][way]["mb"]
        yield Ratio(f"its size on disk: of {_NAMES[way].removeprefix('a ')}'s", share, "share", "less")


def _table(rounds: Rounds) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            _NAMES[way],
            *(median(one[way][figure] for one in rounds) if figure in rounds[0][way] else None for figure in _COLUMNS),
        )
        for way in WAYS
    ]
    return Table("", ("", *_COLUMNS.values()), tuple(rows))
