"""How pieces are read: one after the other in this process, or in several processes beside it."""

import os
from collections.abc import Callable, Iterator, Sequence

from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.processes import in_processes
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.scan import scan
from dm_fhir.sync.scan.scanned import Scanned

#: Reads the pieces for a question; the parcels of each piece in order, and the pieces in order.
Runner = Callable[[Sequence[Piece], Question], Iterator[Scanned]]
#: With so much to read, other processes are worth the half second that each takes to start.
_WORTH_PROCESSES_BYTES = 256 * 2**20
#: How much larger a packed file is when it is unpacked, roughly.
_UNPACKED = 10


def in_turn(pieces: Sequence[Piece], question: Question) -> Iterator[Scanned]:
    """The pieces one after the other, in this process."""
    for number, piece in enumerate(pieces):
        yield from scan(number, piece, question)


def on_this_machine(processes: int | None) -> Runner:
    """A runner in so many processes. None: in one for each core that this process may use, where there is so much to be read that
    it is worth it, else in this one."""

    def run(pieces: Sequence[Piece], question: Question) -> Iterator[Scanned]:
        many = min(processes or _worth(pieces), len(pieces))
        if many < 2:
            return in_turn(pieces, question)
        return in_processes(pieces, question, many)

    return run


def _worth(pieces: Sequence[Piece]) -> int:
    return usable_cores() if sum(map(_size_bytes, pieces)) >= _WORTH_PROCESSES_BYTES else 1


def _size_bytes(piece: Piece) -> int:
    """How much is read for a piece, roughly."""
    if piece.end is not None:
        return piece.end - piece.start
    return (piece.source.size_bytes or 0) * (_UNPACKED if piece.source.is_packed else 1)


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
