"""What a fault sees of a request, and the answer that it may spoil down to how its bytes are sent."""

import gzip
import json
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from time import sleep  # the tests put another time.sleep in place while the client works
from typing import Any

from .hospital import Json, Parameters, operation_outcome

FHIR = "application/fhir+json"
#: Sends head and body; whether the connection may serve another request.
Deliver = Callable[[socket.socket, bytes, bytes], bool]


@dataclass(frozen=True)
class Ask:
    """One request. `page` is the page of the patient's Observations that it asks for, 0 if it asks for something else.

    `times` counts how often the same was asked for in this run, this time included. `base` is the FHIR base at the address
    that was asked, `place` its last part as asked: `fhir`, `fhir2` or `token`. `here` and `other_host` are the plain
    addresses of this machine's two hosts. `token` is the number of the token that came along, 0 for none that is known.
    """

    method: str
    path: str
    parameters: Parameters
    headers: dict[str, str]
    form: dict[str, str]
    base: str
    place: str
    address: str
    here: str
    other_host: str
    page: int = 0
    times: int = 1
    token: int = 0
    is_count: bool = False
    found: tuple[Json, ...] = ()
    body: bytes = b""

    @property
    def type(self) -> str:
        """The resource type that it is about."""
        return self.path.partition("/")[0]

    @property
    def is_search(self) -> bool:
        """Whether it is a search over a type."""
        return self.path == f"{self.type}/_search" or (self.method == "GET" and self.path == self.type)

    @property
    def is_token_request(self) -> bool:
        """Whether it wants a token."""
        return self.place == "token"

    def parameter(self, name: str) -> str:
        """The value of a parameter; empty if it is not there."""
        return next((value for key, value in self.parameters if key == name), "")


@dataclass(frozen=True)
class Reply:
    """An answer. `length` is what Content-Length claims, if it is not the truth."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    deliver: "Deliver | None" = None

    def with_headers(self, **more: str) -> "Reply":
        """The same with further headers; `_` in a name stands for `-`."""
        return replace(
            self, headers={**self.headers, **{name.replace("_", "-"): value for name, value in more.items()}}
        )


def resource_reply(resource: Json, status: int = 200) -> Reply:
    """A resource as FHIR JSON."""
    return Reply(status, json.dumps(resource).encode(), {"Content-Type": FHIR})


def json_reply(document: Any, status: int = 200) -> Reply:
    """Any other JSON."""
    return Reply(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


def refusal(status: int, text: str = "", **headers: str) -> Reply:
    """An error status with an OperationOutcome that says `text`."""
    return resource_reply(operation_outcome("error", text or f"refused with {status}"), status).with_headers(**headers)


def gzipped(reply: Reply) -> Reply:
    """The reply's body compressed."""
    return replace(reply, body=gzip.compress(reply.body, mtime=0)).with_headers(Content_Encoding="gzip")


def whole(connection: socket.socket, head: bytes, body: bytes) -> bool:
    """As it should be."""
    connection.sendall(head + body)
    return True


def and_close(connection: socket.socket, head: bytes, body: bytes) -> bool:
    """All of it, then the connection ends."""
    connection.sendall(head + body)
    return False


def nothing(connection: socket.socket, head: bytes, body: bytes) -> bool:
    """The connection ends without an answer."""
    return False


def silence(connection: socket.socket, head: bytes, body: bytes) -> bool:
    """No answer until the client gives up."""
    connection.settimeout(30)
    while connection.recv(1024):
        pass
    return False


def in_pieces(count: int, pause_seconds: float) -> Deliver:
    """The body in so many pieces with a pause before each."""

    def deliver(connection: socket.socket, head: bytes, body: bytes) -> bool:
        size = -(-len(body) // count)
        _drip(connection, head, (body[start : start + size] for start in range(0, len(body), size)), pause_seconds)
        return True

    return deliver


def byte_by_byte(pause_seconds: float) -> Deliver:
    """The body a byte at a time, far slower than anybody would wait."""

    def deliver(connection: socket.socket, head: bytes, body: bytes) -> bool:
        _drip(connection, head, (body[at : at + 1] for at in range(len(body))), pause_seconds)
        return True

    return deliver


def _drip(connection: socket.socket, head: bytes, pieces: Iterable[bytes], pause_seconds: float) -> None:
    connection.sendall(head)
    for piece in pieces:
        sleep(pause_seconds)
        connection.sendall(piece)
