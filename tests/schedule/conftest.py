"""A config with something of everything that a scheduler must know, and the command typed at it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dm_fhir.cli import main

from ..ran import Ran

CONFIG = """
[study]
title = "Anifrolumab in 100 % of\\nrefractory dermatomyositis"
drug = "anifrolumab"
timezone = "Europe/Madrid"
pseudonym_key = "file:keys/pseudonym.key"

[store]
path = "/var/lib/dm-fhir/dm-fhir.sqlite"

[[site]]
name = "leon"
endpoint = "https://leon.test/r4"
tables = ["tables/leon.toml"]
ca_bundle = "/etc/ssl/leon.pem"
client_cert = "tls/leon.crt"
client_key = "tls/leon.key"
[site.auth]
method = "smart-backend"
client_id = "dm-fhir"
private_key = "file:keys/leon.pem"
[site.cohort]
by = "patients"
patients = "patients.txt"

[[site]]
name = "madrid"
endpoint = "https://madrid.test/r4"
[site.auth]
method = "bearer"
token = "env:MADRID_TOKEN"
"""

#: From their way in the config's folder to the name under which they are handed over.
PRIVATE = {
    "keys/leon.pem": "keys-leon.pem",
    "keys/pseudonym.key": "keys-pseudonym.key",
    "patients.txt": "patients.txt",
    "tls/leon.crt": "tls-leon.crt",
    "tls/leon.key": "tls-leon.key",
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config, in a folder with a blank in its name."""
    monkeypatch.delenv("DM_FHIR_STORE", raising=False)
    path = tmp_path / "a study" / "dm-fhir.toml"
    path.parent.mkdir()
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def typed(config: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Types `dm-fhir schedule` with these words at the config."""

    def run(*words: str, at: Path = config) -> Ran:
        code = main.call(["--config", str(at), "schedule", *words])
        return Ran(code, *capsys.readouterr())

    return run
