"""One message to a webhook: a POST of JSON to the one address that the config names. No redirect, no cookie, ten seconds."""

from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlsplit

from dm_fhir.config import Pull, Tls
from dm_fhir.errors import ConfigError, RequestFailed
from dm_fhir.fhir.tls import Session
from dm_fhir.fhir.transport import Broken, exchange

_SECONDS = 10.0
_LIMITS = Pull(
    connect_timeout_seconds=_SECONDS, read_timeout_seconds=_SECONDS, total_timeout_seconds=_SECONDS, concurrency=1
)
_NO_TLS = Tls()
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def post(address: str, document: bytes, token: str | None = None, tls: Tls = _NO_TLS) -> None:
    """Send the document, with `token` as Bearer. The environment's proxies and .netrc have no say.

    Raises ConfigError (an address or a certificate that cannot be used), ServerUnavailable, or RequestFailed (any status
    but 2xx); their texts name the host alone, since the address itself may be a secret.
    """
    url = _checked(address)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with Session() as session:
        session.trust_env = False
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        if tls.ca_bundle:
            if not tls.ca_bundle.is_file():
                raise ConfigError(f"notify.ca_bundle: there is no file {tls.ca_bundle}")
            session.verify = str(tls.ca_bundle)
        if tls.proxy:
            session.proxies = {"http": tls.proxy, "https": tls.proxy}
        try:
            answer = exchange(session, "POST", url, document, headers, _LIMITS, "the webhook")
        except Broken as error:
            raise error.cause from None
    if not 200 <= answer.status < 300:
        raise RequestFailed(
            f"the webhook answered {answer.status}", reason=f"http-{answer.status}", status=answer.status
        )


def host_of(address: str) -> str:
    """The host of the address, which may be said; "" where it has none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _checked(address: str) -> str:
    """The address, if it may be sent to: one that was kept as a secret has not been looked at before."""
    scheme = address.partition("://")[0]
    host = host_of(address)
    if scheme not in ("http", "https") or not host or any(char.isspace() for char in address):
        raise ConfigError("notify.webhook: what is kept there is no http(s) address")
    if scheme == "http" and host not in _LOOPBACK:
        raise ConfigError("notify.webhook: plain http can be read and changed on its way; use https")
    return address
