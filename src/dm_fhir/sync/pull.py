"""Pull: everything of a site's cohort into the store, every patient x query accounted for in the ledger.

In this order: who is in the cohort, their Patient resources, the queries of the plan for all of them, what their records
refer to. A page and its ledger rows are committed together, a unit's watermark moves only when it is complete, and what was
not even begun keeps one unit open, the whole plan.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from dm_fhir.config import Site
from dm_fhir.errors import ServerUnavailable
from dm_fhir.fhir.capability import read_capability
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.vendors import vendor_of
from dm_fhir.store import ledger
from dm_fhir.store.ledger import Unit, forget_units, get_unit, note_plan, now, put_unit
from dm_fhir.store.members import join
from dm_fhir.sync.bulk.job import leave
from dm_fhir.sync.bulk.order import MEDICATION
from dm_fhir.sync.cohort import COHORT, Named, find_cohort, known_members, read_list
from dm_fhir.sync.groups import drop_refused_categories, jobs_for
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import PATIENT, Query, plan
from dm_fhir.sync.references import linked_patients
from dm_fhir.sync.site_wide import history_jobs, pull_medications, pull_whole
from dm_fhir.sync.tally import begun
from dm_fhir.sync.unchanged import learn_counting, unchanged
from dm_fhir.sync.workers import Job, work_off

#: The unit that is complete when every other one of the site has been tried.
PLAN = "whole plan"
_NOT_THROUGH = "the last pull did not get through"

Progress = Callable[[str, int, int], None]


class Wish(NamedTuple):
    """What one pull is asked to do. `patients`, and those in the file `listed`: only these, who join the cohort.

    `retry`: only what is open in the ledger.
    """

    full: bool = False
    patients: tuple[str, ...] = ()
    listed: Path | None = None
    retry: bool = False

    @property
    def is_partial(self) -> bool:
        """Whether it is not the whole plan."""
        return bool(self.patients) or self.listed is not None or self.retry


#: All that the plan has, as far as it has changed.
EVERYTHING = Wish()


class Pulled(NamedTuple):
    """How many patients were asked for, the lines of their list, and what is to be said about the site as a whole."""

    patients: int
    named: list[Named]
    remarks: list[str]


def pull_site(
    db: sqlite3.Connection,
    site: Site,
    connection: Connection,
    mapper: Mapper,
    run: int,
    wish: Wish,
    progress: Progress,
) -> Pulled:
    """Pull the site's cohort. The ledger says how complete that is.

    Raises ServerUnavailable or LoginRefused when going on is pointless, ConfigError if the endpoint is no FHIR R4 server or
    cannot search the cohort; units that were not reached keep their rows.
    """
    return _pulled(opened_puller(db, site, connection, mapper, run, wish.full), wish, progress)


def _pulled(puller: Puller, wish: Wish, progress: Progress) -> Pulled:
    if not wish.is_partial:
        leave(puller)
    with whole_plan(puller, wish):
        named, patients = _cohort(puller, wish)
        pull_patients(puller, patients, wish, partial(progress, puller.name))
        puller.check_reachable()
    return Pulled(len(patients), named, remarks_of(puller))


@contextmanager
def whole_plan(puller: Puller, wish: Wish) -> Iterator[None]:
    """The block in which everything of the plan is tried: only when it ends well is its unit complete."""
    if wish.is_partial:
        yield
        return
    with puller.writing() as db:
        before = get_unit(db, puller.name, "", PLAN)
        unit = replace(begun(before, puller.name, "", PLAN, puller.run, PLAN), message=_NOT_THROUGH)
        put_unit(db, unit)
    yield
    with puller.writing() as db:
        put_unit(db, replace(unit, state="complete", reason=None, message=None, watermark=now()))


def opened_puller(
    db: sqlite3.Connection, site: Site, connection: Connection, mapper: Mapper, run: int, full: bool = False
) -> Puller:
    """What a pull of this site works with, after asking the server what it can do."""
    try:
        capability = read_capability(connection)
    except ServerUnavailable as error:
        raise ServerUnavailable(f"{error.message}; nothing was pulled", reason=error.reason, hint=error.hint) from None
    return Puller(db, site, connection, mapper, capability, vendor_of(capability, site.vendor), run, full)


def _cohort(puller: Puller, wish: Wish) -> tuple[list[Named], list[str]]:
    """Whom to ask for, and the lines of their list; whoever is asked for by name joins the cohort without a search."""
    if wish.patients or wish.listed:
        named = read_list(puller, wish.listed) if wish.listed else []
        chosen = sorted({*wish.patients, *(one.patient for one in named if one.patient is not None)})
        with puller.writing() as db:
            join(db, puller.name, chosen, puller.run)
        return named, chosen
    if not wish.retry:
        return find_cohort(puller), known_members(puller)
    named = []
    if any(unit.query.startswith(COHORT) for unit in _open_units(puller)):
        named = find_cohort(puller)
    members = set(known_members(puller))
    untried = members - {unit.patient for unit in _all_units(puller)}
    return named, sorted(({unit.patient for unit in _open_units(puller)} | untried) & members)


def _all_units(puller: Puller) -> list[Unit]:
    with puller.reading() as db:
        return ledger.units(db, puller.name)


def _open_units(puller: Puller) -> list[Unit]:
    optional = puller.site.pull.optional_types
    return [unit for unit in _all_units(puller) if ledger.needs_attention(unit, optional)]


def pull_patients(puller: Puller, patients: Sequence[str], wish: Wish, progress: Callable[[int, int], None]) -> None:
    """Patient first: a merged patient's other records are found through it. Then the rest, then what that refers to.

    What the puller has of an export is not asked for.
    """
    is_asked = PATIENT.type not in puller.exported
    done = set() if wish.is_partial else unchanged(puller, [PATIENT, *plan(puller)], patients)

    def jobs_of(query: Query, others: Sequence[str] = (), queries_beside: int = 0) -> list[Job]:
        whose = others if query.name in done else [*patients, *others]
        return jobs_for(puller, query, whose, only_open=wish.retry, queries_beside=queries_beside)

    if is_asked:
        work_off(puller, jobs_of(PATIENT), lambda *_: None)
    with puller.reading() as db:
        puller.linked = linked_patients(db, puller.name, patients, puller.mapper)
    others = sorted({other for group in puller.linked.values() for other in group} - set(patients))
    if others:
        with puller.writing() as db:
            join(db, puller.name, others, puller.run)
        if is_asked:
            work_off(puller, jobs_for(puller, PATIENT, others, only_open=wish.retry), lambda *_: None)
    queries = plan(puller)
    _note_plan(puller, queries)
    jobs = [job for query in queries for job in jobs_of(query, others, len(queries) - 1)]
    if not wish.is_partial:
        whole = [name for name in puller.site.pull.whole_types if name not in puller.exported]
        jobs += [partial(pull_whole, puller, type_name) for type_name in whole]
        jobs += history_jobs(puller, queries)
    work_off(puller, jobs, progress)
    drop_refused_categories(puller)
    _forget_old_queries(puller, queries, [*patients, *others])
    _note_plan(puller, plan(puller))
    pull_medications(puller, whole=not wish.is_partial and MEDICATION not in puller.exported)
    if queries:
        learn_counting(puller, queries, len(patients))


def _note_plan(puller: Puller, queries: Sequence[Query]) -> None:
    """What a patient must have been asked for to be complete. It may turn out on the way that it goes by category."""
    with puller.writing() as db:
        note_plan(db, puller.name, _asked_of_each(puller, queries))


def _asked_of_each(puller: Puller, queries: Sequence[Query]) -> list[str]:
    """The names of the queries that each patient is asked for."""
    first = [] if PATIENT.type in puller.exported else [PATIENT.name]
    return [*first, *(query.name for query in queries)]


def _forget_old_queries(puller: Puller, queries: Sequence[Query], patients: Sequence[str]) -> None:
    """Rows of queries that the plan no longer has would stay as they are for ever."""
    names = set(_asked_of_each(puller, queries))
    if puller.settings.observations_by == "categories":
        names |= {name for name in _names(puller) if name.startswith("Observation?patient&category=")}
    old = [name for name in _names(puller) if name not in names]
    if old:
        with puller.writing() as db:
            for patient in patients:
                forget_units(db, puller.name, patient, old)


def _names(puller: Puller) -> list[str]:
    with puller.reading() as db:
        return ledger.query_names(db, puller.name)


def remarks_of(puller: Puller) -> list[str]:
    """What holds for the whole site."""
    offset = puller.connection.login.clock_offset_seconds
    remarks = []
    if offset is not None and abs(offset) > 30:
        minutes = f"{abs(offset) / 60:.0f} min" if abs(offset) >= 90 else f"{abs(offset):.0f} s"
        remarks.append(f"local clock is {minutes} {'ahead of' if offset < 0 else 'behind'} the server")
    return remarks
