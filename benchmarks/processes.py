"""One program, measured as a whole process: wall time, processor time, peak memory, what it printed."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

#: A program that is installed has its bytecode beside it, whatever this shell says of writing some.
_AS_INSTALLED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


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
    out, err = folder / "stdout.txt", folder / "stderr.txt"
    with out.open("wb") as output, err.open("wb") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, stdout=output, stderr=errors, env=_AS_INSTALLED
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code not in accept:
        raise RunFailed(f"{Path(command[0]).name} ended with {code}:\n{_end(out)}\n{_end(err)}")
    cpu = usage.ru_utime + usage.ru_stime
    return Run(wall, cpu, usage.ru_maxrss / 1024, code, out.read_text(encoding="utf-8", errors="replace"))


def _end(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-2000:]
