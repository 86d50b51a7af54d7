"""Where files of FHIR lie and how they are opened: folders, files, standard input; plain, gzipped or in zstd.

A source is opened as often as it is asked for, by any process, and read from any place where it is not compressed.
"""

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import msgspec

from dm_fhir.errors import ConfigError
from dm_fhir.fhir.transport import LARGEST_ANSWER_BYTES

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STANDARD_INPUT = "-"
LINES = (".ndjson", ".jsonl")
_SUFFIXES = (".json", *LINES)
_PACKED = (".gz", ".zst")
#: Why a whole file breaks off, is not what it was when it was found, or cannot be read.
DAMAGE = ("file-cut-off", "file-damaged", "file-too-large", "file-changed", "file-not-readable")
CUT_OFF, CHANGED, NOT_READABLE_ANY_MORE = DAMAGE[0], DAMAGE[3], DAMAGE[4]
#: The most of a file that is ever in memory at once: a line of NDJSON, or a whole JSON document, unpacked.
LARGEST_BYTES = LARGEST_ANSWER_BYTES
#: What reading packed bytes raises where they are damaged; EOFError: where they are cut off.
BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError)
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Source(msgspec.Struct, frozen=True):
    """One file. `version` changes whenever its content does, "" where nobody can tell; `size_bytes` is None where nobody knows.

    `is_packed`: it can only be read from its beginning.
    """

    path: str
    size_bytes: int | None = None
    version: str = ""
    is_packed: bool = False


def find_sources(paths: list[str]) -> tuple[list[Source], list[str]]:
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
    return [source_of(path) for path in dict.fromkeys(found)], list(dict.fromkeys(passed_over))


def source_of(path: str) -> Source:
    """The file at `path`. Raises ConfigError if it cannot be read."""
    if path == STANDARD_INPUT:
        return Source(path, is_packed=True)
    with _raw(path) as raw:
        is_packed = _packing(raw) is not None
    stat = Path(path).stat()
    return Source(path, stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}", is_packed)


def plain_name(path: str) -> str:
    """The path without what says how it is packed."""
    return path.removesuffix(".gz").removesuffix(".zst")


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """The file's content, unpacked. Standard input stays open. Reading it may raise one of BROKEN."""
    with _raw(path) as raw:
        packing = _packing(raw)
        if packing == _GZIP:
            with gzip.open(raw) as file:
                yield file  # type: ignore[misc]  # a GzipFile reads as any binary file does
        elif packing == _ZSTD:
            with zstd.open(raw) as file:
                yield file  # type: ignore[misc]  # and so does this
        else:
            yield raw


def _packing(raw: BufferedReader) -> bytes | None:
    head = raw.peek(4)[:4]
    return next((magic for magic in (_GZIP, _ZSTD) if head.startswith(magic)), None)


def _is_fhir_name(name: str) -> bool:
    return plain_name(name).endswith(_SUFFIXES)


def _holds_resources(path: str) -> bool:
    """Whether the file says resourceType anywhere; a damaged or huge one counts as if it did, so that it is reported."""
    if plain_name(path).endswith(LINES):
        return True
    before, looked_at = b"", 0
    with opened(path) as file:
        try:
            while chunk := file.read(2**16):
                looked_at += len(chunk)
                if b'"resourceType"' in before + chunk or looked_at > LARGEST_BYTES:
                    return True
                before = chunk[-16:]
        except BROKEN:
            return True
    return not before.strip()


def _raw(path: str) -> AbstractContextManager[BufferedReader]:
    if path == STANDARD_INPUT:
        return nullcontext(sys.stdin.buffer)  # type: ignore[arg-type]  # a BufferedReader, typed more widely
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
