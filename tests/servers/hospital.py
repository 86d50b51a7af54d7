"""An honest FHIR server on loopback with real sockets, for any number of patients; a test makes it as odd as a real one.

What a server may do otherwise than others is a field; whatever else a test wants to spoil goes into `refuse` (an answer in
place of the honest one) or `bend` (another Bundle in place of the honest one).
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from .finding import Json, Parameters, found

#: What the CapabilityStatement lists.
LISTED = {
    "Patient": ("_id", "identifier", "_lastUpdated"),
    "MedicationAdministration": ("patient", "code", "medication", "effective-time", "_lastUpdated"),
    "Medication": ("code", "_lastUpdated"),
    "Observation": ("patient", "code", "combo-code", "category", "date", "_lastUpdated"),
    "Condition": ("patient", "code", "_lastUpdated"),
    "MedicationRequest": ("patient", "authoredon", "_lastUpdated"),
    "MedicationStatement": ("patient", "effective", "_lastUpdated"),
    "AdverseEvent": ("subject", "date", "_lastUpdated"),
    "Group": ("_id",),
}
#: What is understood without being listed.
ALWAYS = ("_id", "_count", "_summary", "_sort", "_total", "_offset", "page")


@dataclass(frozen=True)
class Ask:
    """One request: its path below the endpoint, its parameters wherever they stood, and when it came and went."""

    method: str
    path: str
    parameters: Parameters
    headers: dict[str, str]
    body: bytes
    address: str

    @property
    def type(self) -> str:
        """The resource type that it is about."""
        return self.path.partition("/")[0]

    @property
    def is_search(self) -> bool:
        """Whether it is a search over a type."""
        return self.path in (self.type, f"{self.type}/_search") and self.type in LISTED

    @property
    def page(self) -> int:
        """Which page of a search it asks for."""
        return int(self.parameter("page") or 1)

    @property
    def is_count(self) -> bool:
        """Whether it asks only how many there are."""
        return self.parameter("_summary") == "count"

    def parameter(self, name: str) -> str:
        """The value of a parameter; empty if it is not there."""
        return next((value for key, value in self.parameters if key == name), "")

    def has(self, name: str) -> bool:
        """Whether the parameter is there."""
        return any(key == name for key, _ in self.parameters)


class Reply(NamedTuple):
    """One answer: a resource, or bytes as they are."""

    status: int
    body: Json | bytes
    headers: Mapping[str, str] = MappingProxyType({})


Refuse = Callable[[Ask], Reply | None]
Bend = Callable[[Ask, Json], Json]


def refusal(status: int, text: str = "", **headers: str) -> Reply:
    """An error status with an OperationOutcome that says `text`."""
    issue = {"severity": "error", "code": "processing", "diagnostics": text or f"refused with {status}"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"resourceType": "OperationOutcome", "issue": [issue]}, named)


@dataclass
class Hospital:
    """The server. `most_per_page` is what it gives at a time whatever `_count` says, `usual_per_page` without `_count`.

    `is_strict`: it refuses what it does not know where the client wants that. `lists` None: it takes as many patients to a
    search as it gets, else only the first so many. `always_total` False: a total only for `_total=accurate`.
    """

    held: list[Json] = field(default_factory=list)
    listed: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(LISTED))
    refuse: list[Refuse] = field(default_factory=list)
    bend: list[Bend] = field(default_factory=list)
    software: str = "Hospital"
    publisher: str | None = None
    interactions: tuple[str, ...] = ()
    most_per_page: int = 1000
    usual_per_page: int = 10
    is_strict: bool = True
    lists: int | None = None
    always_total: bool = True
    skew: timedelta = timedelta(0)
    asked: list[Ask] = field(default_factory=list)
    most_at_a_time: int = 0
    endpoint: str = ""
    _active: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def now(self) -> datetime:
        """The hospital's own clock."""
        return datetime.now(UTC) + self.skew

    def put(self, *resources: Json) -> None:
        """Hold these, in place of what had their ids."""
        references = {(one["resourceType"], one["id"]) for one in resources}
        self.held = [one for one in self.held if (one["resourceType"], one["id"]) not in references] + list(resources)

    def remove(self, reference: str) -> None:
        """Delete `Type/id`."""
        self.held = [one for one in self.held if f"{one['resourceType']}/{one['id']}" != reference]

    def searches(self, type_name: str) -> list[Ask]:
        """The searches of a type, by GET or POST, in a batch or not, in the order in which they came; counts are none."""
        return [ask for ask in self.asked if ask.is_search and ask.type == type_name and not ask.is_count]

    def answer(self, ask: Ask) -> Reply:
        """The answer, noted with how many others were under way."""
        with self._lock:
            self.asked.append(ask)
            self._active += 1
            self.most_at_a_time = max(self.most_at_a_time, self._active)
        try:
            return self._answer(ask)
        finally:
            with self._lock:
                self._active -= 1

    def _answer(self, ask: Ask) -> Reply:
        return next((reply for refuse in self.refuse if (reply := refuse(ask))), None) or self.honest(ask)

    def honest(self, ask: Ask) -> Reply:
        """What would be answered if nothing were refused."""
        if ask.path == "metadata":
            return Reply(200, self._capability())
        if ask.method == "POST" and not ask.path:
            return self._batch(ask)
        if ask.is_search:
            return self._search(ask, ask.type, ask.parameters)
        parts = ask.path.split("/")
        if len(parts) == 3 and parts[0] == "Patient":
            name = "subject" if parts[2] == "AdverseEvent" else "patient"
            return self._search(ask, parts[2], ((name, f"Patient/{parts[1]}"), *ask.parameters))
        one = next((one for one in self.held if [one["resourceType"], one["id"]] == parts), None)
        return Reply(200, one) if one else refusal(404, "not found")

    def _capability(self) -> Json:
        types = [
            {
                "type": name,
                "interaction": [{"code": "read"}, {"code": "search-type"}, *map(_code, self.interactions)],
                "searchParam": [{"name": one, "type": "token"} for one in names],
            }
            for name, names in self.listed.items()
        ]
        return {
            "resourceType": "CapabilityStatement",
            "fhirVersion": "4.0.1",
            "software": {"name": self.software, "version": "1"},
            **({"publisher": self.publisher} if self.publisher else {}),
            "rest": [{"mode": "server", "resource": types, "interaction": [*map(_code, self.interactions)]}],
        }

    def _batch(self, ask: Ask) -> Reply:
        if "batch" not in self.interactions:
            return refusal(422, "no batches")
        entries = []
        for entry in json.loads(ask.body)["entry"]:
            url = urlsplit(entry["request"]["url"])
            reply = self.answer(
                Ask("GET", unquote(url.path), tuple(parse_qsl(url.query)), ask.headers, b"", "in a batch")
            )
            entries.append({"resource": reply.body, "response": {"status": str(reply.status)}})
        return Reply(200, {"resourceType": "Bundle", "type": "batch-response", "entry": entries})

    def _search(self, ask: Ask, type_name: str, parameters: Parameters) -> Reply:
        known = {*self.listed.get(type_name, ()), *ALWAYS}
        if type_name not in self.listed:
            return refusal(404, f"{type_name} is not offered")
        unknown = [name for name, _ in ask.parameters if name not in known]
        if unknown and self.is_strict and ask.headers.get("Prefer") == "handling=strict":
            return refusal(400, f"unknown parameter {unknown[0]}")
        own = [(name, self._cut(name, value)) for name, value in parameters if name not in unknown]
        held = found(self.held, type_name, own)
        if ask.parameter("_sort") == "_lastUpdated":
            held = sorted(held, key=lambda one: str(one.get("meta", {}).get("lastUpdated")))
        bundle = self._bundle(ask, held)
        for bend in self.bend:
            bundle = bend(ask, bundle)
        return Reply(200, bundle)

    def _cut(self, name: str, value: str) -> str:
        return ",".join(value.split(",")[: self.lists]) if name in ("patient", "subject", "_id") else value

    def _bundle(self, ask: Ask, held: list[Json]) -> Json:
        """One page. Pages after a POST continue as GET."""
        count = min(int(ask.parameter("_count") or self.usual_per_page), self.most_per_page)
        start = int(ask.parameter("_offset") or 0) + (ask.page - 1) * count
        address = f"{self.endpoint}/{ask.path.removesuffix('/_search')}"
        bundle: Json = {"resourceType": "Bundle", "type": "searchset"}
        links = [{"relation": "self", "url": f"{address}?{urlencode(ask.parameters)}"}]
        if start + count < len(held):
            kept = [(name, value) for name, value in ask.parameters if name != "page"]
            links.append({"relation": "next", "url": f"{address}?{urlencode([*kept, ('page', ask.page + 1)])}"})
        if self.always_total or ask.parameter("_total") == "accurate" or ask.is_count:
            bundle["total"] = len(held)
        if not ask.is_count:
            bundle |= {"link": links, "entry": [self.entry(one) for one in held[start : start + count]]}
        return bundle

    def entry(self, one: Json) -> Json:
        """The Bundle entry of a resource."""
        return {"fullUrl": f"{self.endpoint}/{one['resourceType']}/{one['id']}", "resource": one}


def _code(name: str) -> Json:
    return {"code": name}


def next_of(bundle: Json) -> str | None:
    """Where the next page is; None after the last."""
    return next((link["url"] for link in bundle.get("link", []) if link["relation"] == "next"), None)


def without_next(bundle: Json) -> Json:
    """The page as the last one."""
    return {**bundle, "link": [link for link in bundle["link"] if link["relation"] != "next"]}


class _Handler(BaseHTTPRequestHandler):
    hospital: Hospital
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        return

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        is_form = "form-urlencoded" in self.headers.get("Content-Type", "")
        parameters = (*parse_qsl(url.query), *(parse_qsl(body.decode()) if is_form else ()))
        path = unquote(url.path.removeprefix("/fhir").lstrip("/"))
        headers = dict(self.headers.items())
        reply = self.hospital.answer(Ask(self.command, path, parameters, headers, body, self.path))
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        usual: dict[str, Any] = {
            "Date": format_datetime(self.hospital.now, usegmt=True),
            "Content-Type": "application/fhir+json",
            "Content-Length": len(content),
        }
        self.send_response_only(reply.status)
        for name, value in {**usual, **reply.headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer  # http.server's names


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


@contextmanager
def serving(hospital: Hospital) -> Iterator[Hospital]:
    """The hospital's server, up until the end of the block."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hospital": hospital}))
    hospital.endpoint = f"http://127.0.0.1:{server.server_port}/fhir"
    thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield hospital
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
