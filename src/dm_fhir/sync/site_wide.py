"""What is not one patient's: types that cannot be searched by patient, Medications by reference, the server's history."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial

from msgspec.structs import replace

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.resource import Resource
from dm_fhir.store import ledger
from dm_fhir.store.ledger import get_unit, put_unit
from dm_fhir.store.resources import has_resource
from dm_fhir.sync.alone import pull_site_wide, read_each
from dm_fhir.sync.cohort import known_members
from dm_fhir.sync.deletions import find_in_history
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import Query, is_recent
from dm_fhir.sync.references import referred_medications
from dm_fhir.sync.tally import Check, begun, watermark
from dm_fhir.sync.workers import Job

MEDICATIONS = "Medication by reference"
#: How the query of a type that is asked for whole ends.
WHOLE = ", whole"


def pull_whole(puller: Puller, type_name: str) -> Iterable[Job]:
    """A type that cannot be searched by patient. Always all of it: a new patient's old records must come too."""
    patients = set(known_members(puller))

    def check(resource: Resource) -> Check:
        return Check(resource.subject in patients, None if resource.subject in patients else "not_in_cohort")

    query = Query(type_name, f"{type_name}{WHOLE}", "", scope=f"run {puller.run}")
    pull_site_wide(puller, query, check, lambda _: None, sorted(patients))
    return []


def history_jobs(puller: Puller, queries: Sequence[Query]) -> list[Job]:
    """Deletions by the server's own history, where the site wants that and the server has one."""
    if not puller.site.pull.history:
        return []
    types = sorted({query.type for query in queries} | {"Patient"})
    return [partial(_read_history, puller, name) for name in types if puller.capability.does("history-type", name)]


def _read_history(puller: Puller, type_name: str) -> Iterable[Job]:
    name = f"{type_name}/_history"
    with puller.reading() as db:
        before = get_unit(db, puller.name, "", name)
        oldest = min((u.watermark for u in ledger.units(db, puller.name) if u.watermark and u.query.startswith(type_name)),
                     default=None)  # fmt: skip
    unit = begun(before, puller.name, "", name, puller.run, name)
    start = unit.watermark or oldest
    notes: Counter[str] = Counter()
    state, reason, message = "complete", None, None
    mark = watermark(puller.connection.server_date)
    try:
        if start:
            find_in_history(puller, type_name, start, notes)
    except RequestFailed as error:
        state, reason, message = "failed", error.reason, error.message
    notes = Counter({key: value for key, value in notes.items() if value and key != "retries"})
    with puller.writing() as db:
        done = replace(unit, state=state, reason=reason, message=message, notes=dict(notes))
        put_unit(db, replace(done, watermark=mark) if state == "complete" else done)
    return []


def pull_medications(puller: Puller, *, whole: bool) -> None:
    """The Medications that records refer to: those that are missing, and all of them when everything is asked for again."""
    with puller.reading() as db:
        before = get_unit(db, puller.name, "", MEDICATIONS)
        referred = referred_medications(db, puller.name, (puller.connection.endpoint, *puller.site.rewrite))
        is_old = before is None or before.read_in_full is None or not is_recent(puller, before.read_in_full)
        again = puller.full or (is_old and whole)
        wanted = sorted(one for one in referred if again or not has_resource(db, puller.name, one))
    if not referred or (before is not None and before.state == "complete" and not wanted):
        return
    unit = begun(before, puller.name, "", MEDICATIONS, puller.run, MEDICATIONS)
    read_each(puller, unit, wanted, lambda resource: Check(resource.type == "Medication"))
