"""What is in a FHIR file: NDJSON, a Bundle or a single resource.

Every line and every entry is accounted for: a resource, or why it is not one.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO, NamedTuple

import msgspec
from msgspec.structs import replace

from dm_fhir.fhir.packed import BROKEN, TOO_LARGE, damage_of
from dm_fhir.fhir.resource import NOT_READABLE, Resource, Unusable, read_resource
from dm_fhir.fhir.sources import LARGEST_BYTES, LINES, Source, opened, plain_name
from dm_fhir.fhir.transport import BYTE_ORDER_MARK


class Item(NamedTuple):
    """One line of NDJSON, or one resource of a JSON file: where it stands, and the resource or why there is none."""

    place: str
    resource: Resource | None
    reason: str | None
    body: bytes


class _Entry(msgspec.Struct, frozen=True):
    fullUrl: str | None = None
    resource: msgspec.Raw = msgspec.Raw(b"null")


class _Bundle(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    entry: tuple[_Entry, ...] = ()


def read_file(source: Source | str) -> Iterator[Item]:
    """Every resource of the file, in order, and every line or entry that is none. Never raises for bad content."""
    path = source if isinstance(source, str) else source.path
    try:
        with opened(source) as file:
            yield from _items(file, path)
    except BROKEN as error:
        yield Item(path, None, damage_of(error), b"")


def holds_lines(path: str, file: BinaryIO) -> bool:
    """Whether a file that is at its beginning is NDJSON: by its name, or by a first line that is whole while more follow."""
    if plain_name(path).endswith(LINES):
        return True
    filled = [line for line in _head(_lines(file)) if line.strip()]
    return len(filled) == 2 and _is_whole(filled[0])


def _items(file: BinaryIO, path: str) -> Iterator[Item]:
    """NDJSON by its name, or by a first line that is whole while more follow; else one JSON document."""
    lines, is_named = _lines(file), plain_name(path).endswith(LINES)
    head = _head([next(lines, b"")] if is_named else lines)
    filled = [line for line in head if line.strip()]
    if is_named or (len(filled) == 2 and _is_whole(filled[0])):
        for number, line in enumerate(chain(head, lines), start=1):
            if len(line) > LARGEST_BYTES:
                yield Item(f"{path}:{number}", None, "too-large", b"")
            else:
                yield from read_document(line.strip(), f"{path}:{number}")
        return
    body = b"".join((*head, file.read(LARGEST_BYTES + 1)))
    if len(body) > LARGEST_BYTES:
        yield Item(path, None, TOO_LARGE, b"")
        return
    file.read(1)  # what breaks off says so only when more is asked of it
    yield from read_document(body.strip(), path)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines; of one that is too long its beginning, a byte more than may be, and the rest is passed over."""
    while line := file.readline(LARGEST_BYTES + 1):
        yield line
        is_cut = len(line) > LARGEST_BYTES and not line.endswith(b"\n")
        while is_cut and (rest := file.readline(2**20)):
            is_cut = not rest.endswith(b"\n")


def _head(file: Iterable[bytes]) -> list[bytes]:
    """The lines up to the second that is not blank, without a byte-order mark."""
    head: list[bytes] = []
    filled = 0
    for line in file:
        head.append(line if head else line.removeprefix(BYTE_ORDER_MARK))
        filled += bool(head[-1].strip())
        if filled == 2:
            break
    return head


def _is_whole(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except NOT_READABLE:
        return False
    return True


def read_document(body: bytes, place: str) -> Iterator[Item]:
    """A Bundle's entries, or the one resource; nothing for a blank line."""
    try:
        bundle = msgspec.json.decode(body, type=_Bundle)
    except NOT_READABLE:
        bundle = _Bundle()
    if bundle.resourceType == "Bundle":
        yield from _entries(bundle, place)
    elif body:
        yield _item(body, place)


def _entries(bundle: _Bundle, place: str) -> Iterator[Item]:
    """Every entry. Inside a Bundle a patient may be called by the entry's fullUrl (urn:uuid:…) instead of Patient/id."""
    items = [_item(bytes(entry.resource), f"{place}:entry[{index}]") for index, entry in enumerate(bundle.entry)]
    called = {
        e.fullUrl: i.resource.reference for e, i in zip(bundle.entry, items, strict=True) if e.fullUrl and i.resource
    }
    for item in items:
        if item.resource is not None and item.resource.subject in called:
            yield item._replace(resource=replace(item.resource, subject=called[item.resource.subject]))
        else:
            yield item


def _item(body: bytes, place: str) -> Item:
    try:
        resource = read_resource(body)
    except Unusable as error:
        return Item(place, None, error.reason, body)
    if resource.type == "Bundle":  # one whose entries cannot be told apart, or one inside another
        return Item(place, None, "unreadable", body)
    return Item(place, resource, None, body)
