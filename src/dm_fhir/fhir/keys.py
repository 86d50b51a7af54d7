"""Key pairs for SMART Backend Services (private_key_jwt)."""

import os
from pathlib import Path


def create_key_pair(folder: Path) -> tuple[Path, Path]:
    """A new RSA key pair in `folder`: the private key (PKCS 8, mode 0600) and the public one, both PEM.

    Raises FileExistsError rather than replacing a private key.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    private, public = folder / "private.pem", folder / "public.pem"
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    _write_new(private, key.private_bytes(pem, pkcs8, serialization.NoEncryption()), mode=0o600)
    subject_public = serialization.PublicFormat.SubjectPublicKeyInfo
    _write_new(public, key.public_key().public_bytes(pem, subject_public), mode=0o644)
    return private, public


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
