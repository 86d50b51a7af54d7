"""The fault server's writing side: what is written is kept in versions and can be counted. `Manners` says what the server can do."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl

from .answers import Ask, Reply, refusal, resource_reply
from .hospital import Json, found, operation_outcome
from .outcomes import KEYS

#: A server's way of doing a thing, or the status by which it refuses it.
Way = Literal["yes"] | int
_CRITERIA = {"Observation": {"identifier"}, "Provenance": {"target", "recorded"}}


@dataclass(frozen=True)
class Manners:
    """What a server can do with what is written to it. The default can do everything that FHIR describes.

    `transaction` "batch": each entry for itself, whatever the Bundle says. `conditional_update` "creates", `conditional_create`
    "ignored": the condition is not looked at. `returns` "minimal": never a body; "nothing": no Location either. `delay_seconds`
    is how long it takes until a search finds what was written. `claims`: the CapabilityStatement says that it can do everything.
    """

    transaction: Literal["yes", "batch"] | int = "yes"
    batch: Way = "yes"
    most_entries: int = 1000
    too_many: int = 413
    conditional_update: Literal["yes", "creates"] | int = "yes"
    conditional_create: Literal["yes", "ignored"] | int = "yes"
    client_ids: bool = True
    versions: bool = True
    moved: int = 412
    provenance: Way = "yes"
    same_is_new: bool = True
    returns: Literal["as asked", "minimal", "nothing"] = "as asked"
    delay_seconds: float = 0
    claims: bool = False


class Clock:
    """The server's clock: what the client wanted to wait has passed for it, though nobody waited."""

    waited_seconds = 0.0

    @classmethod
    def now(cls) -> float:
        """Seconds since some moment."""
        return time.monotonic() + cls.waited_seconds


class Version(NamedTuple):
    """One version of a resource. `resource` None: it was deleted."""

    resource: Json | None
    at: float


class Answered(NamedTuple):
    """What became of one write, or of one entry of a Bundle."""

    status: int
    resource: Json | None = None
    text: str = ""


class Write(NamedTuple):
    """One thing to be written, by itself or in a Bundle. `times` says how often its resource has been written to, this included."""

    method: str
    type: str
    id: str
    criteria: tuple[tuple[str, str], ...]
    if_match: str
    resource: Json
    within: str
    times: int = 1

    @property
    def key(self) -> str:
        """`k3`; "" for what is none of the twenty outcomes."""
        return key_of(self.resource)


def key_of(resource: Json) -> str:
    """`k3`; "" for what is none of the twenty outcomes."""
    return next((KEYS[one["value"]] for one in resource.get("identifier", ()) if one.get("value") in KEYS), "")


class Hold(NamedTuple):
    """What a fault may do to one write: refuse it before it is done, change what is stored."""

    refuse: Callable[["Shelf", Write], Answered | None] = lambda shelf, write: None
    store: Callable[[Write], Json] = lambda write: write.resource


@dataclass
class Shelf:
    """What was written, in all its versions."""

    manners: Manners = field(default_factory=Manners)
    holds: tuple[Hold, ...] = ()
    versions: dict[str, list[Version]] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    #: What the transaction under way has stored; None: there is none.
    open: list[str] | None = None

    def current(self, type_name: str = "Observation", *, until: float | None = None) -> list[Json]:
        """The resources that are there, or that were there at a moment."""
        last = [[one for one in versions if until is None or one.at <= until] for versions in self.versions.values()]
        there = [versions[-1].resource for versions in last if versions]
        return [one for one in there if one is not None and one["resourceType"] == type_name]

    def searchable(self, type_name: str) -> list[Json]:
        """What a search may find: late on a server whose index is."""
        return self.current(type_name, until=Clock.now() - self.manners.delay_seconds)

    def count(self) -> Counter[str]:
        """How many resources there are of each outcome, by key."""
        return Counter(map(key_of, self.current()))

    def of(self, key: str) -> list[Json]:
        """The resources of one outcome."""
        return [one for one in self.current() if key_of(one) == key]

    def versions_of(self, key: str) -> list[Json]:
        """All that was ever stored of one outcome, in order."""
        all_of_them = sorted((one for versions in self.versions.values() for one in versions), key=lambda one: one.at)
        return [one.resource for one in all_of_them if one.resource is not None and key_of(one.resource) == key]

    def edit(self, key: str, **elements: Any) -> Json:
        """Somebody at the hospital changes an outcome that is there; without elements, saves it as it is."""
        one = self.of(key)[0]
        return self._by_others(f"{one['resourceType']}/{one['id']}", {**one, **elements})

    def add(self, resource: Json) -> Json:
        """Somebody else stores a resource."""
        return self._by_others(f"{resource['resourceType']}/{self._new_id()}", resource)

    def _by_others(self, reference: str, resource: Json) -> Json:
        """What no transaction takes back."""
        before, self.open = self.open, None
        kept = self._keep(reference, resource)
        self.open = before
        return kept

    def read(self, path: str) -> Reply | None:
        """The answer to a read of a resource or one of its versions; None if it was never written."""
        reference, _, number = path.partition("/_history/")
        if reference not in self.versions:
            return None
        versions = self.versions[reference]
        if number and not (number.isdigit() and self.manners.versions and 0 < int(number) <= len(versions)):
            return refusal(404, "no such version")
        resource = versions[int(number) - 1 if number else -1].resource
        if resource is None:
            return refusal(410, "deleted")
        return resource_reply(resource).with_headers(**self._etag(resource))

    def one(self, write: Write) -> Answered:
        """Carry out one write, with what is wrong with it."""
        self.times[write.key or write.type] += 1
        write = write._replace(times=self.times[write.key or write.type])
        for hold in self.holds:
            if refused := hold.refuse(self, write):
                return refused
        for hold in self.holds:
            write = write._replace(resource=hold.store(write)) if write.method != "DELETE" else write
        return self._carried_out(write)

    def _carried_out(self, write: Write) -> Answered:
        if write.type not in _CRITERIA:
            return Answered(404, text=f"{write.type} is not taken")
        if write.type == "Provenance" and self.manners.provenance != "yes":
            return Answered(self.manners.provenance, text="Provenance is not taken")
        if write.method == "DELETE":
            self.versions[f"{write.type}/{write.id}"].append(Version(None, Clock.now()))
            return Answered(204)
        if write.resource.get("resourceType") != write.type:
            return Answered(400, text="another type than the address says")
        if write.criteria and not {name for name, _ in write.criteria} <= _CRITERIA[write.type]:
            return Answered(412, text="no such criterion")
        if write.method == "POST":
            return self._create(write) if write.criteria else self._stored_new(write)
        return self._update_if(write) if write.criteria else self._update(write)

    def _create(self, write: Write) -> Answered:
        if isinstance(self.manners.conditional_create, int):
            return Answered(self.manners.conditional_create, text="If-None-Exist is not supported")
        there = self._matching(write) if self.manners.conditional_create == "yes" else []
        if len(there) > 1:
            return Answered(412, text=f"matched {len(there)} resources")
        return Answered(200, there[0]) if there else self._stored_new(write)

    def _update_if(self, write: Write) -> Answered:
        if isinstance(self.manners.conditional_update, int):
            return Answered(self.manners.conditional_update, text="an update with a query is not supported")
        there = self._matching(write) if self.manners.conditional_update == "yes" else []
        if len(there) > 1:
            return Answered(412, text=f"matched {len(there)} resources")
        if there:
            return self._update(write._replace(id=there[0]["id"], resource={"id": there[0]["id"], **write.resource}))
        return Answered(412, text="nothing matches") if write.if_match else self._stored_new(write)

    def _update(self, write: Write) -> Answered:
        reference = f"{write.type}/{write.id}"
        if write.resource.get("id") != write.id:
            return Answered(400, text="the id in the resource is not that of the address")
        before = self.versions[reference][-1].resource if reference in self.versions else None
        if before is None and write.if_match:
            return Answered(self.manners.moved, text="no such version")
        if before is None and not self.manners.client_ids:
            return Answered(405, text="ids are given by this server")
        if before is None:
            return Answered(201, self._keep(reference, write.resource))
        if write.if_match and self.manners.versions and write.if_match != f'W/"{before["meta"]["versionId"]}"':
            return Answered(self.manners.moved, text="the version has moved on")
        if not self.manners.same_is_new and _said(before) == _said(write.resource):
            return Answered(200, before)
        return Answered(200, self._keep(reference, write.resource))

    def _stored_new(self, write: Write) -> Answered:
        if "id" in write.resource and write.method == "PUT" and not self.manners.client_ids:
            return Answered(400, text="ids are given by this server")
        return Answered(201, self._keep(f"{write.type}/{self._new_id()}", write.resource))

    def _matching(self, write: Write) -> list[Json]:
        return found(self.searchable(write.type), write.type, write.criteria)

    def _new_id(self) -> str:
        return f"w{len(self.versions) + 1}"

    def _keep(self, reference: str, resource: Json) -> Json:
        versions = self.versions.setdefault(reference, [])
        kept = {**resource, "id": reference.rpartition("/")[2]}
        kept.pop("meta", None)
        if self.manners.versions:
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            kept["meta"] = {**resource.get("meta", {}), "versionId": str(len(versions) + 1), "lastUpdated": now}
        versions.append(Version(kept, Clock.now()))
        if self.open is not None:
            self.open.append(reference)
        return kept

    def _etag(self, resource: Json) -> dict[str, str]:
        return {"ETag": f'W/"{resource["meta"]["versionId"]}"'} if self.manners.versions else {}

    def place(self, resource: Json, base: str) -> dict[str, str]:
        """Where a resource lies now, and in which version: the headers `Location` and `ETag`."""
        if self.manners.returns == "nothing":
            return {}
        version = f"/_history/{resource['meta']['versionId']}" if self.manners.versions else ""
        location = f"{base}/{resource['resourceType']}/{resource['id']}{version}"
        return {"Location": location, **self._etag(resource)}

    def begin(self) -> None:
        """A transaction begins."""
        self.open = []

    def end(self, *, is_good: bool) -> None:
        """It ends: what it has stored stays or is taken back."""
        stored, self.open = self.open or [], None
        for reference in [] if is_good else reversed(stored):
            self.versions[reference].pop()
            if not self.versions[reference]:
                del self.versions[reference]


def written(shelf: Shelf, ask: Ask, read: Callable[[str], Json]) -> Reply:
    """The answer to a request that writes. `read` answers what a Bundle asks for beside that."""
    document: Json = json.loads(ask.body) if ask.body else {}
    with_body = "return=minimal" not in ask.headers.get("prefer", "") and shelf.manners.returns == "as asked"
    if ask.path == "":
        return _bundle(shelf, ask, document, read, with_body=with_body)
    done = shelf.one(asked(ask, document))
    if done.status >= 400:
        return refusal(done.status, done.text)
    headers = shelf.place(done.resource, ask.base) if done.resource else {}
    if done.resource and with_body:
        return resource_reply(done.resource, done.status).with_headers(**headers)
    return Reply(done.status, b"", headers)


def asked(ask: Ask, document: Json) -> Write:
    """The write that a request of its own is."""
    criteria = ask.headers.get("if-none-exist", "") if ask.method == "POST" else ""
    type_name, _, id_ = ask.path.partition("/")
    pairs = tuple(parse_qsl(criteria)) if criteria else tuple(ask.parameters)
    return Write(ask.method, type_name, id_, pairs, ask.headers.get("if-match", ""), document, "")


def writes_of(ask: Ask) -> Sequence[Write]:
    """All that a request would write."""
    if ask.method not in ("PUT", "POST") or ask.path.endswith("_search") or not ask.body.startswith(b"{"):
        return ()
    document: Json = json.loads(ask.body)
    if ask.path:
        return (asked(ask, document),)
    return [_entry(one, document["type"]) for one in document["entry"] if one["request"]["method"] != "GET"]


def _entry(entry: Json, within: str) -> Write:
    request = entry["request"]
    path, _, query = request["url"].partition("?")
    type_name, _, id_ = path.partition("/")
    criteria = query if request["method"] == "PUT" else request.get("ifNoneExist", "")
    return Write(
        request["method"], type_name, id_, tuple(parse_qsl(criteria)), request.get("ifMatch", ""), entry.get("resource", {}), within
    )  # fmt: skip


def _bundle(shelf: Shelf, ask: Ask, document: Json, read: Callable[[str], Json], *, with_body: bool) -> Reply:
    kind, entries, manners = document.get("type", ""), document.get("entry", []), shelf.manners
    way = {"transaction": manners.transaction, "batch": manners.batch}.get(kind, 400)
    if isinstance(way, int):
        return refusal(way, f"a Bundle of type {kind} is not taken")
    if len(entries) > manners.most_entries:
        return refusal(manners.too_many, f"the Bundle exceeds the limit of {manners.most_entries} entries")
    together, answers = kind == "transaction" and way == "yes", []
    if together:
        shelf.begin()
    for number, entry in enumerate(entries):
        if entry["request"]["method"] == "GET":
            answers.append({"resource": read(entry["request"]["url"]), "response": {"status": "200 OK"}})
            continue
        done = shelf.one(_entry(entry, kind))
        if together and done.status >= 400:
            shelf.end(is_good=False)
            return refusal(done.status, f"Bundle.entry[{number}]: {done.text}")
        answers.append(_response(shelf, ask, done, with_body=with_body))
    if together:
        shelf.end(is_good=True)
    return resource_reply({"resourceType": "Bundle", "type": f"{kind}-response", "entry": answers})


def _response(shelf: Shelf, ask: Ask, done: Answered, *, with_body: bool) -> Json:
    response: Json = {"status": str(done.status)}
    if done.status >= 400:
        return {"response": {**response, "outcome": operation_outcome("error", done.text)}}
    if done.resource is None:
        return {"response": response}
    place = shelf.place(done.resource, ask.base)
    response |= {name.lower(): value.removeprefix(f"{ask.base}/") for name, value in place.items()}
    return {"response": response, **({"resource": done.resource} if with_body else {})}


def _said(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name not in ("id", "meta", "text")}


def with_writing(statement: Json, manners: Manners) -> Json:
    """The CapabilityStatement of a server that takes writes."""
    told = Manners() if manners.claims else manners
    rest = statement["rest"][0]
    kinds = [kind for kind in ("transaction", "batch") if not isinstance(getattr(told, kind), int)]
    listed = [_with_writing(one, told) for one in rest["resource"]]
    if told.provenance == "yes":
        listed.append(_with_writing({"type": "Provenance", "interaction": [], "searchParam": []}, told))
    rest = {**rest, "resource": listed, "interaction": [{"code": kind} for kind in kinds]}
    return {**statement, "rest": [rest]}


def _with_writing(listed: Json, manners: Manners) -> Json:
    if listed["type"] not in _CRITERIA:
        return listed
    names = [{"name": name, "type": "token"} for name in sorted(_CRITERIA[listed["type"]])]
    codes = ["create", "update", *(["vread"] if manners.versions else [])]
    return {
        **listed,
        "interaction": [*listed["interaction"], *({"code": code} for code in codes)],
        "versioning": "versioned-update" if manners.versions else "no-version",
        "updateCreate": manners.client_ids,
        "conditionalCreate": manners.conditional_create == "yes",
        "conditionalUpdate": manners.conditional_update == "yes",
        "searchParam": [*listed["searchParam"], *names],
    }
