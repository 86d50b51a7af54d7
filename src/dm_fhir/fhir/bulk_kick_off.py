"""The kick-off of a bulk export (https://hl7.org/fhir/uv/bulkdata/STU2/export.html#bulk-data-kick-off-request)."""

import re
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from dm_fhir.errors import RequestFailed, ServerUnavailable
from dm_fhir.fhir.addresses import own_address, same_origin
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.retry_after import asked_to_wait, instant
from dm_fhir.fhir.search import LONGEST_ADDRESS, search_url
from dm_fhir.fhir.server_says import server_says
from dm_fhir.fhir.transport import Answer

NDJSON = "application/fhir+ndjson"
#: Reason of a ServerUnavailable: another export is under way, or this one takes longer than we can wait.
RUNNING = "export-running"
#: What an export can do without: it then holds more, or comes in the server's own format, which is the same.
_OPTIONAL = ("_typeFilter", "_elements", "_since", "_outputFormat")
_REFUSALS = (400, 404, 405, 409, 415, 422, 429, 501)
_OTHER_METHOD = (404, 405, 415, 501)
_IS_RUNNING = re.compile(
    r"already|in progress|concurrent|still (?:active|running)|(?:only|more than) (?:one|1)\b|at a time", re.IGNORECASE
)
_LONGEST_TEXT = 10_000


class Export(NamedTuple):
    """What is asked for. `level` is "" (everything), `Patient` or `Group/id`; no `types`: all that the server has.

    `since` is an instant as a manifest gave it; `filters` are searches such as `Observation?code=a,b`.
    """

    level: str = ""
    types: tuple[str, ...] = ()
    since: str | None = None
    filters: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The operation below the endpoint."""
        kind, _, id_ = self.level.partition("/")
        return "/".join(part for part in (kind, quote(id_, safe=""), "$export") if part)

    def parameters(self, left_out: Collection[str] = ()) -> tuple[tuple[str, str], ...]:
        """Names and values, each once: some servers refuse a repeated one. `left_out` are parameters, and types.

        The commas inside a filter are encoded, since those between filters are not.
        """
        every = {
            "_outputFormat": NDJSON,
            "_type": ",".join(name for name in self.types if name not in left_out),
            "_since": self.since,
            "_typeFilter": ",".join(
                one.replace(",", "%2C") for one in self.filters if one.partition("?")[0] not in left_out
            ),
            "_elements": ",".join(self.elements),
        }
        return tuple((name, value) for name, value in every.items() if value and name not in left_out)


class Job(NamedTuple):
    """An export that the server has begun. `left_out` are the parameters and the types that it did not take."""

    url: str
    left_out: tuple[str, ...] = ()


def kick_off(connection: Connection, export: Export, notes: Counter[str] | None = None) -> Job:
    """The export's job, by GET or POST, whichever the server takes; without what it refuses, each counted into `notes`.

    An answer that is lost on its way may leave a job behind whose address nobody knows: it is asked for again.

    Raises ServerUnavailable (with RUNNING if another export is under way), RequestFailed if the server does not export so, and
    what the connection raises.
    """
    notes = Counter() if notes is None else notes
    left_out: list[str] = []
    while True:
        answer = _begun(connection, export, export.parameters(left_out), notes)
        if answer.status < 300:
            return Job(_job_url(connection, answer, notes), tuple(left_out))
        refused = _refused(answer, export, left_out)
        if not refused:
            raise _not_begun(connection, answer)
        left_out += refused
        for name in refused:
            notes[f"export_without:{name}"] += 1


def _begun(
    connection: Connection, export: Export, parameters: tuple[tuple[str, str], ...], notes: Counter[str]
) -> Answer:
    """The answer to the kick-off. The other method is tried where the server does not offer the first."""
    url = search_url(export.path, parameters)
    methods = ("GET", "POST") if len(url) <= LONGEST_ADDRESS else ("POST", "GET")
    first = _sent(connection, methods[0], export, parameters, notes)
    if first.status not in _OTHER_METHOD:
        return first
    second = _sent(connection, methods[1], export, parameters, notes)
    return first if second.status in _OTHER_METHOD else second


def _sent(
    connection: Connection, method: str, export: Export, parameters: tuple[tuple[str, str], ...], notes: Counter[str]
) -> Answer:
    headers = {"Prefer": "respond-async, handling=lenient", "Accept": "application/fhir+json"}
    url = search_url(export.path, parameters) if method == "GET" else export.path
    body = None if method == "GET" else _as_resource(parameters)
    for number in range(connection.limits.tries):
        answer = connection.request(
            method, url, body=body, accept=_REFUSALS, headers=headers, notes=notes, place="the export's kick-off", only_reads=True
        )  # fmt: skip
        if answer.status != 429:
            return answer
        seconds = asked_to_wait(answer)
        too_long = seconds is not None and seconds > connection.limits.longest_wait_seconds
        if too_long or number + 1 == connection.limits.tries or _IS_RUNNING.search(_text(answer)):
            break
        connection.pace.throttle()
        connection.pace.wait(2.0**number if seconds is None else seconds, notes)
    raise _already_running(connection, answer)


def _as_resource(parameters: tuple[tuple[str, str], ...]) -> bytes:
    kinds = {"_since": "valueInstant"}
    listed = [{"name": name, kinds.get(name, "valueString"): value} for name, value in parameters]
    return msgspec.json.encode({"resourceType": "Parameters", "parameter": listed})


def _job_url(connection: Connection, answer: Answer, notes: Counter[str]) -> str:
    link = answer.headers.get("Content-Location") or answer.headers.get("Location")
    if not link:
        at_once = answer.status != 202
        raise RequestFailed(
            "the server answers the export at once instead of preparing it" if at_once else "the server has begun the export, and does not say where it is",
            reason="not-asynchronous" if at_once else "no-job-address",
            hint='ask the hospital about Bulk Data ("$export"), or pull with mode = "search"',
        )  # fmt: skip
    url = own_address(connection.endpoint, connection.rewrite, answer.url, link, notes)
    if url is None or not same_origin(url, connection.endpoint):
        host = urlsplit(url).netloc if url else "an unusable address"
        raise RequestFailed(
            f"the server says that the export is at {host}",
            reason="foreign-address",
            hint=f'if it is yours add rewrite to the site: rewrite = {{ "https://{host}/…" = "{connection.endpoint}" }}',
        )
    return url


def _refused(answer: Answer, export: Export, left_out: Collection[str]) -> list[str]:
    """Which parameters and types to do without after this refusal; nothing where that would not help."""
    if answer.status not in (400, 422, 501):
        return []
    text, given = _text(answer), dict(export.parameters(left_out))
    optional = [name for name in _OPTIONAL if name in given]
    if named := [name for name in optional if name.lower() in text.lower()]:
        return named
    if _IS_RUNNING.search(text):
        return []
    types = given.get("_type", "").split(",")
    unknown = [name for name in types if name != "Patient" and re.search(rf"\b{name}\b", text)]
    if unknown and len(unknown) < len(types):
        return unknown
    return optional


def _not_begun(connection: Connection, answer: Answer) -> RequestFailed | ServerUnavailable:
    if _IS_RUNNING.search(_text(answer)) and answer.status in (400, 409):
        return _already_running(connection, answer)
    said = server_says(answer.body, connection.secrets)
    hints = {
        404: "does the server offer bulk export at this level, and is there such a Group?",
        405: "the server offers no bulk export at this level",
        501: "the server offers no bulk export at this level",
    }
    return RequestFailed(
        f"the server does not begin the export ({answer.status}){f': {said}' if said else ''}",
        reason=f"http-{answer.status}",
        status=answer.status,
        hint=f'{hints.get(answer.status, "ask the hospital what its export takes")}; or pull with mode = "search"',
    )


def _already_running(connection: Connection, answer: Answer) -> ServerUnavailable:
    seconds, said = asked_to_wait(answer), server_says(answer.body, connection.secrets)
    until = (datetime.now(UTC) + timedelta(seconds=seconds)) if seconds is not None else None
    return ServerUnavailable(
        f"the server begins no export now{f': {said}' if said else ''}{f'; not before {until:%Y-%m-%d %H:%M} UTC' if until else ''}",
        reason=RUNNING,
        not_before=instant(until) if until else None,
        hint="run again then; many servers prepare one export at a time, and an earlier one may have to be deleted there",
    )


def _text(answer: Answer) -> str:
    return answer.body[:_LONGEST_TEXT].decode(errors="replace")
