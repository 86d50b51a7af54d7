"""A scripted HTTP server on loopback, with real sockets: what it answers per path, and what it was asked."""

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from dm_fhir.config import Pull
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.credential import Login

JSON = {"Content-Type": "application/fhir+json"}
OK = b'{"resourceType":"Bundle"}'


class Asked(NamedTuple):
    """One request as it arrived. `connection` numbers the TCP connections."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


class Scripted(NamedTuple):
    """One answer. `length` is a false Content-Length; `pause` waits after every byte; `drop` answers nothing at all."""

    status: int = 200
    body: bytes = OK
    headers: dict[str, str] = JSON
    length: int | None = None
    pause: float = 0
    drop: bool = False


class Loopback:
    """Answers per path (without query), in the order given; the last one for ever. Unknown paths are 404."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.scripts: dict[str, list[Scripted]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client may hang up
        self.server.block_on_close = False
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.endpoint = f"http://{self.host}/fhir"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.005,), daemon=True)
        self.thread.start()

    def answers(self, path: str, *scripted: Scripted) -> None:
        """Script what `path` below the endpoint answers."""
        self.scripts[f"/fhir/{path}"] = list(scripted)

    def paths(self) -> list[str]:
        """What was asked, below the endpoint."""
        return [asked.path.removeprefix("/fhir/") for asked in self.asked]

    def stop(self) -> None:
        """Close the port."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def take(self, asked: Asked) -> Scripted:
        """Note the request and give its answer."""
        self.asked.append(asked)
        script = self.scripts.get(asked.path.partition("?")[0], [Scripted(404, b"")])
        return script.pop(0) if len(script) > 1 else script[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        return type("Handler", (_Handler,), {"loopback": self})


class _Handler(BaseHTTPRequestHandler):
    loopback: Loopback
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

    def setup(self) -> None:
        super().setup()
        self.loopback.connections += 1
        self.number = self.loopback.connections

    def log_message(self, *_: object) -> None:
        return

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, self.path, dict(self.headers.items()), body, self.number)
        scripted = self.loopback.take(asked)
        if scripted.drop:
            self.close_connection = True
        else:
            self._send(scripted)

    def _send(self, scripted: Scripted) -> None:
        self.send_response_only(scripted.status)
        for name, value in scripted.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(scripted.body) if scripted.length is None else scripted.length))
        self.end_headers()
        self.close_connection = scripted.length is not None
        pieces = [bytes([byte]) for byte in scripted.body] if scripted.pause else [scripted.body]
        for piece in pieces:
            self.wfile.write(piece)
            time.sleep(scripted.pause)

    do_GET = do_POST = do_PUT = _answer  # http.server's names


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A running server."""
    server = Loopback()
    yield server
    if server.thread.is_alive():
        server.stop()


@pytest.fixture
def scripted() -> type[Scripted]:
    """The class of answers; tests cannot import from here."""
    return Scripted


@pytest.fixture
def waits() -> list[float]:
    """The seconds that were slept, one entry a sleep; none really is."""
    return []


Connect = Callable[..., Connection]


@pytest.fixture
def connect(loopback: Loopback, waits: list[float]) -> Iterator[Connect]:
    """Makes connections to the server, with small limits, and closes them."""
    made: list[Connection] = []

    def make(login: Login | None = None, endpoint: str | None = None, **limits: object) -> Connection:
        pull = Pull(**{"connect_timeout_seconds": 0.25, "read_timeout_seconds": 0.25, **limits})  # type: ignore[arg-type]
        connection = Connection(endpoint or loopback.endpoint, pull, login, {"Epic-Client-ID": "ours"}, waits.append)
        made.append(connection)
        return connection

    yield make
    for connection in made:
        connection.close()
