"""Push: computed outcomes, and imported scores, onto the hospital's server, each exactly once, however often it is run.

The identifier is the outcome's or score's own, so a conditional update finds what an earlier run wrote. What has not changed since
is not sent at all. Before a request goes out, the store knows about it; after it, what the server kept is read back and
compared. A resource that somebody else has changed since we wrote it is never touched.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.page import read_page
from dm_fhir.fhir.resource import Resource
from dm_fhir.store.pushes import Pushed, put_push
from dm_fhir.sync.push_content import altered, fingerprint
from dm_fhir.sync.push_plan import IMPORTED, TO_SEND, Item

#: Statuses by which a server refuses this very content. Whatever else fails may pass, and is looked at again next time.
_REFUSES_CONTENT = (400, 422)
_CONFLICTS = {
    409: "the server refuses it as a conflict",
    412: "the server holds more than one copy of it; none was changed",
}
Progress = Callable[[str, int, int], None]


class Result(NamedTuple):
    """How many outcomes, and imported scores, ended how. `troubles` names those not on the server as they should be, and why."""

    counts: dict[str, int]
    imported: dict[str, int]
    troubles: list[str]


def push_site(
    db: sqlite3.Connection,
    site: str,
    connection: Connection,
    run: int,
    items: Sequence[Item],
    progress: Progress,
) -> Result:
    """Carry out `items`. Raises ServerUnavailable or LoginRefused when going on is pointless; run again to go on."""
    pusher = _Pusher(db, site, connection, run)
    ended = []
    for index, item in enumerate(items):
        progress(site, index, len(items))
        ended.append((item, pusher.carry_out(item)))
    progress(site, len(items), len(items))
    return _result(ended)


def unsent(items: Iterable[Item]) -> Result:
    """What there is to say when none of `items` needs a request: what was refused before still is."""
    return _result([(item, None) for item in items])


def _result(ended: Sequence[tuple[Item, Pushed | None]]) -> Result:
    after = [(item, became or item.before) for item, became in ended]
    counts = Counter(_ending(item, row) for item, row in after if item.variable != IMPORTED)
    imported = Counter(_ending(item, row) for item, row in after if item.variable == IMPORTED)
    troubles = [
        f"{_TROUBLES[row.state]}: {item.variable} of {item.patient}: {row.message}"
        for item, row in after
        if row is not None and row.state in _TROUBLES
    ]
    return Result(dict(counts), dict(imported), troubles)


def _ending(item: Item, after: Pushed | None) -> str:
    return _TROUBLES.get(after.state, item.action) if after else item.action


#: The states of a pushed outcome that somebody should look at, as people read them.
_TROUBLES = {"rejected": "rejected", "conflict": "conflict", "sending": "not settled"}


class _Identifier(msgspec.Struct, frozen=True):
    system: str
    value: str


class _Identified(msgspec.Struct, frozen=True):
    identifier: tuple[_Identifier, ...]


class _Pusher(NamedTuple):
    db: sqlite3.Connection
    site: str
    connection: Connection
    run: int

    def carry_out(self, item: Item) -> Pushed | None:
        """Send one item if there is anything to send; what became of it, None if it was left as it is."""
        if item.action not in TO_SEND:
            return None
        if item.before is not None and (settled := self._settled(item, item.before)) is not None:
            return settled
        self._note(item, "sending", body=item.before.body if item.before else item.body)
        try:
            self._put(item)
        except RequestFailed as error:
            return self._refused(item, error)
        return self._read_back(item)

    def _settled(self, item: Item, before: Pushed) -> Pushed | None:
        """What the server's copy says before we write over it; None if it is still ours, or not there yet."""
        copies = self._copies(item)
        if not copies and before.server_id is None:
            return None
        if len(copies) != 1:
            return self._note(
                item, "conflict", f"the server holds {len(copies)} copies of it, 1 was expected; none was changed"
            )
        copy = copies[0]
        kept = fingerprint(copy.body)
        if kept == fingerprint(item.body):  # an earlier run was cut off after the server had stored it
            return self._confirmed(item, copy)
        # What we last wrote; or were writing when we were cut off, and the outcome has changed again since.
        if kept in (fingerprint(before.body), before.hash):
            return None
        return self._note(item, "conflict", f"{copy.reference} was changed by somebody else; left as it is")

    def _put(self, item: Item) -> None:
        self.connection.request("PUT", self._address(item), body=item.body, headers={"Prefer": "return=minimal"})

    def _address(self, item: Item) -> str:
        name = msgspec.json.decode(item.body, type=_Identified).identifier[0]
        return f"Observation?identifier={quote(f'{name.system}|{name.value}', safe='')}"

    def _copies(self, item: Item) -> tuple[Resource, ...]:
        answer = self.connection.get(self._address(item), headers={"Cache-Control": "no-cache"})
        return read_page(answer, self.connection).resources

    def _refused(self, item: Item, error: RequestFailed) -> Pushed:
        if error.status in _CONFLICTS:
            return self._note(item, "conflict", _CONFLICTS[error.status])
        return self._note(item, "rejected" if error.status in _REFUSES_CONTENT else "sending", error.message)

    def _read_back(self, item: Item) -> Pushed:
        """What the server kept, by its own word: exactly one resource with our identifier, holding what we sent."""
        copies = self._copies(item)
        if len(copies) != 1:
            return self._note(item, "conflict", f"the server holds {len(copies)} copies of it after writing")
        if differing := altered(copies[0].body, item.body):
            return self._note(item, "rejected", f"the server changed {', '.join(differing)} of {copies[0].reference}")
        return self._confirmed(item, copies[0])

    def _confirmed(self, item: Item, copy: Resource) -> Pushed:
        state = "retracted" if item.action == "retract" else "confirmed"
        return self._note(item, state, body=item.body, server_id=copy.reference, version=copy.version)

    def _note(
        self, item: Item, state: str, message: str | None = None, *, body: bytes | None = None,
        server_id: str | None = None, version: str | None = None,
    ) -> Pushed:  # fmt: skip
        """Write down what is known of the item. Its body stays what the server was last known to hold of ours."""
        old = item.before or _NOTHING
        row = Pushed(
            item.identifier, item.patient, item.variable, item.about, state, server_id or old.server_id, version or old.version,
            fingerprint(item.body), message, old.body or item.body if body is None else body, item.made_from,
        )  # fmt: skip
        put_push(self.db, self.site, row, self.run)
        return row


_NOTHING = Pushed("", "", "", "", "", None, None, "", None, b"")
