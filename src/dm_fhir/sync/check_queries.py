"""The checks of what a pull asks of each patient: every query of the plan, tried on one patient with `_count=1`.

What comes is looked at as a pull would: whose it is, and whether it is what was asked for.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.page import Page
from dm_fhir.fhir.resource import NOT_READABLE, Resource, Unusable, local_reference, read_resource
from dm_fhir.fhir.search import Search, read_url
from dm_fhir.sync.check import Check, answer_of, failed, first_page, how_many, is_unsupported, shown
from dm_fhir.sync.deletions import GONE
from dm_fhir.sync.opening import NeedsCategory
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import Query, manner, plan

#: So many resources of a query are looked at.
SAMPLE = 3


class Asked(NamedTuple):
    """A query of the plan that works, its first page, and a few of its resources."""

    query: Query
    page: Page
    sample: tuple[Resource, ...]


class _Oddity(NamedTuple):
    """Something that a pull gets along with: what was seen, what follows, what the hospital could do."""

    said: str
    consequence: str
    ask: str


Checks = Generator[Check, None, list[Asked]]


def check_patient(puller: Puller, patient: str) -> Generator[Check, None, Resource | None]:
    """The Patient, read by id: every pull begins with it."""
    gone = _Oddity(
        f"{patient}, whom records speak of, is not there",
        "without a Patient a person has no case",
        "keep the Patients that records refer to readable",
    )
    return (yield from _read(puller, "Patient", patient, gone))


def check_queries(puller: Puller, patient: str | None, own: set[str]) -> Checks:
    """The checks of each query of the plan. `own` are the references by which the patient goes.

    Gives those that work. A server that wants Observations by category is asked that way from then on.
    """
    asked: list[Asked] = []
    for query in plan(puller):
        try:
            asked += yield from _tried(puller, query, patient, own)
        except NeedsCategory as error:
            yield _only_by_category(query, error.refusal)
            puller.remember("observations_by", "categories")
            for narrower in [one for one in plan(puller) if one.type == query.type]:
                asked += yield from _tried(puller, narrower, patient, own)
    for type_name in puller.site.pull.whole_types:
        asked += yield from _whole(puller, type_name)
    return asked


def check_medications(puller: Puller, asked: Sequence[Asked]) -> Generator[Check, None, Resource | None]:
    """A Medication that a record refers to, read by id; nothing if none of those seen does."""
    records = [resource for one in asked for resource in one.sample]
    reference = next(filter(None, map(_medication_of, records)), None)
    if reference is None:
        return None
    gone = _Oddity(
        f"{reference}, which a record refers to, is not there",
        "which drug such a record speaks of stays unknown, and it is not counted",
        "keep the Medications that records refer to readable",
    )
    return (yield from _read(puller, "Medication by reference", reference, gone))


def once_more(puller: Puller, one: Asked, patients: Sequence[str]) -> Search:
    """A search that is known to work, for the first patient, plainly."""
    if not one.query.parameter:
        return Search(one.query.type, (), 1, strict=False)
    return one.query.search(puller, patients[:1])._replace(page_size=1, by_post=False, strict=False)


def _read(puller: Puller, what: str, reference: str, gone: _Oddity) -> Generator[Check, None, Resource | None]:
    """One resource by its id. One that is not there is counted by a pull, and is no failure."""
    type_name = reference.partition("/")[0]
    request = f"GET {type_name}/{{id}}"
    try:
        answer = puller.connection.get(read_url(reference), accept=GONE)
        if answer.status in GONE:
            said = f"{gone.said} ({answer.status})"
            yield Check(what, "degrades", said, gone.consequence, gone.ask, None, request, str(answer.status))
            return None
        resource = read_resource(answer.body)
    except RequestFailed as error:
        yield failed(error, what, type_name, puller.site, request)
        return None
    except Unusable as error:
        unusable = RequestFailed(f"what comes for {reference} cannot be kept: {error.message}", reason=error.reason)
        yield failed(unusable, what, type_name, puller.site, request)
        return None
    yield Check(what, "works", "read by id", request=request, answer="200")
    return resource


def _tried(puller: Puller, query: Query, patient: str | None, own: set[str]) -> Checks:
    """One query on one patient. Raises NeedsCategory."""
    search = query.search(puller, [patient or "Patient/id"])._replace(page_size=1)
    if patient is None:
        yield _untried(query.name, shown(search))
        return []
    try:
        page = first_page(puller, query.type, search)
    except RequestFailed as error:
        yield _refused(puller, query, error, shown(search))
        return []
    check = _judged(puller, query, page, shown(search), own)
    yield check
    return [Asked(query, page, _sample(puller, query.type, search, page))] if check.ok else []


def _whole(puller: Puller, type_name: str) -> Checks:
    """A type that is asked for as a whole, because it cannot be searched by patient."""
    query = Query(type_name, f"{type_name}, whole", "")
    search = Search(type_name, manner(puller, type_name), 1, puller.settings.strict)
    try:
        page = first_page(puller, type_name, search)
    except RequestFailed as error:
        yield failed(error, query.name, type_name, puller.site, shown(search))
        return []
    said = f"{how_many(page)}; all are asked for at every pull, only the cohort's are kept"
    yield Check(query.name, "works", said, request=shown(search), answer="200")
    return [Asked(query, page, _sample(puller, type_name, search, page))]


def _only_by_category(query: Query, refusal: RequestFailed) -> Check:
    return Check(
        query.name,
        "degrades",
        f"{refusal.message}; so they are asked for by category",
        "Observations without a category, or of one that is not asked for, do not come",
        "let Observations of a patient be searched without a category",
        "categories of [site.pull] says which are asked for",
        f"GET {query.type}?{query.parameter}={{id}}&_count=1",
        answer_of(refusal),
    )


def _untried(name: str, request: str) -> Check:
    return Check(
        name,
        "degrades",
        "not tried: there is no patient to try it on",
        "whether it works shows only when there is somebody in the cohort",
        request=request,
        answer="not tried",
    )


def _refused(puller: Puller, query: Query, error: RequestFailed, request: str) -> Check:
    """A query that does not work. A category that the server does not know is left out by a pull, and nothing is open."""
    check = failed(error, query.name, query.type, puller.site, request)
    category = dict(query.also).get("category")
    if category is None or not is_unsupported(error):
        return check
    puller.remember(f"category {category}", "no")
    return replace(
        check,
        state="degrades",
        consequence=f"Observations of the category {category} are not asked for",
        mend="if others are missing: categories of [site.pull]",
        exit_code=0,
    )


def _judged(puller: Puller, query: Query, page: Page, request: str, own: set[str]) -> Check:
    """What a pull makes of such an answer."""
    foreign = [one for one in page.resources if one.subject is not None and one.subject not in own]
    if foreign:
        error = RequestFailed("it brings other patients' records: the server ignores who is asked for",
                              reason="foreign-subject", status=200)  # fmt: skip
        return failed(error, query.name, query.type, puller.site, request)
    if not query.is_listed(puller) and not page.resources:
        return _unproven(puller, query, request)
    odd = list(_oddities(puller, query, page, request))
    said = "; ".join([how_many(page), *(one.said for one in odd)])
    if not odd:
        remarks = [f"server: {text}" for text in page.messages]
        return Check(query.name, "works", "; ".join([said, *remarks]), request=request, answer="200")
    return Check(
        query.name,
        "degrades",
        said,
        "; ".join(one.consequence for one in odd),
        "; ".join(one.ask for one in odd),
        None,
        request,
        "200, with what is asked for below" if len(odd) > 1 else "200",
    )


def _unproven(puller: Puller, query: Query, request: str) -> Check:
    """An empty answer to a search that the server does not list."""
    said = f"the server lists no search of {query.type} by {query.parameter}, and an empty answer to another proves nothing"
    check = failed(RequestFailed(said, reason="not-listed"), query.name, query.type, puller.site, request)
    wish = f"offer the search parameter `{query.parameter}` of {query.type}, and list it in the CapabilityStatement"
    return replace(check, ask=wish if check.ask else None, answer="200, nothing found, and the search is not listed")


def _oddities(puller: Puller, query: Query, page: Page, request: str) -> Iterator[_Oddity]:
    if not query.is_listed(puller):
        yield _Oddity(
            f"the server lists no search by {query.parameter}: found in the patient's compartment",
            "each patient is asked for alone",
            f"offer the search parameter `{query.parameter}` of {query.type}, and list it in the CapabilityStatement",
        )
    for name, fits in query.filters:
        if not all(fits(one) for one in page.resources):
            yield _Oddity(
                f"the server ignores `{name}`",
                "more is read than is needed; what does not fit is left out here",
                f"see why `{request}` brings other records: the server ignores `{name}`",
            )
    if any(one.type != query.type for one in page.resources):
        yield _Oddity(
            "it also brings records of other types",
            "they are kept as what they are",
            f"see why `{request}` brings other types",
        )
    if page.rejected:
        reasons = ", ".join(sorted({one.reason for one in page.rejected}))
        yield _Oddity(
            f"an entry cannot be used ({reasons})",
            "such entries are set aside and named, and the pull ends with exit code 3",
            f"see why entries of `{request}` cannot be used ({reasons})",
        )
    if page.notes["authorised_view_only"]:
        yield _Oddity(
            "; ".join(f"server: {text}" for text in page.messages),
            "what is kept back from this client is missing, and cannot be counted",
            f"let this client see the entire record of {query.type}",
        )


def _sample(puller: Puller, type_name: str, search: Search, page: Page) -> tuple[Resource, ...]:
    """A few of what the search finds; what cannot be had is no fault of the search."""
    if page.next_url is None and (page.total is None or page.total <= len(page.resources)):
        return page.resources[:SAMPLE]
    try:
        return first_page(puller, type_name, search._replace(page_size=SAMPLE)).resources[:SAMPLE]
    except RequestFailed:
        return page.resources[:SAMPLE]


class _Reference(msgspec.Struct, frozen=True):
    reference: str | None = None


class _Medicated(msgspec.Struct, frozen=True):
    medicationReference: _Reference | None = None


def _medication_of(record: Resource) -> str | None:
    """The Medication that a record refers to, if it is one of the server's own."""
    try:
        named = msgspec.json.decode(record.body, type=_Medicated).medicationReference
    except NOT_READABLE:
        return None
    reference = local_reference(named.reference or "") if named else ""
    return reference if reference.startswith("Medication/") else None
