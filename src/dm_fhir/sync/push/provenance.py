"""The Provenance of a transmission: created once on the server, also where an earlier run was cut off while it did so."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlencode

import msgspec

from dm_fhir.errors import RequestFailed, WriteUnsettled
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.page import read_page
from dm_fhir.fhir.resource import NOT_READABLE, Resource
from dm_fhir.fhir.transport import Answer
from dm_fhir.store.transmissions import Transmission
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.push.ways import Ways

_NOT_TAKEN = (400, 403, 404, 405, 410, 412, 422, 501)
#: The server may only not know the condition: it has been looked for, then it goes without.
_PERHAPS_THE_CONDITION = (400, 412, 501)
_TARGET = re.compile(r"(?:^|/)(Observation/[^/?#]+)(?:/_history/([^/?#]+))?/?$")
#: Of one resource there are as many as it has versions.
_MOST = 100


def document(
    connection: Connection,
    ways: Ways,
    mapper: Mapper,
    transmission: Transmission,
    written: Sequence[tuple[str, str | None]],
    *,
    is_new: bool,
) -> str | None:
    """Document what a transmission has written; the Provenance's id, None where the server does not take Provenance.

    `written` are (server id, version), not empty. `is_new`: no earlier run can have done it. Raises RequestFailed where it must
    be tried again by the next push, ServerUnavailable or LoginRefused.
    """
    targets = [f"{name}/_history/{version}" if version else name for name, version in written]
    target, recorded = written[0][0], transmission.recorded
    if not is_new and (there := _there(connection, target, recorded)):
        return there
    body = mapper.provenance(targets, recorded, transmission.activity)
    try:
        answer = _post(connection, body, {"If-None-Exist": urlencode({"target": target, "recorded": recorded})})
        if answer.status == 200 or answer.status in _PERHAPS_THE_CONDITION:  # 200: one is there; is it this one?
            if there := _there(connection, target, recorded):
                return there
            answer = _post(connection, body, {})
    except WriteUnsettled:
        if there := _there(connection, target, recorded):
            return there
        raise
    if answer.status in _NOT_TAKEN:
        ways.refuses_provenance()
        ways.remark(f"this server takes no Provenance ({answer.status}): what was written is documented here only")
        return None
    return _id(answer)


def _post(connection: Connection, body: bytes, condition: dict[str, str]) -> Answer:
    headers = {"Prefer": "return=minimal", **condition}
    return connection.request(
        "POST", "Provenance", body=body, headers=headers, accept=_NOT_TAKEN, place="POST Provenance"
    )


def is_ours(connection: Connection, mapper: Mapper, copy: Resource) -> bool:
    """Whether a Provenance of this program names just this version of `copy` as what it wrote: nobody has changed it since.

    False also where the server has no versions, takes no Provenance or does not search it. Raises ServerUnavailable or LoginRefused.
    """
    wanted = (copy.reference, copy.version)
    named = _found(connection, {"target": copy.reference, "_count": str(_MOST)})
    return copy.version is not None and any(
        wanted in _targets(read) and mapper.is_own_provenance(one.body) for one, read in named
    )


class _Reference(msgspec.Struct, frozen=True):
    reference: str = ""


class _Provenance(msgspec.Struct, frozen=True):
    recorded: str = ""
    target: tuple[_Reference, ...] = ()


def _there(connection: Connection, target: str, recorded: str) -> str | None:
    """The one that an earlier try has left; None where a search finds none, or is not to be had.

    A server may answer with others, if it does not know what it is asked by: only one of this instant that names this target is it.
    """
    found = _found(connection, {"target": target, "recorded": recorded})
    is_it = (
        one.reference
        for one, read in found
        if _instant(read.recorded) == _instant(recorded) and target in [name for name, _ in _targets(read)]
    )
    return next(is_it, None)


def _found(connection: Connection, criteria: dict[str, str]) -> list[tuple[Resource, _Provenance]]:
    """What a search finds, on its first page; nothing where it is not to be had."""
    place = "search for a Provenance"
    read = partial(read_page, connection=connection, place=place)
    url = f"Provenance?{urlencode(criteria)}"
    try:
        page = connection.ask(read, "GET", url, headers={"Cache-Control": "no-cache"}, place=place)
    except RequestFailed:
        return []
    return [(one, _read(one.body)) for one in page.resources if one.type == "Provenance"]


def _read(body: bytes) -> _Provenance:
    try:
        return msgspec.json.decode(body, type=_Provenance)
    except NOT_READABLE:
        return _Provenance()


def _targets(read: _Provenance) -> list[tuple[str, str | None]]:
    """The Observations that it names, each as (`Observation/id`, version)."""
    places = (_TARGET.search(one.reference) for one in read.target)
    return [(place[1], place[2]) for place in places if place]


def _instant(text: str) -> datetime | None:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _id(answer: Answer) -> str:
    """`Provenance/id`; the type alone where the server does not say the id."""
    parts = answer.headers.get("Location", "").partition("/_history/")[0].split("/")
    return f"Provenance/{parts[-1]}" if "Provenance" in parts[-2:-1] else "Provenance"
