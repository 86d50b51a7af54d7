"""One site's endpoint: requests with their login, tries, pace and origin. The only user of requests beside transport.py.

Redirects leave the endpoint's origin only for hosts that the config names, the environment's proxies and .netrc are
ignored, and the credential goes to the configured origin only.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
import tenacity

from dm_fhir.config import Pull, Site
from dm_fhir.errors import AnswerUnusable, LoginRefused, RequestFailed, ServerUnavailable, WriteUnsettled
from dm_fhir.fhir.addresses import joined, same_origin, secrets_of
from dm_fhir.fhir.credential import Login, NoLogin, blotted, secrets_in
from dm_fhir.fhir.other_hosts import OtherHosts
from dm_fhir.fhir.pace import Pace
from dm_fhir.fhir.retry_after import instant, standard_wait
from dm_fhir.fhir.server_says import server_says
from dm_fhir.fhir.tls import Session, session_for
from dm_fhir.fhir.transport import Answer, Broken, Sink, exchange

T = TypeVar("T")
#: Statuses that may pass.
TRY_AGAIN = (408, 429, 500, 502, 503, 504)
_TOO_MUCH = (429, 503)
#: Of these the one that says that nothing was done. A 503 may come from whatever stands before the server.
_NOT_CARRIED_OUT = 429
_MOST_REDIRECTS = 5
_HEADERS = {"Accept": "application/fhir+json", "Accept-Encoding": "gzip"}
_ABSOLUTE = re.compile("[A-Za-z][A-Za-z0-9+.-]*://")


class _TryAgain(Exception):
    """A failure that may pass; `cause` is what to raise when it does not."""

    def __init__(self, cause: RequestFailed | ServerUnavailable, wait_seconds: float | None = None) -> None:
        super().__init__(cause.message)
        self.cause = cause
        self.wait_seconds = wait_seconds


def pause(seconds: float) -> None:
    """Wait. Looked up when it is called, so that tests need not wait."""
    time.sleep(seconds)


class Connection:
    """Requests to one endpoint, from any thread.

    `requests_sent` and `writes_sent` count what really went out, `retries` what was repeated, `server_date` is the server's
    clock in its last answer. What a request met on its way is counted into the `notes` that its caller hands in.
    """

    def __init__(
        self,
        endpoint: str,
        limits: Pull,
        login: Login | None = None,
        headers: dict[str, str] | None = None,
        sleep: Callable[[float], None] = pause,
        session: requests.Session | None = None,
        site: Site | None = None,
        within: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.limits = limits
        self.login: Login = login or NoLogin()
        self.own_headers = headers or {}
        self.rewrite = site.rewrite if site else {}
        self.requests_sent = self.writes_sent = self.retries = 0
        self.server_date: datetime | None = None
        self.pace = Pace(limits, sleep, within)
        self._site = site
        self.others = OtherHosts(site.redirect_hosts if site else (), limits.allow_plain_http)
        self._session = session or Session()
        self._session.trust_env = False
        self._strangers: requests.Session | None = None
        self._counting = threading.Lock()
        self._secrets: set[str] = set()
        self._let_in: str | None = None
        self._login_retries = 0

    def close(self) -> None:
        """Close the sockets."""
        self._session.close()
        if self._strangers:
            self._strangers.close()

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
        notes: Counter[str] | None = None,
    ) -> Answer:
        """GET `url` (a path below the endpoint, or an absolute address on it). Statuses in `accept` are no error."""
        return self.request("GET", url, accept=accept, headers=headers, anonymous=anonymous, notes=notes)

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        accept: tuple[int, ...] = (),
        headers: dict[str, str] | None = None,
        anonymous: bool = False,
        notes: Counter[str] | None = None,
        place: str | None = None,
        only_reads: bool = False,
    ) -> Answer:
        """The answer, whatever is in it; see `ask`."""
        return self.ask(
            _itself, method, url, body=body, accept=accept, headers=headers, anonymous=anonymous, notes=notes, place=place,
            only_reads=only_reads,
        )  # fmt: skip

    def ask(
        self,
        read: Callable[[Answer], T],
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        accept: tuple[int, ...] = (),
        headers: dict[str, str] | None = None,
        anonymous: bool = False,
        notes: Counter[str] | None = None,
        place: str | None = None,
        tries: int | None = None,
        only_reads: bool = False,
        sink: Sink | None = None,
    ) -> T:
        """Send until it works, and what `read` makes of the answer: what may pass is tried again, a 401 earns one new login.

        An answer that `read` finds unusable counts as a failure that may pass. A write is sent again only where it is certain
        that it was not carried out: never connected, 401, or 429. `anonymous`: without login. `place` names the request in
        messages; `only_reads`: a POST that changes nothing. `sink` takes the body of a GET while it comes; its address may also
        be on a host of `redirect_hosts`. Raises LoginRefused, ServerUnavailable, RequestFailed,
        AnswerUnusable, and for a write WriteUnsettled; their texts hold no query and no credential.
        """
        target = url if sink and self.others.allow(url) else self.absolute(url)
        attempt = _Attempt(method, target, body, accept, headers or {}, Counter() if notes is None else notes,
                           place or self._place(method, url), anonymous, only_reads or method in ("GET", "HEAD"), sink)  # fmt: skip
        most = tries or self.limits.tries
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TryAgain),
            stop=tenacity.stop_after_attempt(most),
            wait=self._wait,
            sleep=lambda seconds: self.pace.wait(seconds, attempt.notes),
            before_sleep=lambda _: self._count_retry(attempt.notes),
        )
        try:
            result: T = retrying(self._once, attempt, read)
        except tenacity.RetryError as error:
            failure = error.last_attempt.exception()
            if not isinstance(failure, _TryAgain):
                raise
            raise _after(failure.cause, most) from None
        return result

    def absolute(self, url: str) -> str:
        """`url` on the endpoint. Raises RequestFailed for another origin: credentials never go there."""
        if not _ABSOLUTE.match(url):
            return f"{self.endpoint}/{url}"
        if not same_origin(url, self.endpoint):
            raise RequestFailed("the server points to another host", reason="foreign-address")
        return url

    def _once(self, attempt: "_Attempt", read: Callable[[Answer], T]) -> T:
        answer, sent = self._answer(attempt)
        self._learn_clock(answer)
        self.pace.heed(answer.headers, attempt.notes)
        self._judge(answer, attempt, sent)
        try:
            return read(answer)
        except AnswerUnusable as error:
            self._session.close()  # whatever else is in that connection must not become the next answer
            raise attempt.may_pass(error) from None
        except RequestFailed as error:
            if error.reason.startswith("outcome-"):
                raise attempt.may_pass(error) from None
            raise

    def _answer(self, attempt: "_Attempt") -> tuple[Answer, dict[str, str]]:
        """The answer to one try, after one new login if the first was not accepted; and the headers that it got."""
        if attempt.anonymous:
            return self._followed(attempt, {}), {}
        sent = self._credential(attempt)
        answer = self._followed(attempt, sent)
        if answer.status == 401 and same_origin(answer.url, self.endpoint):
            attempt.notes["retries"] += 1
            attempt.notes["token_renewed" if self.login.renew(sent) else "auth_flake"] += 1
            sent = self._credential(attempt)
            answer = self._followed(attempt, sent)
        if answer.status < 300 and sent and attempt.method == "GET" and not attempt.sink:
            self._let_in = self._let_in or attempt.url
        return answer, sent

    def _credential(self, attempt: "_Attempt") -> dict[str, str]:
        """The login's headers. What had to be asked again for them is noted once, by whoever comes first."""
        sent = self.login.headers()
        with self._counting:
            now = self.login.retries
            new, self._login_retries = now - self._login_retries, now
        attempt.notes["token_retry"] += new
        return sent

    def _followed(self, attempt: "_Attempt", credential: dict[str, str]) -> Answer:
        """The answer behind redirects: on our own origin as it is, on hosts that the config allows without any credential."""
        url, headers, session = attempt.url, {**self.own_headers, **attempt.headers, **credential}, self._session
        for _ in range(_MOST_REDIRECTS):
            if not same_origin(url, self.endpoint):
                self.others.check(url, f"{attempt.place} redirects to", "foreign-redirect")
                headers, session = dict(attempt.headers), self._for_strangers()
            answer = self._sent(attempt, url, headers, session)
            target = answer.headers.get("Location", "")
            if answer.status not in (301, 302, 303, 307, 308) or not target or attempt.method != "GET":
                return answer
            there = joined(url, target)
            if there is None:
                raise RequestFailed(f"{attempt.place} redirects to an unusable address", reason="foreign-redirect")
            url = there.geturl()
        raise RequestFailed(f"{attempt.place} redirects in a circle", reason="foreign-redirect")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What has been sent and must not come back in a message: a server may repeat it anywhere."""
        with self._counting:
            return tuple(self._secrets)

    def _for_strangers(self) -> requests.Session:
        """A session without our client certificate."""
        with self._counting:
            if self._strangers is None:
                self._strangers = session_for(self._site, anonymous=True) if self._site else Session()
            return self._strangers

    def _sent(self, attempt: "_Attempt", url: str, headers: dict[str, str], session: requests.Session) -> Answer:
        sent = {**_HEADERS, **headers, **(attempt.sink.headers() if attempt.sink else {})}
        if attempt.body is not None:
            sent.setdefault("Content-Type", "application/fhir+json")
        with self.pace.turn():
            with self._counting:
                self._secrets.update(secrets_in(sent))
                self.requests_sent += 1
                self.writes_sent += not attempt.only_reads
            try:
                answer = exchange(
                    session, attempt.method, url, attempt.body, sent, self.limits, attempt.place, attempt.sink
                )
                return blotted(answer, [*secrets_in(sent), *secrets_of(url)]) if answer.status >= 400 else answer
            except Broken as error:
                raise attempt.may_pass(error.cause, is_certain=error.is_unsent) from None

    def _judge(self, answer: Answer, attempt: "_Attempt", sent: dict[str, str]) -> None:
        """Raise what the answer's status asks for; nothing for a good or an accepted one."""
        status, place = answer.status, attempt.place
        if 200 <= status < 300 or status in attempt.accept:
            return
        text = server_says(answer.body, hide=secrets_in(sent))
        said = f": {text}" if text else ""
        if status in TRY_AGAIN:
            if status in _TOO_MUCH:
                attempt.notes["throttled"] += 1
                self.pace.throttle()
            failed = RequestFailed(f"{place} answered {status}{said}", reason=f"http-{status}", status=status)
            raise attempt.may_pass(failed, standard_wait(answer), is_certain=status == _NOT_CARRIED_OUT)
        if status == 401 and same_origin(answer.url, self.endpoint):
            raise self._not_let_in(attempt, said)
        if 300 <= status < 400:
            raise RequestFailed(f"{place} redirects without saying where", reason="foreign-redirect", status=status)
        if status == 403:
            raise RequestFailed(f"{place} refused (403){said}", reason="refused", status=status)
        raise RequestFailed(f"{place} answered {status}{said}", reason=f"http-{status}", status=status)

    def _not_let_in(self, attempt: "_Attempt", said: str) -> LoginRefused | RequestFailed:
        """Whether the login is lost, or this one thing is not for us: what was read before tells."""
        if self._let_in and self._let_in != attempt.url and not attempt.anonymous:
            again = attempt.again(self._let_in)
            if self._followed(again, self.login.headers()).status < 300:
                what = f"not authorised for {attempt.type_name} (401)"
                return RequestFailed(f"{attempt.place}: {what}{said}", reason="refused", status=401)
        return LoginRefused(
            f"the server does not accept the credentials (401 for {attempt.place}){said}",
            hint="check [site.auth] with: dm-fhir doctor",
        )

    def _learn_clock(self, answer: Answer) -> None:
        date = answer.date
        if date is None:
            return
        self.server_date = date
        if self.login.clock_offset_seconds is None:
            self.login.clock_offset_seconds = (date - datetime.now(UTC)).total_seconds()

    def _count_retry(self, notes: Counter[str]) -> None:
        notes["retries"] += 1
        with self._counting:
            self.retries += 1

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """What the server asked for, else 1, 2, 4, 8 seconds with full jitter."""
        failure = state.outcome.exception() if state.outcome else None
        asked = failure.wait_seconds if isinstance(failure, _TryAgain) else None
        if asked is None:
            return tenacity.wait_random_exponential(multiplier=1, max=8)(state)
        if asked > self.limits.longest_wait_seconds:
            until = datetime.now(UTC) + timedelta(seconds=asked)
            raise ServerUnavailable(
                f"server asks to wait {_duration(asked)}, until {until:%Y-%m-%d %H:%M} UTC",
                reason="retry-after-too-long",
                not_before=instant(until),
                hint="run again then",
            )
        return asked

    def _place(self, method: str, url: str) -> str:
        """What was asked, without endpoint and query: it goes into messages."""
        return f"{method} {urlsplit(self.absolute(url)).path.removeprefix(urlsplit(self.endpoint).path).lstrip('/')}"


class _Attempt(msgspec.Struct, frozen=True):
    """What is to be sent, once or several times."""

    method: str
    url: str
    body: bytes | None
    accept: tuple[int, ...]
    headers: dict[str, str]
    notes: Counter[str]
    place: str
    anonymous: bool
    only_reads: bool
    sink: Sink | None = None

    def again(self, url: str) -> "_Attempt":
        """The same for another address, plainly."""
        return msgspec.structs.replace(self, method="GET", url=url, body=None, only_reads=True, sink=None)

    def may_pass(
        self, cause: RequestFailed | ServerUnavailable, wait_seconds: float | None = None, *, is_certain: bool = False
    ) -> Exception:
        """What to raise for a failure that may pass. `is_certain`: the server has not carried out what was sent."""
        if self.only_reads or is_certain:
            return _TryAgain(cause, wait_seconds)
        status = cause.status if isinstance(cause, RequestFailed) else None
        return WriteUnsettled(cause.message, reason=cause.reason, status=status, wait_seconds=wait_seconds)

    @property
    def type_name(self) -> str:
        """The resource type that is asked for."""
        names = [part for part in urlsplit(self.url).path.split("/") if part[:1].isupper()]
        return names[-1] if names else "this"


def _itself(answer: Answer) -> Answer:
    return answer


def _after(cause: RequestFailed | ServerUnavailable, tries: int) -> RequestFailed | ServerUnavailable:
    """The failure, with how often it was tried."""
    if isinstance(cause, RequestFailed) and cause.status in TRY_AGAIN and tries > 1:
        times = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}.get(tries, f"{tries} times")
        head, mark, said = cause.message.partition(f"answered {cause.status}")
        return RequestFailed(f"{head}{mark} {times}{said}", reason=cause.reason, status=cause.status, hint=cause.hint)
    return cause


def _duration(seconds: float) -> str:
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.0f} minutes"
