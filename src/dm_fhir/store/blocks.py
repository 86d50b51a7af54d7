"""The bytes of resources, many together in one compressed block: a tenth of the space, and of the time to write them.

A block is written once and never changed; what stands in it is found by the block's number, a start and a length.
"""

import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Small enough that reading one patient's few resources opens little else, large enough to compress well.
_BLOCK_BYTES = 256 * 1024
_LEVEL = 1
_MOST_OPEN = 16


class Place(NamedTuple):
    """Where a resource's bytes stand."""

    block: int
    start: int
    length: int


def keep(db: sqlite3.Connection, bodies: Sequence[bytes]) -> list[Place]:
    """Write the bytes into new blocks, in order; where each stands. Call it inside a transaction."""
    places: list[Place] = []
    for some in _blockwise(bodies):
        number = db.execute("INSERT INTO block (body) VALUES (?)", (zstd.compress(b"".join(some), _LEVEL),)).lastrowid
        start = 0
        for body in some:
            places.append(Place(number or 0, start, len(body)))
            start += len(body)
    return places


def _blockwise(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The bodies in runs that fill a block; one that is larger than a block has one to itself."""
    waiting: list[bytes] = []
    size = 0
    for body in bodies:
        if waiting and size + len(body) > _BLOCK_BYTES:
            yield waiting
            waiting, size = [], 0
        waiting.append(body)
        size += len(body)
    if waiting:
        yield waiting


def kept(db: sqlite3.Connection, places: Iterable[Place]) -> Iterator[bytes]:
    """The bytes at each place, in order. The last few blocks stay open: neighbours mostly come from the same ones."""
    opened: dict[int, bytes] = {}
    for number, start, length in places:
        content = opened.pop(number, None)
        if content is None:
            if len(opened) == _MOST_OPEN:
                del opened[next(iter(opened))]
            (packed,) = db.execute("SELECT body FROM block WHERE number = ?", (number,)).fetchone()
            content = zstd.decompress(packed)
        opened[number] = content
        yield content[start : start + length]
