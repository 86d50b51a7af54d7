"""One query of the plan for many patients: in groups as large as the server takes, in batches, or one by one.

A group that does not work out is asked for in smaller ones, so that a fault stays with the patient who has it.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import ceil

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.resource import Resource
from dm_fhir.store import ledger
from dm_fhir.store.database import batched
from dm_fhir.store.ledger import Unit, forget_units, get_unit, put_units
from dm_fhir.store.resources import has_records_of
from dm_fhir.sync.alone import pull_alone, read_each
from dm_fhir.sync.group_size import group_size, is_known, list_fact
from dm_fhir.sync.opening import NeedsCategory
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import PATIENT, Query, by_category, since, taken_categories
from dm_fhir.sync.tally import Check, begun
from dm_fhir.sync.together import PARTS, pull_batch, pull_together
from dm_fhir.sync.workers import Job

_BATCH = 20
OBSERVATIONS = "Observation?patient"


def jobs_for(
    puller: Puller, query: Query, patients: Sequence[str], *, only_open: bool, queries_beside: int = 0
) -> list[Job]:
    """One query for all patients, in groups where the server takes lists of patients, alone where it does not.

    `only_open`: only units that are not complete. `queries_beside`: how many others are asked at the same time.
    """
    if not patients:
        return []
    with puller.reading() as db:
        before = ledger.units_of_query(db, puller.name, query.name)
    if only_open:
        patients = [p for p in patients if p not in before or before[p].state != "complete"]
    share = ceil(len(patients) * (1 + queries_beside) / puller.site.pull.concurrency)
    return _grouped(puller, query, patients, before, share)


def _grouped(
    puller: Puller, query: Query, patients: Sequence[str], before: Mapping[str, Unit], share: int
) -> list[Job]:
    """Jobs for those of whom changes suffice, from the earliest start that one of them needs, and for the others."""
    starts = {patient: since(puller, before[patient], query) for patient in patients if patient in before}
    changing = [patient for patient in patients if starts.get(patient)]
    from_start = [patient for patient in patients if not starts.get(patient)]
    earliest = min((start for patient in changing if (start := starts[patient])), default=None)
    return [
        *_in_groups(puller, query, changing, before, share, earliest),
        *_in_groups(puller, query, from_start, before, share, None),
    ]


def _in_groups(
    puller: Puller, query: Query, patients: Sequence[str], before: Mapping[str, Unit], share: int, start: str | None
) -> Iterator[Job]:
    """A merged patient's records may be under another id: such a one is asked for alone."""
    is_listed = query.is_listed(puller)
    together = [patient for patient in patients if is_listed and patient not in puller.linked]
    alone = [patient for patient in patients if not is_listed or patient in puller.linked]
    yield from _Groups(puller, query, together, before, share, start).begin()
    yield from (partial(_ask_alone, puller, query, patient) for patient in alone)


class _Groups:
    """The groups of one query's patients. How large one is, is decided when its turn comes, by what is known then.

    While nothing is known there is but one: whoever comes next would be as ignorant.
    """

    def __init__(
        self, puller: Puller, query: Query, patients: Sequence[str], before: Mapping[str, Unit], share: int,
        start: str | None,
    ) -> None:  # fmt: skip
        self._puller, self._query, self._before, self._start, self._share = puller, query, before, start, share
        self._left = deque(patients)
        self._waiting = 0
        self._lock = threading.Lock()

    def begin(self) -> list[Job]:
        """The jobs to begin with. They lead to the others."""
        return self._jobs(None if self._is_known() else 1)

    def _jobs(self, most: int | None = None) -> list[Job]:
        """As many jobs as groups are left, less those that wait already."""
        size = self._size()
        with self._lock:
            more = max(0, ceil(len(self._left) / size) - self._waiting)
            more = more if most is None else min(most, more)
            self._waiting += more
        return [self._ask_next] * more

    def _ask_next(self) -> Iterable[Job]:
        size = self._size()
        with self._lock:
            self._waiting -= 1
            group = [self._left.popleft() for _ in range(min(size, len(self._left)))]
        if not group:
            return []
        rows = {patient: self._before[patient] for patient in group if patient in self._before}
        parts = _ask(self._puller, self._query, group, rows, self._start)
        return [*parts, *self._jobs()]

    def _size(self) -> int:
        if _takes_lists(self._puller, self._query):
            return group_size(self._puller, self._query, self._share, in_full=self._start is None)
        return _BATCH if _takes_batch(self._puller) else 1

    def _is_known(self) -> bool:
        is_listed = _takes_lists(self._puller, self._query)
        return not is_listed or is_known(self._puller, self._query, in_full=self._start is None)


def _takes_lists(puller: Puller, query: Query) -> bool:
    return puller.settings.patients_per_query != 1 and puller.fact(list_fact(query.type)) != "no"


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
    bare = query._replace(also=(), filters=())
    queries = [by_category(bare, category) for category in taken_categories(puller)]
    with puller.writing() as db:  # all of them open at once: a pull that is cut off here is not complete
        for patient in patients:
            forget_units(db, puller.name, patient, [query.name])
        put_units(db, [begun(None, puller.name, p, q.name, puller.run, q.asked) for q in queries for p in patients])
    return [partial(_ask, puller, one, [patient], {}, None) for one in queries for patient in patients]


def drop_refused_categories(puller: Puller) -> None:
    """A category that the server refuses for every one of several patients, while it takes others, is dropped for the site.

    One patient's refusal may be that patient's own.
    """
    if puller.settings.observations_by != "categories":
        return
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
