"""How files of FHIR are opened: on this machine, in an archive, in object storage, on standard input; plain or packed.

A source is opened as often as it is asked for, by any process, and read from any place where it is not packed. A member of an
archive is a source of its own: `export.zip!/Patient.ndjson`.
"""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from dm_fhir.errors import ConfigError
from dm_fhir.fhir.archives import check_end, is_archive, opened_member
from dm_fhir.fhir.packed import CHANGED, UNREADABLE, Unreadable, packing, unpacked
from dm_fhir.fhir.storage import is_address, open_object
from dm_fhir.fhir.transport import LARGEST_ANSWER_BYTES

STANDARD_INPUT = "-"
LINES = (".ndjson", ".jsonl")
#: Between an archive and its member.
INSIDE = "!/"
#: The most of a file that is ever in memory at once: a line of NDJSON, or a whole JSON document, unpacked.
LARGEST_BYTES = LARGEST_ANSWER_BYTES
#: What moves a cursor, ends a line, or turns the direction of writing.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Source(msgspec.Struct, frozen=True):
    """One file. `version` changes whenever its content does, "" where nobody can tell; `size_bytes` is None where nobody knows.

    `is_packed`: it can only be read from its beginning.
    """

    path: str
    size_bytes: int | None = None
    version: str = ""
    is_packed: bool = False


def source_of(path: str) -> Source:
    """The file at `path` on this machine, which is no archive. Raises ConfigError if it cannot be read."""
    if path == STANDARD_INPUT:
        return Source(path, is_packed=True)
    try:
        with raw(path) as file:
            return Source(path, os.fstat(file.fileno()).st_size, version_of(file), packing(file) is not None)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def in_any_folder(source: Source) -> Source:
    """The same source by a path that also holds where another folder is the working one."""
    if source.path == STANDARD_INPUT or is_address(source.path):
        return source
    return replace(
        source, path=os.path.join(os.getcwd(), source.path)
    )  # pathlib would change the names within archives


def printable(path: str) -> str:
    """The path as it may be shown and kept, each character that is not UTF-8 or steers a terminal as U+FFFD."""
    return _CONTROL.sub("\ufffd", os.fsencode(path).decode("utf-8", "replace"))


def plain_name(path: str) -> str:
    """The path without what says how it is packed."""
    return path.removesuffix(".gz").removesuffix(".zst")


@contextmanager
def opened(source: Source | str) -> Iterator[BinaryIO]:
    """The content of a source, unpacked; nothing for an archive, once its end is found. Standard input stays open.

    Opening and reading may raise one of BROKEN; LoginRefused, ServerUnavailable of a store. A Source that is no longer in its
    version is Unreadable.
    """
    if isinstance(source, str):
        source = Source(source, is_packed=True)  # for all that is known
    if source.path == STANDARD_INPUT:
        yield from content_of(sys.stdin.buffer)  # type: ignore[arg-type]  # a BufferedReader, typed more widely
        return
    outer, member = _parted(source.path)
    reopened = partial(raw, outer, source.version)
    if member:
        with opened_member(outer, source.version, member, reopened) as content:
            yield from content_of(content)
        return
    with reopened() as file:
        if not source.is_packed:
            yield file
            return
        if not is_archive(outer, file):
            yield from content_of(file)
            return
    check_end(outer, source.version, reopened)
    yield io.BytesIO()


def check_unchanged(source: Source) -> None:
    """Raises Unreadable if the source is no longer there, or in another version; nothing where there is no telling."""
    if source.version:
        try:
            raw(_parted(source.path)[0], source.version).close()
        except OSError:
            raise Unreadable(UNREADABLE) from None


def content_of(file: BufferedReader) -> Iterator[BinaryIO]:
    """The unpacked content of a file at its beginning, once; whatever unpacks it is closed afterwards."""
    content = unpacked(file)
    try:
        yield content
    finally:
        if content is not file:
            content.close()


def raw(path: str, version: str = "") -> BufferedReader:
    """The bytes of a file or an object as they are. With `version` it must be of that: else Unreadable."""
    if is_address(path):
        return open_object(path, version)
    file = open(path, "rb")  # noqa: SIM115  # whoever asked closes it
    if version and version_of(file) != version:
        file.close()
        raise Unreadable(CHANGED)
    return file


def version_of(file: BufferedReader) -> str:
    """What changes with the content of a file on this machine."""
    status = os.fstat(file.fileno())
    return f"{status.st_size}-{status.st_mtime_ns}"


def _parted(path: str) -> tuple[str, str]:
    """The file, and the member of it that is meant, "" for none: a folder's own name may end with an exclamation mark too."""
    outer, inside, member = path.partition(INSIDE)
    while inside and not is_address(path) and not os.path.isfile(outer):
        more, inside, member = member.partition(INSIDE)
        outer = f"{outer}{INSIDE}{more}"
    return outer, member
