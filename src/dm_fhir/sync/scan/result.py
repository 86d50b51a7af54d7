"""What an engine has read, kept in one private file until the store has taken it in: nobody asks the engine twice.

The file begins with who made it for what; then pass after pass: what was asked of which pieces, the parcels as they are
encoded, and a checksum. A pass that was not finished has none, and is begun again.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.runners import Runner
from dm_fhir.sync.scan.scanned import DECODER, ENCODER, Scanned

#: How every such file begins; the number is raised whenever it is made otherwise.
_MAGIC = b"dm-fhir engine result 1\n"
_LENGTH_BYTES = 4


class Made(msgspec.Struct, frozen=True):
    """By which dm-fhir a result was made, and for which site."""

    program: str
    site: str


class _Asked(msgspec.Struct, frozen=True):
    question: str
    pieces: list[Piece]


class _Pass(NamedTuple):
    """A whole pass of a file: what was asked, the numbers of its pieces, and where its parcels begin."""

    question: str
    numbers: dict[Piece, int]
    start: int


def kept_in(path: Path, made: Made, runner: Runner) -> Runner:
    """The runner, whose parcels go through the file at `path`. What stands there for the same question is not asked for again.

    A file that was made by another dm-fhir, for another site, or damaged, is begun anew.
    """
    passes, end = _opened(path, made)
    if end:
        os.truncate(path, end)
    else:
        _begin(path, made)

    def keep(pieces: Sequence[Piece], question: Question) -> Iterator[Scanned]:
        asked = _name(question)
        found = _found(passes, asked, pieces)
        if found is None:
            found = _written(path, asked, pieces, runner(pieces, question))
            passes.append(found)
        return _replayed(path, found, pieces)

    return keep


def _begin(path: Path, made: Made) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(_MAGIC + _framed(msgspec.msgpack.encode(made)))


def _written(path: Path, asked: str, pieces: Sequence[Piece], parcels: Iterator[Scanned]) -> _Pass:
    """A pass more in the file, whole only when its checksum stands behind it."""
    with path.open("ab") as file:
        header = _framed(msgspec.msgpack.encode(_Asked(asked, list(pieces))))
        start = file.tell() + len(header)
        digest = sha256(header)
        file.write(header)
        for parcel in parcels:
            frame = _framed(ENCODER.encode(parcel))
            digest.update(frame)
            file.write(frame)
        file.write(_framed(b"") + _framed(digest.digest()))
        file.flush()
        os.fsync(file.fileno())
    return _Pass(asked, _numbered(pieces), start)


def _opened(path: Path, made: Made) -> tuple[list[_Pass], int]:
    """The whole passes of a file, and where the last of them ends: 0 if nothing of the file is of use."""
    passes: list[_Pass] = []
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return passes, 0
    with file:
        if file.read(len(_MAGIC)) != _MAGIC or _decoded(_frame(file), Made) != made:
            return passes, 0
        end = file.tell()
        while (one := _whole(file)) is not None:
            passes.append(one)
            end = file.tell()
    return passes, end


def _whole(file: IO[bytes]) -> _Pass | None:
    """The pass that begins here, if it is whole."""
    header = _frame(file)
    asked = _decoded(header, _Asked)
    if header is None or asked is None:
        return None
    start = file.tell()
    digest = sha256(_framed(header))
    while frame := _frame(file):
        digest.update(_framed(frame))
    is_whole = frame is not None and _frame(file) == digest.digest()
    return _Pass(asked.question, _numbered(asked.pieces), start) if is_whole else None


def _replayed(path: Path, one: _Pass, pieces: Sequence[Piece]) -> Iterator[Scanned]:
    """The parcels of these pieces, numbered as they are here."""
    number_here = {one.numbers[piece]: number for number, piece in enumerate(pieces)}
    with path.open("rb") as file:
        file.seek(one.start)
        while frame := _frame(file):
            parcel = DECODER.decode(frame)
            if parcel.piece in number_here:
                parcel.piece = number_here[parcel.piece]
                yield parcel


def _found(passes: Sequence[_Pass], asked: str, pieces: Sequence[Piece]) -> _Pass | None:
    """The pass in which this was asked of all these pieces, in this order."""
    for one in passes:
        numbers = [one.numbers.get(piece, -1) for piece in pieces]
        if one.question == asked and -1 not in numbers and numbers == sorted(numbers):
            return one
    return None


def _name(question: Question) -> str:
    """The same for the same question: its kind, the mapper's tables and settings, its members and codes."""
    names: tuple[str, ...] = getattr(question, "_fields", ()) or getattr(question, "__struct_fields__", ())
    fields = {name: getattr(question, name) for name in names}
    # A dict is what a question has learned on its way, and no part of what it asks.
    parts = [f"{name}={_said(value)}" for name, value in fields.items() if not isinstance(value, dict)]
    return sha256("\n".join([type(question).__name__, *parts]).encode()).hexdigest()


def _said(value: Any) -> str:
    if hasattr(value, "fingerprint"):
        mapper: Mapper = value
        return f"{mapper.fingerprint}; {mapper.scope}"
    return repr(sorted(value) if isinstance(value, frozenset | set) else value)


def _numbered(pieces: Sequence[Piece]) -> dict[Piece, int]:
    return {piece: number for number, piece in enumerate(pieces)}


def _framed(body: bytes) -> bytes:
    return len(body).to_bytes(_LENGTH_BYTES) + body


def _frame(file: IO[bytes]) -> bytes | None:
    """The next frame; None where there is none, or only a part of it."""
    head = file.read(_LENGTH_BYTES)
    length = int.from_bytes(head)
    body = file.read(length)
    return body if len(head) == _LENGTH_BYTES and len(body) == length else None


def _decoded(body: bytes | None, kind: type[Any]) -> Any:
    with suppress(msgspec.DecodeError):
        return msgspec.msgpack.decode(body or b"", type=kind)
    return None
