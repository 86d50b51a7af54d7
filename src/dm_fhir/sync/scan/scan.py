"""One piece read for one question: every line accounted for, the next piece not needed.

Batches of lines are decoded in one go, to the few elements that the question reads. A batch with anything odd in it is halved
until the odd line stands alone, which is then read by itself: what comes of a line never depends on its neighbours.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from dm_fhir.fhir.files import Item, read_document, read_file
from dm_fhir.fhir.packed import BROKEN, DAMAGE, damage_of
from dm_fhir.fhir.resource import NOT_READABLE, PlainHead, is_utf8, plain_heads, plain_resources
from dm_fhir.sync.scan.lines import TOO_LONG, batches_of
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.scanned import Faulty, Scanned

_Decoder = msgspec.json.Decoder[list[Any]]


class _Decoders(NamedTuple):
    """`asked` reads what the question asks for. `plain` also reads what is needed to keep a resource, None where it cannot do both."""

    asked: _Decoder
    plain: _Decoder | None


def scan(number: int, piece: Piece, question: Question) -> Iterator[Scanned]:
    """What comes of the piece, in parcels of which the last says so. Bad content is part of it and raises nothing."""
    parcel = Scanned(number)
    decoders = _decoders(question)
    try:
        for part in batches_of(piece) if piece.has_lines else read_file(piece.source):
            if isinstance(part, Item):
                _take(part, None, piece.source.path, question, parcel)
            elif part is TOO_LONG:
                parcel.lines += 1
                parcel.set_aside(Faulty(parcel.lines, "", "too-large", b""))
            else:
                _read(part, decoders, question, parcel)
            if parcel.is_full:
                yield parcel
                parcel = Scanned(number)
    except BROKEN as error:
        parcel.damage = damage_of(error)
    parcel.is_last = True
    yield parcel


def _decoders(question: Question) -> _Decoders:
    asked = question.head
    does_both = set(asked.__struct_fields__) <= set(PlainHead.__struct_fields__)
    plain = msgspec.json.Decoder(list[PlainHead]) if does_both else None
    return _Decoders(msgspec.json.Decoder(list[asked]), plain)  # type: ignore[valid-type]


def _read(batch: bytes, decoders: _Decoders, question: Question, parcel: Scanned) -> None:
    """Count the lines of a batch and look at those that are suspected."""
    if _read_plainly(batch, decoders, question, parcel):
        return
    middle = _middle(batch)
    if middle:
        _read(batch[:middle], decoders, question, parcel)
        _read(batch[middle:], decoders, question, parcel)
    else:
        _read_line(batch, decoders.asked, question, parcel)


def _middle(batch: bytes) -> int:
    """Where the line begins that is nearest to the middle of the batch; 0 if there is only one."""
    half = len(batch) // 2
    return batch.rfind(b"\n", 0, half) + 1 or batch.find(b"\n", half, len(batch) - 1) + 1


def _read_plainly(batch: bytes, decoders: _Decoders, question: Question, parcel: Scanned) -> bool:
    """Read all lines of a batch in one go. False, and nothing has happened, where one of them is odd."""
    plain = decoders.plain if parcel.keeps_most else None
    heads = _heads(batch, plain or decoders.asked)
    if heads is None:
        return False
    types = [head.resourceType for head in heads]
    if "Bundle" in types:
        return False
    suspects = question.suspects(heads)
    if suspects:
        lines = batch.split(b"\n")
        bodies = [lines[index].strip() for index in suspects]
        suspected = [heads[index] for index in suspects] if plain else plain_heads(bodies)
        resources = suspected and plain_resources(suspected, bodies)
        if not resources:
            return False
        for resource in resources:
            question.answer(resource, parcel)
    parcel.lines += len(heads)
    if types.count(types[0]) == len(types):  # as in most exports, and four times as fast
        parcel.types[types[0]] += len(types)
    else:
        parcel.types.update(types)
    return True


def _heads(batch: bytes, decoder: _Decoder) -> Sequence[Any] | None:
    """The heads of all lines, which all have an end; None where one of them is odd, or blank, or not exactly one value."""
    if not is_utf8(batch):
        return None
    # As an array: a line's end has to stand between two values and nowhere else.
    values = batch.replace(b"\n", b",\n")
    try:
        heads = decoder.decode(b"".join((b"[", memoryview(values)[:-2], b"]")))
    except NOT_READABLE:
        return None
    return heads if len(heads) == len(values) - len(batch) else None


def _read_line(line: bytes, decoder: _Decoder, question: Question, parcel: Scanned) -> None:
    parcel.lines += 1
    heads = _heads(line, decoder)
    if heads and heads[0].resourceType != "Bundle" and not question.suspects(heads):
        parcel.types[heads[0].resourceType] += 1
        return
    for item in read_document(line.strip(), ""):
        _take(item, parcel.lines, "", question, parcel)


def _take(item: Item, line: int | None, path: str, question: Question, parcel: Scanned) -> None:
    if item.reason in DAMAGE:
        parcel.damage = item.reason
    elif item.resource is None:
        within = item.place.removeprefix(path)
        parcel.set_aside(Faulty(line, within, item.reason or "unreadable", item.body))
    else:
        parcel.types[item.resource.type] += 1
        question.answer(item.resource, parcel)
