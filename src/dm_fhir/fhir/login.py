"""How dm-fhir logs in at a site: nothing, basic, a bearer token, a client secret, or SMART Backend Services.

SMART Backend Services: https://hl7.org/fhir/smart-app-launch/backend-services.html
"""

import base64
import threading
import time
import uuid
from urllib.parse import urlencode

import msgspec

from dm_fhir.config import Auth, Pull, Secret, Site
from dm_fhir.errors import ConfigError, LoginRefused, RequestFailed
from dm_fhir.fhir.connection import Connection, Login, NoLogin

_ASSERTION_LIFETIME_SECONDS = 240
#: A token is renewed when this share of its life is over, so that none expires under a request.
_RENEW_AT = 0.75


def login_for(site: Site) -> Login:
    """The site's login. Secrets are read here. Raises ConfigError naming a missing one."""
    auth = site.auth
    if auth.method == "basic":
        pair = f"{auth.username}:{_secret(auth.password)}".encode()
        return _Static(f"Basic {base64.b64encode(pair).decode()}")
    if auth.method == "bearer":
        return _Static(f"Bearer {_secret(auth.token)}")
    if auth.method in ("client-secret", "smart-backend"):
        return _Token(site.endpoint or "", auth, site.pull)
    return NoLogin()


def connect(site: Site) -> Connection:
    """A connection to the site's endpoint with its login. Raises ConfigError if it has none, or a secret is missing."""
    if site.endpoint is None:
        raise ConfigError(
            f"site {site.name} has no endpoint",
            hint='add endpoint = "https://…", or read files: dm-fhir pull --from PATH',
        )
    return Connection(site.endpoint, site.pull, login_for(site), site.headers)


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
    expires_in: float = 300


class _Discovered(msgspec.Struct, frozen=True):
    token_endpoint: str | None = None


class _Token:
    """An access token that is asked for when needed and renewed before it expires."""

    def __init__(self, endpoint: str, auth: Auth, limits: Pull) -> None:
        self._endpoint, self._auth, self._limits = endpoint, auth, limits
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
        base = url.rpartition("/")[0]
        with Connection(base, self._limits) as connection:
            try:
                answer = connection.request("POST", url, body=urlencode(form).encode(), headers=headers)
            except RequestFailed as error:
                raise LoginRefused(
                    f"the token endpoint refused the login: {error.message}",
                    hint="check client_id, key and scope with the hospital",
                ) from None
        try:
            answered = msgspec.json.decode(answer.body, type=_Answered)
        except msgspec.DecodeError:
            raise LoginRefused("the token endpoint's answer holds no access_token") from None
        self._token = answered.access_token
        self._renew_at = time.monotonic() + answered.expires_in * _RENEW_AT

    def _discover(self) -> str:
        with Connection(self._endpoint, self._limits) as connection:
            answer = connection.get(".well-known/smart-configuration", accept=(400, 401, 403, 404))
        try:
            found = msgspec.json.decode(answer.body, type=_Discovered).token_endpoint
        except msgspec.DecodeError:
            found = None
        if not found:
            raise ConfigError("the server does not say where to ask for a token", hint="set token_url in [site.auth]")
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

        now = int(time.time())
        claims = {"iss": self._auth.client_id, "sub": self._auth.client_id, "aud": url, "jti": uuid.uuid4().hex,
                  "iat": now, "exp": now + _ASSERTION_LIFETIME_SECONDS}  # fmt: skip
        headers = {"kid": self._auth.key_id} if self._auth.key_id else None
        try:
            return jwt.encode(claims, self._secret, algorithm=_algorithm(self._secret), headers=headers)
        except (ValueError, TypeError, jwt.exceptions.PyJWTError):
            raise ConfigError("the private key is not one that can sign (PEM, RSA or EC P-384)") from None


def _algorithm(pem: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return "ES384" if isinstance(load_pem_private_key(pem.encode(), None), EllipticCurvePrivateKey) else "RS384"
