"""The machine, as far as it explains a figure."""

import os
import platform
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path

from results import Machine

_LIBRARIES = ("msgspec", "requests", "urllib3", "backports.zstd")


def this_machine(folder: Path) -> Machine:
    """What runs this, with the file system that `folder` is on."""
    libraries = {"SQLite": sqlite3.sqlite_version, **{name: version(name) for name in _LIBRARIES}}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Machine(
        f"{platform.system()} {platform.release()}", _processor(), os.cpu_count() or 1, round(memory, 1), _disk(folder),
        platform.python_version(), libraries,
    )  # fmt: skip


def commit() -> str:
    """The commit that is measured, with a plus where files have been changed since; `unknown` outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _disk(folder: Path) -> str:
    """The kind of file system and its device, without the name of any folder."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "a disk"
    around = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    device, _, kind, *_ = max(around, key=lambda mount: len(mount[1]))
    return f"{kind} on {Path(device).name}"
