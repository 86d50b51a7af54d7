"""dm-fhir keys, as it is typed."""

import json
import os
from pathlib import Path

import pytest

from dm_fhir.cli.main import call
from dm_fhir.config import load_config
from dm_fhir.fhir.keys import read_signing_key
from dm_fhir.fhir.login import signing_key

STUDY = '[study]\ntitle = "A study"\ndrug = "anifrolumab"\n'
Capture = pytest.CaptureFixture[str]


def site(name: str, auth: str) -> str:
    """A [[site]] with its login."""
    return f'[[site]]\nname = "{name}"\nendpoint = "https://fhir.example/{name}"\n[site.auth]\n{auth}\n'


def smart(private_key: str, more: str = "") -> str:
    """A login by key."""
    return f'method = "smart-backend"\nclient_id = "our-client"\nprivate_key = "{private_key}"\n{more}'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to type in, in which nobody has set anything."""
    for name in [name for name in os.environ if name.startswith("DM_FHIR")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(capsys: Capture, *words: str) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command line."""
    code = call(list(words))
    said = capsys.readouterr()
    return code, said.out, said.err


def mode(path: Path) -> int:
    """The permissions."""
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(("kind", "algorithm"), [("ec", "ES384"), ("rsa", "RS384")])
def test_a_key_pair_without_any_config(folder: Path, capsys: Capture, kind: str, algorithm: str) -> None:
    code, out, _ = typed(capsys, "keys", "create", "--kind", kind, "--output", "new/leon.pem")
    private, public = folder / "new" / "leon.pem", folder / "new" / "leon.public.pem"
    key = read_signing_key(private.read_text())

    assert (code, key.algorithm) == (0, algorithm)
    assert (mode(private), mode(private.parent)) == (0o600, 0o700)
    assert "PUBLIC KEY" in public.read_text()
    assert f'private_key = "file:new/leon.pem"\n  key_id = "{key.kid}"\n' in out
    assert "dm-fhir keys show --jwks new/leon.pem" in out
    assert not any(line in out for line in private.read_text().splitlines())


def test_the_key_goes_where_the_config_says_and_the_two_lines_fit(folder: Path, capsys: Capture) -> None:
    (folder / "study").mkdir()
    config = folder / "study" / "dm-fhir.toml"
    config.write_text(STUDY + site("leon", smart("file:keys/leon.pem")) + site("none", 'method = "none"'))

    code, out, _ = typed(capsys, "--config", str(config), "keys", "create")
    assert code == 0
    assert mode(folder / "study" / "keys" / "leon.pem") == 0o600

    lines = [line.strip() for line in out.splitlines() if line.startswith("  ")]
    config.write_text(STUDY + site("leon", 'method = "smart-backend"\nclient_id = "x"\n' + "\n".join(lines)))
    auth = load_config(config).sites[0].auth
    assert signing_key(auth).kid == auth.key_id == read_signing_key((folder / "study/keys/leon.pem").read_text()).kid


def test_a_site_whose_key_is_no_file_gets_one_beside_the_config(folder: Path, capsys: Capture) -> None:
    (folder / "dm-fhir.toml").write_text(STUDY + site("leon", smart("env:KEY")) + site("baltimore", smart("env:KEY2")))
    code, out, _ = typed(capsys, "keys", "create", "--site", "baltimore")
    assert (code, (folder / "keys" / "baltimore.pem").is_file()) == (0, True)
    assert 'put into [site.auth] of baltimore:\n  private_key = "file:keys/baltimore.pem"\n' in out
    assert "keys show --jwks --site baltimore" in out


def test_several_sites_are_not_guessed_at(folder: Path, capsys: Capture) -> None:
    (folder / "dm-fhir.toml").write_text(STUDY + site("leon", smart("env:KEY")) + site("baltimore", smart("env:KEY2")))
    code, _, err = typed(capsys, "keys", "create")
    assert (code, "name it by --site: leon, baltimore" in err) == (2, True)


def test_a_place_outside_the_configs_folder_is_named_in_full(folder: Path, capsys: Capture) -> None:
    (folder / "study").mkdir()
    _, out, _ = typed(capsys, "--config", "study/dm-fhir.toml", "keys", "create", "--output", "else.pem")
    assert f'private_key = "file:{folder.resolve() / "else.pem"}"' in out


@pytest.mark.parametrize("there", ["a.pem", "a.public.pem"])
def test_nothing_is_replaced(folder: Path, capsys: Capture, there: str) -> None:
    (folder / there).write_text("mine")
    code, out, err = typed(capsys, "keys", "create", "--output", "a.pem")
    assert (code, out) == (2, "")
    assert err.startswith(f"dm-fhir: {there} exists already; it is left as it is\n")
    assert ([path.name for path in folder.iterdir()], (folder / there).read_text()) == ([there], "mine")


def test_a_place_where_nothing_can_be_written(folder: Path, capsys: Capture) -> None:
    (folder / "file").write_text("")
    code, _, err = typed(capsys, "keys", "create", "--output", "file/a.pem")
    assert (code, err) == (2, "dm-fhir: file/a.pem cannot be written: File exists\n")


def test_without_a_config_and_without_a_place(capsys: Capture) -> None:
    for words in (["keys", "create"], ["keys", "show"]):
        code, _, err = typed(capsys, *words)
        assert (code, "there is no config at dm-fhir.toml" in err) == (2, True)


def test_what_the_hospital_needs(folder: Path, capsys: Capture) -> None:
    more = 'scope = "system/*.rs"\nkey_id = "k-7"\njku = "https://our.example/jwks.json"'
    (folder / "dm-fhir.toml").write_text(
        STUDY + site("leon", smart("file:leon.pem", more)) + site("none", 'method = "none"')
    )
    typed(capsys, "keys", "create", "--site", "leon", "--kind", "rsa")

    code, out, _ = typed(capsys, "keys", "show")
    thumbprint = read_signing_key((folder / "leon.pem").read_text()).thumbprint
    assert code == 0
    for words in (
        "leon (file:leon.pem):", "RSA 3072 bits, signs with RS384", "kid         k-7", f"thumbprint  {thumbprint}",
        "our-client", "client_credentials", "private_key_jwt", "system/*.rs",
        "published at https://our.example/jwks.json: put there what this prints: dm-fhir keys show --jwks --site leon",
    ):  # fmt: skip
        assert words in out
    assert "none" not in out
    assert not any(line in out for line in (folder / "leon.pem").read_text().splitlines())


def test_the_public_keys_of_all_sites_are_one_document(folder: Path, capsys: Capture) -> None:
    (folder / "dm-fhir.toml").write_text(
        STUDY + site("leon", smart("file:leon.pem")) + site("baltimore", smart("file:leon.pem")) + site("vigo", smart("file:vigo.pem", 'key_id = "v"'))
    )  # fmt: skip
    typed(capsys, "keys", "create", "--site", "leon")
    typed(capsys, "keys", "create", "--site", "vigo", "--kind", "rsa")

    code, out, err = typed(capsys, "keys", "show", "--jwks")
    one, other = json.loads(out)["keys"]
    assert (code, err) == (0, "")
    assert {key: one[key] for key in ("kty", "alg", "use", "key_ops")} == {
        "kty": "EC",
        "alg": "ES384",
        "use": "sig",
        "key_ops": ["verify"],
    }
    assert (one["kid"], other["kid"]) == (read_signing_key((folder / "leon.pem").read_text()).thumbprint, "v")
    assert "d" not in {*one, *other}

    _, out, _ = typed(capsys, "keys", "show", "--jwks", "--site", "vigo")
    assert [key["kid"] for key in json.loads(out)["keys"]] == ["v"]


def test_a_key_in_a_file_needs_no_config(folder: Path, capsys: Capture) -> None:
    typed(capsys, "keys", "create", "--output", "a.pem")
    code, out, _ = typed(capsys, "keys", "show", "a.pem")
    assert (code, "(the one that the hospital chooses)" in out, "keys show --jwks a.pem" in out) == (0, True, True)
    code, out, _ = typed(capsys, "keys", "show", "a.pem", "--jwks")
    assert (code, json.loads(out)["keys"][0]["alg"]) == (0, "ES384")


def test_what_is_no_key(folder: Path, capsys: Capture) -> None:
    (folder / "binary").write_bytes(b"\xff\xfe5ecret")
    (folder / "text").write_text("5ecret")
    for name, words in (
        ("gone", "gone cannot be read: No such file or directory"),
        ("binary", "binary is not text: a key is PEM or JWK"),
        ("text", "it is neither PEM nor JWK"),
    ):
        code, out, err = typed(capsys, "keys", "show", name)
        assert (code, words in err) == (2, True)
        assert "5ecret" not in out + err


def test_a_site_that_logs_in_without_a_key(folder: Path, capsys: Capture) -> None:
    (folder / "dm-fhir.toml").write_text(STUDY + site("leon", smart("env:KEY")) + site("none", 'method = "none"'))
    code, _, err = typed(capsys, "keys", "show", "--site", "none")
    assert (code, "site none does not log in with a key (method = none)" in err) == (2, True)
    code, _, err = typed(capsys, "keys", "show", "--site", "none", "a.pem")
    assert (code, "KEYFILE or --site, not both" in err) == (2, True)
    code, _, err = typed(capsys, "keys", "show")
    assert (code, "the secret env:KEY is missing or empty" in err) == (2, True)
