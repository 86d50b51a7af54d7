"""How pieces are read: one after the other in this process, or in several processes beside it."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection

from dm_fhir.errors import StoreError
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.scan import scan
from dm_fhir.sync.scan.scanned import DECODER, ENCODER, Scanned

#: Reads the pieces for a question; the parcels of each piece in order, and the pieces in order.
Runner = Callable[[Sequence[Piece], Question], Iterator[Scanned]]
#: With so many pieces other processes are worth the time that they take to start.
_WORTH_PROCESSES = 16


def in_turn(pieces: Sequence[Piece], question: Question) -> Iterator[Scanned]:
    """The pieces one after the other, in this process."""
    for number, piece in enumerate(pieces):
        yield from scan(number, piece, question)


def on_this_machine(processes: int | None) -> Runner:
    """A runner in so many processes. None: in this one, or in one for each core where there is so much that it is worth it."""

    def run(pieces: Sequence[Piece], question: Question) -> Iterator[Scanned]:
        many = processes or ((os.cpu_count() or 1) if len(pieces) >= _WORTH_PROCESSES else 1)
        return in_processes(pieces, question, many)

    return run


def in_processes(pieces: Sequence[Piece], question: Question, processes: int) -> Iterator[Scanned]:
    """The same in so many processes, each with every so-many-th piece; whoever is ahead waits, so that memory stays bounded."""
    many = min(processes, len(pieces))
    if many < 2:
        yield from in_turn(pieces, question)
        return
    context = multiprocessing.get_context("spawn")
    workers, ends = [], []
    for nth in range(many):
        receiving, sending = context.Pipe(duplex=False)
        mine = [(number, piece) for number, piece in enumerate(pieces) if number % many == nth]
        worker = context.Process(target=_work, args=(sending, mine, question), daemon=True)
        worker.start()
        sending.close()
        workers.append(worker)
        ends.append(receiving)
    try:
        for number in range(len(pieces)):
            yield from _parcels(ends[number % many])
    finally:
        for worker, end in zip(workers, ends, strict=True):
            end.close()
            worker.terminate()
            worker.join()


def _parcels(end: "Connection") -> Iterator[Scanned]:
    while True:
        try:
            parcel = DECODER.decode(end.recv_bytes())
        except EOFError:
            raise StoreError(
                "a process that was reading files has ended before its work was done",
                hint="run again: what was read is kept",
            ) from None
        yield parcel
        if parcel.is_last:
            return


def _work(end: "Connection", pieces: Sequence[tuple[int, Piece]], question: Question) -> None:
    try:
        for number, piece in pieces:
            for parcel in scan(number, piece, question):
                end.send_bytes(ENCODER.encode(parcel))
    except BrokenPipeError:
        return  # nobody is listening any more
