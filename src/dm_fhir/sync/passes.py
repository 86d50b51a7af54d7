"""Pull, compute and push over the sites of a study; one site's failure never holds the others.

What a pass came to is read from the store afterwards (`summary`), never from "no exception reached the top".
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from dm_fhir.config import Site
from dm_fhir.errors import DmFhirError, unexpected
from dm_fhir.fhir.connection import Connection
from dm_fhir.store.database import transaction
from dm_fhir.store.pushes import forget, note_made_from
from dm_fhir.store.transmissions import open_transmissions
from dm_fhir.sync.compute import Computed, compute_site
from dm_fhir.sync.held import held
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.pull import EVERYTHING, Progress, Pulled, Wish, pull_site
from dm_fhir.sync.push.consent import Agree, begin_to_take_back, check_agreed, check_repair, nobody
from dm_fhir.sync.push.plan import TO_SEND, Item, plan, superseded
from dm_fhir.sync.push.pusher import push_site
from dm_fhir.sync.push.repair import Copies, copies_of, repair_site
from dm_fhir.sync.push.result import Result, unsent
from dm_fhir.sync.push.verify import Verified, verify_site

Connect = Callable[[Site], Connection]
P = ParamSpec("P")
T = TypeVar("T")


class Pass(NamedTuple):
    """What one run works with. `errors` gathers, by site, what stopped that site; `seconds`, by step, how long it took."""

    db: sqlite3.Connection
    run: int
    mappers: Mapping[str, Mapper]
    connect: Connect
    progress: Callable[[str], Progress]
    errors: dict[str, DmFhirError]
    seconds: dict[str, float]


def _timed(step: str) -> Callable[[Callable[Concatenate[Pass, P], T]], Callable[Concatenate[Pass, P], T]]:
    """Note in the pass how long the function takes, also where it fails."""

    def timing(function: Callable[Concatenate[Pass, P], T]) -> Callable[Concatenate[Pass, P], T]:
        @wraps(function)
        def timed(work: Pass, /, *args: P.args, **kwargs: P.kwargs) -> T:
            started = time.monotonic()
            try:
                return function(work, *args, **kwargs)
            finally:
                work.seconds[step] = work.seconds.get(step, 0) + time.monotonic() - started

        return timed

    return timing


@_timed("pull")
def pull(work: Pass, sites: Iterable[Site], wish: Wish = EVERYTHING) -> dict[str, Pulled]:
    """Pull each site; what each came to, for those that got so far."""

    def one(site: Site) -> Pulled:
        with work.connect(site) as connection:
            mapper = work.mappers[site.name]
            return pull_site(work.db, site, connection, mapper, work.run, wish, work.progress("pull"))

    return _each(work, sites, one)


@_timed("compute")
def compute(work: Pass, sites: Iterable[Site]) -> dict[str, Computed]:
    """Bring each site's cases and outcomes up to date. A site whose pull failed is computed from what it has.

    Whoever is held back keeps what they had.
    """

    def one(site: Site) -> Computed:
        mapper = work.mappers[site.name]
        return compute_site(work.db, site.name, mapper, work.run, held(work.db, site, mapper.merges))

    return _each(work, sites, one, even_stopped=True)


def planned(db: sqlite3.Connection, site: Site, mapper: Mapper, *, retract_all: bool = False) -> list[Item]:
    """What a push to the site would do now: nothing of the patients who are held back, unless all is taken back; see `plan`."""
    back = () if retract_all else held(db, site, mapper.merges)
    return plan(db, site.name, mapper, site.push, held=back, retract_all=retract_all)


@_timed("push")
def push(work: Pass, sites: Sequence[Site], agree: Agree = nobody, *, again: bool = False) -> dict[str, Result]:
    """Write each site's outcomes onto its server, but for those of patients who are held back.

    A site with nothing to send is not even connected to. A first push to a server, and one `again` after everything was taken
    back, asks whether that is agreed to.
    """

    def one(site: Site) -> Result:
        items = planned(work.db, site, work.mappers[site.name])
        _note(work.db, site.name, items)
        if any(item.action in TO_SEND for item in items):
            check_agreed(work.db, site, items, agree, again=again)
        elif not open_transmissions(work.db, site.name):
            return unsent(items)
        return _carried_out(work, site, items)

    return _each(work, sites, one)


@_timed("push")
def retract(work: Pass, sites: Sequence[Site], agree: Agree = nobody) -> dict[str, Result]:
    """Take back all that we wrote to each site, if that is agreed to. Nothing is written there then until a push `again`."""

    def one(site: Site) -> Result:
        items = planned(work.db, site, work.mappers[site.name], retract_all=True)
        if not items:
            return unsent(items)
        begin_to_take_back(work.db, site, items, agree)
        return _carried_out(work, site, items)

    return _each(work, sites, one)


def verify(work: Pass, sites: Sequence[Site], most: int | None = None) -> dict[str, Verified]:
    """Read back what was written to each site, all of it or `most` spread over all, and compare. Changes nothing."""

    def one(site: Site) -> Verified:
        with work.connect(site) as connection:
            return verify_site(work.db, site, connection, most)

    return _each(work, sites, one)


def copies(work: Pass, sites: Sequence[Site]) -> dict[str, list[Copies]]:
    """The results that each site's server holds more than once. Changes nothing."""

    def one(site: Site) -> list[Copies]:
        items = planned(work.db, site, work.mappers[site.name])
        with work.connect(site) as connection:
            return copies_of(work.db, site, connection, items)

    return _each(work, sites, one)


@_timed("push")
def repair(work: Pass, sites: Sequence[Site], agree: Agree = nobody) -> dict[str, Result]:
    """Retire all but one of the copies of each result, if that is agreed to."""

    def one(site: Site) -> Result:
        mapper = work.mappers[site.name]
        items = planned(work.db, site, mapper)
        with work.connect(site) as connection:
            several = copies_of(work.db, site, connection, items)
            if several:
                check_repair(site, several, agree)
            return repair_site(work.db, site, connection, mapper, work.run, items)

    return _each(work, sites, one)


def _carried_out(work: Pass, site: Site, items: Sequence[Item]) -> Result:
    with work.connect(site) as connection:
        mapper = work.mappers[site.name]
        return push_site(work.db, site, connection, mapper, work.run, items, work.progress("push"))


def _note(db: sqlite3.Connection, site: str, items: Sequence[Item]) -> None:
    """Keep what the plan has found out without any server."""
    same = [
        (item.identifier, item.made_from)
        for item in items
        if item.action == "unchanged" and item.before is not None and item.before.made_from != item.made_from
    ]
    gone = superseded(db, site, items)
    if same or gone:
        with transaction(db):
            note_made_from(db, site, same)
            forget(db, site, gone)


def _each(work: Pass, sites: Iterable[Site], one: Callable[[Site], T], *, even_stopped: bool = False) -> dict[str, T]:
    """What each site came to, without those that an error stops, be it a mistake of ours: the others go on.

    Sites that were stopped before take part only if `even_stopped`. What befalls the store befalls all of them.
    """
    found = {}
    for site in sites:
        if site.name in work.errors and not even_stopped:
            continue
        try:
            found[site.name] = one(site)
        except DmFhirError as error:
            work.errors.setdefault(site.name, error)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001  # one site's odd record must not cost the others their sync
            work.errors.setdefault(site.name, unexpected(error))
    return found
