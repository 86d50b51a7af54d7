"""A FHIR server on loopback with real sockets that does wrong what it is told to do wrong.

The first part of a path names the faults (`e500`, or `e500+dup`), the second a run; a run's state is its own, so runs
can go side by side: http://127.0.0.1:PORT/e500/7/fhir. It listens on a second address too, and on TLS where it is given
certificates. `/_log/7` is the run's log.
"""

import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from .answers import Ask, Reply, json_reply, refusal, resource_reply, whole
from .faults import FAULTS, Fault
from .hospital import PAGE_SIZE, SEARCH_PARAMETERS, Json, Parameters, capability, entry, found, records
from .write_faults import WRITE_FAULTS
from .writing import Shelf, with_writing, writes_of, written

#: The static credential that every run accepts; tokens that a run has issued it accepts too.
BEARER = "bearer-secret-c0ffee"
CUSTOM_HEADER = "Epic-Client-ID"
HOSTS = ("127.0.0.1", "127.0.0.2")


@dataclass(frozen=True)
class Logged:
    """One request as the server saw it. `page` as in Ask; `writes` names what it would write: `k3`, or a type."""

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]
    page: int
    status: int
    address: str
    is_tls: bool
    carried: tuple[str, ...]
    writes: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """The resource type that was asked about."""
        return self.path.partition("/")[0]

    def parameter(self, name: str) -> str:
        """The value of a parameter; empty if it was not there."""
        return next((value for key, value in self.parameters if key == name), "")


@dataclass
class Run:
    """One run's state: what is wrong, what was asked for how often, which tokens are out."""

    faults: tuple[Fault, ...]
    log: list[Logged] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    times: Counter[tuple[object, ...]] = field(default_factory=Counter)
    held: list[Json] = field(default_factory=list)
    shelf: Shelf = field(default_factory=Shelf)

    def __post_init__(self) -> None:
        self.suffer(*self.faults)

    def suffer(self, *faults: Fault) -> None:
        """This is wrong from now on, and nothing else."""
        self.faults = faults
        self.held = records()
        for fault in faults:
            self.held = fault.records(self.held)
        self.shelf.manners = next((fault.manners for fault in reversed(faults) if fault.manners), self.shelf.manners)
        self.shelf.holds = tuple(fault.hold for fault in faults if fault.hold)

    def heal(self) -> None:
        """Nothing is wrong from now on, but for what is in the records themselves and stays there."""
        lasting = [fault for fault in self.faults if fault.lasts]
        kept = ("records", "page_size", "manners")
        self.suffer(*(replace(Fault(lasts=True), **{name: getattr(fault, name) for name in kept}) for fault in lasting))

    @property
    def takes_writes(self) -> bool:
        """Whether anything can be written to this server."""
        return any(fault.manners for fault in self.faults)

    @property
    def page_size(self) -> int:
        """How many entries a page has, whatever `_count` says."""
        return max([PAGE_SIZE, *(fault.page_size for fault in self.faults)])

    @property
    def searchable(self) -> dict[str, tuple[str, ...]]:
        """What the CapabilityStatement lists."""
        ignored = {name for fault in self.faults for name in fault.not_offered}
        return {name: tuple(one for one in names if one not in ignored) for name, names in SEARCH_PARAMETERS.items()}

    @property
    def skew(self) -> timedelta:
        """How far the server's clock is from the true time."""
        return sum((fault.skew for fault in self.faults), timedelta(0))

    def answer(self, ask: Ask) -> Reply:
        """The honest answer with every fault in it."""
        reply = None
        for fault in self.faults:
            reply = fault.refuse(ask, reply)
        if reply is None:
            reply = self._honest(ask)
        for fault in self.faults:
            reply = fault.reply(ask, reply)
        return reply

    def _honest(self, ask: Ask) -> Reply:
        if ask.is_token_request:
            self.tokens.append(f"access-token-{len(self.tokens) + 1}-secret")
            return json_reply({"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": 3600})
        if ask.path == "metadata":
            statement = capability(self.searchable)
            return resource_reply(with_writing(statement, self.shelf.manners) if self.takes_writes else statement)
        if ask.path == ".well-known/smart-configuration":
            return json_reply({"token_endpoint": f"{ask.base.rpartition('/')[0]}/token"})
        if ask.address == HOSTS[0] and not ask.token:
            return refusal(401, "no valid credential")
        if self.takes_writes and ask.method != "GET" and not ask.path.endswith("/_search"):
            return written(self.shelf, ask, lambda url: self._part(ask, url))
        if ask.is_search:
            return self._search(ask)
        if ask.method == "GET" and (reply := self.shelf.read(unquote(ask.path))):
            return reply
        if ask.method != "GET" or ask.path.count("/") != 1:
            return refusal(404, "no such operation")
        one = next((one for one in self.held if f"{one['resourceType']}/{one.get('id')}" == unquote(ask.path)), None)
        return resource_reply(one) if one else refusal(404, "no such resource")

    def _part(self, ask: Ask, url: str) -> Json:
        """What a Bundle's GET of this address comes to."""
        path, _, query = url.partition("?")
        part = replace(ask, method="GET", path=path, parameters=tuple(parse_qsl(query)), body=b"")
        reply = self._honest(replace(part, found=self.find(part)) if part.is_search else part)
        return json.loads(reply.body)  # type: ignore[no-any-return]

    def _search(self, ask: Ask) -> Reply:
        if ask.type not in self.searchable and not (self.takes_writes and ask.type == "Provenance"):
            return refusal(404, f"{ask.type} is not offered")
        bundle = self._bundle(ask)
        for fault in self.faults:
            bundle = fault.bundle(ask, bundle)
        if ask.is_count:
            bundle = {name: value for name, value in bundle.items() if name not in ("entry", "link")}
        reply = resource_reply(bundle)
        for fault in self.faults:
            reply = replace(reply, body=fault.body(ask, reply.body))
        return reply

    def _bundle(self, ask: Ask) -> Json:
        number = ask.page or int(ask.parameter("page") or 1)
        start, end = (number - 1) * self.page_size, number * self.page_size
        kept = [(name, value) for name, value in ask.parameters if name not in ("page", "_count", "_summary", "_total")]
        address = f"{ask.base}/{ask.type}"
        links = [{"relation": "self", "url": f"{address}?{urlencode(ask.parameters)}"}]
        if end < len(ask.found):
            links.append({"relation": "next", "url": f"{address}?{urlencode([*kept, ('page', number + 1)])}"})
        return {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": len(ask.found),
            "link": links,
            "entry": [entry(one, ask.base) for one in ask.found[start:end]],
        }

    def find(self, ask: Ask) -> tuple[Json, ...]:
        """What the search finds, by the parameters that this server looks at."""
        looked_at = {*self.searchable.get(ask.type, ()), "_id", "identifier", "target", "recorded"}
        looked_at -= {n for fault in self.faults for n in fault.ignores}
        held = [*self.held, *self.shelf.searchable(ask.type)]
        return tuple(found(held, ask.type, [pair for pair in ask.parameters if pair[0] in looked_at]))


class FaultServer:
    """The server. `address` is plain http on 127.0.0.1, `other_host` on 127.0.0.2, `tls` https by name of certificate.

    `errors` are the server's own, which no test may leave behind.
    """

    def __init__(self, certificates: Mapping[str, Path] | None = None) -> None:
        self.errors: list[BaseException] = []
        self.runs: dict[str, Run] = {}
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._first, self._second = (_Listener(self, (host, 0)) for host in HOSTS)
        self._secure = {name: _Listener(self, (HOSTS[0], 0), path) for name, path in (certificates or {}).items()}
        self.address, self.other_host = self._first.url, self._second.url
        self.tls = {name: listener.url for name, listener in self._secure.items()}

    def __enter__(self) -> "FaultServer":
        return self

    def __exit__(self, *_: object) -> None:
        for listener in (self._first, self._second, *self._secure.values()):
            listener.die()

    def endpoint(self, faults: str, tls: str = "") -> str:
        """The FHIR base of a fresh run with these faults."""
        return f"{self.tls[tls] if tls else self.address}/{faults}/{next(self._numbers)}/fhir"

    def run(self, endpoint: str) -> Run:
        """The run whose FHIR base this is."""
        _, faults, number, *_ = urlsplit(endpoint).path.split("/")
        with self._lock:
            if number not in self.runs:
                self.runs[number] = Run(tuple({**FAULTS, **WRITE_FAULTS}[name] for name in faults.split("+")))
            return self.runs[number]

    def die(self) -> None:
        """Vanish: every connection breaks, and nothing listens any more."""
        self._first.die()

    def come_back(self) -> None:
        """Listen again where it did before."""
        self._first = _Listener(self, (HOSTS[0], urlsplit(self.address).port or 0))

    def answer(self, ask: Ask, is_tls: bool) -> tuple[Run, Reply]:
        """The answer to a request, with its line in the log."""
        run = self.run(ask.base)
        with self._lock:
            ask = _recognised(run, ask)
            reply = run.answer(ask)
            names = ("Authorization", CUSTOM_HEADER, "Cookie")
            carried = tuple(name for name in names if name.lower() in ask.headers)
            writes = tuple(one.key or one.type for one in writes_of(ask))
            told = (ask.method, ask.path, tuple(ask.parameters), ask.page, reply.status, ask.address, is_tls, carried)
            run.log.append(Logged(*told, writes))
        return run, reply


def _recognised(run: Run, ask: Ask) -> Ask:
    """The request with what the run knows of it: which page it is, how often it was asked for, whose token it carries."""
    given = ask.headers.get("authorization", "").removeprefix("Bearer ")
    token = run.tokens.index(given) + 1 if given in run.tokens else int(given == BEARER)
    is_count = ask.parameter("_summary") == "count" or ask.parameter("_count") == "0"
    is_page = ask.type == "Observation" and ask.is_search and not is_count and not ask.parameter("_id")
    page = int(ask.parameter("page") or 1) if is_page else 0
    # A `next` that is only `?page=2` has lost whose pages they are.
    names = {name for name, _ in ask.parameters}
    parameters = (("patient", "p1"), *ask.parameters) if page and names == {"page"} else ask.parameters
    known = ("page", page) if page else ("token",) if ask.is_token_request else (ask.path,)
    run.times[known] += 1
    ask = replace(ask, parameters=parameters, page=page, times=run.times[known], token=token, is_count=is_count)
    return replace(ask, found=run.find(ask)) if ask.is_search else ask


class _Listener(ThreadingHTTPServer):
    """One address of the server, with the connections that are open on it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, owner: FaultServer, address: tuple[str, int], certificate: Path | None = None) -> None:
        super().__init__(address, _Handler)
        self.owner = owner
        self.open: set[socket.socket] = set()
        self.context: ssl.SSLContext | None = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.context else 'http'}://{self.server_address[0]}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is none; anything else is a mistake of this server."""
        import sys

        error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.owner.errors.append(error)

    def die(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # gone by itself
                continue


class _Handler(BaseHTTPRequestHandler):
    """Reads one request after another from a connection and sends what the run answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        if self.server.context:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        self.server.open.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.server.open.discard(self.request)
        super().finish()
        if self.server.context:
            self.request.close()

    def log_message(self, *_: Any) -> None:
        """The run has a log of its own."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path.startswith("/_log/"):
            run = self.server.owner.runs.get(url.path.rpartition("/")[2])
            self._send(None, json_reply([asdict(line) for line in run.log] if run else []))
            return
        self._send(*self.server.owner.answer(self._ask(url.path, url.query, body), self.server.context is not None))

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def _ask(self, path: str, query: str, body: bytes) -> Ask:
        headers = {name.lower(): value for name, value in self.headers.items()}
        form: Parameters = ()
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            form = tuple(parse_qsl(body.decode(), keep_blank_values=True))
        _, faults, run, place, *rest = [*path.split("/"), "", ""]
        owner = self.server.owner
        return Ask(
            method=self.command,
            path="/".join(rest).strip("/"),
            parameters=(*parse_qsl(query, keep_blank_values=True), *(form if place != "token" else ())),
            headers=headers,
            form=dict(form),
            base=f"{self.server.url}/{faults}/{run}/fhir",
            place=place,
            address=str(self.server.server_address[0]),
            here=owner.address,
            other_host=owner.other_host,
            body=body,
        )

    def _send(self, run: Run | None, reply: Reply) -> None:
        clock = datetime.now(UTC) + (run.skew if run else timedelta(0))
        headers = {
            "Date": format_datetime(clock, usegmt=True),
            **({"Set-Cookie": "session=cookie-4711; Path=/"} if self.server.server_address[0] == HOSTS[0] else {}),
            "Content-Length": str(len(reply.body) if reply.length is None else reply.length),
            **reply.headers,
        }
        lines = [
            f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
            *(f"{n}: {v}" for n, v in headers.items()),
        ]
        deliver = reply.deliver or whole
        self.close_connection = not deliver(self.connection, "\r\n".join([*lines, "", ""]).encode(), reply.body)


def serve_by_hand() -> None:
    """`python -m tests.faults.server`: for looking at it, or for trying another client on it."""
    with FaultServer() as server:
        print(json.dumps({"address": server.address, "faults": sorted(FAULTS)}, indent=1))  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    serve_by_hand()
