"""The examples in deploy/ are what the command writes today."""

from tests.schedule.examples import DEPLOY, examples

#: What is there besides, and by whose hand.
OTHERS = {
    "Containerfile",
    "Containerfile.spark",
    "dm-fhir-spark.py",
    "dm-fhir-spark.yaml",
    "dm-fhir.toml",
    "requirements.lock",
}


def test_they_are_what_the_command_writes() -> None:
    found = {str(path.relative_to(DEPLOY)): path for path in DEPLOY.rglob("*") if path.is_file()}
    assert {
        name: path.read_text(encoding="utf-8") for name, path in found.items() if name not in OTHERS
    } == examples(), "write them anew: make examples"


def test_they_show_how_each_secret_is_handed_over() -> None:
    written = examples()
    for name in ("keys-leon.pem", "keys-pseudonym.key"):
        assert f"LoadCredential={name}:/etc/dm-fhir/keys/" in written["dm-fhir.service"]
        assert f"key: {name}" in written["dm-fhir.cronjob.yaml"]
