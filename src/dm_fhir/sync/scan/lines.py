"""The lines of a piece, many at a time: whole lines that begin in it, however it was cut out of its source."""

from collections.abc import Iterator
from typing import BinaryIO

from dm_fhir.fhir.packed import BROKEN
from dm_fhir.fhir.sources import LARGEST_BYTES, opened
from dm_fhir.fhir.transport import BYTE_ORDER_MARK
from dm_fhir.sync.scan.piece import Piece

#: So much is decoded at a time: it stays in the processor's cache.
BATCH_BYTES = 96 * 1024
#: In place of a line that is longer than may be.
TOO_LONG = None
_PASSED_AT_ONCE = 2**20


def batches_of(piece: Piece) -> Iterator[bytes | None]:
    """The lines that begin in the piece, each with an end, also the last; TOO_LONG in place of one that is. Raises what reading raises."""
    with opened(piece.source) as file:
        at = _first_line(file, piece.start)
        while piece.end is None or at < piece.end:
            batch = file.read(BATCH_BYTES if piece.end is None else min(BATCH_BYTES, piece.end - at))
            if not batch:
                return
            last = batch.rfind(b"\n") + 1
            try:
                rest = b"" if batch.endswith(b"\n") else file.readline(LARGEST_BYTES + 1)
            except BROKEN:
                if last:  # the whole lines before the break
                    yield batch[:last].removeprefix(BYTE_ORDER_MARK) if at == 0 else batch[:last]
                raise
            is_too_long = len(batch) - last + len(rest) > LARGEST_BYTES
            passed = _passed(file) if is_too_long and not rest.endswith(b"\n") else 0
            whole = batch[:last] if is_too_long else batch + rest
            if at == 0:
                whole = whole.removeprefix(BYTE_ORDER_MARK)
            at += len(batch) + len(rest) + passed
            if whole:
                yield whole if whole.endswith(b"\n") else whole + b"\n"
            if is_too_long:
                yield TOO_LONG


def _first_line(file: BinaryIO, start: int) -> int:
    """Where the first line begins that does so at `start` or later; the file stands there."""
    if start == 0:
        return 0
    file.seek(start - 1)
    return start - 1 + _passed(file)


def _passed(file: BinaryIO) -> int:
    """How many bytes were passed over up to the end of the line."""
    passed = 0
    while part := file.readline(_PASSED_AT_ONCE):
        passed += len(part)
        if part.endswith(b"\n"):
            break
    return passed
