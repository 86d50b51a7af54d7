"""What a request carries of its login, and keeping it out of what a server says."""

import base64
from collections.abc import Iterable
from typing import Protocol

from dm_fhir.fhir.addresses import FEWEST_BLOTTED
from dm_fhir.fhir.transport import Answer


class Login(Protocol):
    """Whoever provides the Authorization header. Used by several threads.

    `clock_offset_seconds` is the server's clock minus ours, None while unknown. `granted_scope` is what a token was given
    for; `renewals` counts the tokens after the first, `retries` what had to be asked again for one.
    """

    clock_offset_seconds: float | None
    granted_scope: str | None
    renewals: int
    retries: int

    def headers(self) -> dict[str, str]:
        """The headers that carry the credential. Raises LoginRefused or ServerUnavailable."""

    def renew(self, failed: dict[str, str]) -> bool:
        """After a 401 to these headers: forget them, unless others have come since. Whether new ones are to be had."""


class NoLogin:
    """An endpoint that asks for nothing."""

    clock_offset_seconds: float | None = None
    granted_scope: str | None = None
    renewals = retries = 0

    def headers(self) -> dict[str, str]:
        """No header."""
        return {}

    def renew(self, failed: dict[str, str]) -> bool:
        """Nothing to forget."""
        return False


def secrets_in(headers: dict[str, str]) -> list[str]:
    """What of the headers must not come back in a message: the credential, and the password in it."""
    kind, _, credential = headers.get("Authorization", "").partition(" ")
    if kind != "Basic":
        return [credential]
    return [credential, base64.b64decode(credential).decode().partition(":")[2]]


def blotted(answer: Answer, secrets: Iterable[str]) -> Answer:
    """A refusal without our credential in it, which some servers repeat. It is no record, so its bytes need not be kept.

    One of a few letters would take the refusal apart; it is blotted out of what is told of it.
    """
    body = answer.body
    for secret in (one for one in secrets if len(one) >= FEWEST_BLOTTED):
        body = body.replace(secret.encode(), "…".encode())
    return answer._replace(body=body)
