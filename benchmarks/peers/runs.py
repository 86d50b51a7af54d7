"""How each peer is started, how many patients it is given, and how its work is counted."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from population import PER_PATIENT, entries_of, patient_ids
from processes import Run, RunFailed, measured
from study import AT_A_TIME

from peers.environment import program

_HERE = Path(__file__).parent
_ALL_TYPES = tuple(PER_PATIENT)
#: smart-fetch knows neither administrations nor statements of medication.
_SMART_FETCH_TYPES = ("Patient", "Observation", "Condition", "MedicationRequest")
_Patients = dict[int, int]


class Peer(NamedTuple):
    """A program to compare with. `patients`: of how many it reads the records, by the delay in milliseconds."""

    name: str
    command: Callable[[str, int], list[str | Path]]
    patients: _Patients
    types: tuple[str, ...] = _ALL_TYPES

    def read(self, folder: Path, base: str, delay_ms: int, patients: int) -> tuple[Run, int]:
        """Let it read so many patients; the run and how many entries that is. Raises RunFailed for a wrong number."""
        folder.mkdir(parents=True)
        (folder / "patients.txt").write_text("\n".join(patient_ids(patients)) + "\n", encoding="utf-8")
        run = measured(self.command(base, delay_ms), folder)
        expected = entries_of(patients, self.types)
        read = _lines(folder / "out") if self.types == _SMART_FETCH_TYPES else int(run.output.split()[-1])
        if read != expected:
            raise RunFailed(f"{self.name} read {read} entries of {expected}")
        return run, expected


def _script(name: str, base: str, *more: int) -> list[str | Path]:
    return [program("python"), _HERE / f"read_{name}.py", base, "patients.txt", *(str(one) for one in more)]


def _fhirclient(base: str, _: int) -> list[str | Path]:
    return _script("fhirclient", base)


def _fhirpy(base: str, _: int) -> list[str | Path]:
    return _script("fhirpy", base, AT_A_TIME)


def _fhir_pyrate(base: str, delay_ms: int) -> list[str | Path]:
    # Those that can ask for several things at a time are given as many as dm-fhir's default.
    # More processes than cores only help while they wait; without a delay one is the fastest.
    return _script("fhir_pyrate", base, AT_A_TIME if delay_ms else 1)


def _smart_fetch(base: str, _: int) -> list[str | Path]:
    options = ["--export-mode", "crawl", "--id-file", "patients.txt", "--hydration-tasks", "none"]
    types = ["--type", ",".join(_SMART_FETCH_TYPES)]
    return [program("smart-fetch"), "export", "--fhir-url", base, *options, *types, "out"]


def _lines(folder: Path) -> int:
    """How many resources smart-fetch wrote: a line each, behind links of the top folder."""
    total = 0
    for name in os.listdir(folder):
        if name.endswith(".ndjson.gz"):
            with gzip.open(folder / name) as file:
                total += sum(1 for _ in file)
    return total


#: One request after the other takes a share that leaves the start of the process small against the reading.
_ONE_BY_ONE = {0: 500, 50: 40, 200: 12}
_SEVERAL = {0: 500, 50: 120, 200: 45}
PEERS = (
    Peer("fhirclient", _fhirclient, _ONE_BY_ONE),
    Peer("fhirpy", _fhirpy, _SEVERAL),
    Peer("fhir-pyrate", _fhir_pyrate, _SEVERAL),
    Peer("smart-fetch", _smart_fetch, _SEVERAL, _SMART_FETCH_TYPES),
)
