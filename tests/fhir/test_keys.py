"""Keys: made, read from PEM and JWK, refused when no SMART server takes them, shown as JWKS."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from dm_fhir.errors import ConfigError
from dm_fhir.fhir import keys
from dm_fhir.fhir.keys import create_key_pair, jwks, read_signing_key, write_key_pair

ENCODING = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P384 = ec.generate_private_key(ec.SECP384R1())
WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # it is to be refused
#: The example of RFC 7638, section 3.1, and its thumbprint.
RFC_7638_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64t"
    "Z_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOp"
    "bISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)
RFC_7638_THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def pem(key: Any, password: bytes | None = None) -> str:
    """The private key as PEM."""
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    text: bytes = key.private_bytes(ENCODING, PKCS8, lock)
    return text.decode()


def jwk(key: Any, **more: object) -> dict[str, Any]:
    """The private key as JWK."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key)), **more}


@pytest.mark.parametrize("as_jwk", [False, True])
@pytest.mark.parametrize(("key", "algorithm", "kind"), [(RSA, "RS384", "RSA 2048 bits"), (P384, "ES384", "EC P-384")])
def test_what_it_signs_the_public_half_can_check(key: Any, algorithm: str, kind: str, as_jwk: bool) -> None:
    ours = read_signing_key(json.dumps(jwk(key)) if as_jwk else pem(key))
    signed = ours.sign({"a": 1, "exp": time.time() + 60})
    assert (ours.algorithm, ours.kind, ours.kid) == (algorithm, kind, ours.thumbprint)
    assert jwt.get_unverified_header(signed) == {"alg": algorithm, "typ": "JWT", "kid": ours.thumbprint}
    published = jwt.PyJWKSet.from_json(jwks([ours]))[ours.kid]
    assert jwt.decode(signed, published.key, algorithms=[algorithm])["a"] == 1


def test_the_old_forms_of_pem_are_read_too() -> None:
    for key in (RSA, P384):
        old: bytes = key.private_bytes(
            ENCODING, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )  # type: ignore[attr-defined]
        assert read_signing_key(f"some words before it\n{old.decode()}").kid == read_signing_key(pem(key)).kid


def test_whose_name_the_key_has() -> None:
    assert read_signing_key(json.dumps(jwk(P384, kid="own"))).kid == "own"
    assert read_signing_key(json.dumps(jwk(P384, kid="own")), "configured").kid == "configured"
    assert read_signing_key(json.dumps(jwk(P384, kid=7))).kid == read_signing_key(pem(P384)).thumbprint


def test_where_the_key_is_published_stands_in_the_header() -> None:
    header = jwt.get_unverified_header(read_signing_key(pem(P384)).sign({}, "https://our.example/jwks"))
    assert header["jku"] == "https://our.example/jwks"


def test_the_thumbprint_is_the_one_of_rfc_7638() -> None:
    """Of a public key only: the example has no private half."""
    numbers = rsa.RSAPublicNumbers(65537, int.from_bytes(jwt.utils.base64url_decode(RFC_7638_N), "big"))
    assert keys._thumbprint(keys._numbers(numbers.public_key())) == RFC_7638_THUMBPRINT


def test_the_public_keys_are_public() -> None:
    shown = json.loads(
        jwks([read_signing_key(pem(RSA), "k1"), read_signing_key(pem(P384)), read_signing_key(pem(P384))])
    )
    one, other = shown["keys"]
    assert set(one) == {"kty", "alg", "use", "kid", "key_ops", "n", "e"}
    assert set(other) == {"kty", "alg", "use", "kid", "key_ops", "crv", "x", "y"}
    assert (one["kty"], one["alg"], one["use"], one["kid"], one["key_ops"]) == ("RSA", "RS384", "sig", "k1", ["verify"])
    assert (other["kty"], other["alg"], other["crv"]) == ("EC", "ES384", "P-384")


def test_two_keys_of_the_same_name_are_two_keys() -> None:
    assert len(json.loads(jwks([read_signing_key(pem(RSA), "k"), read_signing_key(pem(P384), "k")]))["keys"]) == 2


def test_every_coordinate_has_its_full_length() -> None:
    """A coordinate that begins with zeros is as long as any other; a number that is one less is another key."""
    for scalar in range(1, 400):
        key = ec.derive_private_key(scalar, ec.SECP384R1())
        x = key.public_key().public_numbers().x
        if x.bit_length() <= 376:
            break
    assert x.bit_length() <= 376
    shown = read_signing_key(pem(key)).public_jwk()
    assert (len(str(shown["x"])), len(str(shown["y"]))) == (64, 64)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("not-a-key-5ecret", "it is neither PEM nor JWK"),
        ("{not json 5ecret", "it is neither PEM nor JWK"),
        ("{}", "it is neither PEM nor JWK"),
        ("[" * 100000, "it is neither PEM nor JWK"),
        ('{"a":' * 100000, "it is neither PEM nor JWK"),
        (pem(RSA).replace("MII", "5ec", 1), "its PEM cannot be read"),
        (pem(RSA, b"x"), "it is locked with a passphrase"),
        (RSA.public_key().public_bytes(ENCODING, serialization.PublicFormat.SubjectPublicKeyInfo).decode(), "it is a public key"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "it is neither RSA nor EC"),
        (pem(ec.generate_private_key(ec.SECP256R1())), r"it is of the curve P-256 \(ES256\), not P-384"),
        (pem(ec.generate_private_key(ec.SECP521R1())), "it is of the curve secp521r1, not P-384"),
        (pem(WEAK), "it is an RSA key of 1024 bits; 2048 is the least"),
        (json.dumps(jwk(RSA, alg="RS256")), "its alg is RS256, not RS384"),
        (json.dumps(jwk(P384, alg="ES256")), "its alg is ES256, not ES384"),
        (json.dumps(jwk(ec.generate_private_key(ec.SECP256R1()), alg="ES384")), r"it is of the curve P-256 \(ES256\)"),
        (json.dumps(jwk(RSA, use="enc")), "its use is not sig"),
        (json.dumps({"kty": "RSA", "n": "5ecret", "e": "AQAB"}), "it is a public key"),
        (json.dumps({"kty": "oct", "k": "5ecret"}), "its kty is neither RSA nor EC"),
        (json.dumps({"kty": "RSA", "d": 5, "n": 5, "e": 5}), "its JWK cannot be read"),
        (json.dumps({"kty": "RSA", "d": "!", "n": "AQAB", "e": "AQAB"}), "its JWK cannot be read"),
        (json.dumps({"kty": "EC", "crv": "P-384", "d": "AQAB", "x": "AQAB", "y": "AQAB"}), "its JWK cannot be read"),
        (json.dumps({"keys": []}), "its JWK set does not say which"),
        (json.dumps({"keys": 5}), "its JWK set does not say which"),
        (json.dumps({"keys": [jwk(RSA, kid="a"), jwk(P384, kid="b")]}), "its JWK set does not say which"),
    ],
)  # fmt: skip
def test_a_key_that_no_smart_server_takes_is_refused_without_showing_it(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"the private key cannot sign a login: {why}") as caught:
        read_signing_key(text)
    shown = f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    assert "5ecret" not in shown
    assert not any(line in shown for line in text.splitlines() if len(line) > 20 and not line.startswith("-----"))
    assert caught.value.hint


def test_a_jwk_that_says_what_smart_servers_take_is_taken() -> None:
    assert read_signing_key(json.dumps(jwk(RSA, alg="RS384", use="sig"))).algorithm == "RS384"
    assert read_signing_key(json.dumps(jwk(P384, alg="ES384"))).algorithm == "ES384"


def test_the_key_of_a_set_is_the_named_one_or_the_only_one() -> None:
    public = {name: value for name, value in jwk(P384, kid="a").items() if name != "d"}
    both = json.dumps({"keys": [jwk(RSA, kid="a"), jwk(P384, kid="b")]})
    assert (read_signing_key(both, "a").algorithm, read_signing_key(both, "b").algorithm) == ("RS384", "ES384")
    only = read_signing_key(json.dumps({"keys": [public, jwk(P384, kid="b")]}))
    assert (only.algorithm, only.kid) == ("ES384", "b")


def test_a_new_key_pair_signs_and_replaces_none(tmp_path: Path) -> None:
    private, public = create_key_pair(tmp_path)
    signed = jwt.encode({"a": 1, "exp": time.time() + 60}, private.read_text(), algorithm="RS384")
    assert jwt.decode(signed, public.read_text(), algorithms=["RS384"])["a"] == 1
    assert private.stat().st_mode & 0o777 == 0o600
    before = private.read_bytes()
    with pytest.raises(FileExistsError):
        create_key_pair(tmp_path)
    public.unlink()
    with pytest.raises(FileExistsError):
        create_key_pair(tmp_path)
    assert private.read_bytes() == before


def test_no_private_key_is_left_over_where_a_public_one_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.public.pem").write_text("somebody's")
    with pytest.raises(FileExistsError):
        write_key_pair(tmp_path / "a.pem", tmp_path / "a.public.pem", "ec")
    assert [path.name for path in tmp_path.iterdir()] == ["a.public.pem"]


@pytest.mark.parametrize(("kind", "algorithm"), [("ec", "ES384"), ("rsa", "RS384")])
def test_what_was_made_is_what_is_read(tmp_path: Path, kind: Any, algorithm: str) -> None:
    made = write_key_pair(tmp_path / "a.pem", tmp_path / "b.pem", kind)
    read = read_signing_key((tmp_path / "a.pem").read_text())
    assert (made.kid, made.algorithm, made.kind) == (read.kid, read.algorithm, read.kind)
    assert made.algorithm == algorithm
    public = serialization.load_pem_public_key((tmp_path / "b.pem").read_bytes())
    assert public == read.private.public_key()
