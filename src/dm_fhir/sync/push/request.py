"""A write as it goes out, by itself or in a Bundle, and what its answer says. Nothing is decided here."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

import msgspec

from dm_fhir.fhir.connection import TRY_AGAIN, Connection
from dm_fhir.fhir.resource import NOT_READABLE, Resource, Unusable, read_resource
from dm_fhir.fhir.server_says import server_says
from dm_fhir.fhir.transport import Answer
from dm_fhir.sync.push.plan import Item
from dm_fhir.sync.push.ways import Way

#: Refusals that are looked at here. A 401, and what may pass, is the connection's.
REFUSALS = (400, 403, 404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 422, 428, 501)
#: So many resources are looked at several times, one after the other.
_REMEMBERED = 1024
_PREFER = {"Prefer": "return=representation"}
_PLACE = re.compile(r"(?:^|/)(Observation/[A-Za-z0-9\-.]+)(?:/_history/([^/?]+))?/?$")
_ENTRY = re.compile(r"Bundle\.entry\[(\d+)\]")
_PATH = re.compile(r"[A-Za-z][\w.\[\]()]{0,80}")


class Write(NamedTuple):
    """An item to be written: over `copy`, which the server holds, or where nothing of it is."""

    item: Item
    copy: Resource | None = None


class Written(NamedTuple):
    """What became of one write. `status` 0: the answer does not say. `content` is what the server says it holds now.

    `said` is what a refusal says, `element` what it blames, `entry` which entry of a Bundle.
    """

    status: int
    server_id: str | None = None
    version: str | None = None
    content: Resource | None = None
    said: str = ""
    element: str = ""
    entry: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether the server has carried it out."""
        return 200 <= self.status < 300

    @property
    def is_unknown(self) -> bool:
        """Whether it may have been carried out or not."""
        return self.status == 0 or self.status in TRY_AGAIN


class _Identifier(msgspec.Struct, frozen=True):
    system: str = ""
    value: str = ""


class _Identified(msgspec.Struct, frozen=True):
    identifier: tuple[_Identifier, ...] = ()


_IDENTIFIED = msgspec.json.Decoder(_Identified)


@lru_cache(_REMEMBERED)
def tokens(body: bytes) -> tuple[str, ...]:
    """The identifiers of a resource, each as `system|value`; none where they cannot be read: then it is not ours."""
    try:
        identified = _IDENTIFIED.decode(body)
    except NOT_READABLE:
        return ()
    return tuple(f"{one.system}|{one.value}" for one in identified.identifier)


def token(item: Item) -> str:
    """The identifier by which an item is found on the server."""
    return tokens(item.body)[0]


def criteria(name: str) -> str:
    """The condition that finds exactly what has this identifier."""
    return f"identifier={quote(name, safe='')}"


def send_one(connection: Connection, way: Way, write: Write) -> Written:
    """Send one write by this way. Raises WriteUnsettled, and what else a request raises."""
    if way == "transaction":
        sent = send_bundle(connection, [write])
        return sent if isinstance(sent, Written) else sent[0]
    item, copy = write
    headers = dict(_PREFER)
    if copy is not None:
        if copy.version:
            headers["If-Match"] = f'W/"{copy.version}"'
        method, url, body = "PUT", copy.reference, with_id(item.body, copy.id)
    elif way == "conditional-update":
        method, url, body = "PUT", f"Observation?{criteria(token(item))}", item.body
    else:
        method, url, body = "POST", "Observation", item.body
        if way == "conditional-create":
            headers["If-None-Exist"] = criteria(token(item))
    answer = connection.request(method, url, body=body, headers=headers, accept=REFUSALS, place=f"{method} Observation")
    if answer.status in REFUSALS:
        return refusal(connection, answer)
    place, version = _place(answer.headers.get("Location", "")), _etag(answer.headers.get("ETag", ""))
    return _written(answer.status, place or (copy.reference if copy else None), version, answer.body)


def send_bundle(connection: Connection, writes: Sequence[Write]) -> list[Written] | Written:
    """Send all of them as a transaction: what became of each, in their order; or the refusal of the whole.

    Raises WriteUnsettled, and what else a request raises.
    """
    body = msgspec.json.encode(_Bundle("Bundle", "transaction", [_entry(connection, write) for write in writes]))
    answer = connection.request(
        "POST", connection.endpoint, body=body, headers=_PREFER, accept=REFUSALS, place="POST of a transaction"
    )
    return refusal(connection, answer) if answer.status in REFUSALS else _results(answer, writes, connection.secrets)


class _Request(msgspec.Struct, frozen=True, omit_defaults=True):
    method: str
    url: str
    ifMatch: str | None = None


class _Entry(msgspec.Struct, frozen=True):
    fullUrl: str
    resource: msgspec.Raw
    request: _Request


class _Bundle(msgspec.Struct, frozen=True):
    resourceType: str
    type: str
    entry: list[_Entry]


def _entry(connection: Connection, write: Write) -> _Entry:
    item, copy = write
    if copy is None:
        url = f"Observation?{criteria(token(item))}"
        return _Entry(f"urn:uuid:{uuid5(NAMESPACE_URL, url)}", msgspec.Raw(item.body), _Request("PUT", url))
    guard = f'W/"{copy.version}"' if copy.version else None
    body = msgspec.Raw(with_id(item.body, copy.id))
    return _Entry(f"{connection.endpoint}/{copy.reference}", body, _Request("PUT", copy.reference, guard))


class _Response(msgspec.Struct, frozen=True):
    status: str = ""
    location: str | None = None
    etag: str | None = None
    outcome: msgspec.Raw = msgspec.Raw()


class _Answered(msgspec.Struct, frozen=True):
    response: _Response = _Response()
    resource: msgspec.Raw = msgspec.Raw()


class _Answers(msgspec.Struct, frozen=True):
    resourceType: str = ""
    entry: tuple[_Answered, ...] = ()


def _results(answer: Answer, writes: Sequence[Write], secrets: Sequence[str]) -> list[Written]:
    """What became of each. An answer that does not show plainly which entry is whose says nothing of any new one."""
    try:
        answers = msgspec.json.decode(answer.body, type=_Answers).entry
    except NOT_READABLE:
        answers = ()
    if len(answers) != len(writes):
        return [Written(0)] * len(writes)
    results = [_result(one, secrets) for one in answers]
    if all(_is_of(result, write) for result, write in zip(results, writes, strict=True)):
        return results
    # In another order: only what shows its identifier is certain.
    shown = {name: result for result in results if result.content for name in tokens(result.content.body)}
    return [shown.get(token(write.item), Written(0)) for write in writes]


def _result(answered: _Answered, secrets: Sequence[str]) -> Written:
    response = answered.response
    status = int(response.status[:3]) if re.match("[1-5][0-9][0-9]", response.status) else 0
    if status >= 400:
        return _refused(status, bytes(response.outcome) or bytes(answered.resource), secrets)
    return _written(status, _place(response.location or ""), _etag(response.etag or ""), bytes(answered.resource))


def _is_of(result: Written, write: Write) -> bool:
    """Whether the answer may be that to this write."""
    if result.content is not None:
        names = tokens(result.content.body)
        return not names or token(write.item) in names
    return write.copy is None or result.server_id in (None, write.copy.reference)


def refusal(connection: Connection, answer: Answer) -> Written:
    """What an answer says that refuses."""
    return _refused(answer.status, answer.body, connection.secrets)


class _Issue(msgspec.Struct, frozen=True):
    expression: tuple[str, ...] = ()
    location: tuple[str, ...] = ()
    diagnostics: str | None = None


class _Outcome(msgspec.Struct, frozen=True):
    issue: tuple[_Issue, ...] = ()


def _refused(status: int, body: bytes, secrets: Sequence[str]) -> Written:
    try:
        issues = msgspec.json.decode(body, type=_Outcome).issue
    except NOT_READABLE:
        issues = ()
    paths = [path for issue in issues for path in (*issue.expression, *issue.location)]
    texts = [*paths, *(issue.diagnostics or "" for issue in issues)]
    named = next((found for text in texts if (found := _ENTRY.search(text))), None)
    element = next((path for path in paths if _PATH.fullmatch(path)), "")
    return Written(
        status, said=server_says(body, hide=secrets), element=element, entry=int(named[1]) if named else None
    )


def _written(status: int, place: tuple[str, str | None] | str | None, version: str | None, body: bytes) -> Written:
    server_id, in_place = place if isinstance(place, tuple) else (place, None)
    content = _content(body)
    if content is not None:
        server_id, in_place = content.reference, content.version or in_place
    return Written(status, server_id, version or in_place, content)


def _content(body: bytes) -> Resource | None:
    """The Observation in an answer; None where there is none that can be read. A server may send an OperationOutcome instead."""
    try:
        resource = read_resource(body) if body else None
    except Unusable:
        return None
    return resource if resource is not None and resource.type == "Observation" else None


def _place(location: str) -> tuple[str, str | None] | None:
    found = _PLACE.search(location)
    return (found[1], found[2]) if found else None


def _etag(text: str) -> str | None:
    return text.removeprefix("W/").strip('"') or None


def without_servers_own(body: bytes) -> bytes:
    """A resource as it may be sent: without the id and the meta that the server gave it."""
    document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({name: value for name, value in document.items() if name not in ("id", "meta")})


def with_id(body: bytes, id_: str) -> bytes:
    """The resource with this id, for an update of it."""
    document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({**document, "id": id_})
