"""Where to ask for a token: the smart-configuration, the CapabilityStatement, the config; and what a server's lists explain."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.config import Auth, Pull, Secret, Site
from dm_fhir.errors import ConfigError, LoginRefused, ServerUnavailable
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.discovery import find_token_endpoint
from dm_fhir.fhir.keys import create_key_pair
from dm_fhir.fhir.login import login_for

if TYPE_CHECKING:
    from conftest import Connect, Loopback, Scripted

DISCOVERY = ".well-known/smart-configuration"
FORM = {"Content-Type": "application/json"}
OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a private key and a client secret."""
    folder = tmp_path_factory.mktemp("secrets")
    create_key_pair(folder)
    (folder / "secret").write_text("5ecret-text")
    return folder


@pytest.fixture
def site(loopback: "Loopback", secrets: Path) -> Callable[..., Site]:
    """Makes a site that logs in with a key, or else with a client secret."""

    def make(method: str = "smart-backend", **auth: str) -> Site:
        kept: dict[str, Any] = {"client_id": "me", **auth}
        kept |= {"private_key": Secret("file:private.pem", secrets), "client_secret": Secret("file:secret", secrets)}
        return Site("leon", loopback.endpoint, "UTC", (), {"X-Own": "1"}, Auth(method, **kept), Pull(), False)  # type: ignore[arg-type]

    return make


def capability(token: object) -> bytes:
    """A CapabilityStatement that names the token endpoint, after other things."""
    uris = [{"url": "authorize", "valueUri": "https://a.example"}, {"url": "token", "valueUri": token}]
    extensions = [{"url": "http://other.example"}, {"url": OAUTH_URIS, "extension": uris}]
    rest = [{"mode": "server"}, {"mode": "server", "security": {"cors": True, "extension": extensions}}]
    return json.dumps({"resourceType": "CapabilityStatement", "rest": rest}).encode()


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 405, 410, 501])
def test_a_server_from_before_smart_configuration(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", status: int
) -> None:
    loopback.answers(DISCOVERY, scripted(status, b"<html>"))
    loopback.answers("metadata", scripted(body=capability("https://login.example/token")))
    assert find_token_endpoint(connect()).url == "https://login.example/token"
    assert loopback.paths() == [DISCOVERY, "metadata"]


def test_a_page_where_people_log_in_is_no_smart_configuration(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    loopback.answers(DISCOVERY, scripted(302, b"", {"Location": "https://portal.example/login"}))
    loopback.answers("metadata", scripted(body=capability("https://login.example/token")))
    assert find_token_endpoint(connect()).url == "https://login.example/token"


def test_the_smart_configuration_comes_first_and_as_json(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect"
) -> None:
    body = {"token_endpoint": f"{loopback.endpoint}/token", "scopes_supported": ["a", 7], "issuer": "x"}
    loopback.answers(DISCOVERY, scripted(body=json.dumps(body).encode(), headers=FORM))
    found = find_token_endpoint(connect())
    assert (found.url, found.lists) == (f"{loopback.endpoint}/token", {"scopes_supported": ["a"]})
    assert loopback.paths() == [DISCOVERY]
    assert loopback.asked[0].headers["Accept"] == "application/json"


def test_a_configured_token_endpoint_is_not_looked_for(
    loopback: "Loopback", scripted: "type[Scripted]", site: Callable[..., Site]
) -> None:
    loopback.answers("token", scripted(body=b'{"access_token":"t1"}', headers=FORM))
    login_for(site(token_url=f"{loopback.endpoint}/token")).headers()
    assert loopback.paths() == ["token"]


def test_the_sites_own_headers_go_to_its_endpoint_and_not_to_the_token_endpoint(
    loopback: "Loopback", scripted: "type[Scripted]", site: Callable[..., Site]
) -> None:
    loopback.answers("metadata", scripted(body=capability(f"{loopback.endpoint}/token")))
    loopback.answers("token", scripted(body=b'{"access_token":"t1"}', headers=FORM))
    login_for(site()).headers()
    assert loopback.paths() == [DISCOVERY, "metadata", "token"]
    assert ["X-Own" in asked.headers for asked in loopback.asked] == [True, True, False]


@pytest.mark.parametrize(
    "body", [b"{}", b"<html>", b"[]", b'{"rest":[{"security":[]}]}', capability(""), capability(7), capability(None)]
)
def test_a_server_that_names_no_token_endpoint(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", body: bytes
) -> None:
    loopback.answers(DISCOVERY, scripted(body=b'{"token_endpoint":""}'))
    loopback.answers("metadata", scripted(body=body))
    with pytest.raises(ConfigError, match="does not say where to ask for a token") as caught:
        find_token_endpoint(connect())
    assert caught.value.hint == "ask the hospital for the token endpoint's address, and set token_url in [site.auth]"


@pytest.mark.parametrize(
    "url",
    ["/token", "file:///etc/passwd", "http://login.example/token", "http://127.0.0.2/token", "https://", "https://a:b/token",
     "https://127.0.0.1@evil.example/token", "https://[::1/token"],
)  # fmt: skip
@pytest.mark.parametrize("is_smart", [True, False])
def test_no_credential_goes_to_an_address_that_is_not_safe(
    loopback: "Loopback", scripted: "type[Scripted]", site: Callable[..., Site], url: str, is_smart: bool
) -> None:
    if is_smart:
        loopback.answers(DISCOVERY, scripted(body=json.dumps({"token_endpoint": url}).encode()))
    loopback.answers("metadata", scripted(body=capability(url)))
    with pytest.raises(ConfigError, match="a token endpoint without https, or none that is an address") as caught:
        login_for(site()).headers()
    assert "set token_url" in str(caught.value.hint)
    assert "token" not in [path.split("/")[-1] for path in loopback.paths()]


def test_a_credential_does_not_go_from_https_to_http(
    loopback: "Loopback", scripted: "type[Scripted]", connect: "Connect", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The discovery of an https endpoint names a plain http token endpoint on the same host."""
    loopback.answers(DISCOVERY, scripted(body=json.dumps({"token_endpoint": f"{loopback.endpoint}/token"}).encode()))
    connection = connect()
    assert find_token_endpoint(connection).url == f"{loopback.endpoint}/token"
    answer = connection.get(DISCOVERY)
    monkeypatch.setattr(Connection, "get", lambda *_, **__: answer)
    connection.endpoint = connection.endpoint.replace("http:", "https:")
    with pytest.raises(ConfigError, match="without https"):
        find_token_endpoint(connection)


def test_a_server_that_is_out_of_order_is_not_one_without_token_endpoint(
    loopback: "Loopback", scripted: "type[Scripted]", site: Callable[..., Site], waits: list[float]
) -> None:
    loopback.answers("metadata", scripted(503, b""))
    with pytest.raises(ServerUnavailable, match=r"server's login configuration unavailable: .* answered 503"):
        login_for(site(), waits.append).headers()
    assert len(waits) == 4


LISTS = "token_endpoint_auth_methods_supported"
ALGORITHMS = "token_endpoint_auth_signing_alg_values_supported"


@pytest.mark.parametrize(
    ("method", "lists", "said"),
    [
        ("smart-backend", {LISTS: ["client_secret_basic", "client_secret_post"]},
         f"lists no private_key_jwt in {LISTS}, only client_secret_basic, client_secret_post"),
        ("smart-backend", {LISTS: ["private_key_jwt"], ALGORITHMS: ["ES384"]}, f"lists no RS384 in {ALGORITHMS}, only ES384"),
        ("smart-backend", {"grant_types_supported": ["authorization_code\n"]},
         "lists no client_credentials in grant_types_supported, only authorization_code "),
        ("client-secret", {LISTS: ["private_key_jwt"], ALGORITHMS: ["ES384"]}, f"lists no client_secret_basic in {LISTS}"),
    ],
)  # fmt: skip
def test_a_refused_login_says_what_the_server_does_not_list(
    loopback: "Loopback", scripted: "type[Scripted]", site: Callable[..., Site], waits: list[float],
    method: str, lists: dict[str, list[str]], said: str,
) -> None:  # fmt: skip
    body = {"token_endpoint": f"{loopback.endpoint}/token", **lists}
    loopback.answers(DISCOVERY, scripted(body=json.dumps(body).encode(), headers=FORM))
    loopback.answers("token", scripted(401, b'{"error":"invalid_client"}', FORM))
    with pytest.raises(LoginRefused) as caught:
        login_for(site(method), waits.append).headers()
    assert f"answered 401: invalid_client; its smart-configuration {said}" in caught.value.message
    assert caught.value.message.count("smart-configuration") == 1
    loopback.answers("token", scripted(body=b'{"access_token":"t1"}', headers=FORM))
    assert login_for(site(method)).headers(), "lists are not always right: one that works is no fault"


def test_a_server_with_good_lists_is_not_blamed_for_them(
    loopback: "Loopback", scripted: "type[Scripted]", site: Callable[..., Site], waits: list[float]
) -> None:
    lists = {LISTS: ["private_key_jwt"], ALGORITHMS: ["RS384"], "grant_types_supported": ["client_credentials"]}
    body = {"token_endpoint": f"{loopback.endpoint}/token", **lists}
    loopback.answers(DISCOVERY, scripted(body=json.dumps(body).encode(), headers=FORM))
    loopback.answers("token", scripted(403, b"", FORM))
    with pytest.raises(LoginRefused) as caught:
        login_for(site(), waits.append).headers()
    assert caught.value.message == f"the login is refused: the token endpoint of {loopback.host} answered 403"
