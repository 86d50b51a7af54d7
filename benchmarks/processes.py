"""One program, measured as a whole process: wall time, processor time, peak memory, what it printed."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

#: A program that is installed has its bytecode beside it, whatever this shell says of writing some.
_AS_INSTALLED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_LAUNCH = Path(__file__).with_name("launch.py")


class Run(NamedTuple):
    """A finished process. `peak_mb` is of the largest process, where it started others."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    exit_code: int
    output: str


class RunFailed(Exception):
    """A measured program did not do its work."""


def measured(command: Sequence[str | Path], folder: Path, *, accept: tuple[int, ...] = (0,)) -> Run:
    """Run a command in `folder` to its end. Raises RunFailed, with the end of what it said, for another exit code."""
    usage, out, err = (folder / name for name in ("usage.txt", "stdout.txt", "stderr.txt"))
    usage.unlink(missing_ok=True)
    launch = [sys.executable, "-I", "-S", str(_LAUNCH), str(usage), str(out), str(err)]
    done = subprocess.run(
        [*launch, *map(str, command)], cwd=folder, env=_AS_INSTALLED, check=False, capture_output=True, text=True
    )
    if not usage.exists():
        raise RunFailed(f"{Path(command[0]).name} could not be started: {done.stderr.strip().rpartition(chr(10))[2]}")
    wall, cpu, peak_kib, code = usage.read_text(encoding="ascii").split()
    if int(code) not in accept:
        raise RunFailed(f"{Path(command[0]).name} ended with {code}:\n{_end(out)}\n{_end(err)}")
    told = out.read_text(encoding="utf-8", errors="replace")
    return Run(float(wall), float(cpu), int(peak_kib) / 1024, int(code), told)


def _end(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-2000:]
