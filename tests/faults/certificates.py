"""Certificates for the fault server: one that is as it should be, one that is expired, one that is another host's."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

EXPIRED = datetime(2024, 1, 31, 12, tzinfo=UTC)
ISSUER = "Hospital Test CA"
_HERE = x509.IPAddress(ip_address("127.0.0.1"))
_OTHER = x509.DNSName("other.example")


class Certificates(NamedTuple):
    """The certificate authority's own certificate, and the servers' with their keys, as PEM files."""

    authority: Path
    servers: dict[str, Path]


def make_certificates(folder: Path) -> Certificates:
    """A certificate authority of one's own and what it has issued, in `folder`."""
    soon = datetime.now(UTC) + timedelta(days=30)
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate(ISSUER, key, ISSUER, key, soon, None)
    path = folder / "authority.pem"
    path.write_bytes(authority.public_bytes(Encoding.PEM))
    wanted = {"valid": (soon, _HERE), "expired": (EXPIRED, _HERE), "other-name": (soon, _OTHER)}
    servers = {}
    for name, (until, host) in wanted.items():
        own_key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate("fault server", own_key, ISSUER, key, until, host)
        servers[name] = folder / f"{name}.pem"
        private = own_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        servers[name].write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return Certificates(path, servers)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    until: datetime,
    host: x509.GeneralName | None,
) -> x509.Certificate:
    """Of `host`, or of the authority itself."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=365))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if host is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([host]), critical=False)
    return builder.sign(issuer_key, SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
