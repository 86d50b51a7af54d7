"""Nothing has changed: found out with one question for a whole type, where the server is known to count honestly."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.search import Search, count
from dm_fhir.store import ledger
from dm_fhir.store.resources import count_of_type
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import Query, is_recent
from dm_fhir.sync.tally import watermark


def only_changes_matter(puller: Puller, query: Query, patients: Sequence[str]) -> bool:
    """Whether only changes need be asked for, for every one of more patients than one query names."""
    if len(patients) <= puller.settings.patients_per_query or puller.full or puller.has_any_aside(query.name):
        return False
    if not puller.capability.searches(query.type, "_lastUpdated") or puller.fact(f"counts {query.type}") != "yes":
        return False
    with puller.reading() as db:
        standing = ledger.standing(db, puller.name, query.name)
    return (
        standing.complete == standing.units == len(patients)
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
    """Whether the server counts a whole type honestly: it must count at least what we hold of it."""
    if patients <= puller.settings.patients_per_query:
        return
    for type_name in sorted({query.type for query in queries} | {"Patient"}):
        if puller.fact(f"counts {type_name}") is None and puller.capability.searches(type_name, "_lastUpdated"):
            search = Search(type_name, (), None, puller.settings.strict)
            try:
                total = count(puller.connection, search, Counter())
            except RequestFailed:
                total = None
            with puller.reading() as db:
                held = count_of_type(db, puller.name, type_name)
            puller.remember(f"counts {type_name}", "yes" if total is not None and total >= max(held, 1) else "no")
