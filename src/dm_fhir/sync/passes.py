"""Pull, compute and push over the sites of a study; one site's failure never holds the others.

What a pass came to is read from the store afterwards (`summary`), never from "no exception reached the top".
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from dm_fhir.config import Site
from dm_fhir.errors import DmFhirError
from dm_fhir.fhir.connection import Connection
from dm_fhir.store.database import transaction
from dm_fhir.store.pushes import forget, note_made_from
from dm_fhir.store.transmissions import open_transmissions
from dm_fhir.sync.compute import Computed, compute_site
from dm_fhir.sync.held import held
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.pull import EVERYTHING, Progress, Pulled, Wish, pull_site
from dm_fhir.sync.push import push_site
from dm_fhir.sync.push_plan import TO_SEND, Item, plan, superseded
from dm_fhir.sync.push_result import Result, unsent

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
    found = {}
    for site in sites:
        mapper = work.mappers[site.name]
        found[site.name] = compute_site(work.db, site.name, mapper, work.run, held(work.db, site, mapper.merges))
    return found


@_timed("push")
def push(work: Pass, sites: Sequence[Site]) -> dict[str, Result]:
    """Write each site's outcomes onto its server, but for those of patients who are held back.

    A site with nothing to send is not even connected to.
    """

    def one(site: Site) -> Result:
        mapper = work.mappers[site.name]
        items = plan(work.db, site.name, mapper, site.push, held=held(work.db, site, mapper.merges))
        _note(work.db, site.name, items)
        if not any(item.action in TO_SEND for item in items) and not open_transmissions(work.db, site.name):
            return unsent(items)
        with work.connect(site) as connection:
            return push_site(work.db, site, connection, mapper, work.run, items, work.progress("push"))

    return _each(work, sites, one)


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


def _each(work: Pass, sites: Iterable[Site], one: Callable[[Site], T]) -> dict[str, T]:
    found = {}
    for site in sites:
        if site.name in work.errors:
            continue
        try:
            found[site.name] = one(site)
        except DmFhirError as error:
            work.errors[site.name] = error
    return found
