"""One patient x query as one unit of the ledger, by every means: begun again, repeated, in pieces, until it is whole or named."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date

from msgspec.structs import replace

from dm_fhir.errors import LoginRefused, RequestFailed, ServerUnavailable
from dm_fhir.fhir.page import Page, Rejected
from dm_fhir.fhir.resource import Resource, Unusable, read_resource
from dm_fhir.fhir.search import LONGEST_ADDRESS, Search, count, pages, read_url
from dm_fhir.store.ledger import Unit, get_unit, units_of_query
from dm_fhir.sync.deletions import find_deleted, reread, was_full
from dm_fhir.sync.opening import opened
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import DATE_PARAMETERS, Query, manner, since
from dm_fhir.sync.tally import Check, Tally, begun
from dm_fhir.sync.windows import date_of, parameters, windows

#: Where going on page by page is of no use, but smaller searches may be.
_TRY_PIECES = (
    "server-cap", "paging-loop", "no-new-ids", "page-budget", "http-404", "http-414", "http-500", "read-timeout", "too-slow",
    "too-large",
)  # fmt: skip
#: What may be wrong with one piece alone: one bad record fails its page on some servers.
_OF_ONE_PIECE = ("http-500", "too-large")
#: What has failed for good is not waited for again in every piece.
_TRIES_OF_A_PIECE, _MOST_FAILED_PIECES = 2, 12
_MOST_DEPTH = 4
_HOPELESS, _ENOUGH_REFUSALS = (404, 405, 501), 3


def pull_alone(puller: Puller, query: Query, patient: str) -> None:
    """One patient's unit. How it ended is in the ledger.

    Raises NeedsCategory if the server wants to be asked by category, LoginRefused or ServerUnavailable if the run cannot go on.
    """
    with puller.reading() as db:
        before = get_unit(db, puller.name, patient, query.name)
    unit = begun(before, puller.name, patient, query.name, puller.run, query.asked)
    changed_since = since(puller, before, query) if before else None
    tally = Tally(puller, unit, _judge(puller, query, patient), in_full=changed_since is None)
    known = puller.hopeless.get(query.name)
    if known:
        tally.fail("unsupported", *known)
        return
    more = (("_lastUpdated", f"ge{changed_since}"),) if changed_since else ()
    with judged(tally):
        _search(tally, query, query.search(puller, [patient], more))
        if not query.is_listed(puller):
            _check_proof(tally, query)
        for reference in sorted(tally.incomparable):
            reread(puller, reference, tally.notes)
        if tally.in_full and not tally.missing and was_full(before):
            find_deleted(puller, query, [patient], tally.seen, tally.notes)


def pull_site_wide(
    puller: Puller,
    query: Query,
    judge: Callable[[Resource], Check],
    within: Callable[[Sequence[Resource]], None],
    patients: Sequence[str] = (),
) -> None:
    """A query that is not one patient's: of the cohort, or a type that cannot be searched by patient.

    What the answer should have held of `patients` but did not is looked for.
    """
    with puller.reading() as db:
        before = get_unit(db, puller.name, "", query.name)
    unit = begun(before, puller.name, "", query.name, puller.run, query.asked)
    changed_since = since(puller, before, query) if before else None
    tally = Tally(puller, unit, judge, within, in_full=changed_since is None)
    more = (("_lastUpdated", f"ge{changed_since}"),) if changed_since else ()
    settings = puller.settings
    search = Search(query.type, (*query.also, *manner(puller, query.type), *more), settings.page_size, settings.strict)
    by_post = len(search.url) > LONGEST_ADDRESS and puller.takes_post(query.type)
    with judged(tally):
        _search(tally, query, search._replace(by_post=by_post))
        if tally.in_full and not tally.missing:
            find_deleted(puller, query, patients, tally.seen, tally.notes)


def read_each(
    puller: Puller,
    unit: Unit,
    references: Sequence[str],
    judge: Callable[[Resource], Check],
    *,
    must_exist: bool = False,
) -> None:
    """Single resources by id, as one unit. One that is gone is counted, not an error: hospitals delete old Medications.

    `must_exist`: nobody has ever seen it; then it is a mistake of whoever named it.
    """
    tally = Tally(puller, replace(unit, expected=len(references)), judge)
    with judged(tally):
        for reference in references:
            answer = puller.connection.get(read_url(reference), accept=(404, 410), notes=tally.notes)
            if answer.status in (404, 410) and must_exist:
                raise RequestFailed(f"the server has no {reference} ({answer.status})", reason="not-found")
            if answer.status in (404, 410):
                tally.gone(reference)
                continue
            try:
                resource = read_resource(answer.body)
            except Unusable as error:
                tally.take(Page((), (Rejected(error.reason, answer.body),), (), None, None, answer, Counter()))
                continue
            tally.take(Page((resource,), (), (), None, None, answer, Counter()))


@contextmanager
def judged(tally: Tally) -> Iterator[None]:
    """The block in which a unit's requests run; how it ends is the unit's state. What concerns the whole run goes on upwards."""
    try:
        yield
    except RequestFailed as error:
        tally.puller.reached()
        tally.judge_failure(error)
    except LoginRefused as error:
        tally.judge_stop(error)
        raise
    except ServerUnavailable as error:
        tally.judge_stop(error)
        tally.puller.not_reached(error)
    else:
        tally.complete()


def _judge(puller: Puller, query: Query, patient: str) -> Callable[[Resource], Check]:
    """What is to become of a resource in the answer to a patient's query."""
    own = {patient, *puller.linked.get(patient, ())}

    def check(resource: Resource) -> Check:
        if resource.subject is not None and resource.subject not in own:
            return Check(False, "foreign_subject")
        if resource.type == "Observation" and puller.mapper.is_own(resource.body):
            return Check(False, None, "own_outcome")
        wanted = query.wanted(resource)
        ignored = next((name for name, fits in query.filters if not fits(resource)), None)
        if ignored:
            return Check(wanted, f"filter_ignored:{ignored}")
        if not wanted:
            return Check(False, None, "not_mapped")
        return Check(True, None, "other_type" if resource.type != query.type else None)

    return check


def _search(tally: Tally, query: Query, search: Search) -> None:
    """The whole search into the tally, and then whatever may fill the holes. Raises RequestFailed where a hole stays."""
    puller = tally.puller
    dates: list[date] = []
    limit = puller.settings.result_limit
    try:
        for page in opened(puller, query.type, search, tally.notes):
            _take(tally, query, page, dates)
            if limit and (page.total or 0) > limit:
                raise RequestFailed(_cap_message(limit), reason="server-cap")
    except RequestFailed as error:
        if error.status in _HOPELESS and not tally.pages:
            raise _unsupported(puller, query, error) from None
        failure = _capped(error, tally)
        if failure.reason not in _TRY_PIECES or not tally.pages or not _in_pieces(tally, query, search, dates):
            raise failure from None
    _compare_self_link(tally, query)
    if tally.missing and not puller.settings.totals_are_estimates:
        _fill(tally, query, search, dates)


def _take(tally: Tally, query: Query, page: Page, dates: list[date]) -> None:
    if page.asked is not None and tally.pages == 0:
        lacking = [name for name, _ in query.also if name not in page.asked]
        for name in lacking:
            tally.notes[f"self_link_lacks:{name}"] += 1
    tally.take(page)
    dates.extend(day for resource in page.resources if (day := date_of(resource.body)))


def _compare_self_link(tally: Tally, query: Query) -> None:
    """A self link that says a parameter was applied, beside an answer that shows it was not."""
    for name, _ in query.filters:
        ignored, admitted = tally.notes[f"filter_ignored:{name}"], tally.notes.pop(f"self_link_lacks:{name}", 0)
        tally.notes["self_link_wrong"] += bool(ignored) and not admitted


def _unsupported(puller: Puller, query: Query, error: RequestFailed) -> RequestFailed:
    """The failure of a search that the server does not have. After a few, where it never worked, nobody else is asked for.

    One alone may be about the patient: some servers answer so where the patient is not there.
    """
    message = f"{query.type} search is not supported by this server"
    puller.refusals[query.name] += 1
    with puller.reading() as db:
        works = any(unit.state == "complete" for unit in units_of_query(db, puller.name, query.name).values())
    if puller.refusals[query.name] >= _ENOUGH_REFUSALS and not works:
        puller.hopeless[query.name] = (error.reason, message)
    return RequestFailed(message, reason=error.reason, status=error.status)


def _capped(error: RequestFailed, tally: Tally) -> RequestFailed:
    """A refusal of a later page, while more is announced, is a limit of the server."""
    if error.status == 400 and tally.pages and tally.missing:
        return RequestFailed(_cap_message(len(tally.seen)), reason="server-cap", status=400)
    return error


def _cap_message(limit: int) -> str:
    return f"the server stops at {limit:,} results"


def _fill(tally: Tally, query: Query, search: Search, dates: list[date]) -> None:
    """Fewer have arrived than were announced: ask how many there are, ask again, by offset, in pieces."""
    puller, notes = tally.puller, tally.notes
    try:
        announced = count(puller.connection, search, notes)
    except RequestFailed:
        announced = None
    notes["count_checked"] += 1
    if announced is not None and announced == len(tally.seen):
        tally.unit = replace(tally.unit, expected=announced)
        return
    ended_early = not tally.has_more
    notes["repeated_query"] += 1
    _add(tally, pages(puller.connection, search, notes))
    if tally.missing and ended_early:
        notes["offset_tried"] += 1
        offset = search._replace(parameters=(*search.parameters, ("_offset", str(len(tally.seen)))))
        _add(tally, pages(puller.connection, offset._replace(strict=False), notes))
    if tally.missing:
        _in_pieces(tally, query, search, dates)


def _add(tally: Tally, more: Iterable[Page]) -> None:
    """Whatever more pages bring; if they fail, what is missing stays missing."""
    try:
        for page in more:
            tally.take(page, announces=False)
    except RequestFailed:
        return


def _in_pieces(tally: Tally, query: Query, search: Search, dates: list[date]) -> bool:
    """Ask by date windows. Whether that has brought everything that was announced."""
    name = DATE_PARAMETERS.get(query.type, "")
    if not tally.puller.capability.searches(query.type, name):
        return False
    return (
        _pieces(tally, search, name, dates, (None, None), 0) and tally.unit.expected is not None and not tally.missing
    )


def _pieces(
    tally: Tally, search: Search, name: str, dates: list[date], within: tuple[date | None, date | None], depth: int
) -> bool:
    """Whether every piece could be read to its end; pieces that are still too large, or fail, are cut again."""
    pieces = windows(dates, within)
    is_whole = bool(pieces)
    for window in pieces:
        tally.notes["date_windows"] += 1
        piece = search._replace(parameters=(*search.parameters, *parameters(name, window)))
        inside: list[date] = []
        expected, arrived = None, 0
        try:
            for page in pages(tally.puller.connection, piece, tally.notes, tries=_TRIES_OF_A_PIECE):
                tally.take(page, announces=False)
                expected = page.total if page.total is not None else expected
                arrived += len(page.resources)
                inside.extend(day for resource in page.resources if (day := date_of(resource.body)))
        except RequestFailed as error:
            is_cap = error.status == 400 and expected is not None and arrived < expected
            tally.notes["failed_windows"] += not is_cap
            is_hopeless = not is_cap and error.reason not in _OF_ONE_PIECE
            if is_hopeless or tally.notes["failed_windows"] > _MOST_FAILED_PIECES:
                return False
            if depth >= _MOST_DEPTH or not _pieces(tally, search, name, inside, window, depth + 1):
                is_whole = False
    return is_whole


def _check_proof(tally: Tally, query: Query) -> None:
    """An empty answer to a search that the server does not list proves nothing. Raises RequestFailed for that."""
    if not tally.seen and not tally.unit.watermark:
        message = f"the server lists no search of {query.type} by patient, and an empty answer to it proves nothing"
        raise RequestFailed(message, reason="not-listed", hint="dm-fhir failed says what mends it")
