"""A bulk server on loopback with real sockets (https://hl7.org/fhir/uv/bulkdata/STU2/export.html).

It exports what a `MockedServer` holds and answers its searches too, so that the same data can be pulled both ways. Its `manners`
say what it does and does not; `fail` makes the next requests that match go wrong; `log` is what it was asked.

    with BulkServer(resources) as server:
        server.manners.polls = 3
        server.fail("GET files/1/Observation-1", Reply(503), times=2)
        …  # endpoint = server.endpoint

Addresses: `fhir/…` is the FHIR base, `jobs/1` a job, `files/1/Observation-1.ndjson` a file, `token` gives out tokens. The
second host (`server.store_host`) serves files without login, as an object storage does.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from dm_fhir.testing.search import Resource
from dm_fhir.testing.server import MockedServer

from .exports import Asked, File, Job, deletion, exported, ndjson, operation_outcome, packed, parameters_in, value

FHIR = "application/fhir+json"
HOSTS = ("127.0.0.1", "127.0.0.2")


@dataclass
class Manners:
    """What the server does, and does wrong. May be changed at any time."""

    #: So often a job answers 202 before it is done, with these headers.
    polls: int = 1
    retry_after: str | None = "0"
    progress: str | None = "half of it"
    #: Content-Location and the addresses of files: "absolute", "relative", "foreign" (another host) or "none".
    location: str = "absolute"
    file_urls: str = "absolute"
    #: How files are sent: "plain", "encoded" (Content-Encoding: gzip, if the client takes it) or "gz" (files of gzip).
    files: str = "plain"
    lines_per_file: int = 1000
    #: What is in the manifest; None: it says nothing.
    requires_access_token: bool | None = None
    counts: bool = True
    count_error: int = 0
    pages: int = 1
    #: Types that are not exported, and of which not a word is said.
    silent_about: tuple[str, ...] = ()
    #: Parameters of the export that are answered with 400, naming them or not; and what a POST or GET kick-off answers.
    refuses: tuple[str, ...] = ()
    names_the_refused: bool = True
    takes: tuple[str, ...] = ("GET", "POST")
    #: A second job is refused with 429 while the first is alive.
    one_job: bool = False
    delete_status: int = 202
    #: Files: whether a part can be asked for; so often each can be begun before it has expired, and what is then said.
    ranges: bool = True
    file_lives: int | None = None
    expired_status: int = 404
    redirect_files: int | None = None
    #: In the addresses of jobs and files, `…-jobs` and `…-files`: what lets in whoever has it. Refusals repeat it.
    signed: str = ""
    #: Every request needs a token; each token serves so many requests (None: any number), or that is what it says in seconds.
    login: bool = False
    token_requests: int | None = None
    token_seconds: float = 300


@dataclass(frozen=True)
class Reply:
    """An answer that is not the honest one. `cut`: only so many bytes of the body come, and then the connection ends.

    `length` is what Content-Length claims, -1: nothing, the end of the connection is the end. `pause` waits before each byte from
    `pause_from` on; `drop` ends the connection without an answer.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    length: int | None = None
    pause: float = 0
    pause_from: int = 0
    drop: bool = False


@dataclass(frozen=True)
class Logged:
    """One request as the server saw it. `path` is below the server's root, without the query."""

    method: str
    path: str
    asked: Asked
    status: int
    headers: dict[str, str]
    address: str

    @property
    def line(self) -> str:
        """`GET jobs/1`"""
        return f"{self.method} {self.path}"


@dataclass
class _Fault:
    request: str
    change: Callable[[Reply], Reply]
    times: int
    #: The request is not carried out at all.
    instead: bool


class BulkServer:
    """The server. `endpoint` is its FHIR base, `jobs` those that were begun, `held` what it holds (a MockedServer).

    `on_request` is called with "GET jobs/1" before each request is answered, `on_answer` after it was.
    """

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self.manners = Manners()
        self.log: list[Logged] = []
        self.jobs: list[Job] = []
        self.errors: list[BaseException] = []
        self.problems: list[Resource] = []
        self.on_request: Callable[[str], None] = lambda _: None
        self.on_answer: Callable[[str], None] = lambda _: None
        self._faults: list[_Fault] = []
        self._deleted: list[tuple[str, str]] = []
        self._tokens: dict[str, int] = {}
        self._lock = threading.RLock()
        self._listeners = [_Listener(self, (host, 0)) for host in HOSTS]
        self.root, self.store_root = (listener.url for listener in self._listeners)
        self.store_host = self.store_root.partition("//")[2]
        self.endpoint = f"{self.root}/fhir"
        self.held = MockedServer(resources, self.endpoint)

    def __enter__(self) -> "BulkServer":
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.die()

    def fail(self, request: str, reply: Reply, times: int = 1) -> None:
        """Let the next `times` requests that begin with `request` ("GET jobs/1") get this answer; nothing else is done."""
        self._faults.append(_Fault(request, lambda _: reply, times, instead=True))

    def spoil(self, request: str, change: Callable[[Reply], Reply], times: int = 1) -> None:
        """Let the honest answer to the next `times` requests that begin with `request` be changed: carried out they are."""
        self._faults.append(_Fault(request, change, times, instead=False))

    def cut(self, request: str, at: int, times: int = 1) -> None:
        """Let the answer's body end after `at` bytes, and the connection with it."""
        self.spoil(request, lambda reply: replace(reply, cut=at), times)

    def delete(self, place: str) -> None:
        """A resource is deleted: exports with `_since` name it."""
        self.held.delete(place)
        self._deleted.append((place, _now()))

    def restart(self) -> None:
        """The server has forgotten its jobs and files, and its tokens."""
        with self._lock:
            for job in self.jobs:
                job.state = "forgotten" if job.is_alive else job.state
            self._tokens.clear()

    def die(self) -> None:
        """Nothing listens any more."""
        self._listeners[0].die()

    def come_back(self) -> None:
        """Listen again where it did before."""
        self._listeners[0] = _Listener(self, (HOSTS[0], urlsplit(self.root).port or 0))

    def lines(self, begins: str = "") -> list[str]:
        """What was asked, such as "GET jobs/1", in order; only what begins so."""
        return [logged.line for logged in self.log if logged.line.startswith(begins)]

    @property
    def pending(self) -> list[str]:
        """The requests that are still to go wrong."""
        return [fault.request for fault in self._faults if fault.times > 0]

    @property
    def alive(self) -> list[Job]:
        """The jobs that nobody has deleted."""
        return [job for job in self.jobs if job.is_alive]

    def answer(self, method: str, path: str, asked: Asked, headers: dict[str, str], body: bytes, address: str) -> Reply:
        """The answer to a request, with the faults in it and its line in the log."""
        line = f"{method} {path}"
        self.on_request(line)
        with self._lock:
            fault = next((one for one in self._faults if one.times > 0 and line.startswith(one.request)), None)
            if fault:
                fault.times -= 1
            honest = Reply() if fault and fault.instead else self._honest(method, path, asked, headers, body, address)
            reply = fault.change(honest) if fault else honest
            if self.manners.signed and reply.status >= 400 and not reply.body:
                said = f"no good: {self.root}/{path}?{urlencode(asked)} ({' '.join(given for _, given in asked)})"
                reply = replace(reply, body=json.dumps(operation_outcome(said)).encode())
            self.log.append(Logged(method, path, asked, reply.status, headers, address))
        return reply

    def _honest(
        self, method: str, path: str, asked: Asked, headers: dict[str, str], body: bytes, address: str
    ) -> Reply:
        if path == "token":
            return self._token()
        if address == HOSTS[1]:
            return (
                self._file(path, headers) if "authorization" not in headers else _refused(400, "only one way to log in")
            )
        below = path.removeprefix("fhir/")
        if below == ".well-known/smart-configuration":
            return _json({"token_endpoint": f"{self.root}/token"})
        is_open = below == "metadata" or (path.startswith("files/") and self.manners.requires_access_token is False)
        if self.manners.login and not is_open and not self._lets_in(headers):
            return _refused(401, "no valid token")
        if path.startswith("jobs/"):
            return self._job(method, path, asked)
        if path.startswith("files/"):
            return self._file(path, headers)
        if below == "$export" or below.endswith("/$export"):
            return self._kick_off(method, below, asked, headers, body)
        status, sent, content = self.held.do(method, unquote(below), asked, headers, body)
        return Reply(status, content if isinstance(content, bytes) else content.encode(), dict(sent))

    def _token(self) -> Reply:
        token = f"bulk-token-{len(self._tokens) + 1}-secret"
        self._tokens[token] = 0
        return _json({"access_token": token, "token_type": "Bearer", "expires_in": self.manners.token_seconds})

    def _lets_in(self, headers: dict[str, str]) -> bool:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self._tokens:
            return False
        self._tokens[token] += 1
        return self.manners.token_requests is None or self._tokens[token] <= self.manners.token_requests

    def _kick_off(self, method: str, path: str, asked: Asked, headers: dict[str, str], body: bytes) -> Reply:
        manners = self.manners
        if method not in manners.takes:
            return _refused(405, f"{method} is not offered")
        if "respond-async" not in headers.get("prefer", ""):
            return _refused(400, "only asynchronously")
        asked = parameters_in(body) if method == "POST" else asked
        if refused := [name for name, _ in asked if name in manners.refuses]:
            return _refused(400, f"not supported: {', '.join(refused)}" if manners.names_the_refused else "")
        if manners.one_job and self.alive:
            return _refused(429, "an export is already in progress", {"Retry-After": "600"})
        level = unquote(path.removesuffix("$export").rstrip("/"))
        if level.startswith("Group/") and level not in self.held.resources:
            return _refused(404, "no such group")
        job = Job(len(self.jobs) + 1, level, asked, f"{self.endpoint}/{path}", _now())
        job.files = self._files(job)
        self.jobs.append(job)
        location = self._address(job.path, manners.location)
        return Reply(202, b"", {} if manners.location == "none" else {"Content-Location": location})

    def _files(self, job: Job) -> list[File]:
        by_type: dict[str, list[Resource]] = {}
        for one in exported(self.held.resources, job.level, job.asked):
            by_type.setdefault(one["resourceType"], []).append(one)
        size, files = self.manners.lines_per_file, []
        for name, ones in by_type.items():
            if name not in self.manners.silent_about:
                parts = [ones[start : start + size] for start in range(0, len(ones), size)]
                files += [self._made(job, "output", name, f"{name}-{n}", part) for n, part in enumerate(parts, start=1)]
        if since := value(job.asked, "_since"):
            gone = [place for place, when in self._deleted if when > since]
            files += [self._made(job, "deleted", "Bundle", "deleted-1", [deletion(gone)])] if gone else []
        if self.problems:
            files.append(self._made(job, "error", "OperationOutcome", "error-1", self.problems))
        return files

    def _made(self, job: Job, kind: str, type_name: str, name: str, ones: list[Resource]) -> File:
        content, count = ndjson(ones)
        ending = ".ndjson.gz" if self.manners.files == "gz" else ".ndjson"
        content = content if self.manners.files == "plain" else packed(content)
        return File(kind, type_name, f"files/{job.number}/{name}{ending}", content, count)

    def _job(self, method: str, path: str, asked: Asked) -> Reply:
        job = next((job for job in self.jobs if job.path == path and job.is_alive), None)
        if job is None:
            return _refused(404, "no such export")
        if method == "DELETE":
            job.state = (
                "deleted" if self.manners.delete_status < 300 or self.manners.delete_status == 404 else "running"
            )
            return Reply(self.manners.delete_status)
        job.polls += 1
        if job.polls <= self.manners.polls:
            said = {"Retry-After": self.manners.retry_after, "X-Progress": self.manners.progress}
            return Reply(202, b"", {name: text for name, text in said.items() if text is not None})
        return _json(self._manifest(job, int(value(asked, "page") or 1)))

    def _manifest(self, job: Job, page: int) -> dict[str, Any]:
        manners, shown = self.manners, job.files[page - 1 :: self.manners.pages]
        document: dict[str, Any] = {"transactionTime": job.transaction_time, "request": job.request}
        if manners.requires_access_token is not None:
            document["requiresAccessToken"] = manners.requires_access_token
        for kind in ("output", "deleted", "error"):
            document[kind] = [self._listed(file) for file in shown if file.kind == kind]
        if page < manners.pages:
            more = self._signature(job.path).replace("?", "&")
            document["link"] = [{"relation": "next", "url": f"{self.root}/{job.path}?page={page + 1}{more}"}]
        return document

    def _listed(self, file: File) -> dict[str, Any]:
        count = {"count": file.lines + self.manners.count_error} if self.manners.counts else {}
        return {"type": file.type, "url": self._address(file.path, self.manners.file_urls), **count}

    def _address(self, path: str, how: str) -> str:
        path += self._signature(path)
        return {"absolute": f"{self.root}/{path}", "relative": f"/{path}", "foreign": f"{self.store_root}/{path}"}.get(
            how, ""
        )

    def _signature(self, path: str) -> str:
        """What stands behind an address of a job or a file."""
        return f"?X-Amz-Signature={self.manners.signed}-{path.partition('/')[0]}" if self.manners.signed else ""

    def _file(self, path: str, headers: dict[str, str]) -> Reply:
        manners = self.manners
        job = next((job for job in self.jobs if path.startswith(f"files/{job.number}/") and job.is_alive), None)
        file = next((file for file in job.files if file.path == path), None) if job else None
        if file is None:
            return _refused(404, "no such file")
        if manners.redirect_files and headers.get("host") != self.store_host:
            return Reply(manners.redirect_files, b"", {"Location": f"{self.store_root}/{path}{self._signature(path)}"})
        if manners.file_lives is not None and file.served >= manners.file_lives:
            return _refused(manners.expired_status, "the file has expired")
        file.served += 1
        sent = {"Content-Type": "application/fhir+ndjson"}
        if manners.files == "encoded":
            sent["Content-Encoding"] = "gzip"
        if not manners.ranges:
            return Reply(200, file.content, sent)
        sent["ETag"] = file.etag
        start = headers.get("range", "").removeprefix("bytes=").removesuffix("-")
        if not start.isdigit() or headers.get("if-range", file.etag) != file.etag:
            return Reply(200, file.content, sent)
        if int(start) >= len(file.content):
            return Reply(416, b"", {"Content-Range": f"bytes */{len(file.content)}"})
        span = f"bytes {start}-{len(file.content) - 1}/{len(file.content)}"
        return Reply(206, file.content[int(start) :], {**sent, "Content-Range": span})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(document: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


def _refused(status: int, text: str, headers: dict[str, str] | None = None) -> Reply:
    body = json.dumps(operation_outcome(text)).encode() if text else b""
    return Reply(status, body, {"Content-Type": FHIR, **(headers or {})})


class _Listener(ThreadingHTTPServer):
    """One address of the server, with the connections that are open on it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, owner: BulkServer, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.owner = owner
        self.open: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://{self.server_address[0]}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is none; anything else is a mistake of this server."""
        import sys

        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.owner.errors.append(error)

    def die(self) -> None:
        """Close the port and every connection."""
        self.shutdown()
        self.server_close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # gone by itself
                continue


class _Handler(BaseHTTPRequestHandler):
    """Reads one request after another from a connection and sends what the server answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        self.server.open.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.server.open.discard(self.request)
        super().finish()

    def log_message(self, *_: Any) -> None:
        """The server has a log of its own."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): text for name, text in self.headers.items()}
        asked = parse_qsl(url.query, keep_blank_values=True)
        path, address = url.path.lstrip("/"), str(self.server.server_address[0])
        reply = self.server.owner.answer(self.command, path, asked, headers, body, address)
        self._send(reply)
        self.server.owner.on_answer(f"{self.command} {path}")

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def _send(self, reply: Reply) -> None:
        self.close_connection = reply.drop or reply.cut is not None or reply.length is not None
        if reply.drop:
            return
        length = len(reply.body) if reply.length is None else reply.length
        headers = {
            "Date": format_datetime(datetime.now(UTC), usegmt=True),
            **({"Content-Length": str(length)} if length >= 0 else {"Connection": "close"}),
            **reply.headers,
        }
        lines = [
            f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
            *(f"{n}: {v}" for n, v in headers.items()),
        ]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode())
        body = reply.body if reply.cut is None else reply.body[: reply.cut]
        if not reply.pause:
            self.wfile.write(body)
            return
        self.wfile.write(body[: reply.pause_from])
        for byte in body[reply.pause_from :]:
            sleep(reply.pause)
            self.wfile.write(bytes([byte]))
