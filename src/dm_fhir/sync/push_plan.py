"""What a push would do, outcome by outcome, found out from the store alone. Nothing is sent here."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from dm_fhir.model.case import Outcome
from dm_fhir.model.document import decode
from dm_fhir.store.cases import OutcomeRow, outcomes
from dm_fhir.store.pushes import Pushed, pushed
from dm_fhir.store.resources import bodies_with
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.push_content import fingerprint

Action = Literal["new", "changed", "unchanged", "retract", "blocked"]
TO_SEND = ("new", "changed", "retract")
#: What an imported score is called where an outcome has its variable.
IMPORTED = "imported score"
#: Why an outcome is not written that speaks of no time.
WITHOUT_TIME = "it speaks of no time"


class Item(NamedTuple):
    """One outcome, or imported score, and what is to be done with it.

    `body` is what would be sent, empty where nothing is; `before` what we sent last time. `made_from` is the fingerprint of what
    the body is built from. `why` says what blocks it, "" where nothing does.
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


def plan(db: sqlite3.Connection, site: str, mapper: Mapper, *, imported: bool = False) -> list[Item]:
    """What a push would do, item by item, in a fixed order: scores before the outcomes that name them. Sends nothing.

    Without `imported` the scores that were read from tables are left as they are, on the server too.
    """
    before = pushed(db, site)
    scores = list(_scores(db, site, mapper, before)) if imported else []
    items = [_item(row, mapper, before) for row in outcomes(db, site)]
    still_there = {item.identifier for item in items}
    gone = [
        old
        for old in before.values()
        if old.variable != IMPORTED and old.identifier not in still_there and old.state != "retracted"
    ]
    retractions = [
        _retraction(old, mapper) for old in sorted(gone, key=lambda old: (old.patient, old.variable, old.about))
    ]
    return [*scores, *items, *retractions]


def count(items: Iterable[Item]) -> dict[str, int]:
    """How many of the items there are for each action."""
    return dict(Counter(item.action for item in items))


class _Subject(msgspec.Struct, frozen=True):
    reference: str = ""


class _Score(msgspec.Struct, frozen=True):
    status: str
    subject: _Subject


def _scores(db: sqlite3.Connection, site: str, mapper: Mapper, before: dict[str, Pushed]) -> Iterable[Item]:
    """The imported scores of the store, in order of id. One withdrawn before it was ever written is none."""
    held = dict(bodies_with(db, site, "Observation", f'"{mapper.imported_system}"'))
    for id_ in sorted(held):
        reference = f"Observation/{id_}"
        if not mapper.is_imported(reference):
            continue  # a copy that the server sent
        score, ready = msgspec.json.decode(held[id_], type=_Score), mapper.ready_import(held[id_])
        old = before.get(ready.identifier)
        action = _action(ready.body, old)
        if score.status == "entered-in-error":
            if old is None or old.state == "retracted":
                continue
            action = "retract"
        yield Item(action, ready.identifier, score.subject.reference, IMPORTED, reference, ready.body, old)


def _item(row: OutcomeRow, mapper: Mapper, before: dict[str, Pushed]) -> Item:
    """What is to be done with an outcome. One that was written from just this is not built again to see that."""
    name = mapper.identifier(row.patient, row.variable, row.about)
    about = (name, row.patient, row.variable, row.about)
    old, made_from = before.get(name), _made_from(row, mapper)
    if old is not None and old.state in _SETTLED and old.made_from == made_from:
        return Item("unchanged", *about, b"", old, made_from)
    outcome = decode(row.body, Outcome)
    if outcome.when is None:
        return Item("blocked", *about, b"", old, made_from, WITHOUT_TIME)
    body = mapper.ready(outcome, row.patient).body
    return Item(_action(body, old), *about, body, old, made_from)


#: The server refused it, or has it: neither is sent again until it changes. A conflict is looked at again each time.
_SETTLED = ("confirmed", "rejected")


def _action(body: bytes, old: Pushed | None) -> Action:
    if old is None:
        return "new"
    return "unchanged" if old.state in _SETTLED and old.hash == fingerprint(body) else "changed"


def _made_from(row: OutcomeRow, mapper: Mapper) -> str:
    return hashlib.sha256(b"\0".join((mapper.written_as.encode(), row.body))).hexdigest()


def _retraction(old: Pushed, mapper: Mapper) -> Item:
    return Item("retract", old.identifier, old.patient, old.variable, old.about, mapper.taken_back(old.body), old)
