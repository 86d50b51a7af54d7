"""FHIR files: NDJSON, Bundles and single resources, plain or gzipped, folders of them, standard input.

Every line and every entry is accounted for: a resource, or why it is not one.
"""

import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
from msgspec.structs import replace

from dm_fhir.errors import ConfigError
from dm_fhir.fhir.resource import NOT_READABLE, Resource, Unusable, read_resource
from dm_fhir.fhir.transport import BYTE_ORDER_MARK, LARGEST_ANSWER_BYTES

STANDARD_INPUT = "-"
_LINES = (".ndjson", ".jsonl")
_SUFFIXES = (".json", *_LINES)
#: Why a whole file breaks off.
DAMAGE = ("file-cut-off", "file-damaged", "file-too-large")
#: The most of a file that is ever in memory at once: a line of NDJSON, or a whole JSON document, unzipped.
LARGEST_BYTES = LARGEST_ANSWER_BYTES
_BROKEN_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)


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


def find_files(paths: list[str]) -> tuple[list[str], list[str]]:
    """The FHIR files behind `paths`, folders searched through in order of name; and the files passed over there.

    A folder's file is passed over if neither its name nor its content speaks of FHIR. A file named by itself never is.

    Raises ConfigError for a path that does not exist.
    """
    found: list[str] = []
    passed_over: list[str] = []
    for path in paths:
        if Path(path).is_dir():
            for file in sorted(str(file) for file in Path(path).rglob("*") if file.is_file()):
                (found if _is_fhir_name(file) and _holds_resources(file) else passed_over).append(file)
        elif path == STANDARD_INPUT or Path(path).exists():
            found.append(path)
        else:
            raise ConfigError(f"{path} does not exist", hint="give a file, a folder, or - for standard input")
    return list(dict.fromkeys(found)), list(dict.fromkeys(passed_over))


def read_file(path: str) -> Iterator[Item]:
    """Every resource of the file, in order, and every line or entry that is none. Never raises for bad content."""
    with _open(path) as file:
        try:
            yield from _items(file, path)
        except _BROKEN_GZIP as error:
            reason = DAMAGE[0] if isinstance(error, EOFError) else DAMAGE[1]
            yield Item(path, None, reason, b"")


def _is_fhir_name(name: str) -> bool:
    return name.removesuffix(".gz").endswith(_SUFFIXES)


def _holds_resources(path: str) -> bool:
    """Whether the file says resourceType anywhere; a damaged or huge one counts as if it did, so that it is reported."""
    if path.removesuffix(".gz").endswith(_LINES):
        return True
    before, looked_at = b"", 0
    with _open(path) as file:
        try:
            while chunk := file.read(2**16):
                looked_at += len(chunk)
                if b'"resourceType"' in before + chunk or looked_at > LARGEST_BYTES:
                    return True
                before = chunk[-16:]
        except _BROKEN_GZIP:
            return True
    return not before.strip()


@contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    """The file's content, whether gzipped or not. Standard input stays open."""
    with _raw(path) as raw:
        if raw.peek(2)[:2] == b"\x1f\x8b":
            with gzip.open(raw) as file:
                yield file  # type: ignore[misc]  # a GzipFile reads as any binary file does
        else:
            yield raw


def _raw(path: str) -> AbstractContextManager[BufferedReader]:
    if path == STANDARD_INPUT:
        return nullcontext(sys.stdin.buffer)  # type: ignore[arg-type]  # a BufferedReader, typed more widely
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _items(file: BinaryIO, path: str) -> Iterator[Item]:
    """NDJSON by its name, or by a first line that is whole while more follow; else one JSON document."""
    lines = _lines(file)
    head = _head(lines)
    filled = [line for line in head if line.strip()]
    if path.removesuffix(".gz").endswith(_LINES) or (len(filled) == 2 and _is_whole(filled[0])):
        for number, line in enumerate(chain(head, lines), start=1):
            if len(line) > LARGEST_BYTES:
                yield Item(f"{path}:{number}", None, "too-large", b"")
            else:
                yield from _document(line.strip(), f"{path}:{number}")
        return
    body = b"".join((*head, file.read(LARGEST_BYTES + 1)))
    if len(body) > LARGEST_BYTES:
        yield Item(path, None, DAMAGE[2], b"")
    else:
        yield from _document(body.strip(), path)


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


def _document(body: bytes, place: str) -> Iterator[Item]:
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
