"""FHIR R4 as far as dm-fhir speaks it, answered inside `requests` by the package `responses`. No socket is opened."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import responses
from requests import PreparedRequest

Resource = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]

_FIRST_CHANGE = datetime(2026, 1, 1, tzinfo=UTC)
_SEARCHED = {
    "patient": lambda r: [_reference(r, "subject"), _reference(r, "patient")],
    "subject": lambda r: [_reference(r, "subject")],
    "medication": lambda r: [_reference(r, "medicationReference")],
    "code": lambda r: [*_codes(r.get("code")), *_codes(r.get("medicationCodeableConcept"))],
    "identifier": lambda r: [f"{i.get('system', '')}|{i.get('value', '')}" for i in r.get("identifier", [])],
    "_id": lambda r: [r["id"]],
}  # fmt: skip
_TYPES = (
    "Patient", "Medication", "MedicationAdministration", "MedicationRequest", "MedicationStatement", "Observation", "Condition",
    "AdverseEvent", "QuestionnaireResponse",
)  # fmt: skip
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class MockedServer:
    """What the server holds and what it was asked.

    `resources` are the current ones by `Type/id`, each with `meta.versionId` and `meta.lastUpdated`. `requests` are
    "GET Observation?patient=…" and so on, in order. `fail` makes the next requests that match answer something else.
    """

    def __init__(self, resources: Iterable[Resource], endpoint: str) -> None:
        self.endpoint = endpoint
        self.resources: dict[str, Resource] = {}
        self.requests: list[str] = []
        self._failures: list[tuple[str, int, bytes, int]] = []
        self._changes = 0
        for resource in resources:
            self.put(resource)

    def put(self, resource: Resource) -> Resource:
        """Store a resource, as a new version if it is there already; as the hospital's own systems would."""
        self._changes += 1
        place = f"{resource['resourceType']}/{resource['id']}"
        before = self.resources.get(place, {}).get("meta", {}).get("versionId", "0")
        when = (_FIRST_CHANGE + timedelta(seconds=self._changes)).isoformat().replace("+00:00", "Z")
        meta = {**resource.get("meta", {}), "versionId": str(int(before) + 1), "lastUpdated": when}
        self.resources[place] = {**resource, "meta": meta}
        return self.resources[place]

    def fail(self, request: str, status: int, body: bytes = b"", times: int = 1) -> None:
        """Answer the next `times` requests that begin with `request` ("GET Observation") with this instead."""
        self._failures.append((request, status, body, times))

    def answer(self, request: PreparedRequest) -> Answer:
        """The answer to one request, as `responses` wants it."""
        url = urlsplit(request.url or "")
        path = url.path.removeprefix(urlsplit(self.endpoint).path).strip("/")
        asked = f"{request.method} {path}{'?' + url.query if url.query else ''}"
        self.requests.append(asked)
        failure = self._failure(asked)
        if failure is not None:
            return failure
        parameters = parse_qsl(url.query)
        if request.method == "PUT":
            return self._update(path, parameters, request.body)
        return _answer(200, _capability()) if path == "metadata" else self._get(path, parameters)

    def _failure(self, asked: str) -> Answer | None:
        for index, (beginning, status, body, times) in enumerate(self._failures):
            if asked.startswith(beginning) and times > 0:
                self._failures[index] = (beginning, status, body, times - 1)
                return status, {"Content-Type": "application/fhir+json"}, body
        return None

    def _get(self, path: str, parameters: list[tuple[str, str]]) -> Answer:
        if path.count("/") == 1:
            found = self.resources.get(path)
            return _answer(200, found) if found else _not_found()
        return self._search(path, parameters) if path in _TYPES else _not_found()

    def _search(self, type_name: str, parameters: list[tuple[str, str]]) -> Answer:
        matching = [r for r in self.resources.values() if r["resourceType"] == type_name and _matches(r, parameters)]
        asked = dict(parameters)
        count, offset = int(asked.get("_count", "50")), int(asked.get("_offset", "0"))
        bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(matching)}
        bundle["entry"] = [{"resource": resource} for resource in matching[offset : offset + count]]
        if offset + count < len(matching):
            following = urlencode({**asked, "_offset": offset + count})
            bundle["link"] = [{"relation": "next", "url": f"{self.endpoint}/{type_name}?{following}"}]
        return _answer(200, bundle)

    def _update(self, path: str, parameters: list[tuple[str, str]], body: object) -> Answer:
        resource = json.loads(body if isinstance(body, str | bytes) else b"{}", parse_float=Decimal)
        if "/" in path:
            known = [r for r in self.resources.values() if f"{r['resourceType']}/{r['id']}" == path]
            resource["id"] = path.partition("/")[2]
        else:
            known = [r for r in self.resources.values() if r["resourceType"] == path and _matches(r, parameters)]
            resource["id"] = known[0]["id"] if known else f"made-{self._changes + 1}"
        if len(known) > 1:
            return _answer(412, _outcome("the criteria match more than one resource"))
        return _answer(200 if known else 201, self.put(resource))


@contextmanager
def mocked_server(resources: Iterable[Resource] = (), endpoint: str = "https://fhir.test/r4") -> Iterator[MockedServer]:
    """A server that holds `resources` and is the only one that `requests` can reach while the block runs."""
    server = MockedServer(resources, endpoint)
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for method in (responses.GET, responses.PUT):
            mock.add_callback(method, _any_below(endpoint), callback=server.answer)
        yield server


def _any_below(endpoint: str) -> Any:

    return re.compile(re.escape(endpoint) + "/.*")


def _matches(resource: Resource, parameters: list[tuple[str, str]]) -> bool:
    """Whether every parameter lets the resource through; several values of one mean any of them."""
    return all(_passes(resource, name, value) for name, value in parameters if name not in ("_count", "_offset"))


def _passes(resource: Resource, name: str, value: str) -> bool:
    if name == "_lastUpdated":
        return bool(resource["meta"]["lastUpdated"] >= value.removeprefix("ge"))
    read: Callable[[Resource], list[str]] | None = _SEARCHED.get(name)
    if read is None:
        return True  # like many servers: what it does not know it ignores
    held = read(resource)
    return any(
        one in (wanted, f"Patient/{wanted}") or one.endswith(f"|{wanted}")
        for one in held
        for wanted in value.split(",")
    )


def _reference(resource: Resource, element: str) -> str:
    found = resource.get(element)
    return str(found.get("reference", "")) if isinstance(found, dict) else ""


def _codes(concept: Any) -> list[str]:
    codings = concept.get("coding", []) if isinstance(concept, dict) else []
    return [f"{coding.get('system', '')}|{coding.get('code', '')}" for coding in codings]


def _capability() -> Resource:
    parameters = [{"name": name, "type": "token"} for name in (*_SEARCHED, "_lastUpdated")]
    listed = [{"type": name, "searchParam": parameters, "conditionalUpdate": True} for name in _TYPES]
    rest = [{"mode": "server", "resource": listed}]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "fhirVersion": "4.0.1",
        "software": {"name": "mocked"},
        "rest": rest,
    }


def _outcome(text: str) -> Resource:
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "processing", "diagnostics": text}],
    }


def _not_found() -> Answer:
    return _answer(404, _outcome("not found"))


def _answer(status: int, document: Resource) -> Answer:
    return status, {"Content-Type": "application/fhir+json"}, _ENCODER.encode(document)
