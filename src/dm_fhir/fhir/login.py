"""How dm-fhir logs in at a site: nothing, basic, a bearer token, a client secret, or SMART Backend Services."""

import base64
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from dm_fhir.config import Auth, Secret, Site
from dm_fhir.errors import ConfigError
from dm_fhir.fhir.access_token import AccessToken, ClientSecret, SignedAssertion
from dm_fhir.fhir.budget import Budget
from dm_fhir.fhir.connection import Connection, pause
from dm_fhir.fhir.credential import Login, NoLogin
from dm_fhir.fhir.keys import SigningKey, read_signing_key
from dm_fhir.fhir.tls import session_for


def login_for(
    site: Site,
    sleep: Callable[[float], None] = pause,
    within: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Login:
    """The site's login. Secrets are read here; `within` is the time of one request. Raises ConfigError naming a missing one, or a key that cannot sign."""
    auth = site.auth
    if auth.method == "basic":
        pair = f"{auth.username}:{_secret(auth.password)}".encode()
        return _Static(f"Basic {base64.b64encode(pair).decode()}")
    if auth.method == "bearer":
        return _Static(f"Bearer {_secret(auth.token)}")
    if auth.method == "client-secret":
        return AccessToken(site, ClientSecret(auth.client_id or "", _secret(auth.client_secret)), sleep, within)
    if auth.method == "smart-backend":
        return AccessToken(site, SignedAssertion(auth.client_id or "", signing_key(auth), auth.jku), sleep, within)
    return NoLogin()


def signing_key(auth: Auth) -> SigningKey:
    """The key that a site's login signs with. Raises ConfigError if it is missing or cannot sign."""
    return read_signing_key(_secret(auth.private_key), auth.key_id)


def connect(site: Site, sleep: Callable[[float], None] = pause, budget: Budget | None = None) -> Connection:
    """A connection to the site's endpoint with its login. `budget`: what it shares with other sites.

    Raises ConfigError if the site has no endpoint, or a secret is missing.
    """
    if site.endpoint is None:
        raise ConfigError(
            f"site {site.name} has no endpoint",
            hint='add endpoint = "https://…", or read files: dm-fhir pull --from PATH',
        )
    within = partial(budget.turn, site.name) if budget else nullcontext
    login = login_for(site, sleep, within)
    return Connection(site.endpoint, site.pull, login, site.headers, sleep, session_for(site), site, within)


def _secret(secret: Secret | None) -> str:
    if secret is None:  # the config's own rules make sure of it
        raise ConfigError("a secret is missing from [site.auth]")
    return secret.read()


class _Static:
    """A credential that never changes: nothing is renewed, and after a 401 the same is sent once more."""

    def __init__(self, value: str) -> None:
        self.clock_offset_seconds: float | None = None
        self.granted_scope: str | None = None
        self.renewals = self.retries = 0
        self._value = value

    def headers(self) -> dict[str, str]:
        return {"Authorization": self._value}

    def renew(self, failed: dict[str, str]) -> bool:
        return False
