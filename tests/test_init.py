"""The config that dm-fhir init writes: what is commented out in it works too."""

import re
from pathlib import Path

from dm_fhir.cli.init import CONFIG
from dm_fhir.config import load_config

#: What begins a line that is only there to be taken up.
_EXAMPLES = re.compile(r"^# (?=\w+ = |\[(site\.|study\.|metrics|notify|sync))", re.MULTILINE)


def test_every_line_of_it_can_be_taken_up(tmp_path: Path) -> None:
    config = tmp_path / "dm-fhir.toml"
    text = _EXAMPLES.sub("", CONFIG).replace("https://…", "https://login.example.org")
    config.write_text(text, encoding="utf-8")

    site = load_config(config).sites[0]

    assert [line for line in text.splitlines() if line.startswith("#")] == text.splitlines()[:1], (
        "the first is a remark"
    )
    assert (site.tls.client_key, site.tls.proxy) == (tmp_path / "tls" / "leon.key", "http://proxy.example.org:3128")
    assert (site.auth.jku, site.auth.token_url) == (
        "https://login.example.org/jwks.json",
        "https://login.example.org/token",
    )
    assert (site.cohort.by, site.vendor, site.pull.concurrency) == ("medication", "epic", 5)


def test_its_store_is_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """Who may write the store needs no right to write config and keys."""
    (tmp_path / "dm-fhir.toml").write_text(CONFIG, encoding="utf-8")
    assert load_config(tmp_path / "dm-fhir.toml").store_path == tmp_path / "store" / "dm-fhir.sqlite"
