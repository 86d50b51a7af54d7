"""Studies at mocked servers: hospitals whose records change while syncs run, inside this process or behind a real socket."""

import io
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import requests

from dm_fhir.cli import main
from dm_fhir.testing import MockedServer

from ..ran import Ran

Json = dict[str, Any]
OUTCOMES = "https://w3id.org/dm-fhir/outcome"
_MEASUREMENTS = "https://w3id.org/dm-fhir/CodeSystem/measurement"
_UCUM = "http://unitsofmeasure.org"


class Study(NamedTuple):
    """A study's folder with its config."""

    config: Path

    def type(self, *arguments: str) -> Ran:
        """Type `dm-fhir` with these arguments, in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err):
            code = main.call(["--config", str(self.config), *arguments])
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
        return Ran(code, *texts)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """The same as a process of its own."""
        command = [
            sys.executable,
            "-c",
            "from dm_fhir.cli.main import run; run()",
            "--config",
            str(self.config),
            *arguments,
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ask(self, sql: str, *values: object) -> list[Any]:
        """Rows of the store."""
        store = self.config.with_name("dm-fhir.sqlite")
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
            return db.execute(sql, values).fetchall()


def new_study(
    folder: Path, endpoints: Mapping[str, str], *, push: str = "enabled = true\nunattended = true", more: str = ""
) -> Study:
    """Write the config of a study of these sites, by name and endpoint. `more` goes into every [site.pull]."""
    sites = [
        f'[[site]]\nname = "{name}"\nendpoint = "{endpoint}"\n[site.auth]\nmethod = "none"\n'
        f"[site.pull]\nconcurrency = 2\ntries = 1\n{more}\n[site.push]\n{push}\n"
        for name, endpoint in endpoints.items()
    ]
    folder.mkdir(exist_ok=True)
    config = folder / "dm-fhir.toml"
    config.write_text(
        '[study]\ntitle = "Syncs"\ndrug = "anifrolumab"\ntimezone = "UTC"\n' + "".join(sites), encoding="utf-8"
    )
    return Study(config)


def person(name: str, *replaces: str) -> Json:
    """Patient/name, who replaces others."""
    links = [{"type": "replaces", "other": {"reference": f"Patient/{other}"}} for other in replaces]
    return {
        "resourceType": "Patient",
        "id": name,
        "gender": "female",
        "birthDate": "1970-01-01",
        **({"link": links} if links else {}),
    }


def infusion(name: str, patient: str, day: str) -> Json:
    """An infusion of the study drug."""
    return {
        "resourceType": "MedicationAdministration", "id": name, "status": "completed", "effectiveDateTime": f"{day}T10:00:00Z",
        "subject": {"reference": f"Patient/{patient}"},
        "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]},
        "dosage": {"dose": {"value": 300, "unit": "mg", "system": _UCUM, "code": "mg"}},
    }  # fmt: skip


def cdasi(name: str, patient: str, day: str, score: int, status: str = "final") -> Json:
    """A CDASI activity score."""
    return {
        "resourceType": "Observation", "id": name, "status": status, "effectiveDateTime": f"{day}T09:00:00Z",
        "subject": {"reference": f"Patient/{patient}"},
        "code": {"coding": [{"system": _MEASUREMENTS, "code": "cdasi-activity"}]},
        "valueQuantity": {"value": score, "unit": "{score}", "system": _UCUM, "code": "{score}"},
    }  # fmt: skip


def treated(*names: str) -> list[Json]:
    """Patients with an infusion, and a score before and after it."""
    return [
        one
        for name in names
        for one in (
            person(name), infusion(f"{name}-i", name, "2026-01-05"),
            cdasi(f"{name}-before", name, "2026-01-04", 30), cdasi(f"{name}-after", name, "2026-04-05", 12),
        )
    ]  # fmt: skip


def written(server: MockedServer) -> dict[str, list[Json]]:
    """What the server holds of ours, by identifier."""
    found: dict[str, list[Json]] = {}
    for one in server.resources.values():
        for identifier in one.get("identifier", []) if one["resourceType"] == "Observation" else []:
            if identifier.get("system") == OUTCOMES:
                found.setdefault(identifier["value"], []).append(one)
    return found


class Served(NamedTuple):
    """A mocked server behind a real socket.

    `before` are called with each request, such as "GET Patient?_id=1", before it is answered; `lost` says of which the answer
    gets lost although it was carried out.
    """

    server: MockedServer
    endpoint: str
    before: list[Callable[[str], None]]
    lost: list[Callable[[str], bool]]


@contextmanager
def served(resources: Sequence[Json], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[Served]:
    """A mocked server on loopback, up until the end of the block; `now` is its own clock."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            return

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(now(), usegmt=True)

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = f"{self.command} {self.path.removeprefix('/fhir').strip('/')}"
            for one in one_server.before:
                one(asked)
            request = requests.Request(
                self.command, endpoint.removesuffix("/fhir") + self.path, dict(self.headers), data=body
            )
            with lock:
                answer = one_server.server.answer(request.prepare())
            if isinstance(answer, Exception) or any(is_lost(asked) for is_lost in one_server.lost):
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # http.server's names

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads, http.block_on_close = True, False
    http.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client may hang up
    endpoint = f"http://127.0.0.1:{http.server_port}/fhir"
    one_server = Served(MockedServer(resources, endpoint), endpoint, [], [])
    thread = threading.Thread(target=http.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield one_server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
