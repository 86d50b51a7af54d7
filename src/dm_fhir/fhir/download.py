"""A file of an export, from the server to the disk: never whole in memory, whole on the disk or not there at all.

It is kept packed as it was sent. What broke off goes on where it ended if the server can tell that the file is the same, in this
process or a later one; else it begins again.
"""

import errno
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

from dm_fhir.errors import AnswerUnusable, FileExpired, RequestFailed, StoreError
from dm_fhir.fhir.addresses import same_origin, unsigned
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.lines import Lines

#: After a break that came later than this, it is no failure of the file that it goes on: large files take many.
WORTH_BYTES = 1024 * 1024
_READ_BYTES = 1024 * 1024
_OTHER_END = 416
_EXPIRED = (403, 404, 410)
#: An object storage says in its own ways that an address has run out.
_EXPIRED_ELSEWHERE = (400, 401, *_EXPIRED)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_ENCODINGS = ("", "identity", "gzip", "x-gzip")


class Downloaded(NamedTuple):
    """A file on the disk. `size_bytes` as it lies there, `unpacked_bytes` as it will be read; `lines` that are not blank."""

    path: Path
    size_bytes: int
    unpacked_bytes: int
    lines: int


def download(
    connection: Connection,
    url: str,
    target: Path,
    *,
    needs_login: bool | None = None,
    notes: Counter[str] | None = None,
) -> Downloaded:
    """The file at `url` as `target`, mode 0600, in a folder that is there. It takes the place of one that is there already.

    `needs_login` is what the manifest says (`requiresAccessToken`), None if nothing. Our own origin alone ever gets a credential;
    another host must be one of the site's `redirect_hosts`.

    Raises FileExpired if it is not handed out (any more), StoreError if it cannot be written, and what the connection raises.
    """
    notes = Counter() if notes is None else notes
    place = f"file {target.name}"
    is_own = same_origin(url, connection.endpoint)
    if not is_own:
        connection.others.check(url, f"{place} is at another host,", "foreign-address")
    part = _Part(target, place, url)
    anonymous = not is_own or needs_login is False
    while True:
        before = part.size_bytes
        try:
            status = connection.ask(
                lambda answer: answer.status, "GET", url, accept=_accepted(anonymous=anonymous), headers=_headers(url),
                anonymous=anonymous, notes=notes, place=place, sink=part,
            )  # fmt: skip
        except RequestFailed as error:
            if error.status == 401:  # of a host that we were sent to: our own would be LoginRefused
                raise _expired(place, 401) from None
            if not isinstance(error, AnswerUnusable) or part.size_bytes - before < WORTH_BYTES:
                raise
            continue
        if status < 300:
            return part.kept()
        if status == _OTHER_END and part.size_bytes:
            part.forget()
        elif anonymous and is_own and status in (401, 403):
            anonymous = False
            notes["login_after_all"] += 1
        elif status in (_EXPIRED if is_own else _EXPIRED_ELSEWHERE):
            raise _expired(place, status)
        else:
            raise RequestFailed(f"{place} came with {status}", reason=f"http-{status}", status=status)


class _Part:
    """The file as far as it has come (a Sink), in a file of its own, with the tag that says which content it is of.

    A tag holds for one address: another's content may have the same. What is signed in an address may change.
    """

    def __init__(self, target: Path, place: str, url: str) -> None:
        self._target, self._place = target, place
        self._address = sha256(unsigned(url).encode()).hexdigest()[:16]
        self._path = target.with_name(f"{target.name}.part")
        self._tag_path = target.with_name(f"{target.name}.tag")
        self._lines = Lines(place)

    @property
    def size_bytes(self) -> int:
        """How much of it is there."""
        return self._path.stat().st_size if self._path.exists() else 0

    def headers(self) -> dict[str, str]:
        """Only the rest of it, if it is still the same."""
        tag, size = self._tag(), self.size_bytes
        return {"Range": f"bytes={size}-", "If-Range": tag} if tag and size else {}

    def takes(self, status: int) -> bool:
        return status in (200, 206)

    def take(self, status: int, headers: Mapping[str, str], arriving: Iterator[bytes]) -> None:
        """Write what arrives, and check that it is all there; that it is as long as announced `arriving` has checked."""
        encoding = headers.get("Content-Encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            raise AnswerUnusable(f"{self._place} comes in an encoding that nobody asked for", reason="body-corrupt")
        if status == 206 and not self._goes_on(headers):
            self.forget()
            raise AnswerUnusable(
                f"{self._place} comes from another place on than was asked for, or of another content",
                reason="body-incomplete",
            )
        try:
            expected = _length(headers)
            self._check_space(expected)
            with self._opened(status, headers.get("ETag", "")) as file:
                for chunk in arriving:
                    file.write(chunk)
                    self._feed(chunk)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._not_written(error) from error
        self._check_end(has_length=expected is not None or "Transfer-Encoding" in headers)

    def kept(self) -> Downloaded:
        """The whole file under its name."""
        size = self.size_bytes
        try:
            self._path.replace(self._target)
            self._tag_path.unlink(missing_ok=True)
            _to_disk(self._target.parent)
        except OSError as error:
            raise self._not_written(error) from error
        return Downloaded(self._target, size, self._lines.unpacked_bytes, self._lines.count)

    def forget(self) -> None:
        """Begin again."""
        self._tag_path.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _opened(self, status: int, tag: str) -> BinaryIO:
        """The file to go on with, its lines counted so far."""
        self._lines = Lines(self._place)
        if status == 206:
            with self._path.open("rb") as file:
                while chunk := file.read(_READ_BYTES):
                    self._feed(chunk)
            return self._path.open("ab")
        self.forget()
        if tag.startswith('"'):  # a weak one says nothing of the bytes
            _private(self._tag_path).close()
            self._tag_path.write_text(f"{self._address} {tag}", encoding="utf-8")
        return _private(self._path)

    def _feed(self, chunk: bytes) -> None:
        """What is damaged is of no use to go on from."""
        try:
            self._lines.feed(chunk)
        except AnswerUnusable:
            self.forget()
            raise

    def _check_end(self, *, has_length: bool) -> None:
        try:
            self._lines.finish()
            if not has_length and not self._lines.ends_in_newline:
                raise AnswerUnusable(f"{self._place} is cut off", reason="body-incomplete")
        except AnswerUnusable:
            self.forget()
            raise

    def _tag(self) -> str:
        try:
            address, _, tag = self._tag_path.read_text(encoding="utf-8").partition(" ")
        except (FileNotFoundError, UnicodeDecodeError):
            return ""
        return tag if address == self._address else ""

    def _goes_on(self, headers: Mapping[str, str]) -> bool:
        """Whether a part that comes is what follows: of the same content, also where If-Range means nothing to a server."""
        is_next = headers.get("Content-Range", "").startswith(f"bytes {self.size_bytes}-")
        return is_next and headers.get("ETag", self._tag()) == self._tag()

    def _check_space(self, needed: int | None) -> None:
        if needed and needed > shutil.disk_usage(self._target.parent).free:
            raise self._no_space(needed)

    def _not_written(self, error: OSError) -> StoreError:
        if error.errno in _NO_SPACE:
            return self._no_space(0)
        return StoreError(f"{self._target} cannot be written: {error.strerror}", hint="may you write into its folder?")

    def _no_space(self, needed: int) -> StoreError:
        least = max(10, needed // 10**6 + 1)
        return StoreError(
            f"no space left in {self._target.parent}; at least {least} MB needed", hint="free some, then run again"
        )


def _accepted(*, anonymous: bool) -> tuple[int, ...]:
    """The statuses that are told here. A 401 to our credential is the connection's matter."""
    return (*_EXPIRED_ELSEWHERE, _OTHER_END) if anonymous else (*_EXPIRED, _OTHER_END)


def _headers(url: str) -> dict[str, str]:
    """What is packed already is not to be packed again on its way."""
    is_packed = urlsplit(url).path.endswith(".gz")
    accept = "application/fhir+ndjson, */*;q=0.1"
    return {"Accept": accept, "Accept-Encoding": "identity"} if is_packed else {"Accept": accept}


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and "Transfer-Encoding" not in headers else None


def _private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _to_disk(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _expired(place: str, status: int) -> FileExpired:
    return FileExpired(f"{place} is not handed out ({status})", reason="file-expired", status=status)
