"""The secured way to a site: its certificate authorities, our client certificate, its proxy; and what a bad certificate says.

There is no switch that turns the check of certificates off.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPException, HTTPSConnection
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from dm_fhir.config import Secret, Site
from dm_fhir.errors import ConfigError, ServerUnavailable
from dm_fhir.secret import private_file

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Name

#: For looking at the server once more, after the request has failed.
_LOOK_SECONDS = 2
#: What OpenSSL says of a certificate (X509_V_ERR_…).
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64
_UNKNOWN_ISSUER = (18, 19, 20, 21)
#: The alerts of a server that misses our certificate, or does not like it. Before TLS 1.3 it may only say that it is over.
_NOT_OURS = (
    "ALERT_CERTIFICATE_",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNKNOWN_CA",
    "ALERT_UNSUPPORTED_CERT",
    "ALERT_HANDSHAKE_FAILURE",
)


class Session(requests.Session):
    """A session that leaves redirects to us, unread: the library fails at a Location that is no address."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere."""


def session_for(site: Site, *, anonymous: bool = False) -> requests.Session:
    """A session that knows the site's certificates and proxy, ignores the environment, and never keeps a cookie.

    `anonymous`: without the client certificate, for hosts that must not get it. Raises ConfigError naming the key and the
    file if one of them is missing or cannot be used.
    """
    tls, session = site.tls, Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=site.pull.concurrency)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    if tls.ca_bundle:
        session.verify = _authorities(site)
    if tls.client_cert and not anonymous:
        session.cert = _client_certificate(site)
    if tls.proxy:
        session.proxies = {"http": tls.proxy, "https": tls.proxy}
    return session


def private_files_faults(site: Site) -> list[str]:
    """The site's files with keys and secrets that others than their owner can read, one sentence each."""
    faults = []
    for key, path in _private_files(site):
        mode = path.stat().st_mode & 0o777 if path.is_file() else 0
        if mode & 0o077:
            faults.append(f"{key}: {path} can be read by others (mode {mode:04o}); chmod 600 {path}")
    return faults


def certificate_failure(
    error: Exception, url: str, session: requests.Session | None = None
) -> ServerUnavailable | ConfigError | None:
    """What is wrong with the certificate that the host of `url` showed, or with ours; None if the failure is another.

    To name date, issuer or host it looks at the certificate once more, by the proxy of `session`, and sends nothing.
    """
    host = urlsplit(url).netloc
    proxy = session.proxies.get("https") if session else None
    comes_without = session is not None and not session.cert
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _mistrust(cause, host, _peer_certificate(url, proxy))
        alert_is_lost = comes_without and isinstance(cause, ssl.SSLEOFError | BrokenPipeError)
        if _is_not_ours(cause) or (alert_is_lost and _turns_strangers_away(url, proxy)):
            return ConfigError(
                f"{host} ends the TLS handshake; it seems to ask for a client certificate that it knows",
                hint="set client_cert and client_key; if they are set: has the certificate expired, does the hospital know its issuer?",
            )
    return None


def certificate_expiry(endpoint: str, site: Site) -> datetime | None:
    """When the endpoint's certificate expires; None without https, or if it does not show one."""
    certificate = _peer_certificate(endpoint, site.tls.proxy)
    return certificate.not_valid_after_utc if certificate else None


def _mistrust(
    error: ssl.SSLCertVerificationError, host: str, certificate: "Certificate | None"
) -> ServerUnavailable | ConfigError:
    code = error.verify_code
    if code == _EXPIRED:
        until = certificate.not_valid_after_utc if certificate else None
        on = f" on {until:%Y-%m-%d}" if until and until < datetime.now(UTC) else ""  # else another one of its chain has
        return ServerUnavailable(
            f"the certificate of {host} expired{on}", reason="tls", hint="the hospital must renew it; then run again"
        )
    if code == _NOT_YET_VALID:
        on = f" from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC" if certificate else ""
        return ServerUnavailable(
            f"the certificate of {host} is valid only later{on}", reason="tls", hint="is this machine's clock right?"
        )
    if code in (_OTHER_HOST, _OTHER_ADDRESS):
        names = ", ".join(_hosts(certificate)) if certificate else ""
        return ConfigError(
            f"the certificate of {host} is for another host{f': {names}' if names else ''}",
            hint="check the address in the config, or ask the hospital which name to use",
        )
    if code in _UNKNOWN_ISSUER:
        issuer = f" {_name(certificate.issuer)}" if certificate else ""
        return ConfigError(
            f"the certificate of {host} comes from an unknown issuer{issuer}; set ca_bundle",
            hint="ca_bundle is a PEM file with the certificate authorities to trust; the hospital has it",
        )
    return ConfigError(f"the certificate of {host} cannot be trusted: {error.verify_message}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it was made of; requests and urllib3 wrap the one from ssl several times."""
    seen: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        one = todo.pop(0)
        if isinstance(one, BaseException) and not any(one is other for other in seen):
            seen.append(one)
            yield one
            todo += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]


def _is_not_ours(error: BaseException) -> bool:
    reason = str(getattr(error, "reason", ""))  # an ssl error without a word of the server has none
    return isinstance(error, ssl.SSLError) and any(alert in reason for alert in _NOT_OURS)


def _turns_strangers_away(url: str, proxy: str | None) -> bool:
    """Whether the server ends a connection without client certificate: its alert gets lost where we were already sending."""
    try:
        with _greeted(url, proxy) as server:
            server.recv(1)
    except (OSError, HTTPException) as error:
        return _is_not_ours(error)
    return False


def _peer_certificate(url: str, proxy: str | None) -> "Certificate | None":
    """What the host shows, whoever it is. None if there is nothing to be seen."""
    from cryptography.x509 import load_der_x509_certificate

    if urlsplit(url).scheme != "https":
        return None
    try:
        with _greeted(url, proxy) as server:
            shown = server.getpeercert(binary_form=True)
        return load_der_x509_certificate(shown) if shown else None
    except (OSError, HTTPException, ValueError):
        return None


@contextmanager
def _greeted(url: str, proxy: str | None) -> Iterator[ssl.SSLSocket]:
    """The server after the TLS handshake. Nothing else is sent, so nothing can fall into wrong hands."""
    address = urlsplit(url)
    way = urlsplit(proxy) if proxy else address
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is the certificates that fail the check that are looked at
    port = way.port or (443 if way is address else 80)
    connection = HTTPSConnection(way.hostname or "", port, timeout=_LOOK_SECONDS, context=context)
    if way is not address:
        connection.set_tunnel(address.hostname or "", address.port or 443)
    try:
        connection.connect()
        yield connection.sock
    finally:
        connection.close()


def _hosts(certificate: "Certificate") -> list[str]:
    """The first names that it is for."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return [_name(certificate.subject)]
    return [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)][:3]


def _name(name: "Name") -> str:
    """The common name, else all of it; from a stranger, so only what can be printed."""
    from cryptography.x509 import NameOID

    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(common[0].value) if common else name.rfc4514_string()
    return "".join(char if char.isprintable() else " " for char in text)[:100] or "without a name"


def _authorities(site: Site) -> str:
    path = _existing(site, "ca_bundle", site.tls.ca_bundle)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError:  # also ssl's own errors
        raise ConfigError(f"site {site.name}: ca_bundle: {path} holds no certificate that can be read (PEM)") from None
    return str(path)


def _client_certificate(site: Site) -> str | tuple[str, str]:
    tls = site.tls
    certificate = _existing(site, "client_cert", tls.client_cert)
    key = _existing(site, "client_key", tls.client_key) if tls.client_key else certificate
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_no_passphrase)
    except _Encrypted:
        raise ConfigError(
            f"site {site.name}: client_key: {key} is locked with a passphrase, and nobody is there to type it",
            hint=f"unlock it: openssl pkey -in {key} -out unlocked.pem; chmod 600 unlocked.pem",
        ) from None
    except OSError:
        raise ConfigError(
            f"site {site.name}: client_cert and client_key are no pair of certificate and key (PEM): {certificate}, {key}"
        ) from None
    return (str(certificate), str(key)) if tls.client_key else str(certificate)


class _Encrypted(Exception):
    pass


def _no_passphrase() -> str:
    raise _Encrypted


def _existing(site: Site, key: str, path: Path | None) -> Path:
    if path is None or not path.is_file():
        raise ConfigError(f"site {site.name}: {key}: there is no file {path}")
    return path


def _private_files(site: Site) -> Iterator[tuple[str, Path]]:
    tls, auth = site.tls, site.auth
    key = tls.client_key or tls.client_cert  # one file may hold both
    if key:
        yield ("client_key" if tls.client_key else "client_cert"), key
    secrets: dict[str, Secret | None] = {
        "auth.password": auth.password,
        "auth.token": auth.token,
        "auth.client_secret": auth.client_secret,
        "auth.private_key": auth.private_key,
    }
    for name, secret in secrets.items():
        if secret and secret.file:
            yield name, private_file(secret.file, secret.folder)
