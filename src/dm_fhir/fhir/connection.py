"""One site's endpoint over HTTP: a request with its limits, and the tries around it. The only user of requests.

Nothing is trusted: redirects are not followed, the environment's proxies and .netrc are ignored, the credential goes to
the configured origin only, and every answer has a deadline, a size limit and a checked end.
"""

import base64
import re
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple, Protocol
from urllib.parse import SplitResult, urlsplit

import msgspec
import requests
import tenacity
import urllib3

from dm_fhir.config import Pull
from dm_fhir.errors import AnswerUnusable, ConfigError, LoginRefused, RequestFailed, ServerUnavailable
from dm_fhir.fhir.resource import NOT_READABLE

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LARGEST_ANSWER_BYTES = 256 * 1024 * 1024
LONGEST_RETRY_AFTER_SECONDS = 300
_CHUNK_BYTES = 64 * 1024
#: Statuses that may pass.
TRY_AGAIN = (408, 429, 500, 502, 503, 504)
_HEADERS = {"Accept": "application/fhir+json", "Accept-Encoding": "gzip"}
_ABSOLUTE = re.compile("[A-Za-z][A-Za-z0-9+.-]*://")
_UNSENDABLE = (
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    UnicodeError,
)


class Answer(NamedTuple):
    """What the server answered, decompressed, complete, and without a byte-order mark."""

    status: int
    headers: requests.structures.CaseInsensitiveDict[str]
    body: bytes
    url: str

    @property
    def date(self) -> datetime | None:
        """The server's clock when it answered; None if it did not say."""
        return _http_date(self.headers.get("Date", ""))


class Login(Protocol):
    """Whoever provides the Authorization header."""

    def headers(self) -> dict[str, str]:
        """The headers that carry the credential. Raises LoginRefused or ServerUnavailable."""

    def renew(self) -> None:
        """Forget the credential after a 401, so that the next request asks for a new one."""


class NoLogin:
    """An endpoint that asks for nothing."""

    def headers(self) -> dict[str, str]:
        """No header."""
        return {}

    def renew(self) -> None:
        """Nothing to forget."""


class _TryAgain(Exception):
    """A failure that may pass; `cause` is what to raise when it does not."""

    def __init__(self, cause: RequestFailed | ServerUnavailable, wait_seconds: float | None = None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.wait_seconds = wait_seconds


class Connection:
    """Requests to one endpoint. `requests_sent` and `writes_sent` count what really went out, `retries` what was repeated."""

    def __init__(
        self,
        endpoint: str,
        limits: Pull,
        login: Login | None = None,
        headers: dict[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.limits = limits
        self.login: Login = login or NoLogin()
        self.own_headers = headers or {}
        self.requests_sent = self.writes_sent = self.retries = 0
        self._sleep = sleep
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        """Close the sockets."""
        self._session.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(
        self,
        url: str,
        *,
        accept: tuple[int, ...] = (),
        headers: dict[str, str] | None = None,
        anonymous: bool = False,
    ) -> Answer:
        """GET `url` (a path below the endpoint, or an absolute address on it). Statuses in `accept` are no error."""
        return self.request("GET", url, accept=accept, headers=headers, anonymous=anonymous)

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        accept: tuple[int, ...] = (),
        headers: dict[str, str] | None = None,
        anonymous: bool = False,
    ) -> Answer:
        """Send until it works: what may pass is tried again, a 401 earns one new login. `anonymous`: without login.

        Raises LoginRefused, ServerUnavailable, RequestFailed or AnswerUnusable; their texts hold no query and no credential.
        """
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TryAgain),
            stop=tenacity.stop_after_attempt(self.limits.tries),
            wait=_wait,
            sleep=self._sleep,
            before_sleep=self._count_retry,
        )
        try:
            send = self._without_login if anonymous else self._with_login
            return tries(send, method, self.absolute(url), body, accept, headers or {})
        except tenacity.RetryError as error:
            failure = error.last_attempt.exception()
            raise (failure.cause if isinstance(failure, _TryAgain) else error) from None

    def absolute(self, url: str) -> str:
        """`url` on the endpoint. Raises RequestFailed for another origin: credentials never go there."""
        if not _ABSOLUTE.match(url):
            return f"{self.endpoint}/{url}"
        if not same_origin(url, self.endpoint):
            raise RequestFailed("the server points to another host", reason="foreign-address")
        return url

    def _count_retry(self, _: tenacity.RetryCallState) -> None:
        self.retries += 1

    def _without_login(
        self, method: str, url: str, body: bytes | None, accept: tuple[int, ...], headers: dict[str, str]
    ) -> Answer:
        return self._judged(self._once(method, url, body, headers), self._place(method, url), accept, ())

    def _with_login(
        self, method: str, url: str, body: bytes | None, accept: tuple[int, ...], headers: dict[str, str]
    ) -> Answer:
        sent = {**headers, **self.login.headers()}
        answer = self._once(method, url, body, sent)
        if answer.status == 401:
            self.login.renew()
            sent = {**headers, **self.login.headers()}
            answer = self._once(method, url, body, sent)
        return self._judged(answer, self._place(method, url), accept, _secrets(sent))

    def _once(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        """One request and its whole answer, whatever its status."""
        limits, place = self.limits, self._place(method, url)
        sent = {**_HEADERS, **self.own_headers, **headers}
        if body is not None:
            sent.setdefault("Content-Type", "application/fhir+json")
        self.requests_sent += 1
        self.writes_sent += method not in ("GET", "HEAD")
        deadline = time.monotonic() + limits.total_timeout_seconds
        timeout = (limits.connect_timeout_seconds, limits.read_timeout_seconds)
        try:
            with self._session.request(
                method, url, data=body, headers=sent, timeout=timeout, stream=True, allow_redirects=False
            ) as response:
                return Answer(response.status_code, response.headers, _read(response, deadline, place), url)
        except _UNSENDABLE:
            # Its text would repeat the header, which may be the credential.
            raise ConfigError(
                f"no request can be made of {place}: the address, a header or the credential holds characters that HTTP forbids"
            ) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _certificate_failure(error, url) or _TryAgain(_transport_failure(error, url, place)) from None

    def _place(self, method: str, url: str) -> str:
        """What was asked, without endpoint and query: it goes into messages."""
        return f"{method} {urlsplit(url).path.removeprefix(urlsplit(self.endpoint).path).lstrip('/')}"

    def _judged(self, answer: Answer, place: str, accept: tuple[int, ...], secrets: Sequence[str]) -> Answer:
        status = answer.status
        if 200 <= status < 300 or status in accept:
            return answer
        text = server_says(answer.body, hide=secrets)
        said = f": {text}" if text else ""
        if status == 401:
            raise LoginRefused(f"the server does not accept the credentials (401 for {place}){said}")
        if status in TRY_AGAIN:
            raise _TryAgain(
                RequestFailed(f"{place} answered {status}{said}", reason=f"http-{status}", status=status),
                _retry_after(answer),
            )
        if 300 <= status < 400:
            raise RequestFailed(
                f"{place} redirects elsewhere; redirects are not followed", reason="redirect", status=status
            )
        reason = "refused" if status == 403 else f"http-{status}"
        raise RequestFailed(f"{place} answered {status}{said}", reason=reason, status=status)


def _secrets(headers: dict[str, str]) -> list[str]:
    """What of the headers must not come back in a message: the credential, and the password in it."""
    kind, _, credential = headers.get("Authorization", "").partition(" ")
    if kind != "Basic":
        return [credential]
    return [credential, base64.b64decode(credential).decode().partition(":")[2]]


def same_origin(url: str, endpoint: str) -> bool:
    """Whether `url` has the endpoint's scheme, host and port, and no user in it."""
    try:
        one, other = urlsplit(url), urlsplit(endpoint)
        same = (one.scheme, one.hostname, _port(one)) == (other.scheme, other.hostname, _port(other))
    except ValueError:  # a port that is no number
        return False
    return same and one.username is None


def _port(url: SplitResult) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def _read(response: requests.Response, deadline: float, place: str) -> bytes:
    """The whole body, decompressed here because a cut-off gzip stream with the right length passes silently in requests."""
    gzipped = response.headers.get("Content-Encoding", "").lower() == "gzip"
    inflate = zlib.decompressobj(31) if gzipped else None
    parts, size, is_empty = [], 0, True
    for chunk in _arriving(response, deadline, place):
        is_empty = False
        for piece in _inflated(inflate, chunk, place) if inflate else (chunk,):
            parts.append(piece)
            size += len(piece)
            if size > LARGEST_ANSWER_BYTES:
                raise AnswerUnusable(
                    f"the answer to {place} is larger than {LARGEST_ANSWER_BYTES // 2**20} MiB", reason="too-large"
                )
    if inflate and not inflate.eof and not is_empty:
        raise _TryAgain(AnswerUnusable(f"the answer to {place} is cut off", reason="body-incomplete"))
    return b"".join(parts).removeprefix(BYTE_ORDER_MARK)


def _arriving(response: requests.Response, deadline: float, place: str) -> Iterator[bytes]:
    """The body as it comes. A read that waits for a full chunk would sit out a dripping server far beyond the deadline."""
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
        yield chunk
        if time.monotonic() > deadline:
            raise _TryAgain(AnswerUnusable(f"the answer to {place} did not arrive in time", reason="too-slow"))


def _inflated(inflate: "zlib._Decompress", chunk: bytes, place: str) -> Iterator[bytes]:
    """The chunk decompressed a piece at a time, so that a small chunk cannot fill the memory."""
    while chunk:
        try:
            yield inflate.decompress(chunk, _CHUNK_BYTES * 16)
        except zlib.error:
            raise _TryAgain(AnswerUnusable(f"the answer to {place} is damaged (gzip)", reason="body-corrupt")) from None
        chunk = inflate.unconsumed_tail


def _transport_failure(error: Exception, url: str, place: str) -> RequestFailed | ServerUnavailable:
    host = urlsplit(url).netloc
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return ServerUnavailable(
            f"cannot connect to {host}: no answer in time", hint="check the endpoint, or run again later"
        )
    if isinstance(error, requests.exceptions.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
        return RequestFailed(f"{place} was not answered in time", reason="read-timeout")
    if "Connection refused" in str(error):
        return ServerUnavailable(
            f"cannot connect to {host}: connection refused", hint="check the endpoint, or run again later"
        )
    if "NameResolutionError" in str(error) or "Name or service not known" in str(error):
        return ServerUnavailable(
            f"cannot connect to {host}: no such host", hint="check the endpoint's spelling and the network"
        )
    if isinstance(
        error,
        requests.exceptions.ChunkedEncodingError | urllib3.exceptions.IncompleteRead | urllib3.exceptions.ProtocolError,
    ):
        return AnswerUnusable(f"the answer to {place} is cut off", reason="body-incomplete")
    return ServerUnavailable(f"the connection to {host} broke", hint="run again later")


def _certificate_failure(error: Exception, url: str) -> ServerUnavailable | ConfigError | None:
    """What is wrong with the server's certificate; None if the failure is another."""
    host, text = urlsplit(url).netloc, str(error)
    if "certificate verify failed" not in text:
        return None
    if "expired" in text:
        return ServerUnavailable(f"the certificate of {host} has expired", hint="the hospital must renew it")
    return ConfigError(
        f"the certificate of {host} cannot be trusted", hint="its issuer is unknown here or it names another host"
    )


def _wait(state: tenacity.RetryCallState) -> float:
    """What the server asked for, else 1, 2, 4, 8 seconds with full jitter."""
    failure = state.outcome.exception() if state.outcome else None
    asked = failure.wait_seconds if isinstance(failure, _TryAgain) else None
    if asked is None:
        return tenacity.wait_random_exponential(multiplier=1, max=8)(state)
    if asked > LONGEST_RETRY_AFTER_SECONDS:
        until = datetime.now(UTC) + timedelta(seconds=asked)
        raise ServerUnavailable(
            f"the server asks to wait {asked / 60:.0f} minutes, until {until:%Y-%m-%d %H:%M} UTC", hint="run again then"
        )
    return asked


def _retry_after(answer: Answer) -> float | None:
    """Seconds to wait by Retry-After (a whole number, or a date by the server's own clock); None if it says neither."""
    text = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    until = _http_date(text)
    return max(0.0, (until - (answer.date or datetime.now(UTC))).total_seconds()) if until else None


def _http_date(text: str) -> datetime | None:
    """The moment that an HTTP header names; None if it names none."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):  # what the parser raises for text that is no date
        return None


class _Text(msgspec.Struct, frozen=True):
    text: str | None = None


class _Issue(msgspec.Struct, frozen=True):
    severity: str | None = None
    code: str | None = None
    details: _Text | None = None
    diagnostics: str | None = None


class _Said(msgspec.Struct, frozen=True):
    issue: tuple[_Issue, ...] = ()
    error: str | None = None
    error_description: str | None = None


def server_says(body: bytes, hide: Sequence[str] = ()) -> str:
    """The sentence of an OperationOutcome or an OAuth error that helps, on one line, at most 200 characters; or nothing.

    A server may repeat what it was sent; `hide` is blotted out.
    """
    try:
        said = msgspec.json.decode(body, type=_Said)
    except NOT_READABLE:
        return ""
    texts = [(issue.details.text if issue.details else None) or issue.diagnostics or issue.code for issue in said.issue]
    text = next((text for text in (*texts, said.error_description, said.error) if text), "")
    for secret in filter(None, hide):
        text = text.replace(secret, "…")
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:200]
