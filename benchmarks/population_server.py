"""A FHIR server that costs nothing, for the benchmark: one process on loopback, standard library only.

Pages are put together once and then kept as bytes. Every answer may be held back by so many milliseconds, asleep.
`/_count`, `/_log`, `/_reset` and `/_delay?milliseconds=…` are for the benchmark, are not delayed and not counted.
"""

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from population import LAST_UPDATED, PATIENTS, PER_PATIENT, patient_ids, rows

FHIR = "/fhir"
PAGE_SIZE = 50
_COMMON = ("_id", "_lastUpdated")
_OF_PATIENT = ("patient", "subject", "code", "date", *_COMMON)
#: What each type can be searched by, as its CapabilityStatement says.
SEARCHES = {
    "Patient": _COMMON,
    "Observation": (*_OF_PATIENT, "combo-code", "category"),
    "MedicationAdministration": tuple("effective-time" if name == "date" else name for name in _OF_PATIENT),
    "Condition": tuple("onset-date" if name == "date" else name for name in _OF_PATIENT),
    "MedicationRequest": tuple("authoredon" if name == "date" else name for name in _OF_PATIENT),
    "MedicationStatement": tuple("effective" if name == "date" else name for name in _OF_PATIENT),
    "AdverseEvent": ("subject", *_COMMON),
    "Medication": ("code", *_COMMON),  # there are none: drugs are named where they are given
}
_TIMES = ("date", "effective-time", "onset-date", "authoredon", "effective")
_CONTROL = ("_count", "_offset", "_summary", "_total", "_sort", "_format")
_KINDS = {"patient": "reference", "subject": "reference", **dict.fromkeys(("_lastUpdated", *_TIMES), "date")}
_Parameters = list[tuple[str, str]]


class Refused(Exception):
    """A request that this server does not answer, and the status that says so."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Entry(NamedTuple):
    """One resource as it stands in a page; the resource itself begins at `start` and ends at `end`."""

    id: str
    code: str
    category: str
    time: str
    body: bytes
    start: int
    end: int


class Store:
    """The population, by type and patient, and its pages."""

    def __init__(self, base: str, patients: int) -> None:
        self.base = base
        self.patients = patient_ids(patients)
        self._entries = {
            name: {patient: self._made(name, patient) for patient in self.patients} for name in PER_PATIENT
        }
        self._pages: dict[tuple[str, str], bytes] = {}

    def page(self, type_name: str, query: str) -> bytes:
        """The answer to a search. Raises Refused for an unknown type or parameter."""
        key = (type_name, query)
        if key not in self._pages:
            self._pages[key] = self._page(type_name, query)
        return self._pages[key]

    def resource(self, type_name: str, id_: str) -> bytes | None:
        """One resource as JSON."""
        found = self._entries.get(type_name, {}).get(id_.partition("-")[0], ())
        return next((entry.body[entry.start : entry.end] for entry in found if entry.id == id_), None)

    def group(self) -> bytes:
        """Everybody, as a Group."""
        members = [{"entity": {"reference": f"Patient/{patient}"}} for patient in self.patients]
        return _json({"resourceType": "Group", "id": "all", "type": "person", "actual": True, "member": members})

    def _made(self, type_name: str, patient: str) -> list[Entry]:
        made = []
        for row in rows(type_name, patient):
            head = f'{{"fullUrl":"{self.base}/{type_name}/{row.id}","resource":'.encode()
            body = head + row.body + b',"search":{"mode":"match"}}'
            made.append(Entry(row.id, row.code, row.category, row.time, body, len(head), len(head) + len(row.body)))
        return made

    def _page(self, type_name: str, query: str) -> bytes:
        parameters = parse_qsl(query, keep_blank_values=True)
        control = {name: value for name, value in parameters if name in _CONTROL}
        asked = [(name, value) for name, value in parameters if name not in _CONTROL]
        found = self._found(type_name, asked)
        size, offset = int(control.get("_count", PAGE_SIZE)), int(control.get("_offset", 0))
        if control.get("_summary") == "count":
            size = 0
        links = [{"relation": "self", "url": self._address(type_name, parameters)}]
        if size and offset + size < len(found):
            following = [*(p for p in parameters if p[0] != "_offset"), ("_offset", str(offset + size))]
            links.append({"relation": "next", "url": self._address(type_name, following)})
        bundle = {
            "resourceType": "Bundle",
            "type": "searchset",
            "timestamp": LAST_UPDATED,
            "total": len(found),
            "link": links,
        }
        head = _json(bundle)
        entries = [entry.body for entry in found[offset : offset + size]]
        return head[:-1] + b',"entry":[' + b",".join(entries) + b"]}" if entries else head

    def _address(self, type_name: str, parameters: _Parameters) -> str:
        return f"{self.base}/{type_name}?{urlencode(parameters, safe='/,|:')}"

    def _found(self, type_name: str, asked: _Parameters) -> list[Entry]:
        if type_name not in SEARCHES:
            raise Refused(f"{type_name} cannot be searched")
        unknown = [name for name, _ in asked if name not in SEARCHES[type_name]]
        if unknown:
            raise Refused(f"{type_name} cannot be searched by {', '.join(unknown)}")
        people = self._people(type_name, asked)
        found = [entry for patient in people for entry in self._entries.get(type_name, {}).get(patient, ())]
        for name, value in asked:
            if _KINDS.get(name) != "reference":
                found = _kept(found, name, value)
        return found

    def _people(self, type_name: str, asked: _Parameters) -> list[str]:
        """Whose entries to look through, in order: a search that names patients or ids need not pass over everybody."""
        named = [value for name, value in asked if _KINDS.get(name) == "reference" or name == "_id"]
        if not named:
            return self.patients
        people = [{one.removeprefix("Patient/").partition("-")[0] for one in value.split(",")} for value in named]
        return sorted(set.intersection(*people))


def _kept(found: list[Entry], name: str, value: str) -> list[Entry]:
    """What of `found` a search parameter lets through."""
    if name == "_lastUpdated":  # everything was written at once: as quick as a server that has an index
        return found if all(_within(LAST_UPDATED, one) for one in value.split(",")) else []
    if _KINDS.get(name) == "date":
        return [entry for entry in found if all(_within(entry.time, one) for one in value.split(","))]
    values = set(value.split(","))
    if name == "_id":
        return [entry for entry in found if entry.id in values]
    if name == "category":
        return [entry for entry in found if entry.category in {one.rpartition("|")[2] for one in values}]
    return [entry for entry in found if entry.code in values or entry.code.rpartition("|")[2] in values]


def _within(time_: str, condition: str) -> bool:
    """Whether a time satisfies `ge2025-01-01` and the like. All are compared as text to the second: good enough here."""
    prefix, asked = (condition[:2], condition[2:]) if condition[:2].isalpha() else ("eq", condition)
    left, right = time_[: len(asked[:19])], asked[:19]
    return {"ge": left >= right, "gt": left > right, "le": left <= right, "lt": left < right}.get(prefix, left == right)


def _capability() -> bytes:
    resources = [
        {
            "type": name,
            "interaction": [{"code": "read"}, {"code": "search-type"}],
            "searchParam": [{"name": one, "type": _KINDS.get(one, "token")} for one in searches],
        }
        for name, searches in SEARCHES.items()
    ]
    resources.append({"type": "Group", "interaction": [{"code": "read"}], "searchParam": []})
    return _json(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": LAST_UPDATED,
            "kind": "instance",
            "fhirVersion": "4.0.1",
            "format": ["application/fhir+json"],
            "software": {"name": "population"},
            "rest": [{"mode": "server", "resource": resources}],
        }
    )


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


class Handler(BaseHTTPRequestHandler):
    """One connection, kept open; a thread of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "PopulationServer"

    def do_GET(self) -> None:
        """A read, a search, or one of the benchmark's own."""
        url = urlsplit(self.path)
        if url.path.startswith("/_"):
            self._answer(200, self.server.told(url.path, dict(parse_qsl(url.query))))
        else:
            self._counted("", url.path.removeprefix(FHIR).strip("/"), url.query)

    def do_POST(self) -> None:
        """A search whose parameters come as a form."""
        form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        url = urlsplit(self.path)
        path = url.path.removeprefix(FHIR).strip("/")
        if not path.endswith("/_search"):
            self._counted(form, "", "")
            return
        self._counted(form, path.removesuffix("/_search"), "&".join(part for part in (url.query, form) if part))

    def _counted(self, form: str, path: str, query: str) -> None:
        store, began = self.server.store, time.time()
        try:
            status, body = 200, self._body(store, path, query)
        except Refused as error:
            issue = {"severity": "error", "code": "not-supported", "diagnostics": str(error)}
            status, body = error.status, _json({"resourceType": "OperationOutcome", "issue": [issue]})
        if self.server.delay_seconds:
            time.sleep(self.server.delay_seconds)
        self._answer(status, body)
        self.server.note({"method": self.command, "target": self.path, "form": form, "status": status, "began": began})

    def _body(self, store: Store, path: str, query: str) -> bytes:
        type_name, _, id_ = path.partition("/")
        if path == "metadata":
            return self.server.capability
        if path == "Group/all":
            return self.server.group
        if not id_:
            return store.page(type_name, query)
        body = store.resource(type_name, id_)
        if body is None:
            raise Refused(f"there is no {path}", 404)
        return body

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/fhir+json;charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the benchmark has its own log."""


class PopulationServer(ThreadingHTTPServer):
    """Listens on loopback, at a port of the system's choice unless one is given."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, patients: int = PATIENTS, port: int = 0, delay_seconds: float = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.delay_seconds = delay_seconds
        self.store = Store(f"http://127.0.0.1:{self.server_port}{FHIR}", patients)
        self.capability, self.group = _capability(), self.store.group()
        self._log: list[dict[str, object]] = []
        self._lock = threading.Lock()

    def note(self, request: dict[str, object]) -> None:
        """Keep a request that was answered."""
        with self._lock:
            self._log.append(request)

    def told(self, path: str, given: dict[str, str]) -> bytes:
        """What the benchmark asks of the server itself."""
        with self._lock:
            if path == "/_reset":
                self._log.clear()
            if path == "/_delay":
                self.delay_seconds = int(given["milliseconds"]) / 1000
            return _json(self._log if path == "/_log" else len(self._log))


def main() -> None:
    """Serve until killed; the first line of output is the base address."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=PATIENTS)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-ms", type=int, default=0)
    options = parser.parse_args()
    server = PopulationServer(options.patients, options.port, options.delay_ms / 1000)
    print(server.store.base, flush=True)  # noqa: T201 - whoever started this waits for the line
    server.serve_forever()


if __name__ == "__main__":
    main()
