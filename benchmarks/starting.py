"""How long it takes until something happens: commands with nothing to do, and what they import, against bare Python."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from computed import Computed
from given import Bench
from peers.environment import program, versions
from processes import Run, measured
from results import Cell, Found, Ratio, Table

_HERE = Path(__file__).parent
_PROGRAM = Path(sys.executable).with_name("dm-fhir")
_BARE = "Python alone"
_LARGEST = 10
#: `import time:  self | cumulative | name`, in microseconds, indented by depth.
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)")


def measure(bench: Bench) -> Found:
    """Every command in every round."""
    study = Computed.made(bench.folder / "study", "http://127.0.0.1:9/fhir", 1).folder
    (study / "nothing.ndjson").touch()
    commands = _commands()
    rounds = 2 if bench.is_quick else 7
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        bench.say(f"round {number} of {rounds}" if number else "once, not counted: whatever is not in memory yet")
        for name, command in commands.items():
            run = measured(command, study)
            if number:
                runs[name].append(run)
    about = f"A study of one patient; whole processes, {rounds} rounds, medians; the files are in memory."
    tables = (_table(runs), _imports(study))
    return Found(about, tuple(ratios(runs)), tables)


def _commands() -> dict[str, list[str | Path]]:
    own = {f"dm-fhir {' '.join(rest)}": [_PROGRAM, *rest] for rest in (
        ("--help",), ("status",), ("pull", "--from", "nothing.ndjson"), ("compute",),
    )}  # fmt: skip
    known = versions()
    peers = {
        "import fhir.resources' Observation": [program("python"), "-c", "import fhir.resources.R4B.observation"],
        f"import fhirclient {known['fhirclient']}": [program("python"), "-c", "import fhirclient.client"],
        f"import fhirpy {known['fhirpy']}": [program("python"), "-c", "import fhirpy"],
        f"import fhir_pyrate {known['fhir-pyrate']}": [program("python"), "-c", "import fhir_pyrate"],
        f"smart-fetch {known['smart-fetch']} --help": [program("smart-fetch"), "--help"],
    }
    bare = {_BARE: [sys.executable, "-c", "pass"], "import requests": [sys.executable, "-c", "import requests"]}
    return {**bare, **own, **peers}


def ratios(runs: Mapping[str, list[Run]]) -> Iterator[Ratio]:
    """Our commands against Python that does nothing."""
    for name, of_name in runs.items():
        if name.startswith("dm-fhir"):
            times = median(run.wall_seconds / bare.wall_seconds for run, bare in zip(of_name, runs[_BARE], strict=True))
            yield Ratio(f"{name}: times {_BARE}", times, "times", "less")


def _table(runs: Mapping[str, list[Run]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, median(run.wall_seconds for run in some) * 1000, median(run.cpu_seconds for run in some) * 1000, max(run.peak_mb for run in some))
        for name, some in runs.items()
    ]  # fmt: skip
    return Table("", ("", "ms", "processor ms", "peak MB"), tuple(rows))


def _imports(study: Path) -> Table:
    """The packages that take `dm-fhir status` the longest, each without what it imports of others."""
    command = [sys.executable, "-X", "importtime", str(_PROGRAM), "status"]
    told = subprocess.run(command, cwd=study, check=True, capture_output=True, text=True).stderr
    rows = sorted(largest(told).items(), key=lambda one: -one[1])[:_LARGEST]
    return Table(
        "What `dm-fhir status` imports, by package, without what that imports of others:", ("", "ms"), tuple(rows)
    )


def largest(told: str) -> dict[str, float]:
    """Milliseconds that each package's own modules take, of what `python -X importtime` tells."""
    found: dict[str, float] = {}
    for alone, _, _, module in _IMPORT.findall(told):
        package = module.partition(".")[0]
        found[package] = found.get(package, 0) + int(alone) / 1000
    return found
