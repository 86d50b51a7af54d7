"""Nothing has changed: found out with one question for a whole type, where the server is known to count honestly."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.search import Search, count
from dm_fhir.store import ledger
from dm_fhir.store.resources import counts_by_type
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import Query, is_recent
from dm_fhir.sync.tally import watermark


def only_changes_matter(puller: Puller, query: Query, patients: Sequence[str]) -> bool:
    """Whether only changes need be asked for, for every one of more patients than one query names."""
    if len(patients) <= puller.settings.patients_per_query or puller.full or puller.has_any_aside(query.name):
        return False
    says_when = puller.settings.last_updated and puller.capability.searches(query.type, "_lastUpdated")
    if not says_when or puller.fact(f"counts {query.type}") != "yes":
        return False
    with puller.reading() as db:
        standing = ledger.standing(db, puller.name, query.name)
    return (
        standing.complete == standing.units == len(patients)
        and standing.timeless == 0
        and standing.asked == query.asked
        and standing.oldest_full is not None
        and is_recent(puller, standing.oldest_full)
    )


def nothing_changed(puller: Puller, query: Query) -> bool:
    """One question for all patients: has anything of this type changed at all? If not, every unit is complete until now."""
    with puller.reading() as db:
        oldest = ledger.standing(db, puller.name, query.name).oldest_watermark
    changed = Search(query.type, (("_lastUpdated", f"ge{oldest}"),), None, puller.settings.strict)
    started = datetime.now(UTC)
    try:
        total = count(puller.connection, changed, Counter())
    except RequestFailed:
        puller.remember(f"counts {query.type}", "no")
        return False
    if total != 0:
        return False
    with puller.writing() as db:
        ledger.advance(db, puller.name, query.name, watermark(puller.connection.server_date or started), puller.run)
    return True


def learn_counting(puller: Puller, queries: Sequence[Query], patients: int) -> None:
    """Whether the server counts a whole type honestly: it must count at least what we hold of it.

    A type of which we hold nothing is believed where all the others are.
    """
    if patients <= puller.settings.patients_per_query:
        return
    with puller.reading() as db:
        held = counts_by_type(db, puller.name)
    types = sorted({query.type for query in queries} | {"Patient"}, key=lambda name: (name not in held, name))
    honest = True
    for type_name in types:
        if puller.capability.searches(type_name, "_lastUpdated"):
            fact = f"counts {type_name}"
            if puller.fact(fact) is None:
                counted = _counted(puller, type_name)
                believed = counted is not None and counted >= held.get(type_name, 0) and honest
                puller.remember(fact, "yes" if believed else "no")
            honest = honest and puller.fact(fact) == "yes"


def _counted(puller: Puller, type_name: str) -> int | None:
    try:
        return count(puller.connection, Search(type_name, (), None, puller.settings.strict), Counter())
    except RequestFailed:
        return None
