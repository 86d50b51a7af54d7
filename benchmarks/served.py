"""The population server as a process of its own, and the benchmark's way to speak to it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_SCRIPT = Path(__file__).with_name("population_server.py")


class Request(NamedTuple):
    """One request as the server saw it. `form` is what a POST sent, else empty."""

    method: str
    target: str
    form: str
    status: int
    began: float


class Served(NamedTuple):
    """A running server: its FHIR base, and its root where the benchmark's own paths are."""

    base: str
    root: str

    def delayed(self, milliseconds: int) -> None:
        """From now on every answer is held back so long, and counting begins anew."""
        self._told(f"/_delay?milliseconds={milliseconds}")
        self.forget()

    def forget(self) -> None:
        """Counting begins anew."""
        self._told("/_reset")

    def requests(self) -> list[Request]:
        """Every request since counting began, in the order in which they were answered."""
        return [Request(**request) for request in self._told("/_log")]

    def _told(self, path: str) -> Any:
        with urllib.request.urlopen(self.root + path) as answer:  # noqa: S310 - the address is our own server's
            return json.load(answer)


@contextmanager
def served(patients: int) -> Iterator[Served]:
    """A server with so many patients, for as long as the block runs."""
    process = subprocess.Popen(
        [sys.executable, str(_SCRIPT), "--patients", str(patients)], stdout=subprocess.PIPE, text=True
    )
    try:
        base = process.stdout.readline().strip() if process.stdout else ""
        if not base:
            raise RuntimeError("the population server did not start")
        yield Served(base, f"http://{urlsplit(base).netloc}")
    finally:
        process.terminate()
        process.wait()
