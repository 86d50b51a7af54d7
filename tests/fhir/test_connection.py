"""The connection over real sockets: what is tried again, what ends a try, what never leaves the origin."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.config import Auth, Pull, Site
from dm_fhir.errors import ConfigError, LoginRefused, RequestFailed, ServerUnavailable, WriteUnsettled
from dm_fhir.fhir.addresses import same_origin
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.server_says import server_says

if TYPE_CHECKING:
    from conftest import Connect, Loopback, Scripted

TOKEN = "tok-5ecret-abc"


class FixedLogin:
    """A credential that counts how often it was renewed."""

    clock_offset_seconds: float | None = None
    granted_scope: str | None = None
    renewals = retries = 0

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}{self.renewals}"}

    def renew(self, failed: dict[str, str]) -> bool:
        self.renewals += failed == self.headers()
        return True


def outcome(text: str) -> bytes:
    """An OperationOutcome that says `text`."""
    return json.dumps({"resourceType": "OperationOutcome", "issue": [{"diagnostics": text}]}).encode()


@pytest.mark.parametrize(
    ("status", "retry_after", "date", "waited"),
    [
        (503, "3", None, 3),
        (429, "0", None, 0),
        (503, "Sat, 01 Mar 2025 10:00:04 GMT", "Sat, 01 Mar 2025 10:00:00 GMT", 4),
        (429, "Sat, 01 Mar 2025 10:00:04 -0000", "Sat, 01 Mar 2025 12:00:00 +0200", 4),
        (503, "Sat, 01 Mar 2025 09:00:00 GMT", "Sat, 01 Mar 2025 10:00:00 GMT", 0),
    ],
)
def test_the_wait_that_the_server_asks_for_is_kept(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", waits: list[float],
    status: int, retry_after: str, date: str | None, waited: float,
) -> None:  # fmt: skip
    headers = {"Retry-After": retry_after} | ({"Date": date} if date else {})
    loopback.answers("Observation", scripted(status, b"", headers), scripted())
    connection = connect()
    assert connection.get("Observation").status == 200
    assert (waits, connection.retries, connection.requests_sent) == ([waited], 1, 2)


@pytest.mark.parametrize(
    "retry_after",
    [
        "-5",
        "3.5",
        "1e3",
        "",
        "soon",
        "٣",
        "9" * 400,
        "Fri, 31 Dec 9999 23:00:00 -0300",
        "Sat, 41 Mar 2025 10:00:00 GMT",
    ],
)
def test_a_wait_that_is_none_falls_back_to_ours(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", waits: list[float], retry_after: str
) -> None:
    headers = {"Retry-After": retry_after.encode().decode("latin-1")}
    loopback.answers("Observation", scripted(503, b"", headers), scripted())
    assert connect().get("Observation").status == 200
    assert len(waits) == 1
    assert 0 <= waits[0] <= 1


def test_a_wait_beyond_the_limit_ends_the_run_with_the_time_to_come_back(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", waits: list[float]
) -> None:
    loopback.answers("Observation", scripted(503, b"", {"Retry-After": "18000"}))
    with pytest.raises(ServerUnavailable, match=r"asks to wait 5 h, until 2\d{3}-\d\d-\d\d \d\d:\d\d UTC") as caught:
        connect().get("Observation")
    told = datetime.fromisoformat(caught.value.not_before or "")
    assert (caught.value.exit_code, caught.value.reason) == (4, "retry-after-too-long")
    assert abs((told - datetime.now(UTC)).total_seconds() - 18_000) < 10
    assert (waits, len(loopback.asked)) == ([], 1)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_five_tries_then_the_request_has_failed(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", waits: list[float], status: int
) -> None:
    loopback.answers("Observation", scripted(status, outcome("index rebuilding")))
    with pytest.raises(
        RequestFailed, match=f"GET Observation answered {status} five times: index rebuilding"
    ) as caught:
        connect().get("Observation?patient=Patient/77")
    assert (caught.value.reason, caught.value.status, caught.value.exit_code) == (f"http-{status}", status, 3)
    assert (len(loopback.asked), len(waits)) == (5, 4)
    assert all(wait <= limit for wait, limit in zip(waits, (1, 2, 4, 8), strict=True))


@pytest.mark.parametrize(
    ("status", "reason"), [(403, "refused"), (404, "http-404"), (400, "http-400"), (422, "http-422")]
)
def test_a_refusal_is_not_tried_again(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", status: int, reason: str
) -> None:
    loopback.answers("Observation", scripted(status, outcome("no")))
    with pytest.raises(RequestFailed) as caught:
        connect().get("Observation")
    assert (caught.value.reason, caught.value.status, len(loopback.asked)) == (reason, status, 1)


def test_an_accepted_status_is_an_answer(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    loopback.answers("Observation", scripted(412, b"{}"))
    assert connect().get("Observation", accept=(412,)).status == 412


def test_one_401_earns_one_new_login(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    loopback.answers("Observation", scripted(401, b""), scripted())
    assert connect(FixedLogin()).get("Observation").status == 200
    assert [asked.headers["Authorization"][-1] for asked in loopback.asked] == ["0", "1"]


def test_a_second_401_is_a_refused_login(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", waits: list[float]
) -> None:
    loopback.answers("Observation", scripted(401, b""))
    with pytest.raises(LoginRefused, match="does not accept the credentials") as caught:
        connect(FixedLogin()).get("Observation")
    assert (caught.value.exit_code, len(loopback.asked), waits) == (5, 2, [])


def test_a_server_that_repeats_the_credential_does_not_get_it_into_a_message(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("Observation", scripted(403, outcome(f"token {TOKEN}0 lacks scope")))
    with pytest.raises(RequestFailed) as caught:
        connect(FixedLogin()).get("Observation?patient=Patient/77&name=Garcia")
    assert str(caught.value) == "GET Observation refused (403): token … lacks scope"


def test_nothing_listens(loopback: "Loopback", connect: "Connect", waits: list[float]) -> None:
    loopback.stop()
    with pytest.raises(ServerUnavailable, match=f"cannot connect to {loopback.host}: connection refused") as caught:
        connect().get("metadata")
    assert (caught.value.exit_code, len(waits)) == (4, 4)


def test_a_connection_dropped_once_is_tried_again(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", waits: list[float]
) -> None:
    loopback.answers("Observation", scripted(drop=True), scripted())
    assert connect().get("Observation").status == 200
    assert len(waits) == 1


def test_a_connection_dropped_always_is_a_server_that_is_gone(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("Observation", scripted(drop=True))
    with pytest.raises(ServerUnavailable, match=loopback.host):
        connect().get("Observation?patient=77")
    assert len(loopback.asked) == 5


@pytest.mark.parametrize("broken", [{"status": 503}, {"status": 504}, {"status": 500}, {"drop": True}, {"length": 999}])
def test_a_write_that_may_have_been_carried_out_is_never_sent_again(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", broken: dict[str, Any]
) -> None:
    loopback.answers("Observation", scripted(**broken), scripted())
    with pytest.raises(WriteUnsettled):
        connect().request("POST", "Observation", body=b"{}")
    assert len(loopback.asked) == 1


def test_what_the_server_asks_to_wait_after_a_write_is_told(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", waits: list[float]
) -> None:
    loopback.answers("Observation", scripted(503, headers={"Retry-After": "7"}))
    with pytest.raises(WriteUnsettled, match="POST Observation answered 503") as caught:
        connect().request("POST", "Observation", body=b"{}")
    assert (caught.value.status, caught.value.wait_seconds, waits) == (503, 7, [])


def test_a_write_that_was_certainly_not_carried_out_is_sent_again(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", waits: list[float]
) -> None:
    loopback.answers("Observation", scripted(429, headers={"Retry-After": "3"}), scripted())
    assert connect().request("PUT", "Observation", body=b"{}").status == 200
    assert (len(loopback.asked), waits) == (2, [3])


def test_a_write_to_where_nothing_listens_is_tried_again(
    loopback: "Loopback", connect: "Connect", waits: list[float]
) -> None:
    loopback.stop()
    with pytest.raises(ServerUnavailable, match="connection refused"):
        connect().request("PUT", "Observation", body=b"{}")
    assert len(waits) == 4


def test_a_post_that_only_reads_is_tried_again(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("Observation/_search", scripted(503), scripted())
    assert connect().request("POST", "Observation/_search", body=b"", only_reads=True).status == 200


@pytest.fixture
def other(loopback: "Loopback") -> "Iterator[Loopback]":
    """A server on another port: another origin."""
    server = type(loopback)()
    yield server
    server.stop()


def test_a_redirect_to_another_host_is_not_followed_and_the_credential_stays_here(
    loopback: "Loopback", other: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("Observation", scripted(307, b"", {"Location": f"{other.endpoint}/Observation"}))
    with pytest.raises(RequestFailed, match=f"GET Observation redirects to {other.host}") as caught:
        connect(FixedLogin()).get("Observation")
    assert (caught.value.reason, other.asked, len(loopback.asked)) == ("foreign-redirect", [], 1)
    assert f'redirect_hosts = ["{other.host}"]' in (caught.value.hint or "")


def test_a_redirect_to_a_host_that_the_site_names_is_followed_without_credential_and_own_headers(
    loopback: "Loopback", other: "Loopback", scripted: "type[Scripted]"
) -> None:
    """Such as a signed link to the same page in a storage service."""
    site = Site("leon", loopback.endpoint, "UTC", (), {}, Auth(), Pull(), False, redirect_hosts=(other.host,))
    loopback.answers("Observation", scripted(302, b"", {"Location": f"{other.endpoint}/page?signature=s"}))
    other.answers("page", scripted())
    with Connection(loopback.endpoint, site.pull, FixedLogin(), {"Epic-Client-ID": "ours"}, site=site) as connection:
        assert connection.get("Observation", headers={"Prefer": "handling=strict"}).body == b'{"resourceType":"Bundle"}'
    (asked,) = other.asked
    assert {"Authorization", "Epic-Client-ID"}.isdisjoint(asked.headers)
    assert asked.headers["Prefer"] == "handling=strict"


def test_a_redirect_on_the_own_origin_is_followed_with_the_credential(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("Observation", scripted(301, b"", {"Location": "/fhir/v2/Observation?page=1"}))
    loopback.answers("v2/Observation", scripted())
    assert connect(FixedLogin()).get("Observation").status == 200
    assert [asked.headers["Authorization"] for asked in loopback.asked] == [f"Bearer {TOKEN}0"] * 2


def test_redirects_in_a_circle_end(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    loopback.answers("Observation", scripted(302, b"", {"Location": "/fhir/Observation"}))
    with pytest.raises(RequestFailed, match="redirects in a circle"):
        connect().get("Observation")
    assert len(loopback.asked) == 5


def test_a_write_is_never_redirected(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    loopback.answers("Observation", scripted(307, b"", {"Location": "/fhir/elsewhere"}))
    with pytest.raises(RequestFailed) as caught:
        connect().request("PUT", "Observation", body=b"{}")
    assert (caught.value.reason, loopback.paths()) == ("foreign-redirect", ["Observation"])


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example/fhir/Observation", "https://{host}/fhir/Observation", "http://user@{host}/fhir/Observation",
        "http://{host}:443:443/fhir", "http://127.0.0.1:1/fhir/Observation", "HTTP://evil.example/", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_an_address_of_another_origin_is_refused(loopback: "Loopback", connect: "Connect", url: str) -> None:
    with pytest.raises(RequestFailed) as caught:
        connect(FixedLogin()).get(url.format(host=loopback.host))
    assert (caught.value.reason, loopback.asked) == ("foreign-address", [])


def test_an_address_inside_a_query_is_part_of_a_path(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers("Observation", scripted())
    assert connect().get("Observation?code=http://loinc.org|2157-6").status == 200


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://H.example:443/x", "https://h.example/r4"),
        ("http://h.example/x", "http://h.example:80"),
        ("https://[::1]:8443/x", "https://[::1]:8443/r4"),
    ],
)
def test_the_same_origin_in_other_words(url: str, endpoint: str) -> None:
    assert same_origin(url, endpoint)


def test_netrc_and_proxies_of_the_environment_are_ignored(
    loopback: "Loopback",
    scripted: "type[Scripted]",
    connect: "Connect",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login spy password stolen\n")
    netrc.chmod(0o600)
    for name, value in {"HOME": str(tmp_path), "NETRC": str(netrc), "http_proxy": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    loopback.answers("Observation", scripted())
    connect(FixedLogin()).get("Observation")
    connect().get("Observation")
    assert [asked.headers.get("Authorization") for asked in loopback.asked] == [f"Bearer {TOKEN}0", None]


def test_the_sites_own_headers_are_sent(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    loopback.answers("Observation", scripted())
    connect().request("PUT", "Observation", body=b"{}", headers={"If-Match": 'W/"1"'})
    sent = loopback.asked[0].headers
    assert (sent["Epic-Client-ID"], sent["If-Match"], sent["Accept"]) == ("ours", 'W/"1"', "application/fhir+json")
    assert (sent["Content-Type"], loopback.asked[0].body) == ("application/fhir+json", b"{}")


def test_reads_and_writes_are_counted(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    loopback.answers("Observation", scripted())
    connection = connect()
    connection.get("Observation")
    connection.request("PUT", "Observation", body=b"{}")
    assert (connection.requests_sent, connection.writes_sent) == (2, 1)


def test_one_socket_serves_many_requests(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    loopback.answers("Observation", scripted())
    connection = connect()
    for _ in range(3):
        connection.get("Observation")
    assert (len(loopback.asked), loopback.connections) == (3, 1)


@pytest.mark.parametrize("credential", ["two\r\nlines 5ecret", "5ecret €"])
def test_a_credential_that_cannot_be_a_header_is_a_config_error_that_does_not_show_it(
    connect: "Connect", loopback: "Loopback", credential: str
) -> None:
    class Odd(FixedLogin):
        def headers(self) -> dict[str, str]:
            return {"Authorization": credential}

    with pytest.raises(ConfigError, match="characters that HTTP forbids") as caught:
        connect(Odd()).get("Observation")
    assert "5ecret" not in repr(caught.value)
    assert caught.value.__suppress_context__
    assert loopback.asked == []


def test_a_byte_order_mark_is_taken_off(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    loopback.answers("Observation", scripted(body=b"\xef\xbb\xbf{}"))
    assert connect().get("Observation").body == b"{}"


def test_the_servers_clock(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    dates = ["Sat, 01 Mar 2025 12:00:00 +0200", "yesterday", "Fri, 31 Dec 9999 23:00:00 -0300"]
    loopback.answers("Observation", *(scripted(headers={"Date": date}) for date in dates), scripted())
    connection = connect()
    found = [connection.get("Observation").date for _ in range(4)]
    assert [date and date.isoformat() for date in found] == ["2025-03-01T10:00:00+00:00", None, None, None]


def test_what_the_server_says_is_one_line_of_200_characters() -> None:
    assert server_says(outcome("a\r\n\tb\x1b[31m " + "c" * 500)) == "a b [31m " + "c" * 191


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"issue":[{"details":{"text":"told"},"diagnostics":"deep"}]}', "told"),
        (b'{"issue":[{"code":"processing"}]}', "processing"),
        (b'{"error":"invalid_client","error_description":"unknown key"}', "unknown key"),
        (b'{"error":"invalid_client"}', "invalid_client"),
        (b"<html>", ""),
        (b"", ""),
        (b'{"issue":[{"diagnostics":"\xff\xfe"}]}', ""),
        (b'{"issue":' + b"[" * 100_000, ""),
        (
            outcome("no Patient?identifier=urn:x|Eulalia&_count=1; see (https://a.b/c?sig=x%2Fy)."),
            "no Patient?identifier=…&_count=…; see (https://a.b/c?sig=…).",
        ),
        (outcome("is it right? a=b"), "is it right? a=b"),
    ],
)
def test_the_sentence_that_helps(body: bytes, said: str) -> None:
    assert server_says(body) == said


def test_of_two_secrets_that_begin_alike_nothing_is_left() -> None:
    assert server_says(outcome("it was abcdefgh, then abcdefghijk"), ["abcdefgh", "abcdefghijk"]) == "it was …, then …"


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[int], tuple[Path, Path]]:
    """Makes a self-signed certificate for 127.0.0.1 that ends in so many days."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def make(days: int) -> tuple[Path, Path]:
        key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
        now = datetime.datetime.now(datetime.UTC)
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(9)).not_valid_after(now + datetime.timedelta(days))
        signed = builder.add_extension(alternative, critical=True).sign(key, hashes.SHA256())
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        certificate, private = tmp_path / "certificate.pem", tmp_path / "key.pem"
        certificate.write_bytes(signed.public_bytes(pem))
        private.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
        return certificate, private

    return make


def with_tls(loopback: "Loopback", certificate: Path, key: Path) -> str:
    """Make the server speak TLS; its endpoint."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loopback.server.socket = context.wrap_socket(loopback.server.socket, server_side=True)
    return loopback.endpoint.replace("http:", "https:")


def test_a_certificate_of_an_unknown_issuer_is_a_config_error(
    loopback: "Loopback", connect: "Connect", certificate: Callable[[int], tuple[Path, Path]], waits: list[float]
) -> None:
    connection = connect(endpoint=with_tls(loopback, *certificate(9)))
    with pytest.raises(ConfigError, match=f"the certificate of {loopback.host} comes from an unknown issuer"):
        connection.get("metadata")
    assert (waits, loopback.asked) == ([], [])


def test_an_expired_certificate_says_so(
    loopback: "Loopback", connect: "Connect", certificate: Callable[[int], tuple[Path, Path]], waits: list[float]
) -> None:
    trusted, key = certificate(-1)
    connection = connect(endpoint=with_tls(loopback, trusted, key))
    connection._session.verify = str(trusted)
    with pytest.raises(ServerUnavailable, match="expired on 20"):
        connection.get("metadata")
    assert (waits, loopback.asked) == ([], [])


def test_a_port_without_tls_is_not_blamed_on_the_certificate(loopback: "Loopback", connect: "Connect") -> None:
    with pytest.raises(ServerUnavailable, match=f"the connection to {loopback.host} broke"):
        connect(endpoint=loopback.endpoint.replace("http:", "https:")).get("metadata")


def test_a_connection_is_a_context(loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect") -> None:
    loopback.answers("metadata", scripted())
    before = threading.active_count()
    with connect() as connection:
        assert isinstance(connection, Connection)
        assert connection.get("metadata").status == 200
    deadline = time.monotonic() + 1
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert threading.active_count() == before  # the server's thread ends when the socket is closed
