"""What is packed, by its content and not by its name: gzip of any number of members, zstd of any number of frames.

Also what can be wrong with a file, and by which word it is called.
"""

import io
import sys
import zipfile
import zlib
from io import BufferedReader
from typing import BinaryIO, cast

from isal import igzip_lib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Why a whole file breaks off, or cannot be read at all.
DAMAGE = (
    "file-cut-off", "file-damaged", "file-too-large", "file-encrypted", "file-not-readable", "file-changed",
)  # fmt: skip
CUT_OFF, DAMAGED, TOO_LARGE, ENCRYPTED, UNREADABLE, CHANGED = DAMAGE
_CHUNK_BYTES, _BUFFER_BYTES = 2**16, 2**18
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Unreadable(Exception):
    """A file that cannot be read; `reason` is one of DAMAGE."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_ISAL_ERROR = cast(type[Exception], igzip_lib.error)  # its types say that it is an instance
#: What opening or reading a file raises where something is wrong with it; EOFError: it is cut off.
BROKEN = (Unreadable, EOFError, OSError, zlib.error, _ISAL_ERROR, zstd.ZstdError, zipfile.BadZipFile)


def damage_of(error: BaseException) -> str:
    """Which of DAMAGE has happened to a file, by what opening or reading it raised."""
    if isinstance(error, Unreadable):
        return error.reason
    if isinstance(error, EOFError):
        return CUT_OFF
    if isinstance(error, zstd.ZstdError) and "memory" in str(error):  # a window of more than 128 MiB
        return TOO_LARGE
    if isinstance(error, OSError):
        return UNREADABLE
    return DAMAGED


def packing(raw: BufferedReader) -> bytes | None:
    """Which of GZIP and ZSTD a file at its beginning is packed in; None where it is in neither."""
    head = raw.peek(4)[:4]
    return next((magic for magic in (GZIP, ZSTD) if head.startswith(magic)), None)


def unpacked(raw: BufferedReader) -> BufferedReader:
    """The content of a file at its beginning; the file itself where it is not packed. Closing it leaves the file open."""
    match packing(raw):
        case b"\x1f\x8b":
            return _Content(_Lasting(_Gzip(raw)), _BUFFER_BYTES)
        case b"\x28\xb5\x2f\xfd":
            return _Content(_Lasting(zstd.ZstdFile(cast(BinaryIO, raw))), _BUFFER_BYTES)
        case _:
            return raw


class _Content(BufferedReader):
    """What is unpacked. Where it breaks off, a read that has something gives that, and the next one says why."""

    def read(self, size: int | None = -1, /) -> bytes:
        parts: list[bytes] = []
        most = sys.maxsize if size is None or size < 0 else size
        try:
            while part := self.read1(min(most, _BUFFER_BYTES)):
                parts.append(part)
                most -= len(part)
        except BROKEN:
            if not parts:
                raise
        return b"".join(parts)


class _Lasting(io.RawIOBase):
    """Raises again what was raised once."""

    def __init__(self, content: "_Gzip | zstd.ZstdFile") -> None:
        self._content = content
        self._damage: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]  # a buffer of any kind
        if self._damage is not None:
            raise self._damage
        try:
            return self._content.readinto1(buffer)
        except BROKEN as error:
            self._damage = error
            raise

    def close(self) -> None:
        self._content.close()
        super().close()


class _Gzip:
    """The members of a gzip file, one after the other. All that can be unpacked is given out before an error is raised."""

    def __init__(self, raw: BufferedReader) -> None:
        self._raw = raw
        self._inflate: igzip_lib.IgzipDecompressor | None = None
        self._packed = b""

    def close(self) -> None:
        """Nothing is left open."""

    def readinto1(self, buffer: memoryview) -> int:
        """Up to so much as there is room for, 0 at the end."""
        while True:
            if not self._packed and (self._inflate is None or self._inflate.needs_input):
                self._packed = self._raw.read(_CHUNK_BYTES)
                if not self._packed and self._inflate is None:
                    return 0
                if not self._packed:
                    raise EOFError
            if self._inflate is None and not self._begin():
                continue
            content = self._inflated(len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)

    def _begin(self) -> bool:
        """Whether another member begins here. Zeros may stand between two, and at the end."""
        self._packed = self._packed.lstrip(b"\0")
        if not self._packed:
            return False
        if not GZIP.startswith(self._packed[:2]):
            raise Unreadable(DAMAGED)
        self._inflate = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return True

    def _inflated(self, most: int) -> bytes:
        assert self._inflate is not None  # noqa: S101  # it was begun
        content: bytes = self._inflate.decompress(self._packed, most)
        self._packed = b""
        if self._inflate.eof:
            self._packed, self._inflate = self._inflate.unused_data, None
        return content
