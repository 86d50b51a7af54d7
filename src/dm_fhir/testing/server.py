"""FHIR R4 as far as dm-fhir speaks it, answered inside `requests` by the package `responses`. No socket is opened."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from requests import PreparedRequest

from dm_fhir.testing import bundles
from dm_fhir.testing.faults import Answer, Fault, Kind, first_met, instead, spoilt
from dm_fhir.testing.search import TYPES, Parameters, Resource, found, parameters_of, unknown

_FIRST_CHANGE = datetime(2026, 1, 1, tzinfo=UTC)
_PAGE_SIZE = 50
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_FHIR = {"Content-Type": "application/fhir+json"}


class MockedServer:
    """What the server holds and what it was asked.

    `resources` are the current ones by `Type/id`, each with `meta.versionId` and `meta.lastUpdated`; a test may change them.
    `requests` are "GET Observation?patient=…" and so on, in order. `fail` makes the next requests that match go wrong.
    """

    def __init__(self, resources: Iterable[Resource] = (), endpoint: str = "https://fhir.test/r4") -> None:
        self.endpoint = endpoint
        self.resources: dict[str, Resource] = {}
        self.requests: list[str] = []
        self._faults: list[Fault] = []
        self._versions: dict[tuple[str, str], Resource] = {}
        self._gone: dict[str, str] = {}
        self._changes = 0
        for index, resource in enumerate(resources, start=1):
            self._put(resource, _FIRST_CHANGE + timedelta(seconds=index))

    def put(self, resource: Resource) -> Resource:
        """Store a resource, as a new version if it is there already; as the hospital's own systems would.

        It is changed now, so that a pull which asks for changes finds it; what was there at first, in January 2026.
        """
        return self._put(resource, datetime.now(UTC))

    def _put(self, resource: Resource, when: datetime) -> Resource:
        self._changes += 1
        place = f"{resource['resourceType']}/{resource['id']}"
        before = self._gone.pop(place, None) or self.resources.get(place, {}).get("meta", {}).get("versionId", "0")
        moment = when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        meta = {**resource.get("meta", {}), "versionId": str(int(before) + 1), "lastUpdated": moment}
        self.resources[place] = {**resource, "meta": meta}
        self._versions[place, meta["versionId"]] = self.resources[place]
        return self.resources[place]

    def delete(self, place: str) -> None:
        """Delete `Type/id`: it is found no more, and who asks for it hears 410. Raises KeyError if it is not there."""
        self._gone[place] = self.resources.pop(place)["meta"]["versionId"]

    def fail(
        self,
        request: str,
        fault: int | Kind,
        body: bytes = b"",
        times: int = 1,
        *,
        retry_after: int | str | None = None,
    ) -> None:
        """Let the next `times` requests that begin with `request` ("GET Observation") go wrong.

        `fault` is an HTTP status, answered with `body` and the header Retry-After, or one of `timeout`, `connection`,
        `truncated`, `duplicated-page` (the rows of the page before) and `bad-resource` (without id).
        """
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._faults.append(Fault(request, fault, body, times, headers))

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self._faults.clear()

    def answer(self, request: PreparedRequest) -> Answer | Exception:
        """The answer to one request, as `responses` wants it."""
        url = urlsplit(request.url or "")
        path = url.path.removeprefix(urlsplit(self.endpoint).path).strip("/")
        asked = f"{request.method} {path}{'?' + url.query if url.query else ''}"
        self.requests.append(asked)
        fault = first_met(self._faults, asked)
        if fault is not None and (other := instead(fault)) is not None:
            return other
        body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        parameters = parse_qsl(url.query)
        if fault is not None and fault.kind == "duplicated-page":
            return self._search(path, parameters, repeats=True)
        answer = self.do(request.method or "GET", path, parameters, request.headers, body)
        return spoilt(answer, fault.kind) if fault else answer

    def do(self, method: str, path: str, asked: Parameters, headers: Mapping[str, str], body: bytes) -> Answer:
        """One interaction by itself, whether it came alone or in a Bundle."""
        if method == "GET":
            return answered(200, _capability(self._types())) if path == "metadata" else self._get(path, asked, headers)
        if method == "POST" and path.endswith("/_search"):
            return self._get(path.removesuffix("/_search"), [*asked, *parse_qsl(body.decode())], headers)
        if method == "DELETE" and path in self.resources:
            self.delete(path)
            return 204, {}, b""
        try:
            document = json.loads(body or b"null", parse_float=Decimal)
        except ValueError:
            return refused(400, "not JSON")
        if not isinstance(document, dict):
            return refused(404 if method == "DELETE" else 400, "nothing to do it with")
        if method == "POST" and not path:
            return bundles.carried_out(self, document)
        if document.get("resourceType") != path.partition("/")[0]:
            return refused(400, "the resource is not of the type in the address")
        minimal = "return=minimal" in headers.get("Prefer", "")
        return (self._create if method == "POST" else self._update)(path, asked, document, headers, minimal=minimal)

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """If the block raises, everything is as it was before."""
        kept = dict(self.resources), dict(self._versions), dict(self._gone), self._changes
        try:
            yield
        except Exception:
            self.resources, self._versions, self._gone, self._changes = kept
            raise

    def _types(self) -> list[str]:
        return list(dict.fromkeys([*TYPES, *(one["resourceType"] for one in self.resources.values())]))

    def _get(self, path: str, asked: Parameters, headers: Mapping[str, str]) -> Answer:
        parts = path.split("/")
        if len(parts) == 3 and parts[0] == "Patient":  # the patient's compartment
            by = "patient" if "patient" in parameters_of(parts[2]) else "subject"
            return self._get(parts[2], [*asked, (by, parts[1])], headers)
        if len(parts) == 4 and parts[2] == "_history":
            version = self._versions.get(("/".join(parts[:2]), parts[3]))
            return answered(200, version) if version else refused(404, "no such version")
        if len(parts) == 2:
            held = self.resources.get(path)
            gone = refused(410, "it was deleted") if path in self._gone else refused(404, "not found")
            return answered(200, held) if held else gone
        if path not in self._types():
            return refused(404, "no such type")
        if (names := unknown(path, asked)) and "handling=strict" in headers.get("Prefer", ""):
            return refused(400, f"unknown search parameter: {', '.join(names)}")
        return self._search(path, asked)

    def _search(self, type_name: str, asked: Parameters, *, repeats: bool = False) -> Answer:
        matching = found(self.resources.values(), type_name, asked)
        wanted = dict(asked)
        bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(matching)}
        if wanted.get("_summary") == "count":
            return answered(200, bundle)
        count, offset = int(wanted.get("_count", _PAGE_SIZE)), int(wanted.get("_offset", "0"))
        first = max(0, offset - count) if repeats else offset
        bundle["entry"] = [_entry(self.endpoint, resource) for resource in matching[first : first + count]]
        if offset + count < len(matching):
            following = urlencode([*((n, v) for n, v in asked if n != "_offset"), ("_offset", offset + count)])
            bundle["link"] = [{"relation": "next", "url": f"{self.endpoint}/{type_name}?{following}"}]
        return answered(200, bundle)

    def _create(
        self, path: str, asked: Parameters, resource: Resource, headers: Mapping[str, str], *, minimal: bool
    ) -> Answer:
        """A new resource; with If-None-Exist only if nothing like it is there."""
        criteria = headers.get("If-None-Exist")
        known = found(self.resources.values(), path, parse_qsl(criteria.lstrip("?"))) if criteria else []
        if len(known) > 1:
            return refused(412, "the criteria match more than one resource")
        return self._written(known[0], 200, minimal) if known else self._written(self._made(resource), 201, minimal)

    def _update(
        self, path: str, asked: Parameters, resource: Resource, headers: Mapping[str, str], *, minimal: bool
    ) -> Answer:
        """A new version of `Type/id`, or of what the criteria find; what is not there is made. If-Match must name the version."""
        type_name, _, id_ = path.partition("/")
        held = self.resources.get(path)
        known = ([held] if held else []) if id_ else found(self.resources.values(), type_name, asked)
        if len(known) > 1:
            return refused(412, "the criteria match more than one resource")
        version = headers.get("If-Match", "").removeprefix("W/").strip('"')
        if version and (not known or known[0]["meta"]["versionId"] != version):
            return refused(412, "it has another version")
        id_ = id_ or (known[0]["id"] if known else "")
        written = self.put({**resource, "id": id_}) if id_ else self._made(resource)
        return self._written(written, 200 if known else 201, minimal)

    def _made(self, resource: Resource) -> Resource:
        return self.put({**resource, "id": f"made-{self._changes + 1}"})

    def _written(self, resource: Resource, status: int, minimal: bool) -> Answer:
        version = resource["meta"]["versionId"]
        place = f"{self.endpoint}/{resource['resourceType']}/{resource['id']}/_history/{version}"
        headers = {**_FHIR, "ETag": f'W/"{version}"', "Location": place}
        return status, headers, b"" if minimal else _ENCODER.encode(resource)


@contextmanager
def mocked_server(resources: Iterable[Resource] = (), endpoint: str = "https://fhir.test/r4") -> Iterator[MockedServer]:
    """A server that holds `resources` and is the only one that `requests` can reach while the block runs.

    Needs the package `responses` (extra `testing`).
    """
    import responses

    server = MockedServer(resources, endpoint)
    below = re.compile(re.escape(endpoint) + r"([/?].*)?$")
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for method in (responses.GET, responses.POST, responses.PUT, responses.DELETE):
            mock.add_callback(method, below, callback=server.answer)
        yield server


def answered(status: int, document: Resource) -> Answer:
    """An answer that holds a resource."""
    version = document.get("meta", {}).get("versionId")
    return status, {**_FHIR, "ETag": f'W/"{version}"'} if version else _FHIR, _ENCODER.encode(document)


def refused(status: int, text: str) -> Answer:
    """An answer that says why not."""
    issue = {"severity": "error", "code": "processing", "diagnostics": text}
    return answered(status, {"resourceType": "OperationOutcome", "issue": [issue]})


def _entry(endpoint: str, resource: Resource) -> dict[str, Any]:
    address = f"{endpoint}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": address, "resource": resource, "search": {"mode": "match"}}


def _capability(types: Iterable[str]) -> Resource:
    listed = [
        {
            "type": name, "searchParam": [{"name": one} for one in parameters_of(name)], "conditionalCreate": True,
            "conditionalUpdate": True, "versioning": "versioned-update", "interaction": [{"code": one} for one in ("read", "vread", "search-type", "create", "update", "delete")],
        }
        for name in types
    ]  # fmt: skip
    rest = [{"mode": "server", "resource": listed, "interaction": [{"code": "batch"}, {"code": "transaction"}]}]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "fhirVersion": "4.0.1",
        "software": {"name": "mocked"},
        "rest": rest,
    }
