"""One query of the plan for many patients: in groups as large as the server takes, in batches, or one by one.

A group that does not work out is asked for in smaller ones, so that a fault stays with the patient who has it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.resource import Resource
from dm_fhir.store import ledger
from dm_fhir.store.database import batched
from dm_fhir.store.ledger import Unit, forget_units, get_unit
from dm_fhir.store.resources import has_records_of
from dm_fhir.sync.alone import pull_alone, read_each
from dm_fhir.sync.opening import NeedsCategory
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import PATIENT, Query, by_category, since, taken_categories
from dm_fhir.sync.tally import Check, begun
from dm_fhir.sync.together import PARTS, pull_batch, pull_together
from dm_fhir.sync.workers import Job

_BATCH = 20
OBSERVATIONS = "Observation?patient"


def jobs_for(puller: Puller, query: Query, patients: Sequence[str], *, only_open: bool) -> list[Job]:
    """One query for all patients, in groups where the server takes lists of patients, alone where it does not.

    `only_open`: only units that are not complete.
    """
    if not patients:
        return []
    with puller.reading() as db:
        before = ledger.units_of_query(db, puller.name, query.name)
    if only_open:
        patients = [p for p in patients if p not in before or before[p].state != "complete"]
    return _grouped(puller, query, patients, before)


def _grouped(puller: Puller, query: Query, patients: Sequence[str], before: Mapping[str, Unit]) -> list[Job]:
    """Jobs for those of whom changes suffice, from the earliest start that one of them needs, and for the others."""
    starts = {patient: since(puller, before[patient], query) for patient in patients if patient in before}
    changing = [patient for patient in patients if starts.get(patient)]
    from_start = [patient for patient in patients if not starts.get(patient)]
    earliest = min((start for patient in changing if (start := starts[patient])), default=None)
    return [
        *_in_groups(puller, query, changing, before, earliest),
        *_in_groups(puller, query, from_start, before, None),
    ]


def _in_groups(
    puller: Puller, query: Query, patients: Sequence[str], before: Mapping[str, Unit], start: str | None
) -> Iterator[Job]:
    """A merged patient's records may be under another id: such a one is asked for alone."""
    is_listed = query.is_listed(puller)
    together = [patient for patient in patients if is_listed and patient not in puller.linked]
    alone = [patient for patient in patients if not is_listed or patient in puller.linked]
    for group in batched(together, _group_size(puller, query)):
        rows = {patient: before[patient] for patient in group if patient in before}
        yield partial(_ask, puller, query, list(group), rows, start)
    yield from (partial(_ask_alone, puller, query, patient) for patient in alone)


def _group_size(puller: Puller, query: Query) -> int:
    if _takes_lists(puller, query):
        return puller.settings.patients_per_query
    return _BATCH if _takes_batch(puller) else 1


def _takes_lists(puller: Puller, query: Query) -> bool:
    return puller.settings.patients_per_query > 1 and puller.fact(f"lists {query.type}") != "no"


def _takes_batch(puller: Puller) -> bool:
    if puller.settings.batch is not None:
        return puller.settings.batch
    return puller.capability.does("batch") and puller.fact("batch") != "no"


def _ask(
    puller: Puller, query: Query, patients: list[str], before: Mapping[str, Unit], start: str | None
) -> Iterable[Job]:
    """One group of patients: all together, else in a batch, else in smaller groups, and in the end each alone."""
    if len(patients) == 1 or query.name in puller.hopeless:
        return [partial(_ask_alone, puller, query, patient) for patient in patients]
    by_list, by_batch = _takes_lists(puller, query), start is None and query.type != "Patient"
    try:
        if by_list:
            if pull_together(puller, query, patients, before, start):
                return []
        elif by_batch and _takes_batch(puller):
            left = pull_batch(puller, query, patients, before)
            return [partial(_ask_alone, puller, query, patient) for patient in left]
    except NeedsCategory:
        return _by_category(puller, query, patients)
    except RequestFailed:
        if not by_list:
            puller.remember("batch", "no")
    if by_list and by_batch and not _takes_lists(puller, query) and _takes_batch(puller):
        groups = batched(patients, _BATCH)
    else:
        groups = batched(patients, max(1, len(patients) // PARTS))
    return [partial(_ask, puller, query, list(group), before, start) for group in groups]


def _ask_alone(puller: Puller, query: Query, patient: str) -> Iterable[Job]:
    if query.type == "Patient":
        _read_patient(puller, patient)
        return []
    try:
        pull_alone(puller, query, patient)
    except NeedsCategory:
        return _by_category(puller, query, [patient])
    return []


def _read_patient(puller: Puller, patient: str) -> None:
    with puller.reading() as db:
        before = get_unit(db, puller.name, patient, PATIENT.name)
        is_known = has_records_of(db, puller.name, patient)
    unit = begun(before, puller.name, patient, PATIENT.name, puller.run, PATIENT.asked)

    def check(resource: Resource) -> Check:
        return Check(resource.reference == patient, None if resource.reference == patient else "foreign_subject")

    read_each(puller, unit, [patient], check, must_exist=not is_known)


def _by_category(puller: Puller, query: Query, patients: Sequence[str]) -> list[Job]:
    """The server wants Observations by category: one unit per category, from now on."""
    puller.remember("observations_by", "categories")
    with puller.writing() as db:
        for patient in patients:
            forget_units(db, puller.name, patient, [query.name])
    bare = query._replace(also=(), filters=())
    return [
        partial(_ask, puller, by_category(bare, category), [patient], {}, None)
        for category in taken_categories(puller)
        for patient in patients
    ]


def drop_refused_categories(puller: Puller) -> None:
    """A category that the server refuses for every one of several patients, while it takes others, is dropped for the site.

    One patient's refusal may be that patient's own.
    """
    names = {category: f"{OBSERVATIONS}&category={category}" for category in taken_categories(puller)}
    with puller.reading() as db:
        rows = {category: ledger.units_of_query(db, puller.name, name) for category, name in names.items()}
    states = {category: {unit.state for unit in units.values()} for category, units in rows.items()}
    if not any("complete" in some for some in states.values()):
        return
    for category, some in states.items():
        if some == {"unsupported"} and len(rows[category]) > 1:
            puller.remember(f"category {category}", "no")
            with puller.writing() as db:
                for patient in rows[category]:
                    forget_units(db, puller.name, patient, [names[category]])
