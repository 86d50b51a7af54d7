"""An access token: asked for with a proof of who we are, renewed before it expires, once for all threads.

The proof is a client secret, or an assertion signed with our key (SMART Backend Services):
https://hl7.org/fhir/smart-app-launch/backend-services.html
"""

import base64
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

import msgspec

from dm_fhir.config import Site
from dm_fhir.errors import DmFhirError, LoginRefused, RequestFailed, ServerUnavailable
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.discovery import LASTING, find_token_endpoint
from dm_fhir.fhir.keys import SigningKey
from dm_fhir.fhir.resource import NOT_READABLE
from dm_fhir.fhir.server_says import server_says
from dm_fhir.fhir.tls import session_for
from dm_fhir.fhir.transport import Answer

_ASSERTION_SECONDS = 240
#: A token's life, if the server does not say.
_LIFETIME_SECONDS = 300
#: A token is renewed when this share of its life is over, so that none expires under a request.
_RENEW_AT = 0.75
#: A token endpoint that has given a token before and refuses now may only flake; it is asked so many times more.
_SECOND_CHANCES = 3
#: Clocks that differ by more than this are reason enough to ask once more by the server's.
_CLOCK_SECONDS = 30
_CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_random = random.SystemRandom()


class Proof(NamedTuple):
    """What shows a token endpoint who we are. `secrets` must not come back in a message."""

    headers: dict[str, str]
    form: dict[str, str]
    secrets: tuple[str, ...]


class Credential(Protocol):
    """Our credential. `needs` is what a server must list of its logins to take it: key of smart-configuration, value."""

    @property
    def needs(self) -> dict[str, str]:
        """What a server must list."""

    def prove(self, url: str, now: float) -> Proof:
        """A proof for the token endpoint at `url`, whose clock says `now`."""


class ClientSecret(NamedTuple):
    """A client id with its secret, sent as Basic."""

    client_id: str
    secret: str

    @property
    def needs(self) -> dict[str, str]:
        """What a server must list."""
        return {"token_endpoint_auth_methods_supported": "client_secret_basic"}

    def __repr__(self) -> str:
        return f"ClientSecret({self.client_id})"

    def prove(self, url: str, now: float) -> Proof:
        """The same at any time and place."""
        pair = base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()
        return Proof({"Authorization": f"Basic {pair}"}, {}, (pair, self.secret))


class SignedAssertion(NamedTuple):
    """A client id with the key that signs for it."""

    client_id: str
    key: SigningKey
    jku: str | None

    @property
    def needs(self) -> dict[str, str]:
        """What a server must list."""
        return {
            "token_endpoint_auth_methods_supported": "private_key_jwt",
            "token_endpoint_auth_signing_alg_values_supported": self.key.algorithm,
        }

    def prove(self, url: str, now: float) -> Proof:
        """An assertion for this token endpoint, used once, valid for four minutes by the server's clock."""
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": url, "jti": uuid.uuid4().hex,
                  "iat": int(now), "exp": int(now) + _ASSERTION_SECONDS}  # fmt: skip
        assertion = self.key.sign(claims, self.jku)
        return Proof({}, {"client_assertion_type": _CLIENT_ASSERTION, "client_assertion": assertion}, (assertion,))


class _Token(msgspec.Struct, frozen=True):
    """What a token endpoint gives. `expires_in` is a text on some servers, and missing on others."""

    access_token: str = ""
    expires_in: float | None = None
    scope: object = None


class AccessToken:
    """The login of a site that gives out tokens.

    `clock_offset_seconds` is the server's clock minus ours, None while nobody has told; `granted_scope` is what the last
    token is good for, None if the server did not say; `renewals` counts the tokens after the first, `retries` what had to be
    asked again for one.
    """

    def __init__(
        self,
        site: Site,
        credential: Credential,
        sleep: Callable[[float], None],
        within: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.clock_offset_seconds: float | None = None
        self.granted_scope: str | None = None
        self.renewals = self.retries = 0
        self._site, self._credential, self._sleep, self._within = site, credential, sleep, within
        self._url = site.auth.token_url
        self._lists: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._failures: list[DmFhirError] = []
        self._headers: dict[str, str] = {}
        self._renew_at = 0.0

    def headers(self) -> dict[str, str]:
        """The headers that carry the token; asks for one if there is none, or the last is old. For any thread.

        Raises LoginRefused, ServerUnavailable, ConfigError.
        """
        failures = len(self._failures)
        with self._lock:
            if len(self._failures) > failures:  # while this thread waited for the token, another has asked in vain
                raise self._failures[-1]
            if time.monotonic() >= self._renew_at:
                self._ask()
            return dict(self._headers)

    def renew(self, failed: dict[str, str]) -> bool:
        """Ask for a new token next time, because the one in `failed` got a 401; unless it is already replaced.

        True: there will be another one to try with.
        """
        with self._lock:
            if failed.get("Authorization") == self._headers.get("Authorization"):
                self._renew_at = 0.0
        return True

    def _ask(self) -> None:
        try:
            token = self._asked()
        except DmFhirError as error:
            self._failures.append(error)
            raise
        self.renewals += 1 if self._headers else 0
        self._headers = {"Authorization": f"Bearer {token.access_token}"}
        lifetime = token.expires_in if token.expires_in and token.expires_in > 0 else _LIFETIME_SECONDS
        self._renew_at = time.monotonic() + lifetime * _RENEW_AT
        self.granted_scope = token.scope if isinstance(token.scope, str) else None

    def _asked(self) -> _Token:
        """A token, however often that takes."""
        url = self._url = self._url or self._discovered()
        tried = 0
        while True:
            answer, secrets = self._answer(url)
            token = _read(answer)
            if token:
                return token
            tried += 1
            clock_was_wrong = self._learn_clock(answer)
            if not self._may_ask_again(answer.status, tried, clock_was_wrong=clock_was_wrong):
                raise self._refusal(answer, secrets)
            self.retries += 1
            self._sleep(_random.uniform(0, 2 ** (tried - 1)))

    def _answer(self, url: str) -> tuple[Answer, tuple[str, ...]]:
        """What the token endpoint says to our proof; what may pass is tried again by the connection."""
        proof = self._credential.prove(url, time.time() + (self.clock_offset_seconds or 0))
        form = {"grant_type": "client_credentials", "scope": self._site.auth.scope, **proof.form}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **proof.headers}
        with self._connection(url.rpartition("/")[0]) as connection:
            try:
                answer = connection.request(
                    "POST", url, body=urlencode(form).encode(), headers=headers, accept=LASTING, anonymous=True,
                    only_reads=True,
                )  # fmt: skip
            except (RequestFailed, ServerUnavailable) as error:
                raise self._unavailable("token endpoint", url, error) from None
            finally:
                self.retries += connection.retries
        return answer, proof.secrets

    def _discovered(self) -> str:
        endpoint = self._site.endpoint or ""
        with self._connection(endpoint, self._site.headers) as connection:
            try:
                found = find_token_endpoint(connection)
            except (RequestFailed, ServerUnavailable) as error:
                raise self._unavailable("server's login configuration", endpoint, error) from None
        self._lists = found.lists
        if self.clock_offset_seconds is None and found.clock_answer:
            self._learn_clock(found.clock_answer)
        return found.url

    @contextmanager
    def _connection(self, base: str, headers: dict[str, str] | None = None) -> Iterator[Connection]:
        """A connection of its own, without login."""
        with (
            session_for(self._site) as session,
            Connection(
                base, self._site.pull, None, headers, self._sleep, session=session, within=self._within
            ) as connection,
        ):
            yield connection

    def _learn_clock(self, answer: Answer) -> bool:
        """Take the server's clock from its answer; whether what we thought of it was wrong."""
        age = re.fullmatch("[0-9]{1,9}", answer.headers.get("Age", ""))  # of an answer from a cache
        offset = offset_seconds(answer.date, datetime.now(UTC) - timedelta(seconds=int(age[0]) if age else 0))
        if offset is None:
            return False
        before, self.clock_offset_seconds = self.clock_offset_seconds or 0, offset
        return abs(offset - before) > _CLOCK_SECONDS

    def _may_ask_again(self, status: int, tried: int, *, clock_was_wrong: bool) -> bool:
        """Whether a refusal may have been a mistake: some endpoints flake with the same 400 as for a wrong credential."""
        if self._headers:
            return tried <= _SECOND_CHANCES
        return tried == 1 and (status == 400 or clock_was_wrong)

    def _refusal(self, answer: Answer, secrets: tuple[str, ...]) -> LoginRefused:
        host, said = urlsplit(answer.url).netloc, server_says(answer.body, hide=secrets)
        what = "could not renew the login" if self._headers else "the login is refused"
        is_empty = answer.status < 300
        how = "without an access_token" if is_empty else str(answer.status)
        missing = "".join(f"; its smart-configuration {sentence}" for sentence in self._missing())
        return LoginRefused(
            f"{what}: the token endpoint of {host} answered {how}{f': {said}' if said else ''}{missing}",
            hint="check client_id, key and scope with the hospital",
        )

    def _missing(self) -> list[str]:
        """What we need of a server and it does not list. Said only when the login fails: lists are not always right."""
        needs = {**self._credential.needs, "grant_types_supported": "client_credentials"}
        lists = {key: listed for key, need in needs.items() if (listed := self._lists.get(key)) and need not in listed}
        return [f"lists no {needs[key]} in {key}, only {_shown(listed)}" for key, listed in lists.items()]

    def _unavailable(self, where: str, url: str, error: RequestFailed | ServerUnavailable) -> ServerUnavailable:
        """What broke or may pass is no refusal. A server's own words are left out: it may repeat what it was sent."""
        status = error.status if isinstance(error, RequestFailed) else None
        return ServerUnavailable(
            f"{where} unavailable: {f'{urlsplit(url).netloc} answered {status}' if status else error.message}",
            reason="auth-lost" if self._headers else error.reason,
            not_before=error.not_before if isinstance(error, ServerUnavailable) else None,
            hint=error.hint or "run again later",
        )


def offset_seconds(answer_date: datetime | None, now: datetime) -> float | None:
    """The server's clock minus ours, from the Date of an answer that came at `now`; None if it had none."""
    return (answer_date - now).total_seconds() if answer_date else None


def _read(answer: Answer) -> _Token | None:
    if answer.status >= 300:
        return None
    try:
        token = msgspec.json.decode(answer.body, type=_Token, strict=False)
    except NOT_READABLE:
        return None
    return token if token.access_token else None


def _shown(listed: list[str]) -> str:
    """From a stranger, so only what can be printed."""
    return "".join(char if char.isprintable() else " " for char in ", ".join(listed))[:100]
