"""What a push would do, outcome by outcome, found out from the store alone. Nothing is sent here."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import islice
from typing import Literal, NamedTuple

import msgspec

from dm_fhir.config import Push
from dm_fhir.errors import NotWritable
from dm_fhir.model.case import Outcome
from dm_fhir.model.document import decode
from dm_fhir.store.cases import OutcomeRow, outcomes
from dm_fhir.store.database import batched
from dm_fhir.store.pushes import Pushed, Standing, each_pushed, identifiers_of, pushed_of, standing
from dm_fhir.store.resources import bodies_with
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.push.content import fingerprint, same_but_status, sources, status_of

Action = Literal["new", "changed", "unchanged", "retract", "blocked", "not selected"]
TO_SEND = ("new", "changed", "retract")
#: So many are looked up at a time of what was written.
_TOGETHER = 200
#: What an imported score is called where an outcome has its variable.
IMPORTED = "imported score"
#: Why an outcome is not written that speaks of no time.
WITHOUT_TIME = "it speaks of no time"
#: Why nothing is written of a patient who is held back.
HELD = "their records are not complete"
REFUSED = "the server refused just this before"
_ENTERED_IN_ERROR = "entered-in-error"


class Item(NamedTuple):
    """One outcome, or imported score, and what is to be done with it.

    `body` is what would be sent, empty where nothing is; `before` what we sent last time. `made_from` is the fingerprint of what
    the body is built from. `why` says what blocks it; of what is sent, what kept it from being settled before; "" where nothing did.
    """

    action: Action
    identifier: str
    patient: str
    variable: str
    about: str
    body: bytes
    before: Pushed | None
    made_from: str = ""
    why: str = ""


class Before(NamedTuple):
    """How what we sent last time stands."""

    state: str
    server_id: str | None
    message: str | None


class Waiting(NamedTuple):
    """An item until its turn comes, when `whole` makes it one again: `packed` has its body, by identifier, beside others.

    `remade` is what an unchanged one would be made from now, "" where that is what is noted of it.
    """

    action: Action
    identifier: str
    patient: str
    variable: str
    about: str
    packed: bytes
    before: Before | None
    remade: str
    why: str


def plan(
    db: sqlite3.Connection,
    site: str,
    mapper: Mapper,
    push: Push,
    *,
    held: Collection[str] = (),
    retract_all: bool = False,
) -> Iterator[Item]:
    """What a push would do, item by item, in a fixed order: scores before the outcomes that name them. Sends nothing.

    `push` says what is written to the site: without `imported` the scores that were read from tables are left as they are, on
    the server too; an outcome that no pattern of `outcomes` matches is not begun with. Nothing is written of the patients in
    `held`. With `retract_all` everything that we wrote is taken back, and nothing else done. Each item is made when it is asked
    for, out of the store as it is then.
    """
    planner = _Planner(db, site, mapper, push, held, mapper.written_as.encode() + b"\0")
    if retract_all:
        yield from _retractions(planner, standing(db, site))
        return
    if push.imported:
        yield from _scores(planner)
    still_there: set[str] = set()
    rows = outcomes(db, site)
    while some := [(mapper.identifier(row.patient, row.variable, row.about), row) for row in islice(rows, _TOGETHER)]:
        before = pushed_of(db, site, [name for name, _ in some])
        still_there |= before.keys()
        yield from (_item(row, name, before.get(name), planner) for name, row in some)
    gone = each_pushed(db, site, (name for name in identifiers_of(db, site) if name not in still_there))
    yield from map(planner.of_held, _retractions(planner, (old for old in gone if old.variable != IMPORTED)))


def count(items: Iterable[Item | Waiting]) -> dict[str, int]:
    """How many of the items there are for each action."""
    return dict(Counter(item.action for item in items))


def superseded(db: sqlite3.Connection, site: str, items: Iterable[Item | Waiting]) -> list[str]:
    """The identifiers of what never came onto the server, and by these items is no longer wanted there."""
    wanted = {item.identifier for item in items if item.action != "not selected" and item.why != WITHOUT_TIME}
    return [
        old.identifier
        for old in standing(db, site, _NEVER_OUT)
        if old.variable != IMPORTED and old.identifier not in wanted and old.server_id is None
    ]


#: The states of what the server does not have, unless it has told an id.
_NEVER_OUT = ("rejected", "blocked")


class _Planner(NamedTuple):
    db: sqlite3.Connection
    site: str
    mapper: Mapper
    push: Push
    held: Collection[str]
    mark: bytes

    def made_from(self, body: bytes) -> str:
        """The fingerprint of what is written of this outcome or score."""
        return hashlib.sha256(self.mark + body).hexdigest()

    def selects(self, variable: str) -> bool:
        """Whether an outcome of this name is begun with."""
        return any(fnmatchcase(variable, pattern) for pattern in self.push.outcomes)

    def of_held(self, item: Item) -> Item:
        """The item; blocked if it would write something of a patient who is held back."""
        if item.action in TO_SEND and item.patient in self.held:
            return item._replace(action="blocked", body=b"", why=HELD)
        return item


def _retractions(planner: _Planner, rows: Iterable[Pushed | Standing]) -> Iterator[Item]:
    """Those of them taken back that the server has, or may have, as something that holds."""
    out = sorted((old.patient, old.variable, old.about, old.identifier) for old in rows if _is_out(old))
    return (_retraction(old, planner.mapper) for old in each_pushed(planner.db, planner.site, [one[-1] for one in out]))


def _is_out(old: Pushed | Standing) -> bool:
    """Whether the server has it, or may have it, as something that holds."""
    return old.state != "retracted" and (old.server_id is not None or old.state in ("sending", "conflict"))


class _Subject(msgspec.Struct, frozen=True):
    reference: str = ""


class _Identifier(msgspec.Struct, frozen=True):
    value: str


class _Score(msgspec.Struct, frozen=True):
    status: str
    subject: _Subject
    identifier: tuple[_Identifier, ...]


def _scores(planner: _Planner) -> Iterator[Item]:
    """The imported scores of the store, in order of id. One withdrawn before it was ever written is none."""
    mapper = planner.mapper
    held = dict(bodies_with(planner.db, planner.site, "Observation", f'"{mapper.imported_system}"'))
    # What is none of them is a copy that the server sent.
    ours = [id_ for id_ in sorted(held) if mapper.is_imported(f"Observation/{id_}")]
    for some in batched(ours, _TOGETHER):
        scores = [(f"Observation/{id_}", held[id_], msgspec.json.decode(held[id_], type=_Score)) for id_ in some]
        before = pushed_of(planner.db, planner.site, [score.identifier[0].value for _, _, score in scores])
        for reference, body, score in scores:
            old = before.get(score.identifier[0].value)
            if score.status != _ENTERED_IN_ERROR or (old is not None and _is_out(old)):
                yield _score(reference, body, score, old, planner)


def _score(reference: str, body: bytes, score: _Score, old: Pushed | None, planner: _Planner) -> Item:
    """What is to be done with an imported score."""
    mapper, is_withdrawn = planner.mapper, score.status == _ENTERED_IN_ERROR
    about = (score.identifier[0].value, score.subject.reference, IMPORTED, reference)
    made_from = planner.made_from(body)
    if not is_withdrawn and old is not None and _is_the_same(old, made_from):
        return Item(_settled(old), *about, b"", old, made_from, _refused(old))
    ready = mapper.ready_import(body).body
    item = Item("retract" if is_withdrawn else "changed", *about, ready, old, made_from)
    return planner.of_held(item if is_withdrawn else _compared(item))


def _item(row: OutcomeRow, name: str, old: Pushed | None, planner: _Planner) -> Item:
    """What is to be done with an outcome. One that was written from just this is not built again to see that."""
    mapper = planner.mapper
    about, made_from = (name, row.patient, row.variable, row.about), planner.made_from(row.body)
    if old is not None and _is_the_same(old, made_from):
        return Item(_settled(old), *about, b"", old, made_from, _refused(old))
    item = Item("changed", *about, b"", old, made_from)
    if (old is None or not (old.state == "retracted" or _is_out(old))) and not planner.selects(row.variable):
        return item._replace(action="not selected")
    if row.patient in planner.held:
        return item._replace(action="blocked", why=HELD)
    outcome = decode(row.body, Outcome)
    if outcome.when is None:
        is_out = old is not None and _is_out(old)
        return _retraction(old, mapper) if old and is_out else item._replace(action="blocked", why=WITHOUT_TIME)
    try:
        body = mapper.ready(outcome, row.patient).body
    except NotWritable as error:
        return item._replace(action="blocked", why=error.message)
    status = _status(body, old, mapper)
    if status != "final":
        body = mapper.ready(outcome, row.patient, status).body
    return _compared(item._replace(body=body))


#: The server refused it, or has it: neither is sent again until it changes. Whatever else is looked at again each time.
_SETTLED = ("confirmed", "rejected")


def _is_the_same(old: Pushed, made_from: str) -> bool:
    return old.made_from == made_from and old.state in _SETTLED


def _settled(old: Pushed) -> Action:
    """What is done where what would be sent was sent before."""
    return "blocked" if old.state == "rejected" else "unchanged"


def _refused(old: Pushed) -> str:
    """Why it is blocked, if it is."""
    said = f": {old.message}" if old.message else ""
    return f"{REFUSED}{said}" if old.state == "rejected" else ""


def _compared(item: Item) -> Item:
    """The item with what its body comes to beside what was sent before."""
    old = item.before
    if old is None:
        return item._replace(action="new")
    if old.state in _SETTLED and old.hash == fingerprint(item.body):
        return item._replace(action=_settled(old), body=b"", why=_refused(old))
    return item._replace(action="changed" if old.server_id else "new", why=_left_open(old))


def _left_open(old: Pushed) -> str:
    """What kept it from being settled before, "" where nothing did."""
    what = _LEFT_OPEN.get(old.state)
    return f"{what}: {old.message}" if what and old.message else what or ""


_LEFT_OPEN = {"sending": "not settled before", "conflict": "in conflict before", "blocked": "kept back before"}


def _status(body: bytes, old: Pushed | None, mapper: Mapper) -> str:
    """The status of what is written after `old`: it was changed, or what it was made of has turned out to be wrong.

    What says the same keeps its status: that alone is no change.
    """
    if old is None or old.server_id is None:
        return "final"
    before = status_of(old.body)
    if before == _ENTERED_IN_ERROR or _is_perhaps_taken_back(old, mapper):
        return "corrected"
    if same_but_status(old.body, body):
        return before
    return "amended" if sources(old.body) <= sources(body) else "corrected"


def _is_perhaps_taken_back(old: Pushed, mapper: Mapper) -> bool:
    """Whether a run was cut off while it took it back: the server may have that."""
    return old.state == "sending" and old.hash == fingerprint(mapper.taken_back(old.body))


def _retraction(old: Pushed, mapper: Mapper) -> Item:
    about = (old.identifier, old.patient, old.variable, old.about)
    item = Item("retract", *about, mapper.taken_back(old.body), old, why=_left_open(old))
    is_refused = old.state == "rejected" and old.hash == fingerprint(item.body)
    return item._replace(action="blocked", body=b"", why=_refused(old)) if is_refused else item
