"""The Provenance of a transmission: created once on the server, also where an earlier run was cut off while it did so."""

from collections.abc import Sequence
from functools import partial
from urllib.parse import urlencode

from dm_fhir.errors import RequestFailed, WriteUnsettled
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.page import read_page
from dm_fhir.fhir.transport import Answer
from dm_fhir.store.transmissions import Transmission
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.push.ways import Ways

_NOT_TAKEN = (400, 403, 404, 405, 410, 412, 422, 501)
#: The server may only not know the condition: it has been looked for, then it goes without.
_PERHAPS_THE_CONDITION = (400, 412, 501)


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
    criteria = urlencode({"target": written[0][0], "recorded": transmission.recorded})
    if not is_new and (there := _there(connection, criteria)):
        return there
    body = mapper.provenance(targets, transmission.recorded, transmission.activity)
    try:
        answer = _post(connection, body, {"If-None-Exist": criteria})
        if answer.status in _PERHAPS_THE_CONDITION:
            if there := _there(connection, criteria):
                return there
            answer = _post(connection, body, {})
    except WriteUnsettled:
        if there := _there(connection, criteria):
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


def _there(connection: Connection, criteria: str) -> str | None:
    """The one that an earlier try has left; None where a search finds none, or is not to be had."""
    place = "search for a Provenance"
    read = partial(read_page, connection=connection, place=place)
    try:
        page = connection.ask(read, "GET", f"Provenance?{criteria}", headers={"Cache-Control": "no-cache"}, place=place)
    except RequestFailed:
        return None
    return next((one.reference for one in page.resources if one.type == "Provenance"), None)


def _id(answer: Answer) -> str:
    """`Provenance/id`; the type alone where the server does not say the id."""
    parts = answer.headers.get("Location", "").partition("/_history/")[0].split("/")
    return f"Provenance/{parts[-1]}" if "Provenance" in parts[-2:-1] else "Provenance"
