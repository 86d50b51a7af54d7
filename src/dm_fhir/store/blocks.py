"""The bytes of resources, many together in one compressed block: a tenth of the space, and of the time to write them.

A block is written once and never changed; what stands in it is found by the block's number, a start and a length.
"""

import sqlite3
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby, repeat

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Small enough that reading one patient's few resources opens little else, large enough to compress well.
_BLOCK_BYTES = 256 * 1024
_LEVEL = 1
_MOST_OPEN = 16

#: Where a resource's bytes stand: the block's number, start, length.
Place = tuple[int, int, int]


def keep(db: sqlite3.Connection, bodies: Sequence[bytes]) -> list[Place]:
    """Write the bytes into new blocks, in order; where each stands. Call it inside a transaction."""
    places: list[Place] = []
    for some in _blockwise(bodies):
        packed = pack(b"".join(some))
        number = db.execute("INSERT INTO block (body) VALUES (?)", (packed,)).lastrowid or 0
        lengths = list(map(len, some))
        places += zip(repeat(number), accumulate(lengths, initial=0), lengths)  # one start more: the end
    return places


def _blockwise(bodies: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The bodies in runs that fill a block; one that is larger than a block has one to itself."""
    ends = list(accumulate(map(len, bodies)))
    first = size_before = 0
    while first < len(bodies):
        last = max(bisect_right(ends, size_before + _BLOCK_BYTES), first + 1)
        yield bodies[first:last]
        first, size_before = last, ends[last - 1]


def kept(db: sqlite3.Connection, places: Iterable[Place]) -> Iterator[bytes]:
    """The bytes at each place, in order. The last few blocks stay open: neighbours mostly come from the same ones."""
    opened: dict[int, bytes] = {}
    for number, start, length in places:
        content = opened.pop(number, None)
        if content is None:
            if len(opened) == _MOST_OPEN:
                del opened[next(iter(opened))]
            content = _content(db, number)
        opened[number] = content
        yield content[start : start + length]


def kept_with(db: sqlite3.Connection, text: bytes, places: Iterable[tuple[str, Place]]) -> Iterator[tuple[str, bytes]]:
    """Those of the named places whose bytes hold `text`: name and bytes. Give them in order: each block is opened once."""
    for number, some in groupby(places, key=lambda named: named[1][0]):
        content = _content(db, number)
        if text not in content:
            continue
        for name, (_, start, length) in some:
            if content.find(text, start, start + length) >= 0:
                yield name, content[start : start + length]


def pack(content: bytes) -> bytes:
    """The bytes compressed, as those of a block are."""
    return zstd.compress(content, _LEVEL)


def unpack(packed: bytes) -> bytes:
    """The bytes that were packed."""
    return zstd.decompress(packed)


def _content(db: sqlite3.Connection, number: int) -> bytes:
    (packed,) = db.execute("SELECT body FROM block WHERE number = ?", (number,)).fetchone()
    return unpack(packed)
