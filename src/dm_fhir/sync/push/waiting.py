"""What a push is to do, held until the turn of each item comes: that of a whole population, so that each must be small."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from sys import intern
from typing import NamedTuple

import msgspec

from dm_fhir.store.blocks import pack, unpack
from dm_fhir.store.pushes import pushed_of
from dm_fhir.sync.push.plan import TO_SEND, Before, Item, Waiting

#: So many are packed together: some hundred kilobytes, which become a tenth of that.
_TOGETHER = 64


class _Packed(NamedTuple):
    body: bytes
    made_from: str


_PACKED = msgspec.msgpack.Decoder(dict[str, _Packed])


def waiting(items: Iterable[Item]) -> Iterator[Waiting]:
    """The items without what is large in them: the bodies of neighbours are packed together."""
    rest = iter(items)
    while some := list(islice(rest, _TOGETHER)):
        bodies = {item.identifier: _Packed(item.body, item.made_from) for item in some if item.action in TO_SEND}
        packed = pack(msgspec.msgpack.encode(bodies)) if bodies else b""
        yield from (_waiting(item, packed) for item in some)


def whole(db: sqlite3.Connection, site: str, some: Sequence[Waiting]) -> list[Item]:
    """The items as they were planned, with what was written of them as the store has it now. Give few of those to be sent."""
    before = pushed_of(db, site, [one.identifier for one in some if one.before])
    found = [(one, _unpacked(one.packed)[one.identifier]) for one in some]
    return [
        Item(
            one.action,
            one.identifier,
            one.patient,
            one.variable,
            one.about,
            body,
            before.get(one.identifier),
            made_from,
            one.why,
        )
        for one, (body, made_from) in found
    ]


def _waiting(item: Item, packed: bytes) -> Waiting:
    """What many items say in the same words is held once."""
    old = item.before
    remade = item.made_from if old and item.action == "unchanged" and old.made_from != item.made_from else ""
    before = Before(old.state, old.server_id, old.message) if old else None
    patient, variable, about = intern(item.patient), intern(item.variable), intern(item.about)
    return Waiting(item.action, item.identifier, patient, variable, about, packed, before, remade, item.why)


@lru_cache(8)  # the items of one packet mostly come one after the other, in a few threads
def _unpacked(packed: bytes) -> dict[str, _Packed]:
    return _PACKED.decode(unpack(packed))
