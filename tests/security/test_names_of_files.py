"""A file, a folder and a member of an archive may be called after a patient: results name them, a log and what leaves the house do not."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from dm_fhir.cli.main import call

NAME = "zwetschkenbaum_eulalia"
PATIENT = b'{"resourceType":"Patient","id":"1"}\n'
CONFIG = (
    '[study]\ntitle = "T"\ndrug = "anifrolumab"\n[metrics]\nfile = "metrics.prom"\n[[site]]\nname = "leon"\n'
    '[site.cohort]\nby = "everybody"\n[site.pull]\nscope = "all"\n'
)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study, and files called after somebody of which each has something wrong with it."""
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("dm-fhir.toml").write_text(CONFIG, encoding="utf-8")
    for name, body in {
        f"{NAME}/a.ndjson": PATIENT, f".{NAME}.ndjson": PATIENT, f"{NAME}.txt": b"x", f"{NAME}.Observation.ndjson": PATIENT,
        f"{NAME}.gz.ndjson": gzip.compress(PATIENT * 1000)[:-12], f"{NAME}.half.ndjson": PATIENT + b"{", f"{NAME}.ndjson": b"{oops\n" + PATIENT,
    }.items():  # fmt: skip
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(body)
    with zipfile.ZipFile(tmp_path / "in" / f"{NAME}.zip", "w") as zipped:
        zipped.writestr(f"{NAME}.ndjson", b"{oops\n" + PATIENT)
        zipped.writestr(f"{NAME}.tar", b"")
    with tarfile.open(tmp_path / "in" / "b.tar", "w") as tar:
        info = tarfile.TarInfo(f"{NAME}/c.ndjson")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"{"))
    return tmp_path


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_name_of_a_file_is_in_the_log(study: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    said = []
    for path in ("in", "in/*", "in/b.tar", "in"):
        assert call(["-v", "--log-format", form, "pull", "--from", path]) == 3
        out, err = capsys.readouterr()
        said.append(err)
        assert NAME in out, "the result is where they are named"
    assert "passed over" in said[0]
    assert NAME not in "".join(said)
    assert NAME not in (study / "metrics.prom").read_text(encoding="utf-8")
    assert call(["support-bundle", "-o", "bundle.zip", "--with-sites"]) == 0
    with zipfile.ZipFile(study / "bundle.zip") as bundle:
        found = b"".join(bundle.read(name) for name in bundle.namelist())
    assert b"file-cut-off" in found
    assert NAME.encode() not in found
