"""dm-fhir as a process of its own, and what a test wants to happen to it. A script: nothing of the tests is imported here.

`process.py SETTINGS ARGUMENT…` runs one command line. `process.py --many` runs one after another, each a fork of this process
that has everything imported: a line of JSON `[SETTINGS, ARGUMENTS]` in, the wait status out. SETTINGS is a JSON object:
`report` is where to write how long it wanted to wait and how much memory it took, `kill_at` a commit and whether before or
after it, `pid` where to write which process it is, `most_pages` how large the store may grow.
"""

import atexit
import json
import os
import resource
import signal
import sqlite3
import sys
import time
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

Settings = dict[str, Any]
#: What a command imports as late as it can.
_NEEDED = (
    "dm_fhir.cli.main", "dm_fhir.cli.pull", "dm_fhir.cli.push", "dm_fhir.sync.passes", "dm_fhir.fhir.discovery", "dm_fhir.fhir.login",
    "fhir.resources.R4B.annotation", "fhir.resources.R4B.observation", "fhir.resources.R4B.provenance", "filelock", "jsonschema", "pprint",
)  # fmt: skip
_seen = {"commits": 0, "waited": 0.0}


def main() -> None:
    if sys.argv[1] == "--many":
        _run_many()
    else:
        _run(json.loads(sys.argv[1]), sys.argv[2:])


def _run(settings: Settings, arguments: list[str]) -> None:
    if "pid" in settings:
        Path(settings["pid"]).write_text(str(os.getpid()), encoding="utf-8")
    _never_wait()
    _watch_the_store(settings)
    if "report" in settings:
        atexit.register(_report, Path(settings["report"]))
    from dm_fhir.cli.main import run

    sys.argv = ["dm-fhir", *arguments]
    run()


def _run_many() -> None:
    from dm_fhir.mappings import site

    for name in _NEEDED:
        import_module(name)

    site.load_tables = cache(site.load_tables)
    site.load_tables(())
    for line in sys.stdin:
        settings, arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            _say_into(settings["said"])
            _run(settings, arguments)
        print(os.waitpid(child, 0)[1], flush=True)  # noqa: T201


def _say_into(path: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)


def _never_wait() -> None:
    def note(seconds: float) -> None:
        _seen["waited"] += seconds

    time.sleep = note


def _watch_the_store(settings: Settings) -> None:
    """Count the commits, die at one of them, and let the file grow no further than it may."""
    from dm_fhir.store.turns import SharedConnection

    number, when = settings.get("kill_at", (0, ""))

    class Watched(SharedConnection):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            if "most_pages" in settings:
                super().execute(f"PRAGMA max_page_count = {settings['most_pages']}")

        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            word = sql.lstrip().upper()
            commits = word.startswith("COMMIT") or (
                word.startswith(("INSERT", "UPDATE", "DELETE")) and not self.in_transaction
            )
            _seen["commits"] += commits
            is_it = commits and _seen["commits"] == number
            if is_it and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            cursor = super().execute(sql, *args)
            if is_it and when == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return cursor

    original = sqlite3.connect

    def connect(*args: Any, **more: Any) -> sqlite3.Connection:
        return original(*args, **{**more, "factory": Watched})

    sqlite3.connect = connect  # type: ignore[assignment]


def _report(path: Path) -> None:
    path.write_text(json.dumps({**_seen, "peak_mib": _peak_mib()}), encoding="utf-8")


def _peak_mib() -> float:
    """The most memory that this process had. What getrusage says begins with what the parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 1024
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


main()
