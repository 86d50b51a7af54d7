"""Pull, compute and push over the sites of a study; one site's failure never holds the others.

What a pass came to is read from the store afterwards (`summary`), never from "no exception reached the top".
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from dm_fhir.config import Site
from dm_fhir.errors import DmFhirError, StoreError, unexpected
from dm_fhir.fhir.connection import Connection
from dm_fhir.store.database import note_growth, quick_commits, size_bytes, transaction
from dm_fhir.store.pushes import forget, note_made_from
from dm_fhir.store.stops import clear_stop, note_stop
from dm_fhir.store.transmissions import open_transmissions
from dm_fhir.store.turns import Stopped, keep
from dm_fhir.sync.again import asked_of
from dm_fhir.sync.bulk.pull import pull_bulk
from dm_fhir.sync.compute import Computed, compute_site
from dm_fhir.sync.files import clear_input
from dm_fhir.sync.held import held
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.pull import EVERYTHING, Progress, Pulled, Wish, pull_site
from dm_fhir.sync.push.consent import Agree, begin_to_take_back, check_agreed, check_repair, nobody, waits
from dm_fhir.sync.push.plan import TO_SEND, Item, Waiting, plan, superseded
from dm_fhir.sync.push.pusher import push_site
from dm_fhir.sync.push.repair import Copies, copies_of, repair_site
from dm_fhir.sync.push.result import Result, unsent
from dm_fhir.sync.push.verify import Verified, verify_site
from dm_fhir.sync.push.waiting import waiting
from dm_fhir.sync.side_by_side import side_by_side

Connect = Callable[[Site], Connection]
#: What the store keeps a stop under, by the step at which it happens: what waits for a yes is a push that waits.
_STEPS = {"pull": "pull", "compute": "compute", "plan": "push", "push": "push"}
P = ParamSpec("P")
T = TypeVar("T")


class Pass(NamedTuple):
    """What one run works with. `errors` gathers, by site, what stopped that site; `seconds`, by step, how long it took.

    So many `sites_at_a_time` are asked side by side; `heard` says when one was last heard of, by the monotonic clock. `look` is
    told now and then of a step: at how many sites it has ended, how many were stopped, how many there are.
    """

    db: sqlite3.Connection
    run: int
    mappers: Mapping[str, Mapper]
    connect: Connect
    progress: Callable[..., Progress]
    errors: dict[str, DmFhirError]
    seconds: dict[str, float]
    sites_at_a_time: int = 1
    heard: Callable[[str], float] = lambda _: 0.0
    look: Callable[[str, int, int, int], None] = lambda *_: None


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
def pull(work: Pass, sites: Sequence[Site], wish: Wish = EVERYTHING) -> dict[str, Pulled]:
    """Pull each site; what each came to, for those that got so far. A site of which nothing is asked is not connected to."""
    asked = {site.name: own for site in sites if (own := asked_of(work.db, site, wish)) is not None}

    def one(site: Site) -> Pulled:
        mapper, own = work.mappers[site.name], asked[site.name]
        with work.connect(site) as connection:
            if site.pull.mode == "bulk":
                return pull_bulk(work.db, site, connection, mapper, work.run, own, work.progress)
            return pull_site(work.db, site, connection, mapper, work.run, own, work.progress("pull"))

    clear_input(work.db)
    size_before = size_bytes(work.db)
    with quick_commits(work.db):
        pulled = _side_by_side(work, [site for site in sites if site.name in asked], one, "pull")
    if pulled and not wish.is_partial:
        note_growth(work.db, size_before)
    return pulled


@_timed("compute")
def compute(work: Pass, sites: Sequence[Site]) -> dict[str, Computed]:
    """Bring each site's cases and outcomes up to date. A site whose pull failed is computed from what it has.

    Whoever is held back keeps what they had.
    """

    def one(site: Site) -> Computed:
        mapper = work.mappers[site.name]
        return compute_site(work.db, site.name, mapper, work.run, held(work.db, site, mapper.merges))

    return _each(work, sites, one, "compute", even_stopped=True)


def planned(db: sqlite3.Connection, site: Site, mapper: Mapper, *, retract_all: bool = False) -> Iterator[Item]:
    """What a push to the site would do now: nothing of the patients who are held back, unless all is taken back; see `plan`."""
    back = () if retract_all else held(db, site, mapper.merges)
    return plan(db, site.name, mapper, site.push, held=back, retract_all=retract_all)


@_timed("push")
def push(work: Pass, sites: Sequence[Site], agree: Agree = nobody, *, again: bool = False) -> dict[str, Result]:
    """Write each site's outcomes onto its server, but for those of patients who are held back.

    A site with nothing to send is not even connected to. A first push to a server, and one `again` after everything was taken
    back, asks whether that is agreed to, one site after another, before anything is written.
    """

    def agreed(site: Site) -> list[Waiting]:
        items = list(waiting(planned(work.db, site, work.mappers[site.name])))
        _note(work.db, site.name, items)
        if any(item.action in TO_SEND for item in items):
            check_agreed(work.db, site, items, agree, again=again)
        return items

    def one(site: Site) -> Result:
        items = agreed(site)
        is_idle = not any(item.action in TO_SEND for item in items) and not open_transmissions(work.db, site.name)
        return unsent(items) if is_idle else _carried_out(work, site, items)

    _each(work, [site for site in sites if waits(work.db, site)], lambda site: bool(agreed(site)), "plan")
    return _side_by_side(work, sites, one, "push")


@_timed("push")
def retract(work: Pass, sites: Sequence[Site], agree: Agree = nobody) -> dict[str, Result]:
    """Take back all that we wrote to each site, if that is agreed to. Nothing is written there then until a push `again`."""

    def one(site: Site) -> Result:
        items = list(waiting(planned(work.db, site, work.mappers[site.name], retract_all=True)))
        if not items:
            return unsent(items)
        begin_to_take_back(work.db, site, items, agree)
        return _carried_out(work, site, items)

    return _each(work, sites, one, "push")


def verify(work: Pass, sites: Sequence[Site], most: int | None = None) -> dict[str, Verified]:
    """Read back what was written to each site, all of it or `most` spread over all, and compare. Changes nothing."""

    def one(site: Site) -> Verified:
        with work.connect(site) as connection:
            return verify_site(work.db, site, connection, most)

    return _side_by_side(work, sites, one, "verify")


def copies(work: Pass, sites: Sequence[Site]) -> dict[str, list[Copies]]:
    """The results that each site's server holds more than once. Changes nothing."""

    def one(site: Site) -> list[Copies]:
        items = planned(work.db, site, work.mappers[site.name])
        with work.connect(site) as connection:
            return copies_of(work.db, site, connection, items)

    return _side_by_side(work, sites, one, "copies")


@_timed("push")
def repair(work: Pass, sites: Sequence[Site], agree: Agree = nobody) -> dict[str, Result]:
    """Retire all but one of the copies of each result, if that is agreed to."""

    def one(site: Site) -> Result:
        mapper = work.mappers[site.name]
        with work.connect(site) as connection:
            several = copies_of(work.db, site, connection, planned(work.db, site, mapper))
            if several:
                check_repair(site, several, agree)
            return repair_site(work.db, site, connection, mapper, work.run, planned(work.db, site, mapper))

    return _each(work, sites, one, "push")


def _carried_out(work: Pass, site: Site, items: Sequence[Waiting]) -> Result:
    with work.connect(site) as connection:
        mapper = work.mappers[site.name]
        return push_site(work.db, site, connection, mapper, work.run, items, work.progress("push"))


def _note(db: sqlite3.Connection, site: str, items: Sequence[Waiting]) -> None:
    """Keep what the plan has found out without any server."""
    same = [(item.identifier, item.remade) for item in items if item.remade]
    gone = superseded(db, site, items)
    if same or gone:
        with transaction(db):
            note_made_from(db, site, same)
            forget(db, site, gone)


def _side_by_side(work: Pass, sites: Sequence[Site], one: Callable[[Site], T], step: str) -> dict[str, T]:
    """As `_each`, with several sites at a time. When it ends by an exception no other thread uses the store any more."""
    going = [site for site in sites if site.name not in work.errors]
    if work.sites_at_a_time == 1 or len(going) < 2:
        return _each(work, going, one, step)
    found: dict[str, T] = {}

    def attempt(site: Site) -> None:
        _attempt(work, site, one, step, found)

    def look(ended: int) -> None:
        work.look(step, ended, len(work.errors), len(going))

    try:
        side_by_side(going, attempt, work.sites_at_a_time, work.heard, look)
    except BaseException:
        keep(work.db)
        raise
    return {site.name: found[site.name] for site in going if site.name in found}


def _each(
    work: Pass, sites: Sequence[Site], one: Callable[[Site], T], step: str, *, even_stopped: bool = False
) -> dict[str, T]:
    """What each site came to, one after the other; those that were stopped before take part only if `even_stopped`."""
    found: dict[str, T] = {}
    for ended, site in enumerate(sites, start=1):
        if even_stopped or site.name not in work.errors:
            _attempt(work, site, one, step, found)
        work.look(step, ended, len(work.errors), len(sites))
    return found


def _attempt(work: Pass, site: Site, one: Callable[[Site], T], step: str, found: dict[str, T]) -> None:
    """Note what the site came to, or the error that stopped it, be it a mistake of ours: the others go on.

    What befalls the store befalls all of them.
    """
    try:
        found[site.name] = one(site)
    except DmFhirError as error:
        _stopped(work, site, step, error)
    except (sqlite3.Error, Stopped):
        raise
    except Exception as error:  # noqa: BLE001  # one site's odd record must not cost the others their sync
        _stopped(work, site, step, unexpected(error))
    else:
        if step in _STEPS:
            clear_stop(work.db, site.name, _STEPS[step])


def _stopped(work: Pass, site: Site, step: str, error: DmFhirError) -> None:
    """Note what stopped the site, for this run and for whoever looks at the store later. A full disk takes no note.

    What stops several steps of it in the same way is kept under the first.
    """
    before = work.errors.get(site.name)
    work.errors.setdefault(site.name, error)
    is_known = before is not None and str(before) == str(error)
    if step in _STEPS and not is_known and not isinstance(error, StoreError):
        with transaction(work.db):
            note_stop(
                work.db, site.name, _STEPS[step], error.exit_code, getattr(error, "reason", None), str(error), work.run
            )
