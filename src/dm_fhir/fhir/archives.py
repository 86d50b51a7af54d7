"""Archives: zip, and tar that is plain, gzipped or in zstd. Members are read where they lie; nothing is unpacked to a disk.

A tar that is packed can only be read forwards. An archive therefore stays open between two members, so that whoever reads
them in their order goes through it once.
"""

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from typing import BinaryIO, NamedTuple, Protocol, cast

from dm_fhir.fhir.packed import BROKEN, DAMAGED, ENCRYPTED, TOO_LARGE, UNREADABLE, Unreadable, unpacked

_BLOCK_BYTES = 512
#: The most of what describes members that is read: a name in a tar, the list of a zip (about a hundred thousand members).
_LARGEST_NAME_BYTES = 2**20
_LARGEST_LIST_BYTES = 8 * 2**20
_MOST_MEMBERS = 200_000
_NAMES = (".zip", ".tar", ".tgz", ".tzst")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
)
_IS_ENCRYPTED = 0x1


class Member(NamedTuple):
    """A file in an archive, by the name that it has there alone: a second of the same name is `(2)/name`.

    `why_not` says why it is none that is read, None if it is. `is_packed`: it can only be read from its beginning.
    """

    name: str
    size_bytes: int
    why_not: str | None
    is_packed: bool


class Archive(Protocol):
    """An archive that is open, at one of its members. All of it may raise one of BROKEN."""

    def next(self) -> Member | None:
        """The member after this one; None at the end of an archive that is whole."""

    def open(self, name: str) -> BufferedReader | None:
        """The content of this member, or of a later one; None where there is none, or it lies behind."""


def is_archive(path: str, file: BufferedReader) -> bool:
    """Whether the file, which is at its beginning and stays there, is an archive."""
    if file.peek(4)[:4] in _ZIP:
        return True
    content, head = unpacked(file), b""
    try:
        while len(head) < _BLOCK_BYTES and (more := content.read1(_BLOCK_BYTES - len(head))):
            head += more
    except BROKEN:  # it breaks off here
        pass
    finally:
        if content is not file:
            content.close()
        file.seek(0)
    return _is_tar(head) or (is_archive_name(path) and head == bytes(_BLOCK_BYTES))


def is_archive_name(path: str) -> bool:
    """Whether a file is called as archives are."""
    return path.removesuffix(".gz").removesuffix(".zst").endswith(_NAMES)


def _is_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")  # a checksum is in it
    except (tarfile.HeaderError, ValueError):
        return False
    return True


class _Tar:
    """A tar, read forwards."""

    def __init__(self, file: BufferedReader, *, can_seek: bool) -> None:
        self._file, self._can_seek = file, can_seek
        self._at = self._next = 0  # where the file stands, and where the next header begins
        self._names: set[str] = set()
        self._places: dict[str, tuple[int, int]] = {}  # begin and size, where they can be gone back to
        self._this: tuple[str, int, int] | None = None
        self._is_ended = False  # it was said that this is the end

    def next(self) -> Member | None:
        longer: dict[str, str] = {}
        while head := self._header():
            if not any(head):
                self._is_ended = True
                self._next += _BLOCK_BYTES
                continue
            self._is_ended = False
            info = _tar_info(head)
            begin = self._next + _BLOCK_BYTES
            if info.type in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL):
                about = self._description(info.size)
                longer |= _said(info.type, about)
                self._next = begin + _padded(info.size)
                continue
            size = _number(longer.get("size"), info.size)
            has_content = info.type not in (tarfile.DIRTYPE, *_WITHOUT_CONTENT)
            self._next = begin + (_padded(size) if has_content else 0)
            if info.type == tarfile.DIRTYPE or (info.type == tarfile.AREGTYPE and info.name.endswith("/")):
                longer = {}
                continue
            name = _only(longer.get("path", info.name), self._names)
            self._this = (name, begin, size)
            if self._can_seek:
                self._places[name] = (begin, size)
            return Member(name, size, _why_not(info.type, longer), not self._can_seek)
        return None

    def open(self, name: str) -> BufferedReader | None:
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
        while self._at < to:
            passed = len(self._file.read(min(to - self._at, 2**18)))
            if not passed:
                raise EOFError
            self._at += passed

    def _header(self) -> bytes:
        """The block at which the next header should be; b"" at the end of the file, which must have been said before."""
        head = self.read(self._next, _BLOCK_BYTES)
        if len(head) < _BLOCK_BYTES and (head or not self._is_ended):
            raise EOFError
        return head

    def _description(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_NAME_BYTES:
            raise Unreadable(DAMAGED)
        about = self.read(self._next + _BLOCK_BYTES, size)
        if len(about) < size:
            raise EOFError
        return about

    def _window(self, begin: int, size: int) -> BufferedReader:
        return BufferedReader(_Window(self, begin, size, self._can_seek), 2**16)


_WITHOUT_CONTENT = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)


class _Window(io.RawIOBase):
    """The content of one member of a tar."""

    def __init__(self, tar: _Tar, begin: int, size: int, can_seek: bool) -> None:
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
        if size < 1:
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
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _why_not(kind: bytes, longer: dict[str, str]) -> str | None:
    if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        return "a link"
    if kind in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
        return "a file with holes" if any(name.startswith("GNU.sparse") for name in longer) else None
    return "a file with holes" if kind == tarfile.GNUTYPE_SPARSE else "no ordinary file"


class _Zip:
    """A zip: members in any order."""

    def __init__(self, file: BufferedReader) -> None:
        try:
            self._zip = zipfile.ZipFile(cast(BinaryIO, _Bounded(file)))
        except (
            ValueError,
            NotImplementedError,
            zipfile.LargeZipFile,
        ):  # what it makes of damage that it has not thought of
            raise Unreadable(DAMAGED) from None
        names: set[str] = set()
        self._members = {_only(info.filename, names): info for info in self._zip.infolist() if not info.is_dir()}
        self._left = iter(list(self._members))

    def next(self) -> Member | None:
        name = next(self._left, None)
        if name is None:
            return None
        info = self._members[name]
        is_link = info.create_system == 3 and (info.external_attr >> 16) & 0o170000 == 0o120000
        return Member(name, info.file_size, "a link" if is_link else None, is_packed=True)

    def open(self, name: str) -> BufferedReader | None:
        info = self._members.get(name)
        if info is None:
            return None
        if info.flag_bits & _IS_ENCRYPTED:
            raise Unreadable(ENCRYPTED)
        try:
            return BufferedReader(cast(io.RawIOBase, self._zip.open(info)), 2**16)
        except NotImplementedError:  # packed in a way that Python does not know
            raise Unreadable(UNREADABLE) from None
        except ValueError:
            raise Unreadable(DAMAGED) from None


class _Bounded:
    """A file that is not read into the memory, whatever a zip says of the length of its own parts."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, most: int = -1) -> bytes:
        if most > _LARGEST_LIST_BYTES:
            raise Unreadable(TOO_LARGE)
        return self._file.read(most if most >= 0 else _LARGEST_LIST_BYTES)


def _only(name: str, names: set[str]) -> str:
    """The name, or for one that was there before `(2)/name`."""
    only, number = name, 2
    while only in names:
        only, number = f"({number})/{name}", number + 1
    if len(names) == _MOST_MEMBERS:
        raise Unreadable(TOO_LARGE)
    names.add(only)
    return only


class _Kept(NamedTuple):
    """An archive that somebody has read and left open."""

    path: str
    version: str
    archive: Archive
    stack: ExitStack


#: At most one, and nobody is reading in it.
_kept: list[_Kept] = []


@contextmanager
def opened_archive(
    path: str, version: str, raw: Callable[[], BufferedReader], *, anew: bool = False
) -> Iterator[Archive]:
    """The archive at `path`, where it was left or at its beginning. `raw` opens its bytes."""
    one = None if anew else _taken(path, version, raw)
    if one is None:
        with ExitStack() as stack:
            archive = _archive(raw, stack)
            one = _Kept(path, version, archive, stack.pop_all())
    try:
        yield one.archive
    except BaseException:
        one.stack.close()
        raise
    _keep(one)


def _archive(raw: Callable[[], BufferedReader], stack: ExitStack) -> Archive:
    file = stack.enter_context(raw())
    if file.peek(4)[:4] in _ZIP:
        return _Zip(file)
    content = unpacked(file)
    if content is not file:
        stack.callback(content.close)
    return _Tar(content, can_seek=content is file and file.seekable())


def _taken(path: str, version: str, raw: Callable[[], BufferedReader]) -> _Kept | None:
    try:
        one = _kept.pop()
    except IndexError:
        return None
    if (one.path, one.version) == (path, version):
        with ExitStack() as stack:
            stack.push(one.stack)
            raw().close()  # it is still there, and the same
            stack.pop_all()
        return one
    one.stack.close()
    return None


def _keep(one: _Kept) -> None:
    _kept.append(one)
    while len(_kept) > 1:
        _kept.pop(0).stack.close()


@contextmanager
def opened_member(path: str, version: str, name: str, raw: Callable[[], BufferedReader]) -> Iterator[BufferedReader]:
    """The content of a member of the archive at `path`. Raises Unreadable where it has no such member (any more)."""
    for anew in (False, True):  # again from the beginning where the member lies behind
        with opened_archive(path, version, raw, anew=anew) as archive:
            content = archive.open(name)
            if content is not None:
                with content:
                    yield content
                return
    raise Unreadable(UNREADABLE)


def check_end(path: str, version: str, raw: Callable[[], BufferedReader]) -> None:
    """Read the archive on to its end. Raises one of BROKEN where it has none."""
    with opened_archive(path, version, raw) as archive:
        while archive.next() is not None:
            pass
