"""Which FHIR files lie behind a path: in a folder, an archive, a store; and what lies there and is not read."""

import os
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from glob import glob, has_magic
from io import BufferedReader
from typing import NamedTuple

from dm_fhir.errors import ConfigError
from dm_fhir.fhir.archives import is_archive, is_archive_name, opened_archive
from dm_fhir.fhir.member import Archive, Member
from dm_fhir.fhir.packed import BROKEN, UNREADABLE, Unreadable, packing
from dm_fhir.fhir.sources import (
    INSIDE,
    LARGEST_BYTES,
    LINES,
    STANDARD_INPUT,
    Source,
    content_of,
    plain_name,
    printable,
    raw,
    version_of,
)
from dm_fhir.fhir.storage import address_of, is_address, objects

_NOT_FHIR = "not a FHIR file"
_SUFFIXES = (".json", *LINES)
#: An object of a store that is smaller is not opened to see whether it is packed: it is read in one piece anyway.
_WORTH_A_LOOK_BYTES = 16 * 2**20
_LOOKS_AT_ONCE = 8
_FILES_BETWEEN_TELLING = 10_000


class PassedOver(NamedTuple):
    """What lies in a folder or an archive and is not read, and why: `not a FHIR file`, `a link`, … The path is to be shown."""

    path: str
    why: str


class _Found(NamedTuple):
    """A file before anybody looked at it. `is_named`: somebody gave its name, so it is read whatever it is called."""

    path: str
    is_named: bool
    size_bytes: int = 0
    version: str = ""


def find_sources(
    paths: Iterable[str], listed: Callable[[int], None] = lambda count: None
) -> tuple[list[Source], list[PassedOver]]:
    """The FHIR files behind `paths`, folders and archives searched through in order of name; and what was passed over there.

    A path is a file, a folder, an address in a store, a pattern with * ? [ ] of one of these, or - for standard input. What
    is in a folder is passed over if neither its name nor its content speaks of FHIR. A file named by itself never is.
    `listed` is told now and then how many files were looked at.

    Raises ConfigError for a path that does not exist or cannot be read; LoginRefused, ServerUnavailable of a store.
    """
    found: dict[str, Source] = {}
    passed_over: dict[str, PassedOver] = {}
    for number, one in enumerate(_looked_at(_behind(paths)), start=1):
        if isinstance(one, PassedOver):
            passed_over.setdefault(one.path, one)
        else:
            found.setdefault(one.path, one)
        if number % _FILES_BETWEEN_TELLING == 0:
            listed(number)
    return list(found.values()), [
        one._replace(path=printable(path)) for path, one in passed_over.items() if path not in found
    ]


def _behind(paths: Iterable[str]) -> Iterator[_Found | PassedOver]:
    """Every file behind the paths, in order of name within each."""
    for path in paths:
        if path == STANDARD_INPUT:
            yield _Found(path, is_named=True)
        elif is_address(path) and not path.startswith("file://"):
            yield from _in_store(address_of(path))
        else:
            yield from _on_disk(path.removeprefix("file://"))


def _in_store(address: str) -> Iterator[_Found | PassedOver]:
    some = objects(address)
    if not some:
        raise ConfigError(f"{address} is empty", hint="give a folder that holds files")
    folder = address.rstrip("/") + "/"
    is_pattern = not any(one.address == address or one.address.startswith(folder) for one in some)
    for one in some:
        inner = one.address.removeprefix(folder)
        is_named = inner == one.address
        if is_named and is_pattern and _is_hidden(os.path.basename(inner)):
            continue
        if not is_named and any(map(_is_hidden, inner.split("/"))):
            yield PassedOver(one.address, "hidden")
        else:
            yield _Found(one.address, is_named, one.size_bytes, one.version)


def _on_disk(path: str) -> Iterator[_Found | PassedOver]:
    if os.path.isdir(path):
        yield from sorted(_in_folder(path))
    elif os.path.lexists(path):
        yield _named(path)
    elif has_magic(path) and (matching := sorted(glob(path, recursive=True))):
        for one in matching:
            if os.path.isdir(one):
                yield from sorted(_in_folder(one))
            elif not _is_hidden(os.path.basename(one)):
                yield _matching(one)
    else:
        raise ConfigError(
            f"{path} does not exist", hint="give a file, a folder, an archive, an address, or - for standard input"
        )


def _named(path: str) -> _Found:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(
                f"{path} is no file but {_kind(status.st_mode)}",
                hint="what can be read only once goes to - : … | dm-fhir pull --from -",
            )
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    return _Found(path, is_named=True)


def _matching(path: str) -> _Found | PassedOver:
    """A file that a pattern has found: nobody has given its name, so what is wrong with it spares the others."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # reading it says what is wrong with it
        return _Found(path, is_named=True)
    return _Found(path, is_named=True) if stat.S_ISREG(mode) else PassedOver(path, _kind(mode))


def _in_folder(folder: str) -> Iterator[_Found | PassedOver]:
    """Every file below the folder. Nothing but ordinary files is ever opened there: a link may lead anywhere, a pipe to nowhere."""
    waiting = [folder]
    while waiting:
        this = waiting.pop()
        try:
            entries = list(os.scandir(this))
        except OSError as error:
            raise _not_readable(folder, this, error) from None
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if _is_hidden(entry.name):
                yield PassedOver(entry.path, "hidden")
            elif stat.S_ISDIR(mode):
                waiting.append(entry.path)
            elif stat.S_ISREG(mode):
                yield _Found(entry.path, is_named=False)
            else:
                yield PassedOver(entry.path, _kind(mode))


def _not_readable(folder: str, this: str, error: OSError) -> ConfigError:
    """Names what was given, and how to find what lies in it: an error is in the log, and a name in there may be a patient's."""
    if this == folder:
        return ConfigError(f"{folder} cannot be read: {error.strerror}", hint="let this user read and enter the folder")
    hint = f"let this user read and enter each folder that this names: find {shlex.quote(folder)} > /dev/null"
    return ConfigError(f"a folder in {folder} cannot be read: {error.strerror}", hint=hint)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _is_hidden(name: str) -> bool:
    """What Hadoop, Spark and file managers leave behind, and files that are still on their way."""
    return name.startswith((".", "_")) or name == "__MACOSX"


def _looked_at(files: Iterable[_Found | PassedOver]) -> Iterator[Source | PassedOver]:
    """The sources of each file, in order; those of a store are looked at a few at a time, since each look is a request."""
    remote: list[_Found] = []
    for one in files:
        if isinstance(one, _Found) and is_address(one.path):
            remote.append(one)
        elif isinstance(one, PassedOver):
            yield one
        else:
            yield from _look(one)
    if remote:
        with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
            for some in pool.map(lambda one: list(_look(one)), remote):
                yield from some


def _look(one: _Found) -> Iterator[Source | PassedOver]:
    """What is in a file: itself, or the members of an archive and after them the archive, which says whether it was whole."""
    may_be_archive = one.is_named or is_archive_name(one.path)
    is_lines = plain_name(one.path).endswith(LINES)
    if one.path == STANDARD_INPUT:
        yield Source(one.path, is_packed=True)
    elif not may_be_archive and not _is_fhir_name(one.path):
        yield PassedOver(one.path, _NOT_FHIR)
    elif is_address(one.path) and is_lines and not may_be_archive and one.size_bytes < _WORTH_A_LOOK_BYTES:
        yield Source(one.path, one.size_bytes, one.version, is_packed=True)
    else:
        yield from _opened_and_seen(one)


def _opened_and_seen(one: _Found) -> Iterator[Source | PassedOver]:
    size, version = one.size_bytes, one.version
    try:
        with raw(one.path, version) as file:
            if not is_address(one.path):
                size, version = os.fstat(file.fileno()).st_size, version_of(file)
            contains_others = is_archive(one.path, file)
            is_packed = contains_others or packing(file) is not None
            if not contains_others and not one.is_named and not _holds_resources(one.path, file):
                yield PassedOver(one.path, _NOT_FHIR)
                return
    except BROKEN:  # reading it says what is wrong with it
        contains_others, is_packed = False, True
    source = Source(one.path, size, version, is_packed)
    if contains_others:
        yield from _in_archive(source)
    yield source


def _in_archive(archive: Source) -> Iterator[Source | PassedOver]:
    """The members, as far as the archive can be read."""
    reopened = partial(raw, archive.path, archive.version)
    try:
        with opened_archive(archive.path, archive.version, reopened, anew=True) as inside:
            while (member := inside.next()) is not None:
                path = f"{archive.path}{INSIDE}{member.name}"
                why = member.why_not or _why_not(member.name)
                yield PassedOver(path, why) if why else _of_member(archive, path, member, inside)
    except BROKEN:
        return


def _of_member(archive: Source, path: str, member: Member, inside: Archive) -> Source | PassedOver:
    is_packed = member.is_packed
    if not (is_packed and plain_name(path).endswith(LINES)):
        try:
            content = inside.open(member.name)
            if content is None:
                raise Unreadable(UNREADABLE)
            with content:
                is_packed = is_packed or packing(content) is not None
                if not _holds_resources(path, content):
                    return PassedOver(path, _NOT_FHIR)
        except BROKEN:  # reading it says what is wrong with it
            is_packed = True
    return Source(path, member.size_bytes, archive.version, is_packed)


def _why_not(name: str) -> str | None:
    """Why a member is passed over for its name; None if it is not."""
    if any(part.startswith((".", "_")) and part not in (".", "..") for part in name.split("/")):
        return "hidden"
    if is_archive_name(name):
        return "an archive inside an archive"
    return None if _is_fhir_name(name) else _NOT_FHIR


def _is_fhir_name(name: str) -> bool:
    return plain_name(name).endswith(_SUFFIXES)


def _holds_resources(path: str, file: BufferedReader) -> bool:
    """Whether the file says resourceType anywhere; a damaged or huge one counts as if it did, so that it is reported."""
    if plain_name(path).endswith(LINES):
        return True
    before, looked_at = b"", 0
    try:
        for content in content_of(file):
            while chunk := content.read(2**16):
                looked_at += len(chunk)
                if b'"resourceType"' in before + chunk or looked_at > LARGEST_BYTES:
                    return True
                before = chunk[-16:]
    except BROKEN:
        return True
    return not before.strip()
