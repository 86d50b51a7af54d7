"""The checks of what a server says along with its records: when they changed, how many there are, what it ignored, what is gone."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from dm_fhir.errors import RequestFailed, in_a_line
from dm_fhir.fhir.search import search_url
from dm_fhir.sync.check import Check, answer_of, failed, shown
from dm_fhir.sync.check_queries import Asked, once_more
from dm_fhir.sync.check_settings import as_said
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import plan

#: A parameter that no server knows.
_UNKNOWN = ("dm-fhir-unknown", "1")


def check_manners(puller: Puller, asked: Sequence[Asked], patients: Sequence[str]) -> Iterator[Check]:
    """What else a pull and a push rely on, tried with the queries that work. Nothing is written."""
    yield _changes(puller, asked)
    yield _totals(puller, asked)
    yield _strict(puller, asked, patients)
    if puller.site.pull.history:
        yield from _history(puller)
    if puller.site.push.enabled:
        yield _conditional_update(puller)


def _changes(puller: Puller, asked: Sequence[Asked]) -> Check:
    """Whether a later pull can ask for what changed."""
    what = "only what changed"
    if not puller.settings.last_updated:
        never = f"not asked for, {as_said(puller, 'last_updated')}"
        return Check(what, "degrades", never, "every pull asks for everything again", answer="not asked for")
    types = list(dict.fromkeys(query.type for query in plan(puller)))
    unlisted = [name for name in types if not puller.capability.searches(name, "_lastUpdated")]
    silent = sorted(_silent(asked) & set(types) - set(unlisted))
    if not unlisted and not silent:
        return Check(what, "works", "every type can be searched by `_lastUpdated`", answer="listed for every type")
    said = [f"`_lastUpdated` is not listed for {', '.join(unlisted)}"] if unlisted else []
    asks = [f"offer the search parameter `_lastUpdated` for {', '.join(unlisted)}, and list it"] if unlisted else []
    if silent:
        said.append(f"records of {', '.join(silent)} do not say when they changed")
        asks.append(f"let records of {', '.join(silent)} carry meta.lastUpdated")
    return Check(
        what,
        "degrades",
        "; ".join(said),
        f"every pull asks for all of {', '.join([*unlisted, *silent])} again",
        "; ".join(asks),
        answer="; ".join(said),
    )


def _silent(asked: Sequence[Asked]) -> set[str]:
    """The types of which a record was seen that does not say when it changed."""
    return {record.type for one in asked for record in one.sample if record.last_updated is None}


def _totals(puller: Puller, asked: Sequence[Asked]) -> Check:
    """Whether the server says how many there are."""
    what, consequence = "totals", "whether all has come is told by the last page alone"
    if puller.settings.totals_are_estimates:
        return Check(what, "degrades", f"taken for estimates, {as_said(puller, 'totals_are_estimates')}", consequence)
    lacking = list(dict.fromkeys(one.query.type for one in asked if one.page.total is None))
    if not lacking:
        return Check(what, "works", "every search says how many there are" if asked else "not tried: no search works")
    said = f"no Bundle.total for {', '.join(lacking)}"
    return Check(what, "degrades", said, consequence, "let searches answer with Bundle.total", answer=said)


def _strict(puller: Puller, asked: Sequence[Asked], patients: Sequence[str]) -> Check:
    """Whether the server refuses what it does not know, as it is asked to, or passes over it in silence."""
    what = "Prefer: handling=strict"
    if not puller.settings.strict:
        return Check(what, "works", f"not sent, {as_said(puller, 'strict')}; what comes is checked here")
    refused = sorted({one.query.type for one in asked if puller.fact(f"strict {one.query.type}") == "no"})
    if refused:
        said = f"refused for {', '.join(refused)}, which is asked for without it"
        return Check(what, "degrades", said, _UNCHECKED, _STRICTLY, answer=said)
    if not asked or not patients:
        return Check(what, "works", "not tried: no search of a patient's record works")
    search = once_more(puller, asked[0], patients)
    search = search._replace(parameters=(*search.parameters, _UNKNOWN))
    request = shown(search)
    try:
        answer = puller.connection.get(
            search.url, headers={"Prefer": "handling=strict"}, accept=(400, 403, 404, 412, 422, 501)
        )
    except RequestFailed as error:
        return Check(
            what, "degrades", in_a_line(error), _UNCHECKED, _STRICTLY, request=request, answer=answer_of(error)
        )
    if answer.status >= 300:
        said = f"an unknown parameter is refused ({answer.status})"
        return Check(what, "works", said, request=request, answer=str(answer.status))
    said = "an unknown parameter is passed over in silence"
    return Check(
        what, "degrades", said, _UNCHECKED, _STRICTLY, request=request, answer="200, the unknown parameter ignored"
    )


_UNCHECKED = "a filter that the server does not know is not noticed by it: what comes is checked and filtered here"
_STRICTLY = "honour `Prefer: handling=strict`: refuse a search parameter that the server does not know"


def _history(puller: Puller) -> Iterator[Check]:
    """Deletions by the server's own history, where the config wants that."""
    types = sorted({query.type for query in plan(puller)} | {"Patient"})
    listed = [name for name in types if puller.capability.does("history-type", name)]
    unlisted = [name for name in types if name not in listed]
    if unlisted:
        days = puller.site.pull.full_every_days
        yield Check(
            "history",
            "degrades",
            f"not listed for {', '.join(unlisted)}",
            f"deletions of these are noticed when all is asked for again, every {days:g} days",
            f"offer the history of a type (`GET [type]/_history`) for {', '.join(unlisted)}, and list it",
            answer=f"not listed for {', '.join(unlisted)}",
        )
    for name in listed:
        since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        request = f"GET {name}/_history?_since={{now}}&_count=1"
        try:
            puller.connection.get(search_url(f"{name}/_history", [("_since", since), ("_count", "1")]))
        except RequestFailed as error:
            yield replace(
                failed(error, f"{name}/_history", name, puller.site, request), mend="history = false in [site.pull]"
            )
        else:
            yield Check(f"{name}/_history", "works", "answered", request=request, answer="200")


def _conditional_update(puller: Puller) -> Check:
    """Whether outcomes can be written as push does. It cannot be tried: doctor writes nothing."""
    what, request = "conditional update", "PUT Observation?identifier={system|value} (not sent)"
    if puller.capability.updates_conditionally("Observation"):
        return Check(
            what, "works", "listed for Observation; not tried, as nothing is written", request=request, answer="listed"
        )
    return Check(
        what,
        "degrades",
        "not listed for Observation; not tried, as nothing is written",
        "if the server cannot, push names each outcome as rejected or not settled, and ends with exit code 3",
        "offer conditional update of Observation (`PUT Observation?identifier=system|value`), and list it",
        request=request,
        answer="not listed",
    )
