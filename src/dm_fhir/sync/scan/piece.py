"""What is read by itself: a whole source, or a part of one."""

from collections.abc import Sequence

import msgspec

from dm_fhir.fhir.files import holds_lines
from dm_fhir.fhir.packed import BROKEN
from dm_fhir.fhir.sources import LINES, STANDARD_INPUT, Source, opened, plain_name

#: So much of a plain file of lines is one piece; more where there would be too many of them.
PIECE_BYTES = 16 * 2**20
MOST_PIECES = 20_000


class Piece(msgspec.Struct, frozen=True):
    """A part of a source. `has_lines`: it is NDJSON, and the piece is the lines that begin from `start` on and before `end`.

    `end` None: to the end of the source. Without lines it is one JSON document, read whole.
    """

    source: Source
    has_lines: bool
    start: int = 0
    end: int | None = None


def pieces_of(sources: Sequence[Source]) -> list[Piece]:
    """The sources in pieces, in order. Those that are packed are one piece each."""
    of_bytes = max(PIECE_BYTES, sum(source.size_bytes or 0 for source in sources) // MOST_PIECES)
    return [piece for source in sources for piece in _pieces(source, of_bytes)]


def _pieces(source: Source, of_bytes: int) -> list[Piece]:
    if source.path == STANDARD_INPUT:
        return [Piece(source, has_lines=False)]
    has_lines = plain_name(source.path).endswith(LINES)
    if not has_lines:
        try:
            with opened(source) as file:
                has_lines = holds_lines(source.path, file)
        except BROKEN:
            pass  # reading it whole says what is wrong with it
    size = source.size_bytes
    if not has_lines or source.is_packed or size is None:
        return [Piece(source, has_lines)]
    starts = range(0, max(size, 1), of_bytes)
    return [Piece(source, has_lines, start, min(start + of_bytes, size)) for start in starts]
