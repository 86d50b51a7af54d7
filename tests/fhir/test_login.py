"""Each way to log in, against a scripted server: what is proven to whom, when a token is renewed, what a failure is."""

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dm_fhir.config import Auth, Pull, Secret, Site
from dm_fhir.errors import ConfigError, DmFhirError, LoginRefused, ServerUnavailable
from dm_fhir.fhir import login as module
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.keys import create_key_pair
from dm_fhir.fhir.login import connect, login_for

if TYPE_CHECKING:
    from conftest import Loopback, Scripted

DISCOVERY = ".well-known/smart-configuration"
FORM = {"Content-Type": "application/json"}
Log = Callable[..., Site]


@pytest.fixture
def site(loopback: "Loopback", tmp_path: Path) -> Log:
    """Makes the site with its [site.auth]; secrets are given as text and kept in files."""

    def make(endpoint: str | None = loopback.endpoint, **auth: str) -> Site:
        kept: dict[str, Any] = dict(auth)
        for name in {"password", "token", "client_secret", "private_key"} & set(auth):
            (tmp_path / name).write_text(auth[name] + "\n")
            kept[name] = Secret(f"file:{name}", tmp_path)
        return Site("leon", endpoint, "UTC", (), {"X-Own": "1"}, Auth(**kept), Pull(), False)

    return make


def answer_tokens(loopback: "Loopback", scripted: "type[Scripted]", *bodies: str) -> None:
    """Script discovery, and a token endpoint that answers so."""
    loopback.answers(DISCOVERY, scripted(body=f'{{"token_endpoint":"{loopback.endpoint}/token"}}'.encode()))
    loopback.answers(
        "token", *(scripted(200 if "access_token" in body else 400, body.encode(), FORM) for body in bodies)
    )


def pem(key: Any) -> str:
    """The private key as PEM."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    text: bytes = key.private_bytes(encoding, form, serialization.NoEncryption())
    return text.decode()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """An RSA key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def forms(loopback: "Loopback") -> list[dict[str, list[str]]]:
    """What the token endpoint was sent."""
    return [parse_qs(asked.body.decode()) for asked in loopback.asked if asked.path == "/fhir/token"]


def test_no_login_sends_no_credential(loopback: "Loopback", scripted: "type[Scripted]", site: Log) -> None:
    loopback.answers("metadata", scripted())
    with connect(site()) as connection:
        connection.get("metadata")
    assert "Authorization" not in loopback.asked[0].headers
    assert loopback.asked[0].headers["X-Own"] == "1"


def test_basic(site: Log) -> None:
    sent = login_for(site(method="basic", username="ana", password="pä:ss")).headers()["Authorization"]
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == "ana:pä:ss"


def test_bearer_and_its_second_chance(loopback: "Loopback", scripted: "type[Scripted]", site: Log) -> None:
    loopback.answers("metadata", scripted(401, b""), scripted())
    with connect(site(method="bearer", token="abc")) as connection:
        assert connection.get("metadata").status == 200
    assert [asked.headers["Authorization"] for asked in loopback.asked] == ["Bearer abc"] * 2


def test_a_client_secret_goes_to_the_token_endpoint_only(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log
) -> None:
    loopback.answers("token", scripted(body=b'{"access_token":"t1","expires_in":"3600"}', headers=FORM))
    loopback.answers("metadata", scripted())
    auth = {
        "client_id": "me",
        "client_secret": "5ecret",
        "token_url": f"{loopback.endpoint}/token",
        "scope": "system/*.rs",
    }
    with connect(site(method="client-secret", **auth)) as connection:
        connection.get("metadata")
    asked, then = loopback.asked
    assert base64.b64decode(asked.headers["Authorization"].removeprefix("Basic ")) == b"me:5ecret"
    assert forms(loopback) == [{"grant_type": ["client_credentials"], "scope": ["system/*.rs"]}]
    assert (asked.headers["Content-Type"], asked.headers["Accept"]) == (
        "application/x-www-form-urlencoded",
        "application/json",
    )
    assert then.headers["Authorization"] == "Bearer t1"


@pytest.mark.parametrize("kind", ["RS384", "ES384"])
def test_smart_signs_what_the_public_key_can_check(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey, kind: str
) -> None:
    private: Any = key if kind == "RS384" else ec.generate_private_key(ec.SECP384R1())
    answer_tokens(loopback, scripted, '{"access_token":"t1","expires_in":300}')
    auth = {"client_id": "our-client", "private_key": pem(private), "key_id": "k-7"}
    assert login_for(site(method="smart-backend", **auth)).headers() == {"Authorization": "Bearer t1"}
    (form,) = forms(loopback)
    (assertion,) = form["client_assertion"]
    audience = f"{loopback.endpoint}/token"
    claims = jwt.decode(assertion, private.public_key(), algorithms=[kind], audience=audience, issuer="our-client")
    assert (claims["sub"], claims["exp"] - claims["iat"] <= 300, len(claims["jti"])) == ("our-client", True, 32)
    assert jwt.get_unverified_header(assertion)["kid"] == "k-7"
    assert form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    assert form["scope"] == ["system/*.read"]


@pytest.mark.parametrize(
    ("answered", "renewed_at"), [('"expires_in":1000', 750), ('"expires_in":"1000"', 750), ("", 225)]
)
def test_a_token_is_renewed_when_three_quarters_of_its_life_are_over(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch,
    answered: str, renewed_at: int,
) -> None:  # fmt: skip
    now = 5000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    tail = f",{answered}" if answered else ""
    answer_tokens(loopback, scripted, *(f'{{"access_token":"t{n}"{tail}}}' for n in (1, 2)))
    login = login_for(site(method="smart-backend", client_id="me", private_key=pem(key)))
    seen = []
    for now in (5000.0, 5000.0 + renewed_at - 1, 5000.0 + renewed_at):  # noqa: B007  # the clock reads it
        seen.append(login.headers()["Authorization"])
    assert seen == ["Bearer t1", "Bearer t1", "Bearer t2"]
    identifiers = {
        jwt.decode(f["client_assertion"][0], options={"verify_signature": False})["jti"] for f in forms(loopback)
    }
    assert (len(identifiers), loopback.paths().count(DISCOVERY)) == (2, 1)


def test_a_token_is_renewed_after_a_401(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey
) -> None:
    answer_tokens(loopback, scripted, '{"access_token":"t1"}', '{"access_token":"t2"}')
    loopback.answers("Observation", scripted(), scripted(401, b""), scripted())
    with connect(site(method="smart-backend", client_id="me", private_key=pem(key))) as connection:
        connection.get("Observation")
        assert connection.get("Observation").status == 200
    sent = [asked.headers["Authorization"] for asked in loopback.asked if asked.path == "/fhir/Observation"]
    assert sent == ["Bearer t1", "Bearer t1", "Bearer t2"]


@pytest.mark.parametrize("body", ['{"error":"invalid_client","error_description":"unknown key"}', "<html>"])
def test_a_refused_assertion_is_a_refused_login(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey, body: str
) -> None:
    answer_tokens(loopback, scripted, body)
    with pytest.raises(LoginRefused, match="token endpoint refused the login: POST token answered 400") as caught:
        login_for(site(method="smart-backend", client_id="me", private_key=pem(key))).headers()
    assert (caught.value.exit_code, "unknown key" in str(caught.value)) == (5, "unknown key" in body)
    assert len(forms(loopback)) == 1


@pytest.mark.parametrize("body", [b"{}", b'{"access_token":""}', b"<html>", b'{"access_token":null}'])
def test_an_answer_without_a_token_is_a_refused_login(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, body: bytes
) -> None:
    loopback.answers("token", scripted(body=body, headers=FORM))
    auth = {"client_id": "me", "client_secret": "s", "token_url": f"{loopback.endpoint}/token"}
    with pytest.raises(LoginRefused, match="holds no access_token"):
        login_for(site(method="client-secret", **auth)).headers()


@pytest.mark.parametrize("path", [DISCOVERY, "token"])
def test_a_login_that_is_out_of_order_is_not_a_refusal(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey, path: str, waits: list[float]
) -> None:
    answer_tokens(loopback, scripted, '{"access_token":"t"}')
    loopback.answers(path, scripted(503, b""))
    login = login_for(site(method="smart-backend", client_id="me", private_key=pem(key)), waits.append)
    with pytest.raises(ServerUnavailable, match=r"is unavailable: .* answered 503") as caught:
        login.headers()
    assert (caught.value.exit_code, len(waits)) == (4, 4)


def test_a_token_endpoint_that_flakes_once_is_asked_again(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, waits: list[float]
) -> None:
    loopback.answers("token", scripted(503, b""), scripted(body=b'{"access_token":"t"}'))
    loopback.answers("metadata", scripted())
    auth = {"client_id": "me", "client_secret": "s", "token_url": f"{loopback.endpoint}/token"}
    with connect(site(method="client-secret", **auth), waits.append) as connection:
        assert connection.get("metadata").status == 200
    assert len(waits) == 1


def test_a_dead_token_endpoint_ends_the_request_as_unavailable(
    loopback: "Loopback", site: Log, waits: list[float]
) -> None:
    other = type(loopback)()
    other.stop()
    auth = {"client_id": "me", "client_secret": "s", "token_url": f"{other.endpoint}/token"}
    with (
        connect(site(method="client-secret", **auth), waits.append) as connection,
        pytest.raises(ServerUnavailable, match=other.host),
    ):
        connection.get("metadata")
    assert loopback.asked == []


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"<html>",
        b'{"token_endpoint":"/token"}',
        b'{"token_endpoint":"file:///etc/passwd"}',
        b'{"token_endpoint":7}',
    ],
)
def test_a_server_that_names_no_token_endpoint(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey, body: bytes
) -> None:
    loopback.answers(DISCOVERY, scripted(body=body))
    with pytest.raises(ConfigError, match="does not say where to ask for a token") as caught:
        login_for(site(method="smart-backend", client_id="me", private_key=pem(key))).headers()
    assert caught.value.hint == "set token_url in [site.auth]"


def test_a_server_without_discovery(loopback: "Loopback", site: Log, key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(ConfigError, match="does not say where"):
        login_for(site(method="smart-backend", client_id="me", private_key=pem(key))).headers()
    assert loopback.paths() == [DISCOVERY]


def test_a_credential_does_not_go_from_https_to_http(
    loopback: "Loopback", site: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The discovery of an https endpoint names a plain http token endpoint."""
    answer = module.Answer(200, {}, f'{{"token_endpoint":"{loopback.endpoint}/token"}}'.encode(), "")  # type: ignore[arg-type]
    monkeypatch.setattr(Connection, "get", lambda *_, **__: answer)
    auth = {"method": "client-secret", "client_id": "me", "client_secret": "s"}
    with pytest.raises(ConfigError, match="without https"):
        login_for(site("https://fhir.example", **auth)).headers()
    assert loopback.asked == []


@pytest.mark.parametrize("kind", ["text", "public", "ed25519", "encrypted", "p-256"])
def test_a_key_that_cannot_sign_is_a_config_error_that_does_not_show_it(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey, kind: str
) -> None:
    encoding = serialization.Encoding.PEM
    texts = {
        "text": "not-a-key-5ecret",
        "public": key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
        "ed25519": pem(ed25519.Ed25519PrivateKey.generate()),
        "encrypted": key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        ).decode(),
        "p-256": pem(ec.generate_private_key(ec.SECP256R1())),
    }
    answer_tokens(loopback, scripted, '{"access_token":"t"}')
    with pytest.raises(ConfigError, match="the private key is not one that can sign") as caught:
        login_for(site(method="smart-backend", client_id="me", private_key=texts[kind])).headers()
    assert not any(line in repr(caught.value) for line in texts[kind].splitlines())
    assert forms(loopback) == []


@pytest.mark.parametrize("status", [400, 401, 403, 503])
def test_no_failure_shows_the_secret(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, status: int, waits: list[float]
) -> None:
    echo = b'{"error":"x","error_description":"got bWU6NWVjcmV0LXRleHQ= and 5ecret-text"}'
    loopback.answers("token", scripted(status, echo, FORM))
    auth = {"client_id": "me", "client_secret": "5ecret-text", "token_url": f"{loopback.endpoint}/token"}
    login = login_for(site(method="client-secret", **auth), waits.append)
    with pytest.raises(DmFhirError) as caught:
        login.headers()
    shown = f"{caught.value!s} {caught.value!r} {login!r} {caught.value.hint}"
    assert "5ecret-text" not in shown
    assert "bWU6NWVjcmV0LXRleHQ=" not in shown


def test_a_missing_secret_is_named_before_anything_is_sent(site: Log, loopback: "Loopback", tmp_path: Path) -> None:
    chosen = site(method="bearer", token="abc")
    (tmp_path / "token").unlink()
    with pytest.raises(ConfigError, match="the secret file:token is missing or empty"):
        connect(chosen)
    assert loopback.asked == []


def test_a_site_of_files_has_nothing_to_connect_to(site: Log) -> None:
    with pytest.raises(ConfigError, match="site leon has no endpoint") as caught:
        connect(site(None))
    assert "--from" in str(caught.value.hint)


def test_a_new_key_pair_signs_and_replaces_none(tmp_path: Path) -> None:
    private, public = create_key_pair(tmp_path)
    signed = jwt.encode({"a": 1, "exp": time.time() + 60}, private.read_text(), algorithm="RS384")
    assert jwt.decode(signed, public.read_text(), algorithms=["RS384"])["a"] == 1
    assert private.stat().st_mode & 0o777 == 0o600
    before = private.read_bytes()
    with pytest.raises(FileExistsError):
        create_key_pair(tmp_path)
    assert private.read_bytes() == before
