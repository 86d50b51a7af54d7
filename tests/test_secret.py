"""A private file is found where a service manager has handed it over, else where the config says."""

from pathlib import Path

import pytest

from dm_fhir.config import Secret, load_config
from dm_fhir.errors import ConfigError
from dm_fhir.secret import credential_name, private_file


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/etc/dm-fhir/keys/leon.pem", "keys-leon.pem"),
        ("/etc/dm-fhir/keys/../keys/leon.pem", "keys-leon.pem"),
        ("/etc/dm-fhir/leon.pem", "leon.pem"),
        ("/etc/dm-fhir-2/leon.pem", "etc-dm-fhir-2-leon.pem"),
        ("/srv/secrets/a key: ñ%.pem", "srv-secrets-a_key____.pem"),
    ],
)
def test_a_credential_is_named_by_its_way_from_the_config(path: str, name: str) -> None:
    assert credential_name(Path(path), Path("/etc/dm-fhir")) == name


@pytest.fixture
def handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a service manager hands over one key."""
    folder = tmp_path / "handed"
    folder.mkdir()
    (folder / "keys-leon.pem").write_text("handed over\n", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_what_is_handed_over_is_read_also_where_the_file_cannot_be(tmp_path: Path, handed: Path) -> None:
    assert Secret("file:keys/leon.pem", tmp_path).read() == "handed over"
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "leon.pem").write_text("in its place", encoding="utf-8")
    assert Secret("file:keys/leon.pem", tmp_path).read() == "handed over"
    assert Secret(f"file:{tmp_path}/keys/leon.pem", tmp_path).read() == "handed over"


def test_what_is_not_handed_over_is_read_in_its_place(tmp_path: Path, handed: Path) -> None:
    (tmp_path / "leon.pem").write_text("in its place", encoding="utf-8")
    assert Secret("file:leon.pem", tmp_path).read() == "in its place"
    with pytest.raises(ConfigError, match=r"the secret file:keys/madrid\.pem is missing or empty") as caught:
        Secret("file:keys/madrid.pem", tmp_path).read()
    assert str(tmp_path / "keys" / "madrid.pem") in str(caught.value)


def test_without_a_service_manager_it_is_read_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", None):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", value) if value is not None else monkeypatch.delenv("CREDENTIALS_DIRECTORY")  # fmt: skip
        assert private_file(tmp_path / "leon.pem", tmp_path) == tmp_path / "leon.pem"


def test_the_key_of_a_client_certificate_and_a_list_of_patients_are_handed_over_too(
    tmp_path: Path, handed: Path
) -> None:
    (handed / "tls-leon.key").touch()
    (handed / "patients.txt").touch()
    config = tmp_path / "dm-fhir.toml"
    config.write_text(
        '[study]\ntitle = "x"\ndrug = "anifrolumab"\n[[site]]\nname = "leon"\nendpoint = "https://leon.test"\n'
        'client_cert = "tls/leon.crt"\nclient_key = "tls/leon.key"\nca_bundle = "keys/leon.pem"\n'
        '[site.cohort]\nby = "patients"\npatients = "patients.txt"\n',
        encoding="utf-8",
    )
    site = load_config(config).sites[0]
    tls = site.tls
    assert site.cohort.patients == handed / "patients.txt"
    assert (tls.client_cert, tls.client_key) == (tmp_path / "tls" / "leon.crt", handed / "tls-leon.key")
    assert tls.ca_bundle == tmp_path / "keys" / "leon.pem"
