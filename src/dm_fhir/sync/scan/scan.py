"""One piece read for one question: every line accounted for, the next piece not needed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import msgspec

from dm_fhir.fhir.files import Item, damage_of, read_document, read_file
from dm_fhir.fhir.resource import NOT_READABLE, plain_lines
from dm_fhir.fhir.sources import BROKEN, DAMAGE, LARGEST_BYTES, opened
from dm_fhir.fhir.transport import BYTE_ORDER_MARK
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.questions import Head, Question
from dm_fhir.sync.scan.scanned import Faulty, Scanned

#: So much is decoded at a time: it stays in the processor's cache.
_BATCH_BYTES = 256 * 1024
#: In place of a line that is longer than may be.
_TOO_LONG = None


def scan(number: int, piece: Piece, question: Question) -> Iterator[Scanned]:
    """What comes of the piece, in parcels of which the last says so. Bad content is part of it and raises nothing."""
    parcel = Scanned(number)
    decoder = msgspec.json.Decoder(question.head)
    try:
        for part in _parts(piece):
            if isinstance(part, Item):
                _take(part, None, piece.source.path, question, parcel)
            elif part is _TOO_LONG:
                parcel.lines += 1
                parcel.faulty.append(Faulty(parcel.lines, "", "too-large", b""))
            else:
                _batch(part, decoder, question, parcel)
            if parcel.is_full:
                yield parcel
                parcel = Scanned(number)
    except BROKEN as error:
        parcel.damage = damage_of(error)
    parcel.is_last = True
    yield parcel


def _parts(piece: Piece) -> Iterator[Item | bytes | None]:
    """The lines of the piece in batches, or where it has none what is in the document."""
    if not piece.has_lines:
        yield from read_file(piece.source.path)
        return
    with opened(piece.source.path) as file:
        yield from _batches(file, piece)


def _batch(batch: bytes, decoder: "msgspec.json.Decoder[Head]", question: Question, parcel: Scanned) -> None:
    """Count the lines of a batch and look at those that are suspected; one with anything odd in it is read line by line."""
    lines = batch.count(b"\n") + (not batch.endswith(b"\n"))
    heads = _heads(batch, decoder)
    if heads is None or len(heads) != lines:
        _one_by_one(batch, question, parcel)
        return
    types = Counter([head.resourceType for head in heads])
    if not types.keys().isdisjoint(("", "Bundle")) or "" in [head.id for head in heads]:
        _one_by_one(batch, question, parcel)
        return
    suspects = question.suspects(heads)
    if suspects:
        all_lines = batch.split(b"\n")
        resources = plain_lines([all_lines[index].strip() for index in suspects])
        if resources is None:
            _one_by_one(batch, question, parcel)
            return
        for resource in resources:
            question.answer(resource, parcel)
    parcel.lines += lines
    parcel.types.update(types)


def _heads(batch: bytes, decoder: "msgspec.json.Decoder[Head]") -> Sequence[Any] | None:
    """The heads of all lines; None where one of them is odd. The decoder does not look at the text that it passes over."""
    try:
        if not batch.isascii():
            batch.decode()
        return decoder.decode_lines(batch)
    except NOT_READABLE:
        return None


def _one_by_one(batch: bytes, question: Question, parcel: Scanned) -> None:
    for line in batch.removesuffix(b"\n").split(b"\n"):
        parcel.lines += 1
        for item in read_document(line.strip(), ""):
            _take(item, parcel.lines, "", question, parcel)


def _take(item: Item, line: int | None, path: str, question: Question, parcel: Scanned) -> None:
    if item.reason in DAMAGE:
        parcel.damage = item.reason
    elif item.resource is None:
        within = item.place.removeprefix(path)
        parcel.faulty.append(Faulty(line, within, item.reason or "unreadable", item.body))
    else:
        parcel.types[item.resource.type] += 1
        question.answer(item.resource, parcel)


def _batches(file: BinaryIO, piece: Piece) -> Iterator[bytes | None]:
    """The lines that begin in the piece, whole ones, many at a time; _TOO_LONG in place of one that is too long."""
    start, end = piece.start, piece.end
    if start:
        file.seek(start - 1)
        start += _passed(file) - 1  # the end of a line that began before
    rest = b"" if start else file.read(len(BYTE_ORDER_MARK)).removeprefix(BYTE_ORDER_MARK)
    at = start + (0 if start else len(BYTE_ORDER_MARK))
    while end is None or at < end:
        chunk = file.read(_BATCH_BYTES if end is None else min(_BATCH_BYTES, end - at))
        at += len(chunk)
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield rest + chunk[:cut]
            rest = chunk[cut:]
        else:
            rest += chunk
        if not chunk:
            break
        if len(rest) > LARGEST_BYTES:
            at += _passed(file)
            rest = b""
            yield _TOO_LONG
    if end is not None and rest:  # the last line goes on in the next piece
        rest += file.readline(LARGEST_BYTES + 1)
        if len(rest) > LARGEST_BYTES:
            yield _TOO_LONG
            return
    if rest:
        yield rest


def _passed(file: BinaryIO) -> int:
    """How many bytes were passed over up to the end of the line."""
    passed = 0
    while part := file.readline(2**20):
        passed += len(part)
        if part.endswith(b"\n"):
            break
    return passed
