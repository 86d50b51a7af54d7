"""Nothing has changed: found out with one question for a whole type, where the server is known to count honestly."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.search import Search, count
from dm_fhir.store import ledger
from dm_fhir.store.ledger import Standing
from dm_fhir.store.resources import counts_by_type
from dm_fhir.sync.group_size import USUAL
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import Query, is_recent
from dm_fhir.sync.tally import watermark
from dm_fhir.sync.workers import Job, work_off

_LONG_AGO = "ge2000-01-01T00:00:00Z"


def unchanged(puller: Puller, queries: Sequence[Query], patients: Sequence[str]) -> set[str]:
    """The queries of which nothing has changed for anybody; all their units are then complete until now.

    One question for a whole type, all of them at a time, in place of one for every group of patients: so only where there
    are more patients than one query names, and only where changes suffice for every one of them.
    """
    if _is_one_search(puller, len(patients)) or puller.full:
        return set()
    with puller.reading() as db:
        standings = ledger.standings(db, puller.name)
    asking = [query for query in queries if _changes_suffice(puller, query, standings.get(query.name), len(patients))]
    marks: dict[str, str] = {}
    work_off(
        puller, [partial(_ask, puller, query, standings[query.name].oldest_watermark, marks) for query in asking],
        lambda *_: None,
    )  # fmt: skip
    if marks:
        with puller.writing() as db:
            ledger.advance(db, puller.name, marks, puller.run)
    return set(marks)


def _is_one_search(puller: Puller, patients: int) -> bool:
    """Whether one search of a type asks for everybody, so that a count in its place would save nothing."""
    return patients <= (puller.settings.patients_per_query or USUAL)


def _changes_suffice(puller: Puller, query: Query, standing: Standing | None, patients: int) -> bool:
    if standing is None or puller.has_any_aside(query.name) or puller.fact(f"counts {query.type}") != "yes":
        return False
    if not puller.settings.last_updated or not puller.capability.searches(query.type, "_lastUpdated"):
        return False
    return (
        standing.complete == standing.units == patients
        and standing.timeless == 0
        and standing.asked == query.asked
        and standing.oldest_watermark is not None
        and standing.oldest_full is not None
        and is_recent(puller, standing.oldest_full)
    )


def _ask(puller: Puller, query: Query, oldest: str | None, marks: dict[str, str]) -> Iterable[Job]:
    """Has anything of this type changed at all? If not, its mark is noted."""
    changed = Search(query.type, (("_lastUpdated", f"ge{oldest}"),), None, puller.settings.strict)
    started = datetime.now(UTC)
    try:
        total = count(puller.connection, changed, Counter())
    except RequestFailed:
        puller.remember(f"counts {query.type}", "no")
        return []
    if total == 0:
        marks[query.name] = watermark(puller.connection.server_date or started)
    return []


def learn_counting(puller: Puller, queries: Sequence[Query], patients: int) -> None:
    """Whether the server counts a whole type honestly: it must count at least what we hold of it.

    A type of which we hold nothing is believed where all the others are.
    """
    types = {query.type for query in queries} | {"Patient"}
    types = {type_name for type_name in types if puller.capability.searches(type_name, "_lastUpdated")}
    unknown = [type_name for type_name in sorted(types) if puller.fact(f"counts {type_name}") is None]
    if not unknown or _is_one_search(puller, patients):
        return
    counted: dict[str, int] = {}
    work_off(puller, [partial(_count, puller, type_name, counted) for type_name in unknown], lambda *_: None)
    with puller.reading() as db:
        held = counts_by_type(db, puller.name)
    honest = True
    for type_name in sorted(types, key=lambda name: (name not in held, name)):
        fact = f"counts {type_name}"
        if type_name in unknown:
            believed = counted.get(type_name, -1) >= held.get(type_name, 0) and honest
            puller.remember(fact, "yes" if believed else "no")
        honest = honest and puller.fact(fact) == "yes"


def _count(puller: Puller, type_name: str, counted: dict[str, int]) -> Iterable[Job]:
    """How many the server counts since long ago: later it will be asked how many since a while ago."""
    search = Search(type_name, (("_lastUpdated", _LONG_AGO),), None, puller.settings.strict)
    try:  # once: some servers time out over so long a time, and nothing depends on it
        total = count(puller.connection, search, Counter(), tries=1)
    except RequestFailed:
        total = None
    if total is not None:
        counted[type_name] = total
    return []
