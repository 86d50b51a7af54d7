"""Each way to log in, against a scripted server: what is proven to whom, when a token is renewed, what a failure is."""

import base64
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from msgspec.structs import replace

from dm_fhir.config import Auth, Pull, Secret, Site, Tls
from dm_fhir.errors import ConfigError, DmFhirError, LoginRefused, ServerUnavailable
from dm_fhir.fhir import access_token
from dm_fhir.fhir.access_token import offset_seconds
from dm_fhir.fhir.login import connect, login_for

if TYPE_CHECKING:
    from conftest import Asked, Loopback, Scripted

DISCOVERY = ".well-known/smart-configuration"
FORM = {"Content-Type": "application/json"}
REFUSED = '{"error":"invalid_client"}'
#: The server's clock minus ours, as in a hospital whose server is seven minutes behind us.
BEHIND_SECONDS = -420
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


def secret_login(loopback: "Loopback") -> dict[str, str]:
    """The [site.auth] of a login by client secret at the scripted token endpoint."""
    return {
        "method": "client-secret",
        "client_id": "me",
        "client_secret": "5ecret-text",
        "token_url": f"{loopback.endpoint}/token",
    }


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
    monkeypatch.setattr(access_token.time, "monotonic", lambda: now)
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
    assert (len(identifiers), loopback.paths().count(DISCOVERY), login.renewals) == (2, 1, 1)


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
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey, body: str, waits: list[float]
) -> None:
    """Before the first token a 400 gets one second chance: some endpoints flake with the same answer."""
    answer_tokens(loopback, scripted, body)
    login = login_for(site(method="smart-backend", client_id="me", private_key=pem(key)), waits.append)
    with pytest.raises(LoginRefused) as caught:
        login.headers()
    said = ": unknown key" if "unknown key" in body else ""
    assert caught.value.message == f"the login is refused: the token endpoint of {loopback.host} answered 400{said}"
    assert caught.value.hint == "check client_id, key and scope with the hospital"
    assert (caught.value.exit_code, len(forms(loopback)), len(waits), login.retries) == (5, 2, 1, 1)


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_any_other_refusal_of_the_first_login_is_final(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, status: int, waits: list[float]
) -> None:
    loopback.answers("token", scripted(status, REFUSED.encode(), FORM))
    with pytest.raises(LoginRefused, match=f"answered {status}: invalid_client"):
        login_for(site(**secret_login(loopback)), waits.append).headers()
    assert (len(forms(loopback)), waits) == (1, [])


@pytest.mark.parametrize(
    "body", [b"{}", b'{"access_token":""}', b"<html>", b'{"access_token":null}', b'{"error":"invalid_scope"}']
)
def test_an_answer_without_a_token_is_a_refused_login(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, body: bytes
) -> None:
    loopback.answers("token", scripted(body=body, headers=FORM))
    with pytest.raises(LoginRefused, match="answered without an access_token") as caught:
        login_for(site(**secret_login(loopback))).headers()
    assert ("invalid_scope" in caught.value.message) == (b"invalid_scope" in body)


@pytest.mark.parametrize("path", [DISCOVERY, "token"])
def test_a_login_that_is_out_of_order_is_not_a_refusal(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey, path: str, waits: list[float]
) -> None:
    answer_tokens(loopback, scripted, '{"access_token":"t"}')
    loopback.answers(path, scripted(503, b""))
    login = login_for(site(method="smart-backend", client_id="me", private_key=pem(key)), waits.append)
    with pytest.raises(ServerUnavailable, match=f" unavailable: {loopback.host} answered 503") as caught:
        login.headers()
    assert (caught.value.exit_code, caught.value.reason, len(waits)) == (4, "http-503", 4)


def test_a_dead_token_endpoint_ends_the_request_as_unavailable(
    loopback: "Loopback", site: Log, waits: list[float]
) -> None:
    other = type(loopback)()
    other.stop()
    with (
        connect(site(**secret_login(other)), waits.append) as connection,
        pytest.raises(ServerUnavailable, match=f"token endpoint unavailable: cannot connect to {other.host}") as caught,
    ):
        connection.get("metadata")
    assert (loopback.asked, caught.value.reason) == ([], "unreachable")


@pytest.mark.parametrize("status", [400, 401, 403, 503])
def test_no_failure_shows_the_secret(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, status: int, waits: list[float]
) -> None:
    echo = b'{"error":"x","error_description":"got bWU6NWVjcmV0LXRleHQ= and 5ecret-text, that is no login"}'
    loopback.answers("token", scripted(status, echo, FORM))
    login = login_for(site(**secret_login(loopback)), waits.append)
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


@pytest.mark.parametrize("key_id", [None, "k-7"])
def test_the_assertion_names_its_key(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey, key_id: str | None
) -> None:
    answer_tokens(loopback, scripted, '{"access_token":"t1"}')
    auth = {"client_id": "me", "private_key": pem(key), "jku": "https://our.example/jwks.json"}
    login = login_for(site(method="smart-backend", **auth, **({"key_id": key_id} if key_id else {})))
    login.headers()
    header = jwt.get_unverified_header(forms(loopback)[0]["client_assertion"][0])
    thumbprint = login._credential.key.thumbprint  # type: ignore[attr-defined]
    assert (header["kid"], header["jku"]) == (key_id or thumbprint, "https://our.example/jwks.json")


def test_a_key_that_cannot_sign_is_told_before_anything_is_sent(loopback: "Loopback", site: Log) -> None:
    with pytest.raises(ConfigError, match="P-256"):
        connect(site(method="smart-backend", client_id="me", private_key=pem(ec.generate_private_key(ec.SECP256R1()))))
    assert loopback.asked == []


@pytest.mark.parametrize(
    ("answered", "granted"), [('"scope":"system/*.rs"', "system/*.rs"), ('"scope":["a"]', None), ('"x":1', None)]
)
def test_the_granted_scope_is_kept(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, answered: str, granted: str | None
) -> None:
    loopback.answers("token", scripted(body=f'{{"access_token":"t1",{answered}}}'.encode(), headers=FORM))
    login = login_for(site(**secret_login(loopback)))
    assert login.granted_scope is None
    login.headers()
    assert login.granted_scope == granted


# ---- a token that is lost under way


def tokens(scripted: "type[Scripted]", *bodies: str) -> "list[Scripted]":
    """The token endpoint's answers: tokens, refusals (400), or statuses."""
    return [
        scripted(int(body), b"", FORM)
        if body.isdigit()
        else scripted(200 if "access" in body else 400, body.encode(), FORM)
        for body in bodies
    ]


def token(number: int) -> str:
    """A token's answer."""
    return f'{{"access_token":"t{number}"}}'


def only_with(loopback: "Loopback", scripted: "type[Scripted]", path: str, credential: str, after: int) -> None:
    """From the answer `after` on, `path` wants this credential."""
    plain = loopback.take

    def take(asked: "Asked") -> "Scripted":
        answer = plain(asked)
        count = sum(one.path == asked.path for one in loopback.asked)
        is_late = asked.path == f"/fhir/{path}" and count >= after
        return scripted(401, b"") if is_late and asked.headers.get("Authorization") != credential else answer

    loopback.take = take  # type: ignore[method-assign]
    loopback.answers(path, scripted())


def test_a_page_is_read_again_with_a_new_token(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, waits: list[float]
) -> None:
    """T12: the first token is worth nothing from page 5 on."""
    loopback.answers("token", *tokens(scripted, token(1), token(2)))
    only_with(loopback, scripted, "Observation", "Bearer t2", after=5)
    with connect(site(**secret_login(loopback)), waits.append) as connection:
        statuses = [connection.get("Observation").status for _ in range(10)]
        assert (connection.login.renewals, connection.login.retries) == (1, 0)
    assert (statuses, loopback.paths().count("Observation"), waits) == ([200] * 10, 11, [])


@pytest.mark.parametrize("first", ["503", REFUSED], ids=["503", "400"])
def test_a_first_login_that_flakes_once(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, waits: list[float], first: str
) -> None:
    """T15 (a): the token endpoint fails its first request."""
    loopback.answers("token", *tokens(scripted, first, token(1)))
    loopback.answers("metadata", scripted())
    with connect(site(**secret_login(loopback)), waits.append) as connection:
        connection.request("GET", "metadata")
        assert (connection.login.renewals, connection.login.retries) == (0, 1)
    assert (len(waits), sum(waits) < 10) == (1, True)


@pytest.mark.parametrize("refusals", [1, 3])
def test_a_renewal_that_flakes(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, waits: list[float], refusals: int
) -> None:
    """T15 (b): the token endpoint refuses who it has let in before, and then does not."""
    loopback.answers("token", *tokens(scripted, token(1), *[REFUSED] * refusals, token(2)))
    only_with(loopback, scripted, "Observation", "Bearer t2", after=5)
    with connect(site(**secret_login(loopback)), waits.append) as connection:
        assert [connection.get("Observation").status for _ in range(10)] == [200] * 10
        assert (connection.login.renewals, connection.login.retries) == (1, refusals)
    assert (len(waits), sum(waits) < 10) == (refusals, True)


def test_a_renewal_that_is_refused_for_good(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, waits: list[float]
) -> None:
    """T16 (a): the first token works until page 5, and there is no other."""
    loopback.answers("token", *tokens(scripted, token(1), REFUSED))
    only_with(loopback, scripted, "Observation", "none", after=5)
    with connect(site(**secret_login(loopback)), waits.append) as connection:
        assert [connection.get("Observation").status for _ in range(4)] == [200] * 4
        with pytest.raises(LoginRefused) as caught:
            connection.get("Observation")
    assert (
        caught.value.message
        == f"could not renew the login: the token endpoint of {loopback.host} answered 400: invalid_client"
    )
    assert (caught.value.exit_code, len(forms(loopback)), len(waits)) == (5, 5, 3)


def test_a_renewal_that_is_never_answered(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, waits: list[float]
) -> None:
    """T16 (b): the same with a token endpoint that is out of order."""
    loopback.answers("token", *tokens(scripted, token(1), "503"))
    only_with(loopback, scripted, "Observation", "none", after=2)
    with connect(site(**secret_login(loopback)), waits.append) as connection:
        connection.get("Observation")
        with pytest.raises(ServerUnavailable) as caught:
            connection.get("Observation")
    assert caught.value.message == f"token endpoint unavailable: {loopback.host} answered 503"
    assert (caught.value.exit_code, caught.value.reason, len(forms(loopback))) == (4, "auth-lost", 6)


# ---- several threads


def together(count: int, work: Callable[[], object]) -> list[object]:
    """What `work` gives or raises in so many threads at once."""
    begin, results = threading.Barrier(count), [None] * count

    def run(place: int) -> None:
        begin.wait()
        try:
            results[place] = work()  # type: ignore[call-overload]
        except DmFhirError as error:
            results[place] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(place,)) for place in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return list(results)


def test_one_token_is_enough_for_all_threads(loopback: "Loopback", scripted: "type[Scripted]", site: Log) -> None:
    answers = tokens(scripted, token(1), token(2))
    loopback.answers("token", *(answer._replace(pause=0.005) for answer in answers))
    login = login_for(site(**secret_login(loopback)))
    first = {"Authorization": "Bearer t1"}
    assert together(8, login.headers) == [first] * 8

    def again() -> dict[str, str]:
        assert login.renew(first) is True
        return login.headers()

    assert together(8, again) == [{"Authorization": "Bearer t2"}] * 8
    assert (len(forms(loopback)), login.renewals) == (2, 1)


def test_a_401_to_a_token_that_is_replaced_already_asks_for_no_other(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log
) -> None:
    loopback.answers("token", *tokens(scripted, token(1), token(2), token(3)))
    login = login_for(site(**secret_login(loopback)))
    old = login.headers()
    login.renew(old)
    new = login.headers()
    login.renew(old)
    assert (login.headers(), new) == ({"Authorization": "Bearer t2"}, {"Authorization": "Bearer t2"})


def test_what_one_thread_asks_for_in_vain_the_waiting_ones_do_not_ask_for_again(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log
) -> None:
    loopback.answers("token", scripted(403, b'{"error":"access_denied"}', FORM, pause=0.02))
    login = login_for(site(**secret_login(loopback)))
    assert {type(result) for result in together(8, login.headers)} == {LoginRefused}
    assert len(forms(loopback)) == 1
    with pytest.raises(LoginRefused):
        login.headers()
    assert len(forms(loopback)) == 2, "later, somebody may ask again"


# ---- clocks that differ


def strict_about_time(loopback: "Loopback", scripted: "type[Scripted]", status: int = 400) -> None:
    """A server seven minutes behind us, whose token endpoint takes no assertion of another time (T17)."""
    plain = loopback.take

    def take(asked: "Asked") -> "Scripted":
        answer = plain(asked)
        now = time.time() + BEHIND_SECONDS
        date = {"Date": format_datetime(datetime.fromtimestamp(int(now), UTC), usegmt=True)}
        if asked.path == "/fhir/token":
            assertion = parse_qs(asked.body.decode())["client_assertion"][0]
            claims = jwt.decode(assertion, options={"verify_signature": False})
            good = claims["iat"] <= now + 1 and now < claims["exp"] <= now + 300
            body = b'{"access_token":"t1"}' if good else b'{"error":"invalid_client"}'
            return scripted(200 if good else status, body, {**FORM, **date})
        return answer._replace(headers={**answer.headers, **date})

    loopback.take = take  # type: ignore[method-assign]


def test_the_assertion_is_dated_by_the_servers_clock(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey
) -> None:
    """T17: told by the answer to the discovery."""
    answer_tokens(loopback, scripted, token(1))
    strict_about_time(loopback, scripted)
    login = login_for(site(method="smart-backend", client_id="me", private_key=pem(key)))
    assert login.clock_offset_seconds is None
    assert login.headers() == {"Authorization": "Bearer t1"}
    assert login.clock_offset_seconds == pytest.approx(BEHIND_SECONDS, abs=3)
    assert (len(forms(loopback)), login.retries) == (1, 0)


@pytest.mark.parametrize("status", [400, 401])
def test_a_refusal_tells_the_time_too(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey, status: int, waits: list[float]
) -> None:
    """Where the token endpoint is configured nobody has told the time before; with the right one it is asked again."""
    strict_about_time(loopback, scripted, status)
    auth = {"client_id": "me", "private_key": pem(key), "token_url": f"{loopback.endpoint}/token"}
    login = login_for(site(method="smart-backend", **auth), waits.append)
    assert login.headers() == {"Authorization": "Bearer t1"}
    assert login.clock_offset_seconds == pytest.approx(BEHIND_SECONDS, abs=3)
    assert (len(forms(loopback)), login.retries, len(waits)) == (2, 1, 1)


def test_the_connection_tells_the_login_the_time(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey
) -> None:
    loopback.answers("metadata", scripted())
    strict_about_time(loopback, scripted)
    auth = {"client_id": "me", "private_key": pem(key), "token_url": f"{loopback.endpoint}/token"}
    with connect(site(method="smart-backend", **auth)) as connection:
        connection.get("metadata", anonymous=True)
        assert connection.login.headers() == {"Authorization": "Bearer t1"}
    assert len(forms(loopback)) == 1


@pytest.mark.parametrize(("age", "offset"), [("3600", 0), ("9" * 400, -3600), ("soon", -3600)])
def test_an_answer_out_of_a_cache_does_not_set_the_clock_back(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log, key: rsa.RSAPrivateKey, age: str, offset: int
) -> None:
    answer_tokens(loopback, scripted, token(1))
    hour_ago = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    stale = loopback.scripts[f"/fhir/{DISCOVERY}"][0]._replace(headers={**FORM, "Date": hour_ago, "Age": age})
    loopback.answers(DISCOVERY, stale)
    login = login_for(site(method="smart-backend", client_id="me", private_key=pem(key)))
    login.headers()
    assert login.clock_offset_seconds == pytest.approx(offset, abs=3)


def test_the_offset_is_the_servers_clock_minus_ours() -> None:
    noon = datetime(2025, 6, 1, 12, tzinfo=UTC)
    assert offset_seconds(noon - timedelta(minutes=7), noon) == BEHIND_SECONDS
    assert offset_seconds(None, noon) is None


# ---- the way there


def test_the_token_endpoint_is_reached_through_the_sites_proxy(
    loopback: "Loopback", scripted: "type[Scripted]", site: Log
) -> None:
    loopback.scripts["http://login.invalid/token"] = [scripted(body=b'{"access_token":"t1"}', headers=FORM)]
    auth = {**secret_login(loopback), "token_url": "http://login.invalid/token"}
    behind = site(**auth)
    behind = replace(behind, tls=Tls(proxy=f"http://{loopback.host}"))
    assert login_for(behind).headers() == {"Authorization": "Bearer t1"}


@pytest.mark.parametrize("auth", [{}, {"method": "basic", "username": "ana", "password": "p"}])
def test_what_never_changes_is_not_renewed(site: Log, auth: dict[str, str]) -> None:
    login = login_for(site(**auth))
    before = login.headers()
    assert login.renew(before) is False
    assert (login.headers(), login.clock_offset_seconds) == (before, None)
