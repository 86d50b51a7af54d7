"""A FHIR search, page by page, and what each page brought (https://hl7.org/fhir/R4/search.html)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit, urlunsplit

import msgspec

from dm_fhir.errors import AnswerUnusable, RequestFailed
from dm_fhir.fhir.connection import Answer, Connection, server_says
from dm_fhir.fhir.resource import NOT_READABLE, Resource, Unusable, read_resource

PAGE_BUDGET = 5000
EMPTY_PAGES_IN_A_ROW = 10
PAGES_WITHOUT_NEWS = 2


class Rejected(NamedTuple):
    """An entry that cannot be used: why, and its bytes."""

    reason: str
    body: bytes


class Page(NamedTuple):
    """One page of a search. `total` is what the server announced for the whole search, None if nothing.

    `messages` are the OperationOutcomes inside the page that warn or inform.
    """

    resources: tuple[Resource, ...]
    rejected: tuple[Rejected, ...]
    messages: tuple[str, ...]
    total: int | None
    next_url: str | None
    answer: Answer
    rewritten: bool = False


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


def search_url(type_name: str, parameters: Sequence[tuple[str, str]]) -> str:
    """`Type?name=value&…` below the endpoint, encoded."""
    return f"{type_name}?{urlencode(parameters)}"


def read_url(reference: str) -> str:
    """`Type/id` as a path below the endpoint, encoded: an id is a text that the server chose."""
    return "/".join(quote(part, safe="") for part in reference.split("/"))


def pages(connection: Connection, url: str) -> Iterator[Page]:
    """Every page of the search at `url`, following `next` as given, until there is none.

    Raises what the connection raises, and RequestFailed with reason `paging-loop`, `no-new-ids`, `page-budget`,
    `foreign-next` or `outcome-error` where going on would be endless, unsafe or pointless.
    """
    visited: set[str] = set()
    seen: set[str] = set()
    without_news = empty = 0
    following: str | None = connection.absolute(url)
    while following is not None:
        if following in visited:
            raise RequestFailed("the server repeats a page it has given before", reason="paging-loop")
        if len(visited) >= PAGE_BUDGET:
            raise RequestFailed(f"the search has more than {PAGE_BUDGET} pages", reason="page-budget")
        visited.add(following)
        page = read_page(connection.get(following), connection)
        yield page
        following = page.next_url
        news = {resource.reference for resource in page.resources} - seen
        seen |= news
        empty = 0 if page.resources or page.rejected else empty + 1
        without_news = without_news + 1 if page.resources and not news else 0
        if following and (without_news >= PAGES_WITHOUT_NEWS or empty >= EMPTY_PAGES_IN_A_ROW):
            raise RequestFailed("pages go on coming that bring nothing new", reason="no-new-ids")


def read_page(answer: Answer, connection: Connection) -> Page:
    """The page in `answer`. Raises AnswerUnusable if it is no searchset, RequestFailed if it is the server's failure."""
    bundle = _bundle(answer)
    resources: list[Resource] = []
    rejected: list[Rejected] = []
    messages: list[str] = []
    for entry in bundle.entry:
        body = bytes(entry.resource)
        try:
            resource = read_resource(body)
        except Unusable as error:
            if _is_operation_outcome(body):
                messages.append(_message(body))
            else:
                rejected.append(Rejected(error.reason, body))
            continue
        if resource.type == "OperationOutcome":
            messages.append(_message(body))
        else:
            resources.append(resource)
    next_url, rewritten = _next(bundle, answer.url, connection)
    return Page(tuple(resources), tuple(rejected), tuple(messages), bundle.total, next_url, answer, rewritten)


def _bundle(answer: Answer) -> _Bundle:
    body = answer.body
    try:
        bundle = _BUNDLE.decode(body)
    except RecursionError:
        raise AnswerUnusable("the answer is nested too deeply", reason="too-deep") from None
    except msgspec.ValidationError:
        raise AnswerUnusable("the answer is JSON but not a FHIR Bundle", reason="not-fhir") from None
    except NOT_READABLE:
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        if "html" in kind or body.lstrip().startswith(b"<"):
            raise AnswerUnusable("the answer is HTML, not FHIR: a proxy or a login page?", reason="not-fhir") from None
        raise AnswerUnusable("the answer is not readable JSON", reason="not-fhir") from None
    if bundle.resourceType == "OperationOutcome":
        raise RequestFailed(f"the server answers: {server_says(body) or 'an OperationOutcome'}", reason="outcome-fatal")
    if bundle.resourceType != "Bundle":
        raise AnswerUnusable("the answer is JSON but not a FHIR Bundle", reason="not-fhir")
    return bundle


def _is_operation_outcome(body: bytes) -> bool:
    try:
        return _BUNDLE.decode(body).resourceType == "OperationOutcome"
    except NOT_READABLE:
        return False


def _message(body: bytes) -> str:
    """What an OperationOutcome inside a page says. Raises RequestFailed if it says that the search failed."""
    try:
        issues = msgspec.json.decode(body, type=_OperationOutcome).issue
    except NOT_READABLE:
        issues = ()
    text = server_says(body) or "an OperationOutcome without text"
    if any(issue.severity in ("error", "fatal") for issue in issues):
        raise RequestFailed(f"the server answers: {text}", reason="outcome-error")
    return text


def _next(bundle: _Bundle, url: str, connection: Connection) -> tuple[str | None, bool]:
    """The next page's address on our endpoint, and whether it had to be brought back there from another host."""
    link = next((link.url for link in bundle.link if link.relation == "next" and link.url), None)
    if link is None:
        return None, False
    own, target = urlsplit(connection.endpoint), _target(url, link)
    if target is None or target.scheme not in ("http", "https") or target.username is not None:
        raise RequestFailed("the next page has an unusable address", reason="bad-next")
    # A server behind a proxy names itself by its inner address. Under our own path it is the same server.
    if not f"{target.path}/".startswith(f"{own.path}/") or ".." in target.path.split("/"):
        raise RequestFailed("the next page is on another host or outside the endpoint", reason="foreign-next")
    rewritten = (target.scheme, target.netloc) != (own.scheme, own.netloc)
    # A bare + in a query means a blank; servers put it into the zone of a date (see docs/servers.md).
    return urlunsplit((own.scheme, own.netloc, target.path, target.query.replace("+", "%2B"), "")), rewritten


def _target(url: str, link: str) -> SplitResult | None:
    try:
        return urlsplit(urljoin(url, link))
    except ValueError:  # such as half an IPv6 address
        return None
