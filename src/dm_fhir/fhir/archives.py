"""Archives: zip, and tar that is plain, gzipped or in zstd. Members are read where they lie; nothing is unpacked to a disk.

A tar that is packed can only be read forwards. An archive therefore stays open between two members, so that whoever reads
them in their order goes through it once.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from typing import NamedTuple

from dm_fhir.fhir.member import Archive
from dm_fhir.fhir.packed import BROKEN, UNREADABLE, Unreadable, unpacked
from dm_fhir.fhir.tar import BLOCK_BYTES, Tar, is_tar
from dm_fhir.fhir.zip import BEGINNINGS, Zip

_NAMES = (".zip", ".tar", ".tgz", ".tzst")


def is_archive(path: str, file: BufferedReader) -> bool:
    """Whether the file, which is at its beginning and stays there, is an archive."""
    if file.peek(4)[:4] in BEGINNINGS:
        return True
    content, head = unpacked(file), b""
    try:
        while len(head) < BLOCK_BYTES and (more := content.read1(BLOCK_BYTES - len(head))):
            head += more
    except BROKEN:  # it breaks off here
        pass
    finally:
        if content is not file:
            content.close()
        file.seek(0)
    return is_tar(head) or (is_archive_name(path) and head == bytes(BLOCK_BYTES))


def is_archive_name(path: str) -> bool:
    """Whether a file is called as archives are."""
    return path.removesuffix(".gz").removesuffix(".zst").endswith(_NAMES)


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
    if file.peek(4)[:4] in BEGINNINGS:
        return Zip(file)
    content = unpacked(file)
    if content is not file:
        stack.callback(content.close)
    return Tar(content, can_seek=content is file)


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
    close_kept(most=1)


def close_kept(most: int = 0) -> None:
    """Close what was left open for whoever reads on, but for the last `most`: when nobody will."""
    while len(_kept) > most:
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
