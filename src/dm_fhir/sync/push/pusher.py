"""Push: computed outcomes, and imported scores, onto the hospital's server, each exactly once, however often it is run.

The identifier is the outcome's or score's own. What has not changed since is not sent at all. Before a request goes out, the
store knows about it; what the server kept of it is compared with what was sent. What an earlier run has left open is looked up
first. A resource that somebody else has changed since we wrote it is never touched.
"""

import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import groupby, islice
from urllib.parse import urlsplit

from dm_fhir.config import Site
from dm_fhir.errors import RequestFailed, ServerUnavailable
from dm_fhir.fhir.capability import read_capability
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.vendors import vendor_of
from dm_fhir.store.audit import note_written
from dm_fhir.store.database import batched
from dm_fhir.store.facts import facts, remember
from dm_fhir.store.pushes import Pushed, each_pushed, forget, put_pushes, seconds_since_sent, settle_pushes
from dm_fhir.store.transmissions import (
    Activity,
    Transmission,
    begin_transmission,
    open_transmissions,
    set_state,
    written_in,
)
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.push.bundle import write_bundles
from dm_fhir.sync.push.content import fingerprint
from dm_fhir.sync.push.first import write_first
from dm_fhir.sync.push.plan import TO_SEND, Item, Waiting
from dm_fhir.sync.push.provenance import document, is_ours
from dm_fhir.sync.push.request import Write, token
from dm_fhir.sync.push.resolve import holds_only
from dm_fhir.sync.push.result import NO_PATIENT, Result, State, counted, result_of
from dm_fhir.sync.push.single import Ended, NothingMayBeWritten, Writer, decide, write_one
from dm_fhir.sync.push.subjects import missing_patients
from dm_fhir.sync.push.verify import not_kept, spread
from dm_fhir.sync.push.waiting import whole
from dm_fhir.sync.push.ways import Way, Ways
from dm_fhir.sync.shared_store import SharedStore
from dm_fhir.sync.workers import Job, work_off

Progress = Callable[[str, int, int], None]
#: So many items at most are written singly, where the server refuses them by every way, before the others are.
_MOST_FIRST = 3
#: How many are looked up at a time, until there are so many that are not there.
_LOOKED_AT = 20
#: Of so many at a time the bodies are held where nothing is sent.
_MOST_WHOLE = 200
_SAMPLE = 20
#: The server holds what we want to be there.
_THERE = ("confirmed", "retracted")


def push_site(
    db: sqlite3.Connection,
    site: Site,
    connection: Connection,
    mapper: Mapper,
    run: int,
    items: Sequence[Waiting],
    progress: Progress,
) -> Result:
    """Carry out `items`, and document what an earlier run has left undocumented.

    Raises ServerUnavailable or LoginRefused when going on is pointless: what was written until then is confirmed in the store;
    run again to go on. Raises ConfigError if the endpoint is no FHIR R4 server.
    """
    pusher = _Pusher(db, site, connection, mapper, run, items)
    try:
        pusher.carry_out(partial(progress, site.name))
    except ServerUnavailable as error:
        raise pusher.cut_off(error) from None
    return pusher.result()


class _Pusher(SharedStore):
    """One site's push at work, used by all its threads. `ended` has how each item stands that this push has dealt with."""

    def __init__(
        self,
        db: sqlite3.Connection,
        site: Site,
        connection: Connection,
        mapper: Mapper,
        run: int,
        items: Sequence[Waiting],
    ) -> None:
        super().__init__(db)
        self.site, self.connection, self.mapper, self.run, self.items = site, connection, mapper, run, items
        self.ended: dict[str, State] = {}
        self.sent: set[str] = set()
        self._hashes: dict[str, str] = {}
        self._intended: dict[str, bytes] = {}
        self._of: dict[int, list[Pushed]] = {}
        self._documented: deque[tuple[int, str, str | None]] = deque()
        self.provenance: Counter[str] = Counter()
        self.checked = sum(_is_unfinished(item) for item in items if item.action in TO_SEND)
        self._requests_before = connection.requests_sent
        self._waited = seconds_since_sent(db, site.name)
        capability = read_capability(connection)
        ways = Ways(site, capability, vendor_of(capability, site.vendor), facts(db, site.name), self._remember)
        self.writer = Writer(connection, ways, partial(is_ours, connection, mapper))
        self._empty: str | None = None

    def carry_out(self, progress: Callable[[int, int], None]) -> None:
        """Everything there is to do, in this order: what an earlier run left open, a first write, the others, the proof."""
        left_open = open_transmissions(self.db, self.site.name)
        to_send = [item for item in self.items if item.action in TO_SEND]
        ready = self._without_missing_patients(to_send)
        ready = self._first(ready)
        jobs: Iterator[Job] = (partial(self._job, some) for some in self._parts(ready))
        work_off(self, jobs, lambda *_: progress(len(self.ended), len(to_send)))
        for transmission in left_open:
            self._document(transmission, is_new=False)
        self._prove()
        progress(len(to_send), len(to_send))

    def result(self) -> Result:
        """What it came to."""
        result = result_of([(item, self.ended.get(item.identifier)) for item in self.items])
        checked = [counted(self.checked, "unfinished write", "unfinished writes") + " checked"] if self.checked else []
        return result._replace(
            remarks=[*checked, *result.remarks, *self.writer.ways.remarks],
            written=len(self.sent),
            checked=self.checked,
            requests=self.connection.requests_sent - self._requests_before,
            provenance=dict(self.provenance),
        )

    def cut_off(self, error: ServerUnavailable) -> ServerUnavailable:
        """The error that ended it, with how far it came."""
        to_send = sum(item.action in TO_SEND for item in self.items)
        done = sum(one.state in _THERE for one in self.ended.values())
        host = urlsplit(self.connection.endpoint).netloc
        return ServerUnavailable(
            f"{done} of {to_send} written; run again later: {host}: {error.message}",
            reason=error.reason, not_before=error.not_before, hint="what was written is confirmed in the store",
        )  # fmt: skip

    def _remember(self, name: str, value: str) -> None:
        with self.writing() as db:
            remember(db, self.site.name, name, value)

    def _whole(self, items: Sequence[Waiting]) -> list[Item]:
        """The items, whose turn has come."""
        with self.reading() as db:
            return whole(db, self.site.name, items)

    def _block(self, items: Sequence[Waiting], why: str) -> None:
        """Note that nothing is sent of these."""
        with self.writing():
            for some in batched(items, _MOST_WHOLE):
                self._keep([Ended(item, "blocked", why) for item in self._whole(some)], None)

    def _without_missing_patients(self, items: Sequence[Waiting]) -> list[Waiting]:
        """The items whose patients are there; the others are blocked. Who has something on the server already is not asked for."""
        known = {
            item.patient
            for item in self.items
            if item.before and item.before.server_id and item.before.state != "blocked"
        }
        missing = missing_patients(self.connection, {item.patient for item in items} - known)
        self._block([item for item in items if item.patient in missing], NO_PATIENT)
        return [item for item in items if item.patient not in missing]

    def _first(self, items: list[Waiting]) -> list[Waiting]:
        """Write single items until it is known how the server writes one once; the items that are left."""
        for waiting in islice(self._absent([item for item in items if _is_new(item)]), _MOST_FIRST):
            if self.writer.ways.is_tried or not self.writer.ways.may_create:
                break
            items.remove(waiting)  # what is there already is written by its id, which needs no condition
            (new,) = self._whole([waiting])
            transmission = self._intend([Write(new)], "CREATE")
            self._send([Write(new)], transmission, partial(self._first_of, Write(new)))
            self._document(transmission, is_new=True)
            row, system = next(each_pushed(self.db, self.site.name, [new.identifier])), _system(new)
            if row.server_id and holds_only(self.connection, system, row.server_id):
                self._empty = system
        if self.writer.ways.way is None or not self.writer.ways.may_create:
            self._block([item for item in items if _is_new(item)], "nothing new can be written once")
            return [item for item in items if not _is_new(item)]
        return items

    def _absent(self, items: Sequence[Waiting]) -> Iterator[Waiting]:
        """Those of them of which the server has nothing: what somebody has made of ours is not written over to try a way."""
        for some in batched(items, _LOOKED_AT):
            if self.writer.ways.is_tried or not self.writer.ways.may_create:
                return
            holdings = self.writer.look(self._whole(some))
            yield from (item for item in some if holdings[item.identifier].kind == "absent")

    def _first_of(self, write: Write) -> Iterator[Ended]:
        yield write_first(self.writer, write)

    def _parts(self, items: Sequence[Waiting]) -> Iterator[Sequence[Waiting]]:
        """What goes into one transmission: the same activity, so many at most."""
        for _, some in groupby(sorted(items, key=_activity), key=_activity):
            yield from batched(list(some), self.writer.ways.bundle_size)

    def _job(self, some: Sequence[Waiting]) -> Iterable[Job]:
        """One transmission: looked up what needs to be, written, documented."""
        items = self._whole(some)
        try:
            writes = list(self._looked_up(items))
        except RequestFailed as error:
            with self.writing():
                self._keep([Ended(item, "sending", f"cannot be looked up: {error.message}") for item in items], None)
            return ()
        if writes:
            self._document(self._written(writes, _activity(items[0])), is_new=True)
        return ()

    def _looked_up(self, items: Sequence[Item]) -> Iterator[Write]:
        """What is to be written, over what. What an earlier run had begun, or somebody has changed, is settled without a write."""
        perhaps_there = [item for item in items if not _is_new(item) or _system(item) != self._empty]
        unfinished = [item for item in perhaps_there if _is_unfinished(item)]
        holdings = self.writer.look([item for item in perhaps_there if not _is_unfinished(item)], exactly=False)
        holdings |= self.writer.look_until_found(unfinished, self._waited)
        settled = []
        for item in items:
            ended, copy = decide(item, holdings[item.identifier]) if item.identifier in holdings else (None, None)
            if ended is None:
                yield Write(item, copy)
            else:
                settled.append(ended)
        if settled:
            with self.writing():
                self._keep(settled, None)

    def _written(self, writes: Sequence[Write], activity: Activity) -> Transmission | None:
        """Write them: in Bundles, each noted before it is sent and after; or one by one, each noted so."""
        way = self.writer.ways.way or "search"
        transmission = None
        for some in [writes] if way == "transaction" else batched(writes, 1):
            transmission = self._intend(some, activity, transmission)
            together = partial(write_bundles, self.writer, some)
            self._send(some, transmission, together if way == "transaction" else partial(self._one, some[0], way))
        return transmission

    def _one(self, write: Write, way: Way) -> Iterator[Ended]:
        yield write_one(self.writer, write, way)

    def _intend(
        self, writes: Sequence[Write], activity: Activity, transmission: Transmission | None = None
    ) -> Transmission:
        """Note what is about to be sent, in this transmission or a new one."""
        for item, _ in writes:
            self._hashes[item.identifier] = fingerprint(item.body)
        with self.writing() as db:
            transmission = transmission or begin_transmission(db, self.site.name, self.run, activity)
            rows = [_intent(item, self._hashes[item.identifier], transmission) for item, _ in writes]
            put_pushes(db, self.site.name, rows, self.run)
            self._intended |= {row.identifier: row.body for row in rows}
        return transmission

    def _send(
        self, writes: Sequence[Write], transmission: Transmission, sending: Callable[[], Iterator[Ended]]
    ) -> None:
        """Send it, and note how far that came, whatever ended it."""
        ended: list[Ended] = []
        try:
            ended.extend(sending())
        except NothingMayBeWritten:
            self._take_back([write.item for write in writes])
            raise
        finally:
            with self.writing():
                self._keep(ended, transmission)

    def _take_back(self, items: Sequence[Item]) -> None:
        """None of these was carried out, and the server says so: they stand as before."""
        with self.writing() as db:
            forget(db, self.site.name, [item.identifier for item in items])
            put_pushes(db, self.site.name, [item.before for item in items if item.before], self.run)

    def _keep(self, ended: Sequence[Ended], transmission: Transmission | None) -> None:
        """Note what became of them. Call it inside a transaction."""
        self._note_documented()
        rows = [_row(one, self._hashes.pop(one.item.identifier, None), transmission) for one in ended]
        intended = [self._intended.pop(row.identifier, None) for row in rows]
        known = [row for row, body in zip(rows, intended, strict=True) if body is row.body]
        settle_pushes(self.db, self.site.name, known, self.run)
        others = [row for row, body in zip(rows, intended, strict=True) if body is not row.body]
        put_pushes(self.db, self.site.name, others, self.run)
        self._note_ended(rows)
        if transmission is not None:
            self._of.setdefault(transmission.number, []).extend(rows)
        sent = [one for one in ended if one.was_sent]
        self.sent |= {one.item.identifier for one in sent if one.server_id}
        for is_retraction, some in groupby(sorted(sent, key=_is_retraction), key=_is_retraction):
            about = [(one.item.patient, one.server_id) for one in some if one.server_id]
            note_written(self.db, self.run, self.site.name, "retract" if is_retraction else "write", about)

    def _note_ended(self, rows: Iterable[Pushed]) -> None:
        self.ended |= {row.identifier: _state(row.state, row.message) for row in rows}

    def _document(self, transmission: Transmission | None, *, is_new: bool) -> None:
        """Its Provenance. Where the server has no time for it the next push does it."""
        if transmission is None:
            return
        written: list[tuple[str, str | None]] | None
        if is_new:
            rows = sorted(self._of.pop(transmission.number, []))
            written = [(row.server_id, row.version) for row in rows if row.server_id and row.state in _THERE]
        else:
            with self.reading() as db:
                written = written_in(db, self.site.name, transmission.number)
        if written is None:
            return
        state, name = "undocumented", None
        if written and self.writer.ways.takes_provenance:
            try:
                name = document(self.connection, self.writer.ways, self.mapper, transmission, written, is_new=is_new)
            except RequestFailed as error:
                self.writer.ways.remark(f"Provenance is not written yet, the next push does it: {error.message}")
                self.provenance["sent"] += 1
                with self.writing() as db:
                    set_state(db, transmission.number, "sent")
                return
            state = "documented" if name else "undocumented"
        # Written with the next transaction: if the run is killed before that, the next push finds the Provenance on the server.
        self._documented.append((transmission.number, state, name))
        self.provenance[state] += 1 if written else 0

    def _note_documented(self) -> None:
        """Note which transmissions have been documented since the last time. Call it inside a transaction."""
        while self._documented:
            set_state(self.db, *self._documented.popleft())

    def _prove(self) -> None:
        """Read a sample of what this push has written, and compare it."""
        there = sorted(name for name in self.sent if self.ended[name].state in _THERE)
        with self.reading() as db:
            sample = list(each_pushed(db, self.site.name, spread(there, _SAMPLE)))
        troubled = not_kept(self.connection, sample, self.writer.ways)
        with self.writing() as db:
            self._note_documented()
            put_pushes(db, self.site.name, troubled, self.run)
        self._note_ended(troubled)


#: Most items end alike.
_state = lru_cache(State)


def _is_retraction(ended: Ended) -> bool:
    return ended.item.action == "retract"


def _system(item: Item) -> str:
    """The system of its identifier."""
    return token(item).rpartition("|")[0]


def _is_unfinished(item: Item | Waiting) -> bool:
    """Whether an earlier run was cut off while it wrote it."""
    return item.before is not None and item.before.state == "sending"


def _is_new(item: Item | Waiting) -> bool:
    """Whether it was never sent, or never taken, as far as the ledger knows: an older one may have been put back."""
    old = item.before
    return item.action != "retract" and (
        old is None or (old.server_id is None and old.state in ("blocked", "rejected"))
    )


def _activity(item: Item | Waiting) -> Activity:
    if item.action == "retract":
        return "NULLIFY"
    return "CREATE" if _is_new(item) or (item.before is not None and item.before.server_id is None) else "UPDATE"


def _intent(item: Item, hash_: str, transmission: Transmission) -> Pushed:
    """The row of what is about to be sent. Its body stays what the server was last known to hold of ours."""
    old = item.before
    held = old.body if old and old.server_id else item.body
    return Pushed(
        item.identifier, item.patient, item.variable, item.about, "sending", old.server_id if old else None,
        old.version if old else None, hash_, None, held, item.made_from, transmission.number,
    )  # fmt: skip


def _row(ended: Ended, hash_: str | None, transmission: Transmission | None) -> Pushed:
    """How an item stands now. Its body is what the server is known to hold of ours: what we sent, or what it made of that."""
    item, old = ended.item, ended.item.before
    is_there = ended.state in _THERE
    held = old.body if old and old.server_id else item.body
    if ended.state == "sending" and transmission is None and old is not None:
        return old._replace(state="sending", message=ended.message)
    return Pushed(
        item.identifier, item.patient, item.variable, item.about, ended.state,
        ended.server_id or (old.server_id if old else None), ended.version or (old.version if old else None),
        hash_ or fingerprint(item.body), ended.message, ended.content or (item.body if is_there else held), item.made_from,
        transmission.number if transmission else old.transmission if old else None,
    )  # fmt: skip
