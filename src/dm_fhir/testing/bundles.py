"""Batch and transaction Bundles for the mocked server (https://hl7.org/fhir/R4/http.html#transaction)."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec

from dm_fhir.testing.faults import Answer

_ENCODER = msgspec.json.Encoder(decimal_format="number")
#: In a transaction deletions come first, then what is made, then what is changed, then what is read.
_ORDER = ("DELETE", "POST", "PUT", "GET")
_HEADERS = {"ifMatch": "If-Match", "ifNoneExist": "If-None-Exist"}


class Server(Protocol):
    """What carries out the entries."""

    def do(
        self, method: str, path: str, asked: Sequence[tuple[str, str]], headers: Mapping[str, str], body: bytes
    ) -> Answer: ...
    def all_or_nothing(self) -> Any: ...


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def carried_out(server: Server, bundle: dict[str, Any]) -> Answer:
    """The answer to a Bundle: each entry's own; of a transaction the first refusal, and then nothing was done."""
    entries = bundle.get("entry", [])
    if bundle.get("type") == "batch":
        return _together("batch-response", [_one(server, entry) for entry in entries])
    if bundle.get("type") != "transaction":
        return 400, {"Content-Type": "application/fhir+json"}, b'{"resourceType":"OperationOutcome"}'
    try:
        with server.all_or_nothing():
            return _together("transaction-response", _in_order(server, entries))
    except _Refused as refusal:
        return refusal.answer


def _in_order(server: Server, entries: Sequence[dict[str, Any]]) -> list[Answer]:
    """The answers as the entries stand. References to what is made here become those to what it was made to."""
    answers: dict[int, Answer] = {}
    made: dict[str, str] = {}
    for index in sorted(range(len(entries)), key=lambda n: _ORDER.index(entries[n]["request"]["method"])):
        answer = answers[index] = _one(server, entries[index], made)
        if answer[0] >= 400:
            raise _Refused(answer)
        place, full_url = answer[1].get("Location", ""), entries[index].get("fullUrl", "")
        if place and full_url.startswith("urn:"):
            made[full_url] = "/".join(place.partition("/_history/")[0].split("/")[-2:])
    return [answers[index] for index in range(len(entries))]


def _one(server: Server, entry: dict[str, Any], made: Mapping[str, str] | None = None) -> Answer:
    request = entry["request"]
    path, _, query = request["url"].partition("?")
    body = _ENCODER.encode(entry["resource"]) if "resource" in entry else b""
    for full_url, place in (made or {}).items():
        body = body.replace(f'"{full_url}"'.encode(), f'"{place}"'.encode())
    headers = {header: request[name] for name, header in _HEADERS.items() if name in request}
    return server.do(request["method"], path, parse_qsl(query), headers, body)


def _together(kind: str, answers: Sequence[Answer]) -> Answer:
    entries = []
    for status, headers, body in answers:
        response: dict[str, Any] = {"status": str(status)}
        for name, header in (("location", "Location"), ("etag", "ETag")):
            if header in headers:
                response[name] = headers[header]
        what = {"resource": msgspec.Raw(body)} if body else {}
        entries.append({**what, "response": response})
    document = {"resourceType": "Bundle", "type": kind, "entry": entries}
    return 200, {"Content-Type": "application/fhir+json"}, _ENCODER.encode(document)
