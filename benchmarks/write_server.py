"""A FHIR server that can be written to and costs next to nothing, for the benchmark: one process on loopback.

It keeps one resource per identifier, as the bytes that were sent, and counts its versions; a transaction is done whole or not
at all. Every answer may be held back by so many milliseconds, asleep. `/_log`, `/_kept`, `/_bodies`, `/_reset`, `/_empty` and
`/_delay?milliseconds=…` are for the benchmark, are not delayed and not counted.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from population import patient_ids

FHIR = "/fhir"
#: The types that may be written, and the parameters by which they are found.
WRITTEN = {"Observation": ("identifier", "_id"), "Provenance": ("target", "recorded", "_id")}
_NOW = "2025-06-01T10:00:00.000Z"
_MOST_ENTRIES = 10_000


class Refused(Exception):
    """A request that this server does not do, and the status that says so."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class _Identifier(msgspec.Struct, frozen=True):
    system: str
    value: str


class _Reference(msgspec.Struct, frozen=True):
    reference: str


class _Head(msgspec.Struct, frozen=True, rename="camel"):
    """What the server looks at of a resource that it is sent."""

    resource_type: str
    id: str | None = None
    identifier: tuple[_Identifier, ...] = ()
    target: tuple[_Reference, ...] = ()
    recorded: str | None = None


class Wish(msgspec.Struct, frozen=True, rename="camel"):
    """One thing to be done: the `request` of an entry, or what a request of its own says."""

    method: str
    url: str
    if_match: str | None = None
    if_none_exist: str | None = None


class _Entry(msgspec.Struct, frozen=True):
    request: Wish
    resource: msgspec.Raw = msgspec.Raw(b"")


class _Bundle(msgspec.Struct, frozen=True, rename="camel"):
    resource_type: str
    type: str
    entry: tuple[_Entry, ...] = ()


class Kept(msgspec.Struct):
    """A resource: its place, how often it was written, what was sent last, and the names by which it is found."""

    place: str
    version: int
    body: bytes
    names: tuple[str, ...]


class Done(NamedTuple):
    """What became of a wish. `kept` is what was written or read, `page` the answer to a search."""

    status: int
    kept: Kept | None = None
    page: bytes = b""


class Store:
    """What was written. A change is checked first and then done, so that a transaction can check all before it does any."""

    def __init__(self, patients: Iterable[str]) -> None:
        self.patients = {f"Patient/{patient}" for patient in patients}
        self.empty()

    def empty(self) -> None:
        """Nothing was ever written."""
        self.by_place: dict[str, Kept] = {}
        self.by_name: dict[str, Kept] = {}

    def kept(self) -> dict[str, Any]:
        """How many resources of each type there are, how many identifiers they have, and how many have how many versions."""
        kinds = Counter(place.partition("/")[0] for place in self.by_place)
        versions = Counter(str(one.version) for one in self.by_place.values())
        return {"resources": kinds, "identifiers": len({*self.by_name}), "versions": versions}

    def checked(self, wish: Wish, resource: bytes) -> Callable[[], Done]:
        """What will do it. Raises Refused where it cannot be done."""
        path, _, query = wish.url.partition("?")
        match wish.method:
            case "GET":
                return self._reading(path, query)
            case "PUT":
                return self._putting(path, query, wish, resource)
            case "POST" if path in WRITTEN:
                return self._creating(path, wish, resource)
        raise Refused(f"{wish.method} {path} is not done here", 405)

    def _reading(self, path: str, query: str) -> Callable[[], Done]:
        if "/" not in path:
            page = self._found(path, query)
            return lambda: Done(200, page=page)
        if path in self.patients:
            return lambda: Done(200, Kept(path, 1, b'{"resourceType":"Patient"}', ()))
        if path not in self.by_place:
            raise Refused(f"there is no {path}", 404)
        return lambda: Done(200, self.by_place[path])

    def _putting(self, path: str, query: str, wish: Wish, resource: bytes) -> Callable[[], Done]:
        head = _head(resource)
        names = _names(head)
        if query:
            name = _conditions(query).get("identifier")
            if name is None or (name,) != names:
                raise Refused("a conditional update is by the identifier of what is sent")
            old = self.by_name.get(f"{path}?{name}")
        else:
            old = self.by_place.get(path)
            if old is None:
                raise Refused(f"there is no {path}, and ids are given here", 404)
            path = path.partition("/")[0]
        if head.resource_type != path or path not in WRITTEN:
            raise Refused(f"that is no {path}")
        if wish.if_match is not None and (old is None or wish.if_match != f'W/"{old.version}"'):
            raise Refused("another version is current", 412)
        return lambda: self._write(path, names, resource, old)

    def _creating(self, path: str, wish: Wish, resource: bytes) -> Callable[[], Done]:
        head = _head(resource)
        if head.resource_type != path:
            raise Refused(f"that is no {path}")
        if wish.if_none_exist is not None:
            there = self._matching(path, _conditions(wish.if_none_exist))
            if there:
                return lambda: Done(200, there[0])
        return lambda: self._write(path, _names(head), resource, None)

    def _write(self, kind: str, names: tuple[str, ...], body: bytes, old: Kept | None) -> Done:
        if old is not None:
            old.version += 1
            old.body = body
            return Done(200, old)
        new = Kept(f"{kind}/{len(self.by_place) + 1}", 1, body, names)
        self.by_place[new.place] = new
        self.by_name.update((f"{kind}?{name}", new) for name in names)
        return Done(201, new)

    def _found(self, kind: str, query: str) -> bytes:
        conditions = _conditions(query)
        if kind == "Patient":
            asked = [f"Patient/{one}" for one in conditions.get("_id", "").split(",")]
            found = [Kept(one, 1, b'{"resourceType":"Patient"}', ()) for one in asked if one in self.patients]
        else:
            found = self._matching(kind, conditions)
        entries = [{"resource": msgspec.Raw(body_of(one)), "search": {"mode": "match"}} for one in found]
        return _json({"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries})

    def _matching(self, kind: str, conditions: dict[str, str]) -> list[Kept]:
        if kind not in WRITTEN or not conditions or not set(conditions) <= set(WRITTEN[kind]):
            raise Refused(f"{kind} cannot be searched by {', '.join(conditions) or 'nothing'}")
        if "_id" in conditions:
            return [one for id_ in conditions["_id"].split(",") if (one := self.by_place.get(f"{kind}/{id_}"))]
        if "identifier" in conditions:
            wanted = conditions["identifier"]
            if wanted.endswith("|"):  # any of a system
                return [one for name, one in self.by_name.items() if name.startswith(f"{kind}?{wanted}")]
            return [one for name in wanted.split(",") if (one := self.by_name.get(f"{kind}?{name}"))]
        name = f"{conditions.get('target', '')} {conditions.get('recorded', '')}"
        return [one] if (one := self.by_name.get(f"{kind}?{name}")) else []


def _conditions(query: str) -> dict[str, str]:
    control = ("_count", "_sort", "_total", "_elements", "_summary", "_format")
    return {name: value for name, value in parse_qsl(query, keep_blank_values=True) if name not in control}


def _head(resource: bytes) -> _Head:
    try:
        return msgspec.json.decode(resource, type=_Head)
    except msgspec.DecodeError as error:
        raise Refused(f"that is no resource: {error}") from None


def _names(head: _Head) -> tuple[str, ...]:
    """What a resource is found by: its identifiers, or of a Provenance each target without its version, and when."""
    targets = (one.reference.partition("/_history/")[0] for one in head.target)
    return (*(f"{one.system}|{one.value}" for one in head.identifier), *(f"{one} {head.recorded}" for one in targets))


def body_of(kept: Kept) -> bytes:
    """The resource as the server shows it, with its id and version."""
    document = msgspec.json.decode(kept.body, type=dict[str, msgspec.Raw])
    meta = msgspec.json.decode(document.get("meta", b"{}"), type=dict[str, Any])
    said = {"id": kept.place.partition("/")[2], "meta": {**meta, "versionId": str(kept.version), "lastUpdated": _NOW}}
    return _json({**document, **said})


def _json(document: object) -> bytes:
    return msgspec.json.encode(document)


class Server:
    """The store behind HTTP. `log` holds every request that was answered."""

    def __init__(self, patients: Iterable[str]) -> None:
        self.store = Store(patients)
        self.delay_seconds = 0.0
        self.log: list[dict[str, object]] = []
        self._date = (0, "")

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other, until it is closed."""
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ", 2)
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                writer.write(await self._answer(method, target, headers, body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        if target.startswith("/_"):
            return self._http(200, {}, self._told(target))
        began = time.time()
        try:
            status, more, answer = self._done(method, target, headers, body)
        except Refused as error:
            issue = {"severity": "error", "code": "processing", "diagnostics": str(error)}
            status, more, answer = error.status, {}, _json({"resourceType": "OperationOutcome", "issue": [issue]})
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        self.log.append({"method": method, "target": target, "form": "", "status": status, "began": began})
        return self._http(status, more, answer)

    def _done(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        url = urlsplit(target)
        path = unquote(url.path.removeprefix(FHIR)).strip("/")
        shows = "representation" in headers.get("prefer", "")
        if path == "metadata":
            return 200, {}, _json(_CAPABILITY)
        if method == "POST" and not path:
            return 200, {}, self._bundle(body, shows=shows)
        if method == "POST" and path.endswith("/_search"):
            query = "&".join(part for part in (url.query, body.decode()) if part)
            wish = Wish("GET", f"{path.removesuffix('/_search')}?{query}")
        else:
            url_of_wish = f"{path}?{url.query}" if url.query or "/" not in path else path
            wish = Wish(method, url_of_wish, headers.get("if-match"), headers.get("if-none-exist"))
            wish = msgspec.structs.replace(wish, url=path) if method == "POST" else wish
        done = self.store.checked(wish, body)()
        if done.kept is None:
            return done.status, {}, done.page
        places = {"ETag": f'W/"{done.kept.version}"', "Last-Modified": formatdate(usegmt=True)}
        if method != "GET":
            places["Location"] = f"{FHIR}/{done.kept.place}/_history/{done.kept.version}"
        return done.status, places, body_of(done.kept) if shows or method == "GET" else b""

    def _bundle(self, body: bytes, *, shows: bool) -> bytes:
        try:
            bundle = msgspec.json.decode(body, type=_Bundle)
        except msgspec.DecodeError as error:
            raise Refused(f"that is no Bundle: {error}") from None
        if len(bundle.entry) > _MOST_ENTRIES:
            raise Refused(f"more than {_MOST_ENTRIES} entries", 413)
        if bundle.type == "transaction":
            urls = Counter((entry.request.method, entry.request.url) for entry in bundle.entry)
            if any(times > 1 and method == "PUT" for (method, _), times in urls.items()):
                raise Refused("two entries of one transaction write the same")
            doing = [self.store.checked(entry.request, bytes(entry.resource)) for entry in bundle.entry]
            entries = [_entry(one(), shows=shows) for one in doing]
        elif bundle.type == "batch":
            entries = [self._alone(entry, shows=shows) for entry in bundle.entry]
        else:
            raise Refused("only a transaction or a batch")
        return _json({"resourceType": "Bundle", "type": f"{bundle.type}-response", "entry": entries})

    def _alone(self, entry: _Entry, *, shows: bool) -> dict[str, object]:
        try:
            return _entry(self.store.checked(entry.request, bytes(entry.resource))(), shows=shows)
        except Refused as error:
            issue = {"severity": "error", "code": "processing", "diagnostics": str(error)}
            outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
            return {"response": {"status": _said(error.status), "outcome": outcome}}

    def _told(self, target: str) -> bytes:
        """What the benchmark asks of the server itself."""
        url = urlsplit(target)
        match url.path:
            case "/_reset":
                self.log.clear()
            case "/_empty":
                self.store.empty()
            case "/_delay":
                self.delay_seconds = int(dict(parse_qsl(url.query))["milliseconds"]) / 1000
            case "/_kept":
                return _json(self.store.kept())
            case "/_bodies":
                return _json([msgspec.Raw(one.body) for one in self.store.by_place.values() if one.place[0] == "O"])
        return _json(self.log if url.path == "/_log" else len(self.log))

    def _http(self, status: int, headers: dict[str, str], body: bytes) -> bytes:
        second = int(time.time())
        if second != self._date[0]:
            self._date = (second, formatdate(second, usegmt=True))
        sent = {
            "Date": self._date[1], "Content-Type": "application/fhir+json;charset=utf-8", "Content-Length": str(len(body)), **headers,
        }  # fmt: skip
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        return f"HTTP/1.1 {_said(status)}\r\n{lines}\r\n".encode() + body


def _entry(done: Done, *, shows: bool) -> dict[str, object]:
    kept = done.kept
    if kept is None:
        return {"resource": msgspec.Raw(done.page), "response": {"status": _said(done.status)}}
    location, etag = f"{kept.place}/_history/{kept.version}", f'W/"{kept.version}"'
    response = {"status": _said(done.status), "location": location, "etag": etag, "lastModified": _NOW}
    return {**({"resource": msgspec.Raw(body_of(kept))} if shows else {}), "response": response}


def _said(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


_CAPABILITY = {
    "resourceType": "CapabilityStatement",
    "status": "active",
    "date": _NOW,
    "kind": "instance",
    "fhirVersion": "4.0.1",
    "format": ["application/fhir+json"],
    "software": {"name": "written"},
    "rest": [
        {
            "mode": "server",
            "interaction": [{"code": "transaction"}, {"code": "batch"}],
            "resource": [
                {
                    "type": name,
                    "interaction": [{"code": code} for code in ("read", "search-type", "create", "update")],
                    "versioning": "versioned-update",
                    "conditionalCreate": True,
                    "conditionalUpdate": True,
                    "searchParam": [{"name": one, "type": "token"} for one in searches],
                }
                for name, searches in {"Patient": ("_id",), **WRITTEN}.items()
            ],
        }
    ],
}


async def serve(patients: int, delay_seconds: float) -> None:
    """Serve until killed; the first line of output is the base address."""
    server = Server(patient_ids(patients))
    server.delay_seconds = delay_seconds
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0, limit=2**20)
    port = listening.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}{FHIR}", flush=True)  # noqa: T201 - whoever started this waits for the line
    async with listening:
        await listening.serve_forever()


def main() -> None:
    """Serve as told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--delay-ms", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(serve(options.patients, options.delay_ms / 1000))


if __name__ == "__main__":
    main()
