"""The benchmarks' servers as processes of their own, and the way to speak to them."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_HERE = Path(__file__).parent


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
        self.told(f"/_delay?milliseconds={milliseconds}")
        self.forget()

    def forget(self) -> None:
        """Counting begins anew."""
        self.told("/_reset")

    def requests(self) -> list[Request]:
        """Every request since counting began, in the order in which they were answered."""
        return [Request(**request) for request in self.told("/_log")]

    def told(self, path: str) -> Any:
        """What one of the benchmark's own paths answers."""
        with urllib.request.urlopen(self.root + path) as answer:  # noqa: S310 - the address is our own server's
            return json.load(answer)


@contextmanager
def served(patients: int, script: str = "population_server.py") -> Iterator[Served]:
    """A server with so many patients, for as long as the block runs."""
    command = [sys.executable, str(_HERE / script), "--patients", str(patients)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            base = process.stdout.readline().strip() if process.stdout else ""
            if not base:
                raise RuntimeError(f"{script} did not start")
            yield Served(base, f"http://{urlsplit(base).netloc}")
        finally:
            process.terminate()
