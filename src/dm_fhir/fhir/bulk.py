"""Bulk Data over HTTP: an export asked for, waited for, and deleted (https://hl7.org/fhir/uv/bulkdata/STU2/export.html).

    job = kick_off(connection, Export("Group/7", types=("Patient", "Observation")))
    manifest = awaited(connection, job.url, patience_seconds=3600)
    …  # each file: download.py
    delete_job(connection, job.url)

A job's address is all that is needed to go on with it, in any later process.
"""

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from dm_fhir.errors import AnswerUnusable, RequestFailed, ServerUnavailable
from dm_fhir.fhir.addresses import joined, own_address, same_origin, secrets_of
from dm_fhir.fhir.bulk_kick_off import RUNNING
from dm_fhir.fhir.bulk_manifest import Manifest, ManifestFile, read_manifest, together
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.resource import NOT_READABLE
from dm_fhir.fhir.retry_after import asked_to_wait, instant
from dm_fhir.fhir.server_says import server_says
from dm_fhir.fhir.transport import Answer

#: Reasons of a RequestFailed: the server has given the export up; it knows no such job (any more).
FAILED, GONE = "export-failed", "export-gone"
#: Issues that pass (https://hl7.org/fhir/R4/valueset-issue-type.html).
_PASSES = frozenset(("transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"))
#: These may come from whatever stands before the server, and say nothing of the job.
_TROUBLE = (408, 429, 502, 503, 504)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _SHORTEST_PAUSE_SECONDS = 1.0, 60.0, 0.1
_MOST_PAGES = 1000
_PERCENT = re.compile(r"\b(\d{1,3})(?:\.\d+)?\s?%", re.ASCII)


class Waiting(NamedTuple):
    """It is not done yet. `seconds` is how long the server wants to be left alone, None if it does not say.

    `percent` is how far it is, 0 to 100, None if the server does not say; no more of its text is taken. `trouble`: this was no
    answer of the export, what came instead may pass.
    """

    seconds: float | None
    percent: int | None = None
    trouble: RequestFailed | ServerUnavailable | None = None


def poll(connection: Connection, job_url: str, notes: Counter[str] | None = None) -> Waiting | Manifest:
    """How far the job is: asked once. The addresses in a manifest are absolute.

    Raises RequestFailed with reason GONE or FAILED where it is over, with `refused` where it is not for us; LoginRefused.
    """
    notes = Counter() if notes is None else notes
    try:
        answer = _asked(connection, job_url, notes)
        if answer.status == 202:
            return Waiting(asked_to_wait(answer), _percent(answer.headers.get("X-Progress", "")))
        if answer.status < 300 and not _issues(answer.body):
            return _whole(connection, job_url, answer, notes)
    except AnswerUnusable as error:
        return Waiting(None, trouble=error)
    except (RequestFailed, ServerUnavailable) as error:
        if error.reason in ("read-timeout", "unreachable"):
            return Waiting(None, trouble=error)
        raise
    return _no_good(connection, answer)


def awaited(
    connection: Connection,
    job_url: str,
    patience_seconds: float,
    tell: Callable[[Waiting], None] = lambda _: None,
    notes: Counter[str] | None = None,
) -> Manifest:
    """The manifest of the job, polled until it is there, as seldom as the server asks.

    A single wait is at most `longest_wait_seconds` of the site. Trouble on the way is sat out as long as its budget for waiting
    allows. Raises what `poll` raises, and ServerUnavailable (RUNNING) as soon as more than `patience_seconds` would have to be waited.
    """
    waited, troubled, pause = 0.0, 0.0, _FIRST_PAUSE_SECONDS
    while True:
        found = poll(connection, job_url, notes)
        if isinstance(found, Manifest):
            return found
        tell(found)
        asked = pause if found.seconds is None else found.seconds
        seconds = min(max(asked, _SHORTEST_PAUSE_SECONDS), connection.limits.longest_wait_seconds)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        troubled = troubled + seconds if found.trouble else 0.0
        if found.trouble and troubled > connection.limits.waiting_budget_seconds:
            raise found.trouble
        if waited + asked > patience_seconds:
            raise _not_yet(asked)
        waited += seconds
        connection.pace.pause(seconds)


def delete_job(connection: Connection, job_url: str, notes: Counter[str] | None = None) -> str:
    """Tell the server that the job and its files are no longer needed: one word for what came of it.

    `deleted`, `gone` (it knows no such job), `not-offered`, or `refused`. Raises ServerUnavailable, LoginRefused: it is still to be done.
    """
    accept = (404, 405, 410, 501)
    try:
        answer = connection.request(
            "DELETE", job_url, accept=accept, notes=notes, place="the export's deletion", only_reads=True
        )
    except RequestFailed:
        return "refused"
    if answer.status in (405, 501):
        return "not-offered"
    return "gone" if answer.status in (404, 410) else "deleted"


def _asked(connection: Connection, url: str, notes: Counter[str]) -> Answer:
    return connection.ask(
        lambda answer: answer, "GET", url, accept=tuple(code for code in range(400, 600) if code not in (401, 403)),
        headers={"Accept": "application/json"}, notes=notes, place="the export's status", tries=1,
    )  # fmt: skip


def _percent(text: str) -> int | None:
    found = _PERCENT.search(text)
    return int(found[1]) if found and int(found[1]) <= 100 else None


def _whole(connection: Connection, job_url: str, answer: Answer, notes: Counter[str]) -> Manifest:
    """All pages of the manifest that begins in this answer; servers of the draft after STU 2 may hand it out in several."""
    pages = [_with_addresses(connection, job_url, read_manifest(answer.body), notes)]
    seen = {job_url}
    while (url := pages[-1].next_url) is not None:
        if url in seen or len(seen) == _MOST_PAGES or not same_origin(url, connection.endpoint):
            raise AnswerUnusable("the manifest of the export goes on in a circle, or elsewhere", reason="paging-loop")
        seen.add(url)
        answer = _asked(connection, url, notes)
        if answer.status != 200:
            message = f"a page of the export's manifest came with {answer.status}"
            raise AnswerUnusable(message, reason=f"http-{answer.status}", status=answer.status)
        pages.append(_with_addresses(connection, url, read_manifest(answer.body), notes))
    return together(pages)


def _with_addresses(connection: Connection, base: str, manifest: Manifest, notes: Counter[str]) -> Manifest:
    faults = list(manifest.faults)

    def absolute(files: tuple[ManifestFile, ...], name: str) -> tuple[ManifestFile, ...]:
        found = [(file, _address_of_file(connection, base, file.url, notes)) for file in files]
        faults.extend(f"{name}: an unusable address" for _, url in found if url is None)
        return tuple(replace(file, url=url) for file, url in found if url is not None)

    output, deleted = absolute(manifest.output, "output"), absolute(manifest.deleted, "deleted")
    error = absolute(manifest.error, "error")
    following = manifest.next_url and own_address(
        connection.endpoint, connection.rewrite, base, manifest.next_url, notes
    )
    return replace(
        manifest, output=output, deleted=deleted, error=error, faults=tuple(faults), next_url=following or None
    )


def _address_of_file(connection: Connection, base: str, link: str, notes: Counter[str]) -> str | None:
    """A host that the site names for files is no inner address of the server, whatever its paths look like."""
    target = joined(base, link)
    if target is not None and connection.others.allow(target.geturl()):
        return target.geturl()
    return own_address(connection.endpoint, connection.rewrite, base, link, notes)


def _no_good(connection: Connection, answer: Answer) -> Waiting:
    """What an answer that is neither progress nor a manifest comes to. Raises RequestFailed where the job is over."""
    status, said = answer.status, server_says(answer.body, [*connection.secrets, *secrets_of(answer.url)])
    text = f": {said}" if said else ""
    if status in (404, 410):
        raise RequestFailed(f"the server knows no such export any more ({status}){text}", reason=GONE, status=status)
    issues = _issues(answer.body)
    if issues and status not in _TROUBLE and not issues <= _PASSES:
        raise RequestFailed(f"the server has given the export up ({status}){text}", reason=FAILED, status=status)
    trouble = RequestFailed(f"the export's status came with {status}{text}", reason=f"http-{status}", status=status)
    return Waiting(asked_to_wait(answer), trouble=trouble)


class _Issue(msgspec.Struct, frozen=True):
    code: str = ""


class _Outcome(msgspec.Struct, frozen=True):
    resourceType: str = ""
    issue: tuple[_Issue, ...] = ()


def _issues(body: bytes) -> set[str]:
    """The codes of an OperationOutcome, at least ""; nothing if it is none."""
    try:
        outcome = msgspec.json.decode(body, type=_Outcome)
    except NOT_READABLE:
        return set()
    return {issue.code for issue in outcome.issue} or {""} if outcome.resourceType == "OperationOutcome" else set()


def _not_yet(seconds: float) -> ServerUnavailable:
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return ServerUnavailable(
        f"the server is still preparing the export: not before {until:%Y-%m-%d %H:%M} UTC",
        reason=RUNNING,
        not_before=instant(until),
        hint="run again then: the next run goes on with this export",
    )
