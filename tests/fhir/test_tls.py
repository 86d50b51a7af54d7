"""The secured way to a site over real TLS sockets: what a bad certificate says, client certificates, the proxy, no cookies."""

import http.cookiejar
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dm_fhir.config import Auth, Pull, Secret, Site, Tls
from dm_fhir.errors import ConfigError, ServerUnavailable
from dm_fhir.fhir import tls
from dm_fhir.fhir.tls import certificate_expiry, certificate_failure, private_files_faults, session_for

if TYPE_CHECKING:
    from conftest import Loopback, Scripted

TODAY = datetime.now(UTC).replace(microsecond=0)
LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8


class Authority(NamedTuple):
    """A certificate authority, in files."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    bundle: Path

    def issue(self, name: str, *hosts: x509.GeneralName, days: tuple[int, int] = (-10, 10)) -> tuple[Path, Path]:
        """A certificate for `hosts` and its key, both PEM; valid from and until so many days from today."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = signed(name, key, self.certificate.subject, self.key, days, hosts)
        paths = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(PEM))
        paths[1].write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
        paths[1].chmod(0o600)
        return paths


def signed(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name, issuer_key: ec.EllipticCurvePrivateKey,
    days: tuple[int, int], hosts: tuple[x509.GeneralName, ...] = (), *, is_authority: bool = False,
) -> x509.Certificate:  # fmt: skip
    """A certificate for `key`."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(TODAY + timedelta(days=days[0]))
        .not_valid_after(TODAY + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The hospital's certificate authority."""
    folder, key = tmp_path_factory.mktemp("authority"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Leon Hospital CA")])
    certificate = signed("Leon Hospital CA", key, name, key, (-100, 100), is_authority=True)
    (folder / "ca.pem").write_bytes(certificate.public_bytes(PEM))
    return Authority(folder, key, certificate, folder / "ca.pem")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers.items()))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("Set-Cookie", "session=1; Path=/")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        return


class Server(ThreadingHTTPServer):
    """A server behind TLS; `asked` has the headers of the requests that came through.

    After a failed handshake an impatient one closes at once: where the client is sending already, the alert is lost.
    """

    block_on_close = False
    daemon_threads = True

    def __init__(self, certificate: Path, key: Path, clients: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, str]] = []
        self.is_patient = True
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        if clients:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(clients)
        self.url = f"https://127.0.0.1:{self.server_port}"

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """The handshake, in the request's own thread; a client may break it off."""
        with self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as secured:
            try:
                secured.do_handshake()
            except OSError:
                if self.is_patient:
                    hear_out(secured)
            else:
                self.RequestHandlerClass(secured, client_address, self)

    def handle_error(self, *_: object) -> None:
        """A client may hang up."""


def hear_out(client: socket.socket) -> None:
    """Let the client finish, so that it reads the alert."""
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            continue


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers behind TLS."""
    servers: list[Server] = []

    def make(certificate: Path, key: Path, clients: Path | None = None) -> Server:
        servers.append(Server(certificate, key, clients))
        threading.Thread(target=servers[-1].serve_forever, args=(0.005,), daemon=True).start()
        return servers[-1]

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def site(way: Tls | None = None, auth: Auth | None = None, **pull: int) -> Site:
    """A site whose way is secured so."""
    return Site("leon", "https://fhir.example", "UTC", (), {}, auth or Auth(), Pull(**pull), False, tls=way or Tls())  # type: ignore[arg-type]


def failure(url: str, way: Tls) -> ServerUnavailable | ConfigError:
    """What is said of the certificate of `url`, within five seconds."""
    started = time.monotonic()
    with session_for(site(way)) as session:
        with pytest.raises(requests.RequestException) as caught:
            session.get(url, timeout=5)
        found = certificate_failure(caught.value, url, session)
    assert found is not None
    assert time.monotonic() - started < 5
    return found


def test_the_hospitals_own_authority_is_trusted_when_it_is_named(
    authority: Authority, serve: Callable[..., Server]
) -> None:
    server = serve(*authority.issue("good", LOOPBACK))
    with session_for(site(Tls(ca_bundle=authority.bundle))) as session:
        assert session.get(server.url, timeout=5).status_code == 200
    assert len(server.asked) == 1


def test_an_expired_certificate_is_the_hospitals_to_renew(authority: Authority, serve: Callable[..., Server]) -> None:
    server = serve(*authority.issue("expired", LOOPBACK, days=(-10, -3)))
    found = failure(server.url, Tls(ca_bundle=authority.bundle))
    day = (TODAY - timedelta(days=3)).strftime("%Y-%m-%d")
    assert isinstance(found, ServerUnavailable)
    assert found.message == f"the certificate of 127.0.0.1:{server.server_port} expired on {day}"
    assert (found.exit_code, found.reason, server.asked) == (4, "tls", [])


def test_a_certificate_of_the_future_asks_for_the_clock(authority: Authority, serve: Callable[..., Server]) -> None:
    server = serve(*authority.issue("future", LOOPBACK, days=(2, 10)))
    found = failure(server.url, Tls(ca_bundle=authority.bundle))
    assert isinstance(found, ServerUnavailable)
    assert f"is valid only later from {TODAY + timedelta(days=2):%Y-%m-%d}" in found.message
    assert found.hint == "is this machine's clock right?"


def test_an_unknown_issuer_is_named(authority: Authority, serve: Callable[..., Server]) -> None:
    server = serve(*authority.issue("strange", LOOPBACK))
    found = failure(server.url, Tls())
    assert isinstance(found, ConfigError)
    assert found.message == (
        f"the certificate of 127.0.0.1:{server.server_port} comes from an unknown issuer Leon Hospital CA; set ca_bundle"
    )
    assert (found.exit_code, server.asked) == (2, [])


def test_a_certificate_that_vouches_for_itself_has_an_unknown_issuer(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Own\nmade")])
    (tmp_path / "own.crt").write_bytes(signed("own", key, name, key, (-1, 1), (LOOPBACK,)).public_bytes(PEM))
    (tmp_path / "own.key").write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    found = failure(serve(tmp_path / "own.crt", tmp_path / "own.key").url, Tls())
    assert "an unknown issuer O=Own made; set ca_bundle" in found.message


def test_a_certificate_for_another_host_names_it(authority: Authority, serve: Callable[..., Server]) -> None:
    server = serve(*authority.issue("other", x509.DNSName("fhir.example"), x509.DNSName("r4.example")))
    found = failure(server.url, Tls(ca_bundle=authority.bundle))
    assert isinstance(found, ConfigError)
    assert (
        found.message
        == f"the certificate of 127.0.0.1:{server.server_port} is for another host: fhir.example, r4.example"
    )


def test_a_certificate_without_names_for_hosts_names_its_owner(
    authority: Authority, serve: Callable[..., Server]
) -> None:
    server = serve(*authority.issue("Leon gateway"))
    assert "is for another host: Leon gateway" in failure(server.url, Tls(ca_bundle=authority.bundle)).message


def test_a_server_that_is_gone_when_its_certificate_is_looked_at_still_gets_its_word() -> None:
    """What failed is known from the failure itself; only the date is missing."""
    expired = ssl.SSLCertVerificationError("certificate verify failed")
    expired.verify_code, expired.verify_message = 10, "certificate has expired"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        found = certificate_failure(requests.exceptions.SSLError(expired), f"https://{host}/fhir")
    assert found is not None
    assert found.message == f"the certificate of {host} expired"


def test_a_certificate_that_is_wrong_in_another_way_is_told_in_openssls_words() -> None:
    weak = ssl.SSLCertVerificationError("certificate verify failed")
    weak.verify_code, weak.verify_message = 66, "EE certificate key too weak"
    found = certificate_failure(requests.exceptions.SSLError(weak), "https://127.0.0.1:1/fhir")
    assert found is not None
    assert found.message == "the certificate of 127.0.0.1:1 cannot be trusted: EE certificate key too weak"


def test_another_failure_is_none_of_a_certificate(loopback: "Loopback") -> None:
    """Plain http where TLS is expected, and nobody at all."""
    with session_for(site()) as session, pytest.raises(requests.RequestException) as caught:
        session.get(f"https://{loopback.host}/", timeout=5)
    assert certificate_failure(caught.value, f"https://{loopback.host}/") is None
    loopback.stop()
    with session_for(site()) as session, pytest.raises(requests.RequestException) as caught:
        session.get(f"https://{loopback.host}/", timeout=5)
    assert certificate_failure(caught.value, f"https://{loopback.host}/") is None


@pytest.mark.parametrize("in_one_file", [False, True])
def test_a_client_certificate_is_shown(
    authority: Authority, serve: Callable[..., Server], tmp_path: Path, in_one_file: bool
) -> None:
    server = serve(*authority.issue("mutual", LOOPBACK), authority.bundle)
    certificate, key = authority.issue("our-client")
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    chosen = Tls(authority.bundle, both) if in_one_file else Tls(authority.bundle, certificate, key)
    with session_for(site(chosen)) as session:
        assert session.get(server.url, timeout=5).status_code == 200
    with session_for(site(chosen), anonymous=True) as session, pytest.raises(requests.RequestException):
        session.get(server.url, timeout=5)
    assert len(server.asked) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_of_a_stranger_is_told_as_such(
    authority: Authority, serve: Callable[..., Server], tmp_path: Path, version: ssl.TLSVersion
) -> None:
    server = serve(*authority.issue("strict", LOOPBACK), authority.bundle)
    server.context.maximum_version = version
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stranger")])
    (tmp_path / "us.crt").write_bytes(signed("stranger", key, name, key, (-1, 1)).public_bytes(PEM))
    (tmp_path / "us.key").write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    found = failure(server.url, Tls(authority.bundle, tmp_path / "us.crt", tmp_path / "us.key"))
    assert isinstance(found, ConfigError)
    assert found.message.startswith(f"127.0.0.1:{server.server_port} ends the TLS handshake; ")
    assert server.asked == []


@pytest.mark.parametrize("is_patient", [True, False])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_a_client_certificate_says_so(
    authority: Authority, serve: Callable[..., Server], version: ssl.TLSVersion, is_patient: bool
) -> None:
    server = serve(*authority.issue("wanting", LOOPBACK), authority.bundle)
    server.context.maximum_version = version
    server.is_patient = is_patient
    found = failure(server.url, Tls(authority.bundle))
    assert "it seems to ask for a client certificate that it knows" in found.message
    assert str(found.hint).startswith("set client_cert and client_key")
    assert (found.exit_code, server.asked) == (2, [])


def test_a_connection_that_breaks_is_not_taken_for_a_missing_certificate(
    authority: Authority, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where none is asked for, nor where ours is shown: a connection may break at any time."""
    monkeypatch.setattr(tls, "_LOOK_SECONDS", 0.2)
    asks_nobody = serve(*authority.issue("quiet", LOOPBACK))
    asks = serve(*authority.issue("asking", LOOPBACK), authority.bundle)
    ours = Tls(authority.bundle, *authority.issue("accepted"))
    for broken in (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), BrokenPipeError(32, "Broken pipe")):
        error = requests.exceptions.ConnectionError(broken)
        with session_for(site(Tls(authority.bundle))) as without, session_for(site(ours)) as session:
            assert certificate_failure(error, asks_nobody.url, without) is None
            assert certificate_failure(error, asks.url, session) is None


def test_what_is_missing_is_named_with_its_key_and_path(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("whole")
    gone = tmp_path / "gone.pem"
    for chosen, words in (
        (Tls(ca_bundle=gone), f"site leon: ca_bundle: there is no file {gone}"),
        (Tls(client_cert=gone), f"site leon: client_cert: there is no file {gone}"),
        (Tls(client_cert=certificate, client_key=gone), f"site leon: client_key: there is no file {gone}"),
        (Tls(ca_bundle=key), f"ca_bundle: {key} holds no certificate that can be read"),
        (
            Tls(client_cert=certificate),
            f"client_cert and client_key are no pair of certificate and key (PEM): {certificate}",
        ),
        (Tls(client_cert=certificate, client_key=authority.issue("half")[1]), "are no pair of certificate and key"),
    ):
        with pytest.raises(ConfigError) as caught:
            session_for(site(chosen))
        assert words in str(caught.value)


def test_a_key_behind_a_passphrase_does_not_wait_for_somebody_to_type_it(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("locked")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(private.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"5ecret")))
    with pytest.raises(ConfigError, match=f"client_key: {locked} is locked with a passphrase") as caught:
        session_for(site(Tls(client_cert=certificate, client_key=locked)))
    assert "openssl pkey" in str(caught.value.hint)


def test_keys_that_others_can_read_are_named(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("open")
    chosen = Tls(client_cert=certificate, client_key=key)
    (tmp_path / "site.pem").write_text("a key")
    (tmp_path / "site.pem").chmod(0o640)
    auth = Auth("smart-backend", private_key=Secret("file:site.pem", tmp_path), client_secret=Secret("env:X", tmp_path))
    assert private_files_faults(site(chosen)) == []
    key.chmod(0o644)
    pem = tmp_path / "site.pem"
    assert private_files_faults(site(chosen, auth)) == [
        f"client_key: {key} can be read by others (mode 0644); chmod 600 {key}",
        f"auth.private_key: {pem} can be read by others (mode 0640); chmod 600 {pem}",
    ]
    pem.unlink()
    key.chmod(0o600)
    assert private_files_faults(site(chosen, auth)) == [], "that it is missing is said elsewhere"
    assert private_files_faults(site(Tls(client_cert=certificate)))[0].startswith("client_cert: "), (
        "it may hold the key"
    )


def test_the_environment_has_no_say(
    loopback: "Loopback", scripted: "type[Scripted]", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password 5ecret\n")
    for name, value in {"HTTP_PROXY": "http://127.0.0.1:9", "NETRC": str(tmp_path / ".netrc")}.items():
        monkeypatch.setenv(name, value)
    loopback.answers("metadata", scripted())
    with session_for(site()) as session:
        session.get(f"{loopback.endpoint}/metadata", headers={"Authorization": "Bearer t"}, timeout=5)
    assert loopback.asked[0].headers["Authorization"] == "Bearer t"


def test_the_environments_authorities_are_none_of_ours(
    authority: Authority, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    server = serve(*authority.issue("untold", LOOPBACK))
    assert "unknown issuer" in failure(server.url, Tls()).message


def test_no_cookie_is_kept(authority: Authority, serve: Callable[..., Server]) -> None:
    server = serve(*authority.issue("cookies", LOOPBACK))
    with session_for(site(Tls(authority.bundle))) as session:
        for _ in range(2):
            answer = session.get(server.url, timeout=5)
        assert "Set-Cookie" in answer.headers
        assert isinstance(session.cookies, http.cookiejar.CookieJar)
        assert list(session.cookies) == []
    assert ["Cookie" in headers for headers in server.asked] == [False, False]


def test_there_is_room_for_as_many_connections_as_are_used_at_a_time() -> None:
    with session_for(site(concurrency=17)) as session:
        adapter = session.get_adapter("https://fhir.example/")
    assert adapter.__getstate__()["_pool_maxsize"] == 17


def test_requests_go_through_the_proxy(loopback: "Loopback", scripted: "type[Scripted]") -> None:
    loopback.scripts["http://fhir.invalid/r4/metadata"] = [scripted()]
    with session_for(site(Tls(proxy=f"http://{loopback.host}"))) as session:
        assert session.get("http://fhir.invalid/r4/metadata", timeout=5).status_code == 200
    assert loopback.asked[0].path == "http://fhir.invalid/r4/metadata"


class Tunnel(ThreadingHTTPServer):
    """A proxy that lets CONNECT through to where it was told; `asked` is what it was told."""

    block_on_close = False
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connecting)
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Connecting(BaseHTTPRequestHandler):
    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as target:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pump, args=(target, self.connection), daemon=True)
            back.start()
            pump(self.connection, target)
            back.join()

    def log_message(self, *_: object) -> None:
        return


def pump(source: socket.socket, target: socket.socket) -> None:
    """All that comes from `source`."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    """A running proxy."""
    proxy = Tunnel()
    threading.Thread(target=proxy.serve_forever, args=(0.005,), daemon=True).start()
    yield proxy
    proxy.shutdown()
    proxy.server_close()


def test_the_certificate_behind_a_proxy_is_looked_at_through_it(
    authority: Authority, serve: Callable[..., Server], tunnel: Tunnel
) -> None:
    server = serve(*authority.issue("behind", LOOPBACK))
    found = failure(server.url, Tls(proxy=tunnel.url))
    assert "unknown issuer Leon Hospital CA" in found.message
    assert tunnel.asked == [f"127.0.0.1:{server.server_port}"] * 2


def test_when_the_certificate_expires(authority: Authority, serve: Callable[..., Server], loopback: "Loopback") -> None:
    server = serve(*authority.issue("aging", LOOPBACK, days=(-10, 5)))
    assert certificate_expiry(server.url, site()) == TODAY + timedelta(days=5)
    assert certificate_expiry(loopback.endpoint, site()) is None
    assert certificate_expiry(f"https://{loopback.host}/fhir", site()) is None, "what answers speaks no TLS"
    assert server.asked == []
