"""Starting `process.py` from a test, and reading what became of it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from .study import Ran, Study

_SCRIPT = str(Path(__file__).with_name("process.py"))
_PATIENCE_SECONDS = 50


class Process:
    """A running `dm-fhir`."""

    def __init__(self, study: Study, *arguments: str, **settings: Any) -> None:
        self._report = study.config.with_name("report.json")
        told = json.dumps({"report": str(self._report), **settings})
        command = [sys.executable, "-P", _SCRIPT, told, "--config", str(study.config), *arguments]
        self._popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @property
    def id(self) -> int:
        return self._popen.pid

    def send(self, signal: int) -> None:
        self._popen.send_signal(signal)

    def reaches(self, event: Event) -> None:
        """Return when it has come so far. Fails if it ends before."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not event.wait(0.02):
            assert self._popen.poll() is None, self.ended()[0].text
            assert time.monotonic() < deadline, "it does not come so far"

    def ended(self) -> tuple[Ran, float, float]:
        """What it came to, how many seconds that took from now, and its largest memory in MiB; 0 if it was killed."""
        start = time.monotonic()
        try:
            out, err = self._popen.communicate(timeout=_PATIENCE_SECONDS)
        finally:
            self._popen.kill()
        seconds = time.monotonic() - start
        report = json.loads(self._report.read_text(encoding="utf-8")) if self._report.exists() else {}
        ran = Ran(self._popen.returncode, out, err, (report.get("waited", 0.0),), ())
        return ran, seconds, report.get("peak_mib", 0.0)


class Forks:
    """Runs one command line after another, each in a process of its own that need not import anything first."""

    def __init__(self, popen: "subprocess.Popen[str]") -> None:
        self._popen = popen

    def run(self, study: Study, *arguments: str, **settings: Any) -> tuple[int, dict[str, Any], str]:
        """The exit code (negative: the signal that ended it), its report, and what it said."""
        report, said = study.config.with_name("report.json"), study.config.with_name("said.txt")
        told = {"report": str(report), "said": str(said), **settings}
        assert self._popen.stdin
        assert self._popen.stdout
        self._popen.stdin.write(json.dumps([told, ["--config", str(study.config), *arguments]]) + "\n")
        self._popen.stdin.flush()
        status = int(self._popen.stdout.readline())
        code = -(status & 0x7F) if status & 0x7F else status >> 8
        found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
        return code, found, said.read_text(encoding="utf-8")


@contextmanager
def forks() -> Iterator[Forks]:
    """A process that forks."""
    command = [sys.executable, "-P", _SCRIPT, "--many"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as popen:
        yield Forks(popen)
        assert popen.stdin
        popen.stdin.close()
