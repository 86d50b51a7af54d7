"""A FHIR search, page by page, until it is over or pointless (https://hl7.org/fhir/R4/search.html)."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from dm_fhir.errors import AnswerUnusable, RequestFailed
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.page import Page, read_page
from dm_fhir.fhir.transport import Answer

PAGE_BUDGET = 5000
EMPTY_PAGES_IN_A_ROW = 10
PAGES_WITHOUT_NEWS = 2
MOST_RESTARTS = 2
#: Above this length an address is sent as POST _search where the server can; many servers and proxies end at 2 to 8 KB.
LONGEST_ADDRESS = 1900
#: What a smaller page may mend.
_TOO_LARGE = ("http-500", "http-502", "http-504", "read-timeout", "too-slow", "too-large")
_COUNT_ONLY = (("_summary", "count"),)
#: What says how pages are made, and means nothing where there are none.
_OF_PAGES = ("_sort", "_total")

Parameters = tuple[tuple[str, str], ...]


class Search(NamedTuple):
    """What is asked: a type below the endpoint (or `Patient/id/Type`), parameters, how large a page, and in which manner.

    `exactly`: the pages are looked at for keys given twice, which costs as much as all the rest of reading them.
    """

    path: str
    parameters: Parameters
    page_size: int | None = None
    strict: bool = True
    by_post: bool = False
    exactly: bool = True

    @property
    def url(self) -> str:
        """The address of the search as a GET."""
        return search_url(self.path, self._all)

    @property
    def _all(self) -> Parameters:
        return (*self.parameters, ("_count", str(self.page_size))) if self.page_size else self.parameters

    def first(self, connection: Connection, notes: Counter[str], tries: int | None) -> Page:
        """Its first page. Pages after one that came by POST continue as GET."""
        headers = {"Prefer": "handling=strict"} if self.strict else {}
        read = partial(_read, connection, "page 1", self.exactly)
        if not self.by_post:
            return connection.ask(read, "GET", self.url, headers=headers, notes=notes, place="page 1", tries=tries)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(self._all, safe="").encode()
        return connection.ask(
            read,
            "POST",
            f"{self.path}/_search",
            body=body,
            headers=headers,
            notes=notes,
            place="page 1",
            tries=tries,
            only_reads=True,
        )


def search_url(path: str, parameters: Sequence[tuple[str, str]]) -> str:
    """`Type?name=value&…` below the endpoint, encoded; commas, which separate values, stay as they are."""
    return f"{path}?{urlencode(parameters, safe=',')}" if parameters else path


def read_url(reference: str) -> str:
    """`Type/id` as a path below the endpoint, encoded: an id is a text that the server chose."""
    return "/".join(quote(part, safe="") for part in reference.split("/"))


def pages(connection: Connection, search: Search, notes: Counter[str], *, tries: int | None = None) -> Iterator[Page]:
    """Every page of the search, following `next` as given, until there is none. `tries` for each, None: as the site says.

    A search that has expired on the server is begun again, at most twice; one whose page fails for good is begun again once
    with half the page size. Pages then come again: whoever counts must know what came before. What happened is counted
    into `notes`: restarts, empty_pages, half_count_tried.

    Raises what the connection raises, and RequestFailed with reason `paging-loop`, `no-new-ids`, `page-budget`,
    `foreign-next`, `bad-next` or `outcome-error` where going on would be endless, unsafe or pointless.
    """
    seen: set[str] = set()
    failed: RequestFailed | None = None
    while True:
        reached = 0
        try:
            for page in _chain(connection, search, notes, seen, tries):
                reached += 1
                yield page
        except RequestFailed as error:
            if error.status == 410 and reached and notes["restarts"] < MOST_RESTARTS:
                notes["restarts"] += 1
            elif error.reason in _TOO_LARGE and failed is None and search.page_size and search.page_size > 1:
                failed, tries = error, 1
                search = search._replace(page_size=search.page_size // 2)
                notes["half_count_tried"] += 1
            else:
                raise _final(failed or error, reached, notes) from None
        else:
            return


def count(connection: Connection, search: Search, notes: Counter[str], *, tries: int | None = None) -> int | None:
    """How many resources the server says the search has, without any of them; None if it does not say."""
    what = (parameter for parameter in search.parameters if parameter[0] not in _OF_PAGES)
    only = search._replace(parameters=(*what, *_COUNT_ONLY), page_size=None)
    return only.first(connection, notes, tries).total


def _read(connection: Connection, place: str, exactly: bool, answer: Answer) -> Page:
    return read_page(answer, connection, place, exactly=exactly)


def _chain(
    connection: Connection, search: Search, notes: Counter[str], seen: set[str], tries: int | None
) -> Iterator[Page]:
    """The pages from the first on, each checked for bringing the search forward."""
    visited = {connection.absolute(search.url)}
    fresh: set[str] = set()
    without_news = empty = 0
    page, number = search.first(connection, notes, tries), 1
    while True:
        yield page
        news = {resource.reference for resource in page.resources} - fresh
        fresh |= news
        is_empty = not page.resources and not page.rejected
        notes["empty_pages"] += is_empty and page.next_url is not None
        empty = empty + 1 if is_empty else 0
        without_news = without_news + 1 if page.resources and not news else 0
        if page.next_failure is not None:
            raise page.next_failure
        if page.next_url is None:
            seen |= fresh
            return
        if page.next_url in visited:
            raise RequestFailed(f"the server repeats page {number}", reason="paging-loop")
        if without_news >= PAGES_WITHOUT_NEWS:
            raise RequestFailed(f"{without_news} pages in a row brought nothing new", reason="no-new-ids")
        if empty >= EMPTY_PAGES_IN_A_ROW:
            raise RequestFailed(f"{empty} empty pages in a row", reason="no-new-ids")
        if number >= PAGE_BUDGET:
            raise RequestFailed(f"the search has more than {PAGE_BUDGET} pages", reason="page-budget")
        visited.add(page.next_url)
        number += 1
        place = f"page {number}"
        page = connection.ask(
            partial(_read, connection, place, search.exactly),
            "GET",
            page.next_url,
            notes=notes,
            place=place,
            tries=tries,
        )


def _final(error: RequestFailed, reached: int, notes: Counter[str]) -> RequestFailed:
    """The failure in the ledger's words."""
    if error.status == 410 and reached:
        times = {0: "", 1: " twice", 2: " three times"}[notes["restarts"]]
        return RequestFailed(f"search expired on the server{times}", reason="search-expired", status=410)
    if error.status in (401, 403) and reached:
        return RequestFailed(error.message, reason=f"refused-on-page-{reached + 1}", status=error.status)
    return error


class _Entry(msgspec.Struct, frozen=True):
    fullUrl: str | None = None
    resource: msgspec.Raw = msgspec.Raw(b"null")
    response: "_Response | None" = None


class _Response(msgspec.Struct, frozen=True):
    status: str = ""


class _Batch(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    entry: tuple[_Entry, ...] = ()


def first_pages(connection: Connection, searches: Sequence[Search], notes: Counter[str]) -> list[Page | None]:
    """The first page of each search, all asked for in one batch Bundle; None for each that did not work there.

    Raises RequestFailed if the server takes no such Bundle, or does not answer every entry of it.
    """
    entries = [{"request": {"method": "GET", "url": search.url}} for search in searches]
    bundle = msgspec.json.encode({"resourceType": "Bundle", "type": "batch", "entry": entries})

    def read(answer: Answer) -> list[Page | None]:
        batch = _decoded(answer)
        if batch.resourceType != "Bundle" or len(batch.entry) != len(searches):
            raise RequestFailed("the answer to a batch does not answer every entry", reason="not-fhir")
        return [
            _page_of(connection, entry, answer, search) for entry, search in zip(batch.entry, searches, strict=True)
        ]

    return connection.ask(read, "POST", "", body=bundle, notes=notes, place="a batch of searches", only_reads=True)


def _decoded(answer: Answer) -> _Batch:
    try:
        answer.body.decode()
        return msgspec.json.decode(answer.body, type=_Batch)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise AnswerUnusable("the answer to a batch is not FHIR", reason="not-fhir") from None


def _page_of(connection: Connection, entry: _Entry, answer: Answer, search: Search) -> Page | None:
    """The page in an entry of the answer; None where there is none, or none that is whole: it is then asked for by itself."""
    if entry.response is None or not re.match("2[0-9][0-9]", entry.response.status):
        return None
    one = answer._replace(body=bytes(entry.resource), url=connection.absolute(search.url))
    try:
        return read_page(one, connection, "page 1")
    except RequestFailed:
        return None
