"""A push in a few lines: results with made-up values, a ledger, and a server that can be told to misbehave."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from requests import ConnectionError as RequestsConnectionError

from dm_fhir.config import Auth, Pull, Push, Site
from dm_fhir.fhir.connection import Connection
from dm_fhir.store.pushes import Pushed, pushed
from dm_fhir.sync.push.content import fingerprint
from dm_fhir.sync.push.plan import Item
from dm_fhir.sync.push.pusher import push_site
from dm_fhir.sync.push.result import Result
from dm_fhir.sync.push.waiting import waiting
from dm_fhir.testing import MockedServer

Json = dict[str, Any]
SYSTEM = "urn:test"
#: What a request asks for, with its headers; what it answers instead of being carried out, None: it is carried out.
Meddling = Callable[[str, str, Mapping[str, str], Json], tuple[int, dict[str, str], bytes] | None]


class Mapper:
    """What a push needs of the mappings."""

    def provenance(self, targets: Sequence[str], recorded: str, activity: str) -> bytes:
        """As small as it can be."""
        coding = [{"code": activity}]
        named = [{"reference": one} for one in targets]
        document = {
            "resourceType": "Provenance",
            "target": named,
            "recorded": recorded,
            "activity": {"coding": coding},
            "agent": [{"who": {"reference": "#dm-fhir"}}],
        }
        return json.dumps(document).encode()

    def is_own_provenance(self, body: bytes) -> bool:
        """Told by the agent."""
        return b'"#dm-fhir"' in body

    def taken_back(self, body: bytes) -> bytes:
        """The same, entered in error."""
        return json.dumps({**json.loads(body), "status": "entered-in-error"}).encode()


def body_of(name: str, value: object, patient: str = "Patient/p1", status: str = "final") -> bytes:
    """A result `name` with a value."""
    document = {
        "resourceType": "Observation", "status": status, "identifier": [{"system": SYSTEM, "value": name}],
        "subject": {"reference": patient}, "code": {"text": name}, "valueQuantity": {"value": value, "unit": "1"},
    }  # fmt: skip
    return json.dumps(document).encode()


class Pushing:
    """A study that wants `wanted` on the server: values by name. `waits` are the seconds that it would have waited.

    `loses`: the answer to the next write with these bytes in it is lost, after it was carried out.
    """

    def __init__(self, db: sqlite3.Connection, server: MockedServer) -> None:
        self.db, self.server = db, server
        self.wanted: dict[str, object] = {}
        self.patients: dict[str, str] = {}
        self.waits: list[float] = []
        self.settings: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self._do = server.do
        self._meddling: list[Meddling] = []
        self.loses = b""
        server.do = self._asked  # type: ignore[method-assign]

    def meddle(self, meddling: Meddling) -> None:
        """Let this see every interaction first, also those in a Bundle."""
        self._meddling.append(meddling)

    def calm(self) -> None:
        """Nobody meddles any more."""
        self._meddling.clear()

    def _asked(self, method: str, path: str, asked: Any, headers: Mapping[str, str], body: bytes) -> Any:
        if self.loses and self.loses in body and method != "GET":
            self.loses = b""
            self._asked(method, path, asked, headers, body)
            raise RequestsConnectionError("('Connection aborted.', RemoteDisconnected())")
        document = json.loads(body) if body.startswith(b"{") else {}
        for meddling in self._meddling:
            if (answer := meddling(method, path, headers, document)) is not None:
                return answer
        return self._do(method, path, asked, headers, body)

    @property
    def site(self) -> Site:
        """The site, with the settings of [site.push]."""
        push = Push(True, **self.settings)
        return Site("leon", self.server.endpoint, "UTC", (), {}, Auth(), Pull(concurrency=2), push)

    def connection(self) -> Connection:
        return Connection(self.server.endpoint, Pull(concurrency=2), headers=self.headers, sleep=self.waits.append)

    def items(self) -> list[Item]:
        """What a plan would say."""
        before, items = self.rows(), []
        for name, value in self.wanted.items():
            old, patient = before.get(name), self.patients.get(name, "Patient/p1")
            body = body_of(name, value, patient)
            settled = old is not None and old.state in ("confirmed", "rejected") and old.hash == fingerprint(body)
            action = "unchanged" if settled else "changed" if old else "new"
            items.append(Item(action, name, patient, "score", "", body, old, "made"))  # type: ignore[arg-type]
        for name, old in before.items():
            if name not in self.wanted and old.state != "retracted":
                items.append(Item("retract", name, old.patient, "score", "", Mapper().taken_back(old.body), old))
        return items

    def push(self) -> Result:
        """Push what is wanted."""
        connection = self.connection()
        return push_site(self.db, self.site, connection, Mapper(), 1, [*waiting(self.items())], lambda *_: None)  # type: ignore[arg-type]

    def rows(self) -> dict[str, Pushed]:
        """The ledger by name."""
        return {row.identifier: row for row in pushed(self.db, "leon")}

    def states(self) -> Counter[str]:
        """How many results stand how."""
        return Counter(row.state for row in self.rows().values())

    def held(self, name: str) -> list[Json]:
        """What the server holds of a result."""
        return [
            one
            for one in self.server.resources.values()
            if any(part["value"] == name for part in one.get("identifier", []))
        ]

    def values(self) -> dict[str, list[object]]:
        """All that the server holds: the values of each result."""
        found: dict[str, list[object]] = {}
        for one in self.server.resources.values():
            if one["resourceType"] == "Observation":
                found.setdefault(one["identifier"][0]["value"], []).append(one["valueQuantity"]["value"])
        return found

    def provenances(self) -> list[Json]:
        """What documents it."""
        return [one for one in self.server.resources.values() if one["resourceType"] == "Provenance"]

    def writes(self) -> list[str]:
        """The requests that wrote, without queries."""
        lines = [line for line in self.server.requests if not line.startswith("GET")]
        return [line.partition("?")[0].strip() for line in lines]


def refusing(status: int, text: str = "not this") -> tuple[int, dict[str, str], bytes]:
    """An answer that refuses."""
    said = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "diagnostics": text}]}
    return status, {"Content-Type": "application/fhir+json"}, json.dumps(said).encode()
