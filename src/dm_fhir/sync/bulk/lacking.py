"""What an export should have held but did not: types of which it has no file, and resources that earlier ones had."""

from collections import Counter

from msgspec.structs import replace

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.search import Parameters, Search, count
from dm_fhir.store.database import batched
from dm_fhir.store.distinct import not_noted
from dm_fhir.store.ledger import Unit
from dm_fhir.store.members import members
from dm_fhir.store.resources import ids_from_server, stored_resource
from dm_fhir.sync.bulk.order import MEDICATION, Order
from dm_fhir.sync.deletions import reread
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import PATIENT, SEARCHES

NOT_DELIVERED = "not-delivered"
_PATIENTS_PER_COUNT = 100
_PARAMETER = dict(SEARCHES)
#: So many in a row that could not be read by id: nothing can.
_ENOUGH_UNREADABLE = 5


def judge_absent(puller: Puller, order: Order, type_name: str, unit: Unit, since: str | None) -> Unit:
    """The unit of a type that was asked for and of which the export has no file: complete only if there is none.

    The server is asked how many it has: a token without the right to a type makes it disappear without a word. Where it does
    not say, a type that a full export once had may be absent from one of changes.
    """
    try:
        counted = _counted(puller, order, type_name, since)
    except RequestFailed:
        counted = None
    if counted == 0:
        return replace(unit, state="complete", reason=None, expected=0, notes={"count_checked": 1})
    if counted is None and since is not None and unit.read_in_full is not None:
        return replace(unit, state="complete", reason=None, notes={"absent_from_changes": 1})
    says = f"the server counts {counted}" if counted is not None else "the server does not say how many it has"
    is_optional = counted is None and type_name in puller.site.pull.optional_types
    return replace(
        unit,
        state="unsupported" if is_optional else "failed",
        reason=NOT_DELIVERED,
        message=f"the export has no {type_name}, and {says}",
        expected=counted,
    )


def find_missing(puller: Puller, order: Order, type_name: str, kept: int, notes: Counter[str]) -> None:
    """After a full export: whatever we hold of the cohort and it does not is asked for by id, and is deleted or counted.

    `kept` is the tally of what was kept of it.
    """
    if type_name == MEDICATION or any(one.startswith(f"{type_name}?") for one in order.site.bulk.type_filters):
        return
    with puller.reading() as db:
        ids = ids_from_server(db, puller.name, type_name, members(db, puller.name))
        missing = list(not_noted(db, kept, (f"{type_name}/{id_}" for _, id_ in ids)))
    missing = [one for one in missing if _is_asked_for(puller, one)]
    unreadable = 0
    for number, reference in enumerate(missing):
        if unreadable == _ENOUGH_UNREADABLE:
            notes["missing_not_readable"] += len(missing) - number
            return
        before = notes["missing_not_readable"]
        notes["missing_from_export"] += reread(puller, reference, notes)
        unreadable = unreadable + 1 if notes["missing_not_readable"] > before else 0


def _is_asked_for(puller: Puller, reference: str) -> bool:
    """Whether the tables still know it: what they do not is not kept of an export either."""
    type_name = reference.partition("/")[0]
    if puller.site.pull.scope == "all" or type_name == PATIENT.type:
        return True
    with puller.reading() as db:
        body = stored_resource(db, puller.name, reference)
    return body is not None and puller.mapper.is_mapped(type_name, body)


def _counted(puller: Puller, order: Order, type_name: str, since: str | None) -> int | None:
    """How many the server has, of the cohort where that is known by now; None if it does not say.

    Of the type that finds the cohort all are counted: whoever is new in it is not known yet.
    """
    capability = puller.capability
    if since and not (puller.settings.last_updated and capability.searches(type_name, "_lastUpdated")):
        return None
    changed: Parameters = (("_lastUpdated", f"ge{since}"),) if since else ()
    with puller.reading() as db:
        patients = members(db, puller.name)
    parameter = _PARAMETER.get(type_name, "patient")
    finds_cohort = type_name == order.found_by and order.site.bulk.level != "group"
    if not patients or finds_cohort or type_name in (PATIENT.type, MEDICATION):
        return _count(puller, type_name, changed)
    if not capability.searches(type_name, parameter):
        everybodys = _count(puller, type_name, changed)
        return everybodys if everybodys == 0 or order.site.bulk.level != "group" else None
    total = 0
    for some in batched(patients, _PATIENTS_PER_COUNT):
        named = ",".join(one if parameter == "subject" else one.partition("/")[2] for one in some)
        found = _count(puller, type_name, ((parameter, named), *changed))
        if found is None:
            return None
        total += found
    return total


def _count(puller: Puller, type_name: str, parameters: Parameters) -> int | None:
    return count(puller.connection, Search(type_name, parameters, None, puller.settings.strict), Counter())
