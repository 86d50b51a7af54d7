"""Key pairs for SMART Backend Services (private_key_jwt): made, read, signed with, and shown to the hospital.

https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html
"""

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from dm_fhir.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

    PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey
    PublicKey = RSAPublicKey | EllipticCurvePublicKey

Kind = Literal["ec", "rsa"]
Algorithm = Literal["RS384", "ES384"]
_RSA_BITS, _FEWEST_RSA_BITS = 3072, 2048
#: A coordinate of the curve P-384.
_P384_BYTES = 48
_FITTING = "SMART servers take RS384 (RSA) and ES384 (EC P-384); such a key is made by: dm-fhir keys create"


class SigningKey(NamedTuple):
    """A private key that SMART servers accept. `kid` is the name by which the hospital knows its public half."""

    private: "PrivateKey"
    algorithm: Algorithm
    kid: str

    @property
    def kind(self) -> str:
        """What sort of key it is, for people."""
        return "EC P-384" if self.algorithm == "ES384" else f"RSA {self.private.key_size} bits"

    @property
    def thumbprint(self) -> str:
        """The fingerprint of the public key (RFC 7638)."""
        return _thumbprint(_numbers(self.private.public_key()))

    def public_jwk(self) -> dict[str, object]:
        """The public half as a JWK."""
        facts = {"alg": self.algorithm, "use": "sig", "kid": self.kid, "key_ops": ["verify"]}
        return {**_numbers(self.private.public_key()), **facts}

    def sign(self, claims: Mapping[str, object], jku: str | None = None) -> str:
        """A JWT of the claims; its header names the key, and where to find it if `jku` is given."""
        import jwt

        headers = {"kid": self.kid, "jku": jku} if jku else {"kid": self.kid}
        return jwt.encode(dict(claims), self.private, algorithm=self.algorithm, headers=headers)


def read_signing_key(text: str, key_id: str | None = None) -> SigningKey:
    """The private key in `text`: PEM, JWK, or a JWK set (then `key_id` says which, unless there is one only).

    Its `kid` is `key_id`, else the JWK's own, else the thumbprint. Raises ConfigError, without showing anything of the key,
    for what cannot be read and for keys that SMART servers do not take.
    """
    jwk = _jwk(text, key_id) if text.lstrip().startswith("{") else {}
    private, algorithm = _checked(_from_jwk(jwk) if jwk else _from_pem(text))
    if jwk.get("alg", algorithm) != algorithm:
        raise _unfit(f"its alg is {str(jwk['alg'])[:10]}, not {algorithm}")
    if jwk.get("use", "sig") != "sig":
        raise _unfit("its use is not sig")
    own = jwk.get("kid")
    kid = key_id or (own if isinstance(own, str) else "") or _thumbprint(_numbers(private.public_key()))
    return SigningKey(private, algorithm, kid)


def jwks(keys: Iterable[SigningKey]) -> str:
    """The public halves as a JWK set, each once: what a hospital registers, or reads at a `jku`."""
    different = {(key.kid, key.thumbprint): key.public_jwk() for key in keys}
    return msgspec.json.format(msgspec.json.encode({"keys": list(different.values())}), indent=2).decode()


def create_key_pair(folder: Path) -> tuple[Path, Path]:
    """A new RSA key pair in `folder`: `private.pem` (PKCS 8, mode 0600) and `public.pem`.

    Raises FileExistsError rather than replacing one of them.
    """
    private, public = folder / "private.pem", folder / "public.pem"
    write_key_pair(private, public, "rsa")
    return private, public


def write_key_pair(private: Path, public: Path, kind: Kind) -> SigningKey:
    """Make a key pair and write it: the private key with mode 0600, both PEM. Raises FileExistsError, and replaces nothing."""
    from cryptography.hazmat.primitives import serialization

    if public.exists():  # looked at first: no private key is left over without it
        raise FileExistsError(f"{public} exists")
    key, algorithm = _checked(_new(kind))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    _write_new(private, key.private_bytes(pem, pkcs8, serialization.NoEncryption()), mode=0o600)
    subject_public = serialization.PublicFormat.SubjectPublicKeyInfo
    _write_new(public, key.public_key().public_bytes(pem, subject_public), mode=0o644)
    return SigningKey(key, algorithm, _thumbprint(_numbers(key.public_key())))


def _new(kind: Kind) -> "PrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if kind == "ec":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def _unfit(why: str, hint: str = _FITTING) -> ConfigError:
    return ConfigError(f"the private key cannot sign a login: {why}", hint=hint)


def _from_pem(text: str) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if "ENCRYPTED" in text:
        raise _unfit(
            "it is locked with a passphrase", "unlock it: openssl pkey -in locked.pem -out key.pem; chmod 600 key.pem"
        )
    if "PRIVATE KEY-----" not in text:
        is_public = "PUBLIC KEY-----" in text or "CERTIFICATE-----" in text
        raise _unfit("it is a public key" if is_public else "it is neither PEM nor JWK")
    try:
        return load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unfit("its PEM cannot be read") from None


def _jwk(text: str, key_id: str | None) -> dict[str, object]:
    """The JWK, or the one of a set that `key_id` names; a set of one needs no name."""
    try:
        document = msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        raise _unfit("it is neither PEM nor JWK") from None
    if "keys" not in document:
        return document
    listed = document["keys"] if isinstance(document["keys"], list) else []
    keys = [key for key in listed if isinstance(key, dict) and "d" in key]
    fitting = keys if len(keys) == 1 else [key for key in keys if key.get("kid") == key_id]
    if len(fitting) != 1:
        raise _unfit("its JWK set does not say which of its private keys to use", "name one by key_id in [site.auth]")
    return fitting[0]


def _from_jwk(jwk: dict[str, object]) -> object:
    from jwt.algorithms import ECAlgorithm, RSAAlgorithm
    from jwt.exceptions import PyJWTError

    readers = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk}
    kind = str(jwk.get("kty"))
    if kind not in readers:
        raise _unfit("its kty is neither RSA nor EC")
    if "d" not in jwk:
        raise _unfit("it is a public key")
    try:
        return readers[kind](jwk)
    except (ValueError, TypeError, KeyError, AttributeError, PyJWTError):  # what foreign members of a JWK lead to
        raise _unfit("its JWK cannot be read") from None


def _checked(private: object) -> "tuple[PrivateKey, Algorithm]":
    """The key and what it signs with. ES256 and RS256 are not among what SMART servers must take."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(private, RSAPrivateKey):
        if private.key_size < _FEWEST_RSA_BITS:
            raise _unfit(f"it is an RSA key of {private.key_size} bits; {_FEWEST_RSA_BITS} is the least")
        return private, "RS384"
    if not isinstance(private, EllipticCurvePrivateKey):
        raise _unfit("it is neither RSA nor EC")
    if not isinstance(private.curve, SECP384R1):
        is_p256 = private.curve.name == "secp256r1"
        raise _unfit(f"it is of the curve {'P-256 (ES256)' if is_p256 else private.curve.name}, not P-384 (ES384)")
    return private, "ES384"


def _numbers(public: "PublicKey") -> dict[str, str]:
    """The members of the public JWK that make the key, sorted by name: what RFC 7638 takes the fingerprint of."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if isinstance(public, RSAPublicKey):
        rsa = public.public_numbers()
        return {"e": _base64(rsa.e, _bytes_of(rsa.e)), "kty": "RSA", "n": _base64(rsa.n, _bytes_of(rsa.n))}
    point = public.public_numbers()
    return {"crv": "P-384", "kty": "EC", "x": _base64(point.x, _P384_BYTES), "y": _base64(point.y, _P384_BYTES)}


def _bytes_of(number: int) -> int:
    return (number.bit_length() + 7) // 8


def _base64(number: int, size: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(size, "big")).rstrip(b"=").decode()


def _thumbprint(numbers: dict[str, str]) -> str:
    digest = hashlib.sha256(msgspec.json.encode(numbers)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
