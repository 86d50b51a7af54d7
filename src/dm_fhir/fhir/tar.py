"""A tar, read forwards: member by member, where it lies."""

import io
import tarfile
from io import BufferedReader

from dm_fhir.fhir.member import Member, only_name
from dm_fhir.fhir.packed import DAMAGED, Unreadable

BLOCK_BYTES = 512
#: The most of what describes a member that is read: a long name.
_LARGEST_NAME_BYTES = 2**20
_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
)
_WITHOUT_CONTENT = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a tar."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")  # a checksum is in it
    except (tarfile.HeaderError, ValueError):
        return False
    return True


class Tar:
    """A tar, read forwards."""

    def __init__(self, file: BufferedReader, *, can_seek: bool) -> None:
        self._file, self._can_seek = file, can_seek
        self._at = self._next = 0  # where the file stands, and where the next header begins
        self._names: set[str] = set()
        self._places: dict[str, tuple[int, int]] = {}  # begin and size, where they can be gone back to
        self._this: tuple[str, int, int] | None = None
        self._is_ended = False  # it was said that this is the end

    def next(self) -> Member | None:
        """The member after this one; None at the end of an archive that is whole."""
        longer: dict[str, str] = {}
        while head := self._header():
            if not any(head):
                self._is_ended = True
                self._next += BLOCK_BYTES
                continue
            self._is_ended = False
            info = _tar_info(head)
            begin = self._next + BLOCK_BYTES
            if info.type in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL):
                about = self._description(info.size)
                longer |= _said(info.type, about)
                self._next = begin + _padded(info.size)
                continue
            size = _number(longer.get("size"), info.size)
            has_content = info.type not in (tarfile.DIRTYPE, *_WITHOUT_CONTENT)
            self._next = begin + (_padded(size) if has_content else 0)
            if info.type == tarfile.DIRTYPE:
                longer = {}
                continue
            name = only_name(longer.get("path", info.name), self._names)
            self._this = (name, begin, size)
            if self._can_seek:
                self._places[name] = (begin, size)
            return Member(name, size, _why_not(info.type, longer), not self._can_seek)
        return None

    def open(self, name: str) -> BufferedReader | None:
        """The content of this member, or of a later one; None where there is none, or it lies behind."""
        if self._can_seek and name in self._places:
            return self._window(*self._places[name])
        while self._this is None or self._this[0] != name:
            if name in self._names or self.next() is None:
                return None
        _, begin, size = self._this
        return self._window(begin, size) if self._can_seek or self._at <= begin else None

    def read(self, at: int, most: int) -> bytes:
        """Up to so many bytes from there on; b"" where the file is over."""
        if at != self._at:
            self._go(at)
        read = self._file.read(most)
        self._at += len(read)
        return read

    def _go(self, to: int) -> None:
        if self._can_seek:
            self._at = self._file.seek(to)
            return
        while self._at < to and (passed := len(self._file.read(min(to - self._at, 2**18)))):
            self._at += passed

    def _header(self) -> bytes:
        """The block at which the next header should be; b"" at the end of the file, which must have been said before."""
        head = self.read(self._next, BLOCK_BYTES)
        if len(head) < BLOCK_BYTES and (head or not self._is_ended):
            raise EOFError
        return head

    def _description(self, size: int) -> bytes:
        if size > _LARGEST_NAME_BYTES:
            raise Unreadable(DAMAGED)
        about = self.read(self._next + BLOCK_BYTES, size)
        if len(about) < size:
            raise EOFError
        return about

    def _window(self, begin: int, size: int) -> BufferedReader:
        return BufferedReader(_Window(self, begin, size, self._can_seek), 2**16)


class _Window(io.RawIOBase):
    """The content of one member of a tar."""

    def __init__(self, tar: Tar, begin: int, size: int, can_seek: bool) -> None:
        self._tar, self._begin, self._size, self._can_seek = tar, begin, size, can_seek
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._can_seek

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if not self._can_seek:
            raise io.UnsupportedOperation("seek")
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # a buffer of any kind
        most = min(len(buffer), self._size - self._at)
        if most <= 0:
            return 0
        read = self._tar.read(self._begin + self._at, most)
        if not read:
            raise EOFError
        buffer[: len(read)] = read
        self._at += len(read)
        return len(read)


def _tar_info(head: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        raise Unreadable(DAMAGED) from None
    if info.size < 0:
        raise Unreadable(DAMAGED)
    return info


def _said(kind: bytes, about: bytes) -> dict[str, str]:
    """What a header before a member's own says about that: its path and size are used."""
    if kind == _LONG_NAME:
        return {"path": about.split(b"\0")[0].decode("utf-8", "surrogateescape")}
    said: dict[str, str] = {}
    while kind == _PAX and about:
        length, _, record = about.partition(b" ")
        size = _number(length.decode("ascii", "replace"), 0) - len(length) - 1
        if not 1 <= size <= len(record):
            raise Unreadable(DAMAGED)
        name, _, value = record[:size].rstrip(b"\n").partition(b"=")
        said[name.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        about = record[size:]
    return said


def _number(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Unreadable(DAMAGED)
    return int(text)


def _padded(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _why_not(kind: bytes, longer: dict[str, str]) -> str | None:
    if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        return "a link"
    if kind in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
        return "a file with holes" if any(name.startswith("GNU.sparse") for name in longer) else None
    return "a file with holes" if kind == tarfile.GNUTYPE_SPARSE else "no ordinary file"
