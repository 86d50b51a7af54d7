"""Many hospitals behind one real socket, each at a path of its own and with manners of its own."""

import json
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, NamedTuple

import requests

from dm_fhir.testing import MockedServer

from .mocked import Study, treated

Manner = Literal["well", "slow", "refuses", "hangs", "breaks", "knows nobody", "resets", "cuts off", "forgets ids"]
#: At which requests a server has its manner; at all of them where nothing is said of it.
_ONLY_AT = {"resets": "/Observation?", "cuts off": "/Condition?", "forgets ids": "/Observation?"}
#: Nothing listens there.
CLOSED = "http://127.0.0.1:9/fhir"
_HANGS_SECONDS = 60
_SLOW_SECONDS = 0.05


class Hospitals(NamedTuple):
    """Each hospital's server and manner, by name; what was asked by whom goes to `asked`, with how many were being answered.

    `only_at`: at which requests a hospital has its manner, where not at those of `_ONLY_AT`, or at all.
    """

    address: str
    servers: Mapping[str, MockedServer]
    manners: dict[str, Manner]
    released: threading.Event
    asked: list[tuple[str, int]]
    only_at: dict[str, str]

    def endpoint(self, name: str) -> str:
        """Where the hospital is."""
        return CLOSED if self.manners[name] == "refuses" else f"{self.address}/{name}/fhir"

    def study(
        self,
        folder: Path,
        head: str = "",
        concurrency: int = 2,
        read_timeout_seconds: float = 1,
        only: str | None = None,
        patience: Mapping[str, float] = {},
    ) -> Study:
        """A study of all of them, or of `only` one. `patience`: read timeouts of some."""
        sites = [
            f'[[site]]\nname = "{name}"\nendpoint = "{self.endpoint(name)}"\n[site.pull]\nconcurrency = {concurrency}\n'
            f"tries = 1\nread_timeout_seconds = {patience.get(name, read_timeout_seconds)}\n[site.push]\nenabled = true\nunattended = true\n"
            for name in self.manners
            if only in (None, name)
        ]
        folder.mkdir(exist_ok=True)
        config = folder / "dm-fhir.toml"
        text = '[study]\ntitle = "Many"\ndrug = "anifrolumab"\n' + head + "\n" + "".join(sites)
        config.write_text(text, encoding="utf-8")
        return Study(config)


@contextmanager
def hospitals(manners: dict[str, Manner], patients: int = 2) -> Iterator[Hospitals]:
    """The servers, up until the end of the block, each with so many treated patients."""
    servers: dict[str, MockedServer] = {}
    locks = {name: threading.Lock() for name in manners}
    active, counting = list[str](), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            return

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            name = self.path.split("/")[1]
            with counting:
                active.append(name)
                here.asked.append((name, len(active)))
            try:
                status, headers, content = self._answered(name, body)
            finally:
                with counting:
                    active.remove(name)
            manner = self._manner(name)
            if manner == "resets":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                for one in (self.rfile, self.wfile, self.connection):  # while any is open the socket is
                    one.close()
                self.close_connection = True
                return
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.close_connection = manner == "cuts off"
            self.wfile.write(content[: len(content) // 2] if manner == "cuts off" else content)

        def _manner(self, name: str) -> Manner:
            manner = here.manners[name]
            return manner if here.only_at.get(name, _ONLY_AT.get(manner, "")) in self.path else "well"

        def _answered(self, name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
            manner = self._manner(name)
            if manner == "hangs":
                here.released.wait(_HANGS_SECONDS)
            if manner == "breaks":
                return 500, {}, b""
            if manner == "knows nobody":
                return 401, {}, b""
            if manner == "slow":
                time.sleep(_SLOW_SECONDS)
            asked = requests.Request(self.command, here.address + self.path, dict(self.headers), data=body)
            with locks[name]:
                answer = servers[name].answer(asked.prepare())
            assert not isinstance(answer, Exception)
            if manner == "forgets ids":
                found = json.loads(answer[2])
                del found["entry"][0]["resource"]["id"]
                return answer[0], answer[1], json.dumps(found).encode()
            return answer

        do_GET = do_POST = do_PUT = do_DELETE = answer  # http.server's names

    class Server(ThreadingHTTPServer):
        daemon_threads, block_on_close, request_queue_size = True, False, 512

        def handle_error(self, *_: Any) -> None:
            return  # a client may hang up

    http = Server(("127.0.0.1", 0), Handler)
    here = Hospitals(f"http://127.0.0.1:{http.server_port}", servers, manners, threading.Event(), [], {})
    for name in manners:
        names = [f"{name}-{number}" for number in range(patients)]
        servers[name] = MockedServer(treated(*names), f"{here.address}/{name}/fhir")
    thread = threading.Thread(target=http.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield here
    finally:
        here.released.set()
        http.shutdown()
        http.server_close()
        thread.join()


#: What is another at every run, or comes in the order in which the sites happened to be read.
_OF_THE_RUN = {
    "run", "ended", "started", "pid", "when", "number", "block", "start", "length", "learned", "watermark", "read_in_full",
    "transmission", "recorded", "provenance", "seconds", "joined",
    "since", "tried",
}  # fmt: skip
_NOT_COMPARED = ("run", "block", "setting", "sqlite_sequence")


def content(study: Study, site: str | None = None) -> dict[str, list[str]]:
    """Every row of the store, or all of a site's, by table, without what is the run's own."""
    store = study.config.with_name("dm-fhir.sqlite")
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        return {name: rows for name in names if (rows := _rows(db, name, site)) is not None}


def _rows(db: sqlite3.Connection, table: str, site: str | None) -> list[str] | None:
    """Its rows, in order; None for a table that is not compared."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    if table in _NOT_COMPARED or (site is not None and "site" not in columns):
        return None
    kept = ", ".join(f'"{name}"' for name in columns if name not in _OF_THE_RUN)
    where, given = (" WHERE site = ?", [site]) if site is not None else ("", [])
    rows = db.execute(f"SELECT {kept} FROM {table}{where}", given)  # noqa: S608  # of the store's own names
    return sorted(json.dumps(row, default=lambda value: value.hex()) for row in rows)
