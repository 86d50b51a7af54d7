"""One page of a search: the resources in it as they were sent, and all that is odd about it."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec
from msgspec.structs import replace

from dm_fhir.errors import AnswerUnusable, RequestFailed
from dm_fhir.fhir.addresses import joined, rewritten
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.isolate import isolated, why_unreadable
from dm_fhir.fhir.resource import FHIR_ID, NOT_READABLE, Resource, Unusable, digest, plainly_read, read_resource
from dm_fhir.fhir.server_says import server_says
from dm_fhir.fhir.transport import Answer
from dm_fhir.model.json_text import is_ambiguous, repaired

_JSON_TYPES = ("application/fhir+json", "application/json", "")
#: Epic's code for an answer that leaves out what this client may not see.
_NOT_ALL = ("4119", "may not contain the entire record")


class Rejected(NamedTuple):
    """An entry that cannot be used: why, and its bytes."""

    reason: str
    body: bytes


class Page(NamedTuple):
    """One page of a search. `total` is what the server announced for the whole search, None if nothing.

    `messages` are the OperationOutcomes inside the page that warn or inform. `asked` are the names of the parameters that
    the server says it has applied, None if it does not say. `answer` is without its body. `notes` counts what was odd.
    `next_failure` says why the next page cannot be asked for, though the server names one: this page is good all the same.
    """

    resources: tuple[Resource, ...]
    rejected: tuple[Rejected, ...]
    messages: tuple[str, ...]
    total: int | None
    next_url: str | None
    answer: Answer
    notes: Counter[str]
    asked: frozenset[str] | None = None
    next_failure: RequestFailed | None = None


class _Link(msgspec.Struct, frozen=True):
    relation: str | None = None
    url: str | None = None


class _Entry(msgspec.Struct, frozen=True):
    resource: msgspec.Raw = msgspec.Raw(b"null")


class _Bundle(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    total: int | None = None
    link: tuple[_Link, ...] = ()
    entry: tuple[_Entry, ...] = ()


class _Issue(msgspec.Struct, frozen=True):
    severity: str | None = None


class _OperationOutcome(msgspec.Struct, frozen=True):
    issue: tuple[_Issue, ...] = ()


_BUNDLE = msgspec.json.Decoder(_Bundle)
_OUTCOME = msgspec.json.Decoder(_OperationOutcome)


def read_page(answer: Answer, connection: Connection, place: str = "the answer", *, exactly: bool = True) -> Page:
    """The page in `answer`; `place` names it in messages. `exactly`: every entry is looked at for keys given twice, too.

    Raises AnswerUnusable if it is no searchset, RequestFailed if it is the server's failure.
    """
    notes: Counter[str] = Counter()
    notes["bom"] += answer.has_mark
    notes["media_type"] += answer.media_type not in _JSON_TYPES
    hide = connection.secrets
    bundle, bodies = _opened(answer, place, hide)
    plain = None if exactly else plainly_read(answer.body, bodies)
    resources, rejected, messages = (
        _sorted(bodies, notes, place, hide, exactly=exactly) if plain is None else (plain, [], [])
    )
    notes["authorised_view_only"] += any(any(mark in text for mark in _NOT_ALL) for text in messages)
    next_url, failure = None, None
    try:
        next_url = _next(bundle, answer.url, connection, notes, place)
    except RequestFailed as error:
        failure = error
    return Page(
        tuple(resources),
        tuple(rejected),
        tuple(messages),
        bundle.total,
        next_url,
        answer._replace(body=b""),
        notes,
        _asked(bundle),
        failure,
    )


def _sorted(
    bodies: list[bytes], notes: Counter[str], place: str, hide: Sequence[str], *, exactly: bool
) -> tuple[list[Resource], list[Rejected], list[str]]:
    """Entry by entry: the resources, what cannot be used, and what the server has to say."""
    resources: list[Resource] = []
    rejected: list[Rejected] = []
    messages: list[str] = []
    for body in bodies:
        try:
            resource = _resource(body, notes, exactly=exactly)
        except Unusable as error:
            if _is_operation_outcome(body):
                messages.append(_message(body, place, hide))
            else:
                rejected.append(Rejected(error.reason, body))
            continue
        if resource.type == "OperationOutcome":
            messages.append(_message(body, place, hide))
        else:
            resources.append(resource)
    return resources, rejected, messages


def _opened(answer: Answer, place: str, hide: Sequence[str]) -> tuple[_Bundle, list[bytes]]:
    """The Bundle, and the bytes of each entry's resource."""
    body = answer.body
    try:
        if not body.isascii():
            body.decode()
        bundle = _BUNDLE.decode(body)
        bodies = [bytes(entry.resource) for entry in bundle.entry]
    except RecursionError:
        raise AnswerUnusable(f"the answer for {place} is nested deeper than 200 levels", reason="too-deep") from None
    except msgspec.ValidationError:
        raise AnswerUnusable(f"{place} is JSON but not FHIR", reason="not-fhir") from None
    except NOT_READABLE:
        bundle, bodies = _taken_apart(answer, place)
    if bundle.resourceType == "OperationOutcome":
        raise RequestFailed(
            f"{place}: server answers: {server_says(body, hide) or 'an OperationOutcome'}", reason="outcome-fatal"
        )
    if bundle.resourceType != "Bundle":
        raise AnswerUnusable(f"{place} is JSON but not FHIR", reason="not-fhir")
    return bundle, bodies


def _taken_apart(answer: Answer, place: str) -> tuple[_Bundle, list[bytes]]:
    if "html" in answer.media_type or answer.body.lstrip().startswith(b"<"):
        raise AnswerUnusable(f"{place} is HTML, not FHIR: a proxy or a login page?", reason="not-fhir")
    try:
        parts = isolated(answer.body)
        return _BUNDLE.decode(parts.envelope), list(parts.resources)
    except AnswerUnusable as error:
        message = error.message.replace("the answer", f"the answer for {place}", 1)
        raise AnswerUnusable(message, reason=error.reason) from None
    except NOT_READABLE:
        raise AnswerUnusable(f"{place} is not readable JSON", reason="not-fhir") from None


def _resource(body: bytes, notes: Counter[str], *, exactly: bool) -> Resource:
    """The resource in one entry. Raises Unusable for one that cannot be kept."""
    sound = repaired(body)
    try:
        resource = read_resource(sound)
    except Unusable as error:
        raise Unusable(why_unreadable(body) or error.reason, error.message) from None
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            raise Unusable("invalid-utf-8", "it is not UTF-8") from None
    if exactly and is_ambiguous(body):
        raise Unusable("ambiguous-json", "it has a key twice")
    if sound != body:
        notes["text_repaired"] += 1
        resource = replace(resource, body=body, hash=digest(body))
    notes["odd_id"] += FHIR_ID.fullmatch(resource.id) is None
    return resource


def _is_operation_outcome(body: bytes) -> bool:
    try:
        return _BUNDLE.decode(body).resourceType == "OperationOutcome"
    except NOT_READABLE:
        return False


def _message(body: bytes, place: str, hide: Sequence[str]) -> str:
    """What an OperationOutcome inside a page says. Raises RequestFailed if it says that the search failed."""
    try:
        issues = _OUTCOME.decode(body).issue
    except NOT_READABLE:
        issues = ()
    text = server_says(body, hide) or "an OperationOutcome without text"
    if any(issue.severity in ("error", "fatal") for issue in issues):
        raise RequestFailed(f"{place}: server answers: {text}", reason="outcome-error")
    return text


def _asked(bundle: _Bundle) -> frozenset[str] | None:
    """The parameters that the server's self link names."""
    link = next((link.url for link in bundle.link if link.relation == "self" and link.url), None)
    if link is None:
        return None
    try:
        return frozenset(name.partition(":")[0] for name, _ in parse_qsl(urlsplit(link).query, keep_blank_values=True))
    except ValueError:
        return None


def _next(bundle: _Bundle, url: str, connection: Connection, notes: Counter[str], place: str) -> str | None:
    """The next page's address on our endpoint; None after the last page."""
    link = next((link.url for link in bundle.link if link.relation == "next" and link.url), None)
    if link is None:
        return None
    own = urlsplit(connection.endpoint)
    target = joined(url, rewritten(link, connection.rewrite))
    following = _following(place)
    if target is None or target.scheme not in ("http", "https") or link.startswith("//"):
        scheme = f" ({link.partition(':')[0]}:)" if re.match("[A-Za-z][A-Za-z0-9+.-]*:", link) else ""
        raise RequestFailed(f"{following} has an unusable address{scheme}", reason="bad-next")
    host = target.netloc.rpartition("@")[2]
    if target.username is not None:
        raise RequestFailed(f"{following} has an unusable address (with a user, at {host})", reason="bad-next")
    # A server behind a proxy names itself by its inner address. Under our own path it is the same server.
    if not f"{target.path}/".startswith(f"{own.path}/") or ".." in target.path.split("/"):
        if (target.scheme, target.netloc) == (own.scheme, own.netloc):
            raise RequestFailed(f"{following} is outside the endpoint", reason="foreign-next")
        raise RequestFailed(
            f"the server points to another host {host}; if it is yours add rewrite",
            reason="foreign-next",
            hint=f'to the site: rewrite = {{ "{target.scheme}://{host}/…" = "{connection.endpoint}" }}',
        )
    if (target.scheme, target.netloc) != (own.scheme, own.netloc):
        notes["next_rewritten"] += 1
        notes["plain_http_links"] += (target.scheme, own.scheme) == ("http", "https")
    # A bare + in a query means a blank; servers put it into the zone of a date (see docs/servers.md).
    return urlunsplit((own.scheme, own.netloc, target.path, target.query.replace("+", "%2B"), ""))


def _following(place: str) -> str:
    """The name of the page after this one."""
    kind, _, number = place.rpartition(" ")
    return f"{kind} {int(number) + 1}" if number.isdecimal() else "the next page"
