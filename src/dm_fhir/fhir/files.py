"""FHIR files: NDJSON, Bundles and single resources, plain or gzipped, folders of them, standard input.

Every line and every entry is accounted for: a resource, or why it is not one.
"""

import gzip
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from dm_fhir.errors import ConfigError
from dm_fhir.fhir.resource import Resource, Unusable, read_resource

STANDARD_INPUT = "-"
_LINES = (".ndjson", ".jsonl")
_SUFFIXES = (".json", *_LINES)


class Item(NamedTuple):
    """One line of NDJSON, or one resource of a JSON file: where it stands, and the resource or why there is none."""

    place: str
    resource: Resource | None
    reason: str | None
    body: bytes


class _Entry(msgspec.Struct, frozen=True):
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
        if path == STANDARD_INPUT or Path(path).is_file():
            found.append(path)
        elif Path(path).is_dir():
            inside = sorted(str(file) for file in Path(path).rglob("*") if file.is_file())
            chosen = [file for file in inside if _is_fhir_name(file) and _holds_resources(file)]
            found += chosen
            passed_over += [file for file in inside if file not in chosen]
        else:
            raise ConfigError(f"{path} does not exist", hint="give a file, a folder, or - for standard input")
    return found, passed_over


def read_file(path: str) -> Iterator[Item]:
    """Every resource of the file, in order, and every line or entry that is none. Never raises for bad content."""
    with _open(path) as file:
        try:
            yield from _items(file, path)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            reason = "file-cut-off" if isinstance(error, EOFError) else "file-damaged"
            yield Item(path, None, reason, b"")


def _is_fhir_name(name: str) -> bool:
    return name.removesuffix(".gz").endswith(_SUFFIXES)


def _holds_resources(path: str) -> bool:
    """Whether the file says resourceType anywhere; a damaged one counts as if it did, so that it is reported."""
    if path.removesuffix(".gz").endswith(_LINES):
        return True
    before = b""
    with _open(path) as file:
        try:
            while chunk := file.read(2**16):
                if b'"resourceType"' in before + chunk:
                    return True
                before = chunk[-16:]
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return True
    return not before.strip()


def _open(path: str) -> BinaryIO:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer
    try:
        file = Path(path).open("rb")  # noqa: SIM115  # the caller closes it
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if file.peek(2)[:2] == b"\x1f\x8b":
        return gzip.open(file)  # type: ignore[return-value]
    return file


def _items(file: BinaryIO, path: str) -> Iterator[Item]:
    """NDJSON by its name, or by a first line that is whole while more follow; else one JSON document."""
    first, second = file.readline(), file.readline()
    if path.removesuffix(".gz").endswith(_LINES) or (second.strip() and _is_whole(first)):
        for number, line in enumerate(_chain(first, second, file), start=1):
            yield from _line(line, f"{path}:{number}")
    else:
        yield from _document(b"".join((first, second, file.read())), path)


def _chain(first: bytes, second: bytes, rest: BinaryIO) -> Iterator[bytes]:
    yield first
    yield second
    yield from rest


def _is_whole(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _line(line: bytes, place: str) -> Iterator[Item]:
    if line.strip():
        yield _item(line.strip(), place)


def _document(body: bytes, path: str) -> Iterator[Item]:
    """A Bundle's entries, or the one resource."""
    body = body.strip().removeprefix(b"\xef\xbb\xbf")
    try:
        bundle = msgspec.json.decode(body, type=_Bundle)
    except (msgspec.DecodeError, UnicodeDecodeError):
        bundle = _Bundle()
    if bundle.resourceType == "Bundle":
        for index, entry in enumerate(bundle.entry):
            yield _item(bytes(entry.resource), f"{path}:entry[{index}]")
    elif body:
        yield _item(body, path)


def _item(body: bytes, place: str) -> Item:
    try:
        return Item(place, read_resource(body), None, body)
    except Unusable as error:
        return Item(place, None, error.reason, body)
