"""What a push would do, outcome by outcome, found out from the store alone. Nothing is sent here."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

import msgspec

from dm_fhir.config import Push
from dm_fhir.errors import NotWritable
from dm_fhir.model.case import Outcome
from dm_fhir.model.document import decode
from dm_fhir.store.cases import OutcomeRow, outcomes
from dm_fhir.store.pushes import Pushed, pushed
from dm_fhir.store.resources import bodies_with
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.push.content import fingerprint, same_but_status, sources, status_of

Action = Literal["new", "changed", "unchanged", "retract", "blocked", "not selected"]
TO_SEND = ("new", "changed", "retract")
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


def plan(
    db: sqlite3.Connection,
    site: str,
    mapper: Mapper,
    push: Push,
    *,
    held: Collection[str] = (),
    retract_all: bool = False,
) -> list[Item]:
    """What a push would do, item by item, in a fixed order: scores before the outcomes that name them. Sends nothing.

    `push` says what is written to the site: without `imported` the scores that were read from tables are left as they are, on
    the server too; an outcome that no pattern of `outcomes` matches is not begun with. Nothing is written of the patients in
    `held`. With `retract_all` everything that we wrote is taken back, and nothing else done.
    """
    before = pushed(db, site)
    if retract_all:
        return [_retraction(old, mapper) for old in _in_order(before.values()) if _is_out(old)]
    planner = _Planner(mapper, push, before, held)
    scores = list(_scores(db, site, planner)) if push.imported else []
    items = [_item(row, planner) for row in outcomes(db, site)]
    still_there = {item.identifier for item in items}
    gone = [old for old in _in_order(before.values()) if old.variable != IMPORTED and old.identifier not in still_there]
    return [*scores, *items, *(planner.of_held(_retraction(old, mapper)) for old in gone if _is_out(old))]


def count(items: Iterable[Item]) -> dict[str, int]:
    """How many of the items there are for each action."""
    return dict(Counter(item.action for item in items))


def superseded(db: sqlite3.Connection, site: str, items: Iterable[Item]) -> list[str]:
    """The identifiers of what never came onto the server, and by these items is no longer wanted there."""
    wanted = {item.identifier for item in items if item.action != "not selected" and item.why != WITHOUT_TIME}
    return [
        old.identifier
        for old in pushed(db, site, _NEVER_OUT).values()
        if old.variable != IMPORTED and old.identifier not in wanted and old.server_id is None
    ]


#: The states of what the server does not have, unless it has told an id.
_NEVER_OUT = ("rejected", "blocked")


class _Planner(NamedTuple):
    mapper: Mapper
    push: Push
    before: Mapping[str, Pushed]
    held: Collection[str]

    def selects(self, variable: str) -> bool:
        """Whether an outcome of this name is begun with."""
        return any(fnmatchcase(variable, pattern) for pattern in self.push.outcomes)

    def of_held(self, item: Item) -> Item:
        """The item; blocked if it would write something of a patient who is held back."""
        if item.action in TO_SEND and item.patient in self.held:
            return item._replace(action="blocked", body=b"", why=HELD)
        return item


def _in_order(rows: Iterable[Pushed]) -> list[Pushed]:
    return sorted(rows, key=lambda old: (old.patient, old.variable, old.about))


def _is_out(old: Pushed) -> bool:
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


def _scores(db: sqlite3.Connection, site: str, planner: _Planner) -> Iterator[Item]:
    """The imported scores of the store, in order of id. One withdrawn before it was ever written is none."""
    mapper = planner.mapper
    held = dict(bodies_with(db, site, "Observation", f'"{mapper.imported_system}"'))
    for id_ in sorted(held):
        reference, body = f"Observation/{id_}", held[id_]
        if not mapper.is_imported(reference):
            continue  # a copy that the server sent
        score = msgspec.json.decode(body, type=_Score)
        old, is_withdrawn = planner.before.get(score.identifier[0].value), score.status == _ENTERED_IN_ERROR
        if is_withdrawn and (old is None or not _is_out(old)):
            continue
        about = (score.identifier[0].value, score.subject.reference, IMPORTED, reference)
        item = Item("retract" if is_withdrawn else "changed", *about, b"", old, _made_from(body, mapper))
        if not is_withdrawn and _is_the_same(item):
            yield _settled(item)
            continue
        item = item._replace(body=mapper.ready_import(body).body)
        yield planner.of_held(item if is_withdrawn else _compared(item))


def _item(row: OutcomeRow, planner: _Planner) -> Item:
    """What is to be done with an outcome. One that was written from just this is not built again to see that."""
    mapper = planner.mapper
    name = mapper.identifier(row.patient, row.variable, row.about)
    old = planner.before.get(name)
    item = Item("changed", name, row.patient, row.variable, row.about, b"", old, _made_from(row.body, mapper))
    if _is_the_same(item):
        return _settled(item)
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


def _is_the_same(item: Item) -> bool:
    old = item.before
    return old is not None and old.state in _SETTLED and old.made_from == item.made_from


def _settled(item: Item) -> Item:
    """An item of which nothing is sent, since what would be was sent before."""
    old = item.before
    if old is not None and old.state == "rejected":
        said = f": {old.message}" if old.message else ""
        return item._replace(action="blocked", body=b"", why=f"{REFUSED}{said}")
    return item._replace(action="unchanged", body=b"")


def _compared(item: Item) -> Item:
    """The item with what its body comes to beside what was sent before."""
    old = item.before
    if old is None:
        return item._replace(action="new")
    if old.state in _SETTLED and old.hash == fingerprint(item.body):
        return _settled(item)
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


def _made_from(body: bytes, mapper: Mapper) -> str:
    return hashlib.sha256(b"\0".join((mapper.written_as.encode(), body))).hexdigest()


def _retraction(old: Pushed, mapper: Mapper) -> Item:
    about = (old.identifier, old.patient, old.variable, old.about)
    item = Item("retract", *about, mapper.taken_back(old.body), old, why=_left_open(old))
    is_refused = old.state == "rejected" and old.hash == fingerprint(item.body)
    return _settled(item) if is_refused else item
