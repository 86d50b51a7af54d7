"""What a bulk server exports: a job's files, as lines of NDJSON, from what the server held when the job was begun."""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from dm_fhir.testing.search import Resource, found

_ENCODER = msgspec.json.Encoder(decimal_format="number")
#: The parameters of an export, as they are asked for.
Asked = list[tuple[str, str]]


@dataclass
class File:
    """One file of a job. `path` is below the server's root; `served` counts how often it was begun to be sent."""

    kind: str
    type: str
    path: str
    content: bytes
    lines: int
    served: int = 0

    @property
    def etag(self) -> str:
        """What a Range must be conditional on."""
        return f'"{self.path.replace("/", "-")}-{len(self.content)}"'


@dataclass
class Job:
    """An export that was asked for: what was asked, how often it was polled, what it hands out."""

    number: int
    level: str
    asked: Asked
    request: str
    transaction_time: str
    files: list[File] = field(default_factory=list)
    polls: int = 0
    state: str = "running"

    @property
    def path(self) -> str:
        """Where its status is, below the server's root."""
        return f"jobs/{self.number}"

    @property
    def is_alive(self) -> bool:
        """Whether the server still keeps it."""
        return self.state == "running"


def value(asked: Asked, name: str) -> str:
    """A parameter's value, several joined by commas; empty if it was not given."""
    return ",".join(given for key, given in asked if key == name)


def patients_of(resources: dict[str, Resource], level: str) -> set[str] | None:
    """The patients whose records the level covers (`Patient/7`); None: everything, theirs or not."""
    if not level:
        return None
    if level == "Patient":
        return {place for place in resources if place.startswith("Patient/")}
    return {member["entity"]["reference"] for member in resources[level].get("member", [])}


def exported(resources: dict[str, Resource], level: str, asked: Asked) -> Iterator[Resource]:
    """What an honest server puts into the files."""
    patients = patients_of(resources, level)
    types = [name for name in value(asked, "_type").split(",") if name]
    since = value(asked, "_since")
    # Its inner commas are encoded, and each of several stands by itself or behind a comma.
    filters = [one for key, given in asked if key == "_typeFilter" for one in given.replace("%2C", "\0").split(",")]
    by_type: dict[str, list[str]] = {}
    for one in filters:
        by_type.setdefault(one.partition("?")[0], []).append(one.partition("?")[2].replace("\0", ","))
    for place, one in resources.items():
        name = one["resourceType"]
        if types and name not in types:
            continue
        if patients is not None and not ({place, _subject(one)} & patients):
            continue
        if since and one["meta"]["lastUpdated"] <= since:
            continue
        queries = by_type.get(name)
        if queries and not any(found([one], name, parse_qsl(query)) for query in queries):
            continue
        yield one


def ndjson(resources: Iterable[Resource]) -> tuple[bytes, int]:
    """Resources as lines, and how many."""
    lines = [_ENCODER.encode(one) for one in resources]
    return b"".join(line + b"\n" for line in lines), len(lines)


def packed(content: bytes) -> bytes:
    """As gzip, the same bytes for the same content."""
    return gzip.compress(content, 1, mtime=0)


def deletion(places: Iterable[str]) -> Resource:
    """A Bundle as a `deleted` file holds them."""
    entries = [{"request": {"method": "DELETE", "url": place}} for place in places]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def operation_outcome(text: str, code: str = "processing", severity: str = "error") -> Resource:
    """An OperationOutcome that says `text`."""
    issue = {"severity": severity, "code": code, "diagnostics": text}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def parameters_in(body: bytes) -> Asked:
    """The parameters of a kick-off by POST: the values of its Parameters, whatever their kind."""
    document: Any = json.loads(body, parse_float=Decimal)
    return [
        (one["name"], next(str(given) for key, given in one.items() if key.startswith("value")))
        for one in document["parameter"]
    ]


def _subject(one: Resource) -> str:
    reference = one.get("subject", one.get("patient", {})).get("reference", "")
    return "/".join(str(reference).partition("/_history/")[0].split("/")[-2:])
