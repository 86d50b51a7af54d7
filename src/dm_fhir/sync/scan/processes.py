"""Pieces read in several processes: whoever is free takes the next one, and their parcels come in the order of the pieces.

Each process says which piece it has begun, then waits until that one's turn has come: whoever is ahead holds one parcel, not all.
A process ends when there is nothing left to take or nobody is listening any more; so it does not outlive the one that began it.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple

import msgspec

from dm_fhir.errors import InternalError, StoreError, unexpected
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.scan import scan
from dm_fhir.sync.scan.scanned import DECODER, ENCODER, Scanned

_NUMBER_BYTES = 8
#: So many pieces are laid out for taking: the smallest of pipes holds their numbers.
_LAID_OUT = 256
#: In place of a parcel: a mistake of this program follows.
_MISTAKE = b""
_PATIENCE_SECONDS = 5


class _Worker(NamedTuple):
    process: BaseProcess
    end: Connection


def in_processes(pieces: Sequence[Piece], question: Question, processes: int) -> Iterator[Scanned]:
    """What `in_turn` gives, read in so many processes. Raises StoreError when one of them is ended from outside."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # one process is started anew, and what it has imported serves each pass
    taking, laying_out = context.Pipe(duplex=False)
    workers: list[_Worker] = []
    try:
        with _interrupts_held():  # they begin as their own, and never see one
            for _ in range(processes):
                receiving, sending = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(taking, sending, pieces, question), daemon=True)
                process.start()
                sending.close()
                workers.append(_Worker(process, receiving))
        taking.close()
        yield from _in_order(workers, laying_out, len(pieces))
    finally:
        laying_out.close()
        for worker in workers:
            worker.end.close()
            worker.process.kill()
        for worker in workers:
            worker.process.join()


def _in_order(workers: Sequence[_Worker], laying_out: Connection, pieces: int) -> Iterator[Scanned]:
    laid_out = min(pieces, _LAID_OUT)
    _lay_out(laying_out, range(laid_out))
    by_piece: dict[int, _Worker] = {}  # who has begun a piece whose turn has not come
    idle = {worker.end: worker for worker in workers}
    for number in range(pieces):
        while number not in by_piece:
            for end in wait(list(idle)):
                worker = idle.pop(end)  # type: ignore[call-overload]  # it is given back as it was handed in
                by_piece[int.from_bytes(_received(worker), "big")] = worker
        worker = by_piece.pop(number)
        is_last = False
        while not is_last:
            parcel = DECODER.decode(_received(worker))
            is_last = parcel.is_last
            yield parcel
        idle[worker.end] = worker
        if laid_out < pieces:
            _lay_out(laying_out, [laid_out])
            laid_out += 1


def _lay_out(laying_out: Connection, numbers: Sequence[int]) -> None:
    os.write(laying_out.fileno(), b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in numbers))


def _received(worker: _Worker) -> bytes:
    try:
        message = worker.end.recv_bytes()
        mistake = worker.end.recv_bytes() if message == _MISTAKE else b""
    except (EOFError, OSError):
        worker.process.join(_PATIENCE_SECONDS)
        raise StoreError(
            f"a process that was reading files was ended from outside ({_how(worker.process.exitcode)})",
            hint="run again: what was read is kept. If memory was short, --processes 1 takes least",
        ) from None
    if mistake:
        raise InternalError(*msgspec.msgpack.decode(mistake, type=tuple[str, list[str]]))
    return message


def _how(exit_code: int | None) -> str:
    return signal.Signals(-exit_code).name if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Whoever is started inherits it: Ctrl-C reaches everybody in a terminal, and only the one who began ends in order."""
    resource_tracker.ensure_running()  # it would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(taking: Connection, sending: Connection, pieces: Sequence[Piece], question: Question) -> None:
    """What a process does: take the number of a piece, say so, send its parcels."""
    try:
        while taken := os.read(taking.fileno(), _NUMBER_BYTES):
            sending.send_bytes(taken)
            number = int.from_bytes(taken, "big")
            for parcel in scan(number, pieces[number], question):
                sending.send_bytes(ENCODER.encode(parcel))
    except BrokenPipeError:
        return  # nobody is listening any more
    except Exception as error:  # noqa: BLE001  # it is told where it can be raised
        mistake = unexpected(error)
        sending.send_bytes(_MISTAKE)
        sending.send_bytes(msgspec.msgpack.encode((mistake.message, mistake.frames)))
