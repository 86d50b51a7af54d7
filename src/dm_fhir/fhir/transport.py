"""One exchange over HTTP: a request sent, and its whole answer with a deadline, a size limit and a checked end.

Nothing is trusted: redirects are not followed here, and every failure has a name. With connection.py the only user of requests.
"""

import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import requests
import urllib3

from dm_fhir.config import Pull
from dm_fhir.errors import AnswerUnusable, ConfigError, RequestFailed, ServerUnavailable
from dm_fhir.fhir.tls import certificate_failure

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LARGEST_ANSWER_BYTES = 256 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
#: A body that is streamed may take hours, but in each stretch of the total time-out so much of it must come.
FEWEST_STREAMED_BYTES = 64 * 1024
#: Beyond this size, a compression better than any real page's is looked at before it fills the memory.
_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO = 32 * 1024 * 1024, 100
_UNSENDABLE = (
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    UnicodeError,
)


class Answer(NamedTuple):
    """What the server answered, decompressed and complete. `has_mark`: a byte-order mark was taken off the body."""

    status: int
    headers: "requests.structures.CaseInsensitiveDict[str]"
    body: bytes
    url: str
    has_mark: bool = False

    @property
    def date(self) -> datetime | None:
        """The server's clock when it answered; None if it did not say."""
        return http_date(self.headers.get("Date", ""))

    @property
    def media_type(self) -> str:
        """`application/fhir+json` or whatever it is, in lower case, without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()


class Broken(Exception):
    """An exchange that failed in a way that may pass; `cause` is what to raise when it does not.

    `is_unsent`: there was never a connection, so the server cannot have carried anything out.
    """

    def __init__(self, cause: RequestFailed | ServerUnavailable, *, is_unsent: bool = False) -> None:
        super().__init__(cause.message)
        self.cause = cause
        self.is_unsent = is_unsent


class Sink(Protocol):
    """Where the body of an answer goes while it comes, so that it is never whole in memory."""

    def headers(self) -> dict[str, str]:
        """What to ask for besides, this time."""

    def takes(self, status: int) -> bool:
        """Whether the body of an answer with this status is for it; any other's is read as usual."""

    def take(
        self, status: int, headers: "requests.structures.CaseInsensitiveDict[str]", arriving: Iterator[bytes]
    ) -> None:
        """The body as it was sent, packed as it is. Raises AnswerUnusable, which may pass, and StoreError."""


def exchange(
    session: requests.Session,
    method: str,
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    limits: Pull,
    place: str,
    sink: Sink | None = None,
) -> Answer:
    """Send one request and read its answer, whatever its status. `place` names it in messages.

    The body that `sink` takes is in the sink then, and not in the answer.

    Raises Broken, AnswerUnusable (too large), ConfigError (it cannot be sent at all, or a certificate is not to be trusted),
    ServerUnavailable (an expired certificate).
    """
    deadline = time.monotonic() + limits.total_timeout_seconds
    timeout = (limits.connect_timeout_seconds, limits.read_timeout_seconds)
    try:
        with session.request(
            method, url, data=body, headers=headers, timeout=timeout, stream=True, allow_redirects=False
        ) as response:
            if sink and sink.takes(response.status_code):
                _drained(sink, response, place, limits)
                return Answer(response.status_code, response.headers, b"", url)
            content = _read(response, deadline, place, limits.total_timeout_seconds)
            bare = content.removeprefix(BYTE_ORDER_MARK)
            return Answer(response.status_code, response.headers, bare, url, len(bare) < len(content))
    except _UNSENDABLE:
        # Its text would repeat the header, which may be the credential.
        raise ConfigError(
            f"no request can be made of {place}: the address, a header or the credential holds characters that HTTP forbids"
        ) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        untrusted = certificate_failure(error, url, session)
        if untrusted:
            raise untrusted from None
        raise Broken(_transport_failure(error, url, place), is_unsent=_is_unsent(error)) from None


def http_date(text: str) -> datetime | None:
    """The moment that an HTTP header names; None if it names none."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):  # what the parser raises for text that is no date
        return None


def _read(response: requests.Response, deadline: float, place: str, seconds: float) -> bytes:
    """The whole body, decompressed here because a cut-off gzip stream with the right length passes silently in requests."""
    arriving = _arriving(response, deadline, place, seconds)
    if response.headers.get("Content-Encoding", "").lower() == "gzip":
        return _unzipped(arriving, place)
    parts, size = [], 0
    for chunk in arriving:
        parts.append(chunk)
        size = _grown(size, chunk, place)
    return b"".join(parts)


def _arriving(response: requests.Response, deadline: float, place: str, seconds: float) -> Iterator[bytes]:
    """The body as it comes. A read that waits for a full chunk would sit out a dripping server far beyond the deadline."""
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
        yield chunk
        if time.monotonic() > deadline:
            raise Broken(AnswerUnusable(f"{place} did not arrive within {seconds:.0f} s", reason="too-slow"))


def _drained(sink: Sink, response: requests.Response, place: str, limits: Pull) -> None:
    try:
        sink.take(response.status_code, response.headers, _streamed(response, place, limits.total_timeout_seconds))
    except AnswerUnusable as error:
        raise Broken(error) from None


def _streamed(response: requests.Response, place: str, seconds: float) -> Iterator[bytes]:
    """The body as it comes, for as long as it comes at all."""
    start, size = time.monotonic(), 0
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
        yield chunk
        size += len(chunk)
        if time.monotonic() - start > seconds:
            if size < FEWEST_STREAMED_BYTES:
                raise Broken(AnswerUnusable(f"{place}: only {size} bytes came in {seconds:.0f} s", reason="too-slow"))
            start, size = time.monotonic(), 0


def _unzipped(arriving: Iterator[bytes], place: str) -> bytes:
    inflate = zlib.decompressobj(31)
    parts: list[bytes] = []
    packed: list[bytes] = []
    size = packed_size = 0
    for chunk in arriving:
        packed.append(chunk)
        packed_size += len(chunk)
        for piece in _inflated(inflate, chunk, place):
            size = _grown(size, piece, place)
            if size > _SUSPICIOUS_BYTES and size > packed_size * _SUSPICIOUS_RATIO:
                parts.clear()  # a bomb is only counted on, not kept
            else:
                parts.append(piece)
    if packed and not inflate.eof:
        raise Broken(AnswerUnusable(f"the answer for {place} is cut off", reason="body-incomplete"))
    content = b"".join(parts)
    if len(content) < size:  # it was no bomb after all
        inflate = zlib.decompressobj(31)
        content = b"".join(piece for chunk in packed for piece in _inflated(inflate, chunk, place))
    return content


def _inflated(inflate: "zlib._Decompress", chunk: bytes, place: str) -> Iterator[bytes]:
    """The chunk decompressed a piece at a time, so that a small chunk cannot fill the memory."""
    while chunk:
        try:
            yield inflate.decompress(chunk, _CHUNK_BYTES * 16)
        except zlib.error:
            raise Broken(AnswerUnusable(f"the answer for {place} is damaged (gzip)", reason="body-corrupt")) from None
        chunk = inflate.unconsumed_tail


def _grown(size: int, piece: bytes, place: str) -> int:
    size += len(piece)
    if size > LARGEST_ANSWER_BYTES:
        message = f"the answer for {place} is larger than {LARGEST_ANSWER_BYTES // 2**20} MiB"
        raise Broken(AnswerUnusable(message, reason="too-large"))
    return size


def _is_unsent(error: Exception) -> bool:
    """Whether no connection was made: refused, no such host, no way there, or no answer to the first packet."""
    texts = ("Failed to establish a new connection", "NameResolutionError", "Connection refused")
    return isinstance(error, requests.exceptions.ConnectTimeout) or any(text in str(error) for text in texts)


def _transport_failure(error: Exception, url: str, place: str) -> RequestFailed | ServerUnavailable:
    host, text = urlsplit(url).netloc, str(error)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return ServerUnavailable(
            f"cannot connect to {host}: no answer in time", hint="check the endpoint, or run again later"
        )
    if isinstance(error, requests.exceptions.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
        return RequestFailed(f"{place} was not answered in time", reason="read-timeout")
    if "Connection refused" in text:
        return ServerUnavailable(
            f"cannot connect to {host}: connection refused", hint="check the endpoint, or run again later"
        )
    if "NameResolutionError" in text or "Name or service not known" in text:
        return ServerUnavailable(
            f"cannot connect to {host}: no such host", hint="check the endpoint's spelling and the network"
        )
    incomplete = (
        requests.exceptions.ChunkedEncodingError | urllib3.exceptions.IncompleteRead | urllib3.exceptions.ProtocolError
    )
    if isinstance(error, incomplete):
        return AnswerUnusable(f"the answer for {place} is cut off", reason="body-incomplete")
    return ServerUnavailable(f"the connection to {host} broke: {host} stopped answering", hint="run again later")
