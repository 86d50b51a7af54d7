"""The checks of how much a server takes at once: several patients in one search, searches in a batch, long ones by POST."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from urllib.parse import urlencode

from dm_fhir.errors import RequestFailed, in_a_line
from dm_fhir.fhir.page import Page, read_page
from dm_fhir.fhir.search import Search, first_pages
from dm_fhir.sync.check import Check, answer_of, first_page, shown
from dm_fhir.sync.check_queries import Asked, once_more
from dm_fhir.sync.check_settings import as_said
from dm_fhir.sync.group_size import heeds, heeds_not
from dm_fhir.sync.puller import Puller

#: So many types are looked through for one of which two patients have something, and so many of their records.
_MOST_TYPES, _MOST_RECORDS = 4, 100
_SEVERAL = "several patients in one search"
_NOT_NEEDED = "only needed where a search cannot name several patients"


def check_together(puller: Puller, asked: Sequence[Asked], patients: Sequence[str]) -> Iterator[Check]:
    """How many patients can be asked for at once, tried with the queries that work, on the first two patients."""
    several = _several(puller, asked, patients)
    yield several
    yield _batch(puller, asked, patients, is_needed=several.state == "degrades")
    yield _post(puller, asked, patients)


def _several(puller: Puller, asked: Sequence[Asked], patients: Sequence[str]) -> Check:
    """Whether a search may name several patients, by the proof of two who both have something."""
    if puller.settings.patients_per_query == 1:
        said = f"not asked for, {as_said(puller, 'patients_per_query')}"
        return Check(_SEVERAL, "degrades", said, "each patient is asked for alone: a pull takes longer")
    if len(patients) < 2:
        return Check(_SEVERAL, "works", "not tried: no second patient is known")
    listed = [one for one in asked if one.query.is_listed(puller) and one.query.parameter and one.page.resources]
    for one in listed[:_MOST_TYPES]:
        search = one.query.search(puller, patients[:2])._replace(page_size=1)
        try:
            taken = _takes_both(puller, one, patients)
        except RequestFailed as error:
            return _one_by_one(search, in_a_line(error), answer_of(error))
        if taken is None:
            continue
        (heeds if taken else heeds_not)(puller, one.query.type, 2)
        if taken:
            return Check(_SEVERAL, "works", f"tried with two and {one.query.type}", request=shown(search), answer="200")
        return _one_by_one(
            search, f"a search of {one.query.type} for two patients does not find the records of both", "200, not both"
        )
    return Check(_SEVERAL, "works", "not tried: the two patients known have no type of record in common")


def _one_by_one(search: Search, said: str, answer: str) -> Check:
    request = shown(search)
    return Check(
        _SEVERAL,
        "degrades",
        said,
        "each patient is asked for alone, or in a batch: a pull takes longer",
        f"let a search name several patients: `{request}`",
        request=request,
        answer=answer,
    )


def _takes_both(puller: Puller, one: Asked, patients: Sequence[str]) -> bool | None:
    """Whether the list is honoured; None if the second patient has nothing of this type, or it cannot be told."""
    query = one.query

    def ask(some: Sequence[str], size: int) -> Page:
        return first_page(puller, query.type, query.search(puller, some)._replace(page_size=size))

    alone = ask(patients[1:2], 1)
    if not alone.resources:
        return None
    both = ask(patients[:2], 1)
    if one.page.total and alone.total and both.total is not None:
        return both.total == one.page.total + alone.total
    both = ask(patients[:2], _MOST_RECORDS)
    if {resource.subject for resource in both.resources} >= set(patients[:2]):
        return True
    return None if both.next_url else False


def _batch(puller: Puller, asked: Sequence[Asked], patients: Sequence[str], *, is_needed: bool) -> Check:
    """Whether searches may come in a batch Bundle. It holds nothing but GETs."""
    what, request = "batch", "POST [base], a Bundle of type batch with one GET"
    consequence = "each patient is asked for alone: a pull takes longer"
    wish = "take a Bundle of type batch with searches in it"
    if puller.settings.batch is False:
        return Check(what, "works", f"not used, {as_said(puller, 'batch')}")
    if not puller.settings.batch and not puller.capability.does("batch"):
        if not is_needed:
            return Check(what, "works", f"not listed; {_NOT_NEEDED}")
        return Check(
            what, "degrades", "the server does not list it", consequence, f"{wish}, and list it", answer="not listed"
        )
    if not asked or not patients:
        return Check(what, "works", "listed; not tried: no search of a patient's record works")
    search = once_more(puller, asked[0], patients)
    try:
        page = first_pages(puller.connection, [search], Counter())[0]
        said, answer = "a search in it is not answered with a page", "200, without a page"
    except RequestFailed as error:
        page, said, answer = None, in_a_line(error), answer_of(error)
    if page is not None:
        return Check(what, "works", "a search in it is answered", request=request, answer="200")
    if not is_needed:
        return Check(
            what,
            "works",
            f"{said}; {_NOT_NEEDED}",
            request=request,
            answer=answer,
        )
    return Check(what, "degrades", said, consequence, wish, request=request, answer=answer)


def _post(puller: Puller, asked: Sequence[Asked], patients: Sequence[str]) -> Check:
    """Whether a search may go by POST, as long ones should."""
    what = "POST _search"
    if puller.settings.post_search is False:
        return Check(what, "works", f"not used, {as_said(puller, 'post_search')}")
    if not asked or not patients:
        return Check(what, "works", "not tried: no search of a patient's record works")
    search = once_more(puller, asked[0], patients)
    path = f"{search.path}/_search"
    request = f"POST {shown(search).removeprefix('GET ').partition('?')[0]}/_search"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode((*search.parameters, ("_count", "1"))).encode()
    try:
        read = partial(read_page, connection=puller.connection)
        place = f"POST {asked[0].query.type}/_search"
        puller.connection.ask(read, "POST", path, body=body, headers=form, place=place, only_reads=True)
    except RequestFailed as error:
        return Check(
            what,
            "degrades",
            in_a_line(error),
            "long searches go by GET, where servers and proxies may cut them off and write them into their logs",
            f"offer `{request}`",
            request=request,
            answer=answer_of(error),
        )
    return Check(what, "works", "answered", request=request, answer="200")
