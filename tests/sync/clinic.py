"""A FHIR server on loopback with real sockets, full of what must not leave a hospital, whose manners a test can spoil."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

Json = dict[str, Any]
#: What must never be in a letter: ids, names, numbers, dates and values of patients.
FIRST, SECOND = "zwetschke-1", "zwetschke-2"
SENTINELS = (
    "zwetschke", "Zwetschkenbaum", "Eulalia", "1961-11-23", "MRN-7719350", "urn:mrn", "418.25", "burning shawl", "Marillengasse",
    "0664-5551234",
)  # fmt: skip
WHEN = "2026-03-03T10:00:00Z"
ALWAYS = ("_count", "_summary", "_sort", "_id", "_total")
LISTED = {
    "Patient": ("_id", "identifier", "_lastUpdated"),
    "MedicationAdministration": ("patient", "code", "medication", "_lastUpdated"),
    "Medication": ("code", "_lastUpdated"),
    "Observation": ("patient", "code", "combo-code", "category", "_lastUpdated"),
    "Condition": ("patient", "code", "_lastUpdated"),
    "MedicationRequest": ("patient", "_lastUpdated"),
    "MedicationStatement": ("patient", "_lastUpdated"),
    "AdverseEvent": ("subject", "_lastUpdated"),
    "Group": (),
}
DRUG = {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]}
_META = {"versionId": "1", "lastUpdated": WHEN}


def records(patient: str) -> list[Json]:
    """What the clinic holds of one patient."""
    subject = {"reference": f"Patient/{patient}", "display": "Eulalia Zwetschkenbaum"}

    def one(type_name: str, kind: str, **more: Any) -> Json:
        return {"resourceType": type_name, "id": f"{patient}-{kind}", "meta": _META, "subject": subject, **more}

    identity = {
        "name": [{"family": "Zwetschkenbaum", "given": ["Eulalia"]}],
        "birthDate": "1961-11-23",
        "identifier": [{"system": "urn:mrn", "value": "MRN-7719350" + patient[-1]}],
        "telecom": [{"system": "phone", "value": "0664-5551234"}],
        "address": [{"line": ["Marillengasse 7"]}],
    }
    plan: Json = {"medicationCodeableConcept": DRUG, "status": "active"}
    return [
        {"resourceType": "Patient", "id": patient, "meta": _META, **identity},
        *(one("MedicationAdministration", f"inf-{number}", status="completed", medicationCodeableConcept=DRUG, effectiveDateTime=WHEN)
          for number in range(3)),
        *(one("Observation", f"ck-{number}", status="final", effectiveDateTime=WHEN, note=[{"text": "burning shawl"}],
              category=[{"coding": [{"code": "laboratory"}]}], code={"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
              valueQuantity={"value": 418.25, "unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"}) for number in range(5)),
        one("Condition", "dm", code={"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M33.13"}]}),
        one("MedicationRequest", "mmf", intent="order", **plan),
        one("MedicationStatement", "hcq", **plan),
        one("AdverseEvent", "zoster", actuality="actual", event={"text": "zoster"}),
    ]  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """One request: its path below the endpoint, and its parameters, wherever they stood."""

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    body: bytes

    @property
    def type(self) -> str:
        return self.path.partition("/")[0]

    def parameter(self, name: str) -> str:
        return next((value for key, value in self.parameters if key == name), "")


class Reply(NamedTuple):
    """One answer."""

    status: int
    body: Json


Spoil = Callable[[Ask], Reply | None]


def refusal(status: int, text: str = "Eulalia Zwetschkenbaum (MRN-7719350) is none of your business") -> Reply:
    """A refusal that says more than it should."""
    issue = {"severity": "error", "code": "processing", "diagnostics": text}
    return Reply(status, {"resourceType": "OperationOutcome", "issue": [issue]})


def refusing(type_name: str, status: int = 403, text: str | None = None) -> Spoil:
    """Refuses whatever is asked of a type."""
    answer = refusal(status, text) if text else refusal(status)
    return lambda ask: answer if ask.type == type_name else None


@dataclass
class Clinic:
    """The server. `spoil` answers before the honest part does; the other settings are its manners."""

    held: list[Json] = field(default_factory=lambda: [*records(FIRST), *records(SECOND)])
    listed: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(LISTED))
    spoil: list[Spoil] = field(default_factory=list)
    software: str = "Clinic"
    version: str = "4.0.1"
    interactions: tuple[str, ...] = ("batch",)
    history: bool = False
    conditional_update: bool = True
    is_strict: bool = True
    has_totals: bool = True
    has_date: bool = True
    skew: timedelta = timedelta(0)
    granted: str | None = "system/*.read system/*.write"
    ignored: tuple[str, ...] = ()
    first_of_lists_only: bool = False
    asked: list[Ask] = field(default_factory=list)
    endpoint: str = ""

    def answer(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        for spoil in self.spoil:
            if reply := spoil(ask):
                return reply
        return self._honest(ask)

    def _honest(self, ask: Ask) -> Reply:
        if ask.path == "metadata":
            return Reply(200, self._capability())
        if ask.path == ".well-known/smart-configuration":
            return Reply(200, {"token_endpoint": f"{self.endpoint}/token"})
        if ask.path == "token":
            token = {"access_token": "token-c0ffee", "token_type": "Bearer", "expires_in": 300}
            return Reply(200, token | ({"scope": self.granted} if self.granted is not None else {}))
        if ask.method == "POST" and not ask.path:
            return self._batch(ask)
        path = ask.path.removesuffix("/_search").split("/")
        if len(path) == 3 and path[2] != "_history":
            return self._search(ask, path[2], (("patient", path[1]), *ask.parameters))
        if len(path) == 2 and path[1] == "_history":
            return Reply(200, {"resourceType": "Bundle", "type": "history"})
        if len(path) == 2:
            one = next((one for one in self.held if [one["resourceType"], one["id"]] == path), None)
            return Reply(200, one) if one else refusal(404)
        return self._search(ask, path[0], ask.parameters) if path[0] in self.listed else refusal(404)

    def _capability(self) -> Json:
        types = [
            {"type": name, "searchParam": [{"name": one, "type": "token"} for one in names],
             "interaction": [{"code": "read"}, {"code": "search-type"}, *([{"code": "history-type"}] if self.history else [])],
             "conditionalUpdate": self.conditional_update}
            for name, names in self.listed.items()
        ]  # fmt: skip
        rest = {"mode": "server", "resource": types, "interaction": [{"code": code} for code in self.interactions]}
        software = {"name": self.software, "version": "7"}
        return {
            "resourceType": "CapabilityStatement",
            "fhirVersion": self.version,
            "software": software,
            "rest": [rest],
        }

    def _batch(self, ask: Ask) -> Reply:
        entries = []
        for entry in json.loads(ask.body)["entry"]:
            address = urlsplit(entry["request"]["url"])
            inner = Ask("GET", unquote(address.path), tuple(parse_qsl(address.query)), ask.headers, b"")
            entries.append({"resource": self._honest(inner).body, "response": {"status": "200 OK"}})
        return Reply(200, {"resourceType": "Bundle", "type": "batch-response", "entry": entries})

    def _search(self, ask: Ask, type_name: str, parameters: tuple[tuple[str, str], ...]) -> Reply:
        known = (*LISTED.get(type_name, ()), "patient", *ALWAYS)
        unknown = [name for name, _ in parameters if name not in known]
        if unknown and self.is_strict and ask.headers.get("Prefer") == "handling=strict":
            return refusal(400, f"unknown parameter {unknown[0]}")
        found = [one for one in self.held if one["resourceType"] == type_name]
        for name, value in parameters:
            if name in _FILTERS and name not in self.ignored:
                values = value.split(",")[:1] if name == "patient" and self.first_of_lists_only else value.split(",")
                found = [one for one in found if any(_FILTERS[name](one, part) for part in values)]
        count = int(dict(parameters).get("_count", 20))
        address = f"{self.endpoint}/{type_name}"
        links = [{"relation": "self", "url": f"{address}?{urlencode(parameters)}"}]
        if len(found) > count:
            links.append({"relation": "next", "url": f"{address}?page=2"})
        bundle: Json = {"resourceType": "Bundle", "type": "searchset", "link": links}
        if self.has_totals:
            bundle["total"] = len(found)
        if dict(parameters).get("_summary") != "count":
            bundle["entry"] = [{"resource": one} for one in found[:count]]
        return Reply(200, bundle)


def _codes(one: Json, *elements: str) -> set[str]:
    concepts = [one[element] for element in elements if element in one]
    return {coding["code"] for concept in concepts for coding in concept.get("coding", [])}


def _is_of(one: Json, value: str) -> bool:
    reference = one.get("subject", {}).get("reference", f"{one['resourceType']}/{one['id']}")
    return bool(reference == f"Patient/{value.removeprefix('Patient/')}")


_FILTERS: dict[str, Callable[[Json, str], bool]] = {
    "_id": lambda one, value: one["id"] == value,
    "patient": _is_of,
    "subject": _is_of,
    "identifier": lambda one, value: value in {f"{i['system']}|{i['value']}" for i in one.get("identifier", [])},
    "code": lambda one, value: value.rpartition("|")[2] in _codes(one, "code", "medicationCodeableConcept"),
    "combo-code": lambda one, value: value in _codes(one, "code"),
    "category": lambda one, value: (
        value in {code for part in one.get("category", []) for code in _codes({"c": part}, "c")}
    ),
    "medication": lambda one, value: one.get("medicationReference", {}).get("reference") == value,
}


class _Handler(BaseHTTPRequestHandler):
    clinic: Clinic
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        return

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = urlsplit(self.path)
        is_form = "form-urlencoded" in self.headers.get("Content-Type", "")
        query = "&".join(part for part in (address.query, body.decode() if is_form else "") if part)
        path = unquote(address.path.removeprefix("/fhir").lstrip("/"))
        ask = Ask(self.command, path, tuple(parse_qsl(query)), dict(self.headers.items()), body)
        reply = self.clinic.answer(ask)
        content = json.dumps(reply.body).encode()
        self.send_response_only(reply.status)
        if self.clinic.has_date:
            self.send_header("Date", format_datetime(datetime.now(UTC) + self.clinic.skew, usegmt=True))
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer  # http.server's names


@contextmanager
def serving(clinic: Clinic, certificate: Path | None = None) -> Iterator[Clinic]:
    """The clinic's server, up until the end of the block; with TLS where it has a certificate."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"clinic": clinic}))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client may hang up
    server.block_on_close = False
    if certificate:
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    clinic.endpoint = f"http{'s' * bool(certificate)}://127.0.0.1:{server.server_port}/fhir"
    thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield clinic
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
