"""How dm-fhir logs in at a site: nothing, basic, a bearer token, a client secret, or SMART Backend Services.

SMART Backend Services: https://hl7.org/fhir/smart-app-launch/backend-services.html
"""

import base64
import threading
import time
import uuid
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import msgspec

from dm_fhir.config import Auth, Pull, Secret, Site
from dm_fhir.errors import ConfigError, LoginRefused, RequestFailed, ServerUnavailable
from dm_fhir.fhir.connection import TRY_AGAIN, Answer, Connection, Login, NoLogin
from dm_fhir.fhir.resource import NOT_READABLE

_ASSERTION_LIFETIME_SECONDS = 240
#: A token's, if the server does not say.
_LIFETIME_SECONDS = 300
#: A token is renewed when this share of its life is over, so that none expires under a request.
_RENEW_AT = 0.75
_NOWHERE = "the server does not say where to ask for a token, or names an address without https"


def login_for(site: Site, sleep: Callable[[float], None] = time.sleep) -> Login:
    """The site's login. Secrets are read here. Raises ConfigError naming a missing one."""
    auth = site.auth
    if auth.method == "basic":
        pair = f"{auth.username}:{_secret(auth.password)}".encode()
        return _Static(f"Basic {base64.b64encode(pair).decode()}")
    if auth.method == "bearer":
        return _Static(f"Bearer {_secret(auth.token)}")
    if auth.method in ("client-secret", "smart-backend"):
        return _Token(site.endpoint or "", auth, site.pull, sleep)
    return NoLogin()


def connect(site: Site, sleep: Callable[[float], None] = time.sleep) -> Connection:
    """A connection to the site's endpoint with its login. Raises ConfigError if it has none, or a secret is missing."""
    if site.endpoint is None:
        raise ConfigError(
            f"site {site.name} has no endpoint",
            hint='add endpoint = "https://…", or read files: dm-fhir pull --from PATH',
        )
    return Connection(site.endpoint, site.pull, login_for(site, sleep), site.headers, sleep)


def _secret(secret: Secret | None) -> str:
    if secret is None:  # the config's own rules make sure of it
        raise ConfigError("a secret is missing from [site.auth]")
    return secret.read()


class _Static:
    """A credential that never changes; after a 401 it is simply tried once more, for servers that flake."""

    def __init__(self, value: str) -> None:
        self._value = value

    def headers(self) -> dict[str, str]:
        return {"Authorization": self._value}

    def renew(self) -> None:
        return


class _Answered(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float | None = None


class _Discovered(msgspec.Struct, frozen=True):
    token_endpoint: str | None = None


class _Token:
    """An access token that is asked for when needed and renewed before it expires."""

    def __init__(self, endpoint: str, auth: Auth, limits: Pull, sleep: Callable[[float], None]) -> None:
        self._endpoint, self._auth, self._limits, self._sleep = endpoint, auth, limits, sleep
        self._secret = _secret(auth.private_key if auth.method == "smart-backend" else auth.client_secret)
        self._token, self._renew_at = "", 0.0
        self._token_url = auth.token_url
        self._lock = threading.Lock()

    def headers(self) -> dict[str, str]:
        with self._lock:
            if time.monotonic() >= self._renew_at:
                self._ask()
            return {"Authorization": f"Bearer {self._token}"}

    def renew(self) -> None:
        self._renew_at = 0.0

    def _ask(self) -> None:
        url = self._token_url = self._token_url or self._discover()
        form = {"grant_type": "client_credentials", "scope": self._auth.scope, **self._proof(url)}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **self._basic()}
        with Connection(url.rpartition("/")[0], self._limits, sleep=self._sleep) as connection:
            try:
                answer = connection.request("POST", url, body=urlencode(form).encode(), headers=headers)
            except RequestFailed as error:
                raise _no_login("token endpoint", error) from None
        answered = _answered(answer)
        lifetime = _LIFETIME_SECONDS if answered.expires_in is None else answered.expires_in
        self._token = answered.access_token
        self._renew_at = time.monotonic() + lifetime * _RENEW_AT

    def _discover(self) -> str:
        with Connection(self._endpoint, self._limits, sleep=self._sleep) as connection:
            try:
                answer = connection.get(".well-known/smart-configuration", accept=(400, 401, 403, 404, 410))
            except RequestFailed as error:
                raise _no_login("server's login configuration", error) from None
        try:
            found = msgspec.json.decode(answer.body, type=_Discovered).token_endpoint or ""
        except NOT_READABLE:
            found = ""
        allowed = ("https://",) if urlsplit(self._endpoint).scheme == "https" else ("https://", "http://")
        if not found.startswith(allowed):
            raise ConfigError(_NOWHERE, hint="set token_url in [site.auth]")
        return found

    def _proof(self, url: str) -> dict[str, str]:
        if self._auth.method == "client-secret":
            return {}
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return {"client_assertion_type": kind, "client_assertion": self._assertion(url)}

    def _basic(self) -> dict[str, str]:
        if self._auth.method != "client-secret":
            return {}
        pair = f"{self._auth.client_id}:{self._secret}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    def _assertion(self, url: str) -> str:
        import jwt
        from cryptography.exceptions import UnsupportedAlgorithm

        now = int(time.time())
        claims = {"iss": self._auth.client_id, "sub": self._auth.client_id, "aud": url, "jti": uuid.uuid4().hex,
                  "iat": now, "exp": now + _ASSERTION_LIFETIME_SECONDS}  # fmt: skip
        headers = {"kid": self._auth.key_id} if self._auth.key_id else None
        try:
            return jwt.encode(claims, self._secret, algorithm=_algorithm(self._secret), headers=headers)
        except (ValueError, TypeError, UnsupportedAlgorithm, jwt.exceptions.PyJWTError):
            raise ConfigError("the private key is not one that can sign (PEM, RSA or EC P-384)") from None


def _answered(answer: Answer) -> _Answered:
    """The token. `expires_in` is a text on some servers, and missing on others."""
    try:
        answered = msgspec.json.decode(answer.body, type=_Answered, strict=False)
    except NOT_READABLE:
        answered = _Answered("")
    if not answered.access_token:
        raise LoginRefused("the token endpoint's answer holds no access_token")
    return answered


def _no_login(where: str, error: RequestFailed) -> LoginRefused | ServerUnavailable:
    """A refusal names the credentials; what broke or may pass is no refusal."""
    if error.status is None or error.status in TRY_AGAIN:
        return ServerUnavailable(f"the {where} is unavailable: {error.message}", hint="run again later")
    return LoginRefused(
        f"the {where} refused the login: {error.message}", hint="check client_id, key and scope with the hospital"
    )


def _algorithm(pem: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return "ES384" if isinstance(load_pem_private_key(pem.encode(), None), EllipticCurvePrivateKey) else "RS384"
