"""Whatever the program makes is its user's alone, under a umask that hides nothing, and where a file lay that all could read."""

import sqlite3
import stat
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.security.conftest import CONFIG, run_all

from dm_fhir.cli.main import call

#: Each is typed in a folder that holds the study; what it makes lies below it.
COMMANDS = (
    ("pull", "--from", "records.ndjson"),
    ("compute",),
    ("status",),
    ("report", "-o", "report"),
    ("report", "-o", "report.html"),
    ("export", "-o", "series.json"),
    ("export", "--format", "csv", "-o", "csv"),
    ("export", "--format", "parquet", "-o", "parquet"),
    ("export", "--format", "xlsx", "-o", "series.xlsx"),
    ("export", "--format", "fhir", "-o", "series.ndjson"),
    ("merge", "series.json", "series.json", "-o", "merged.json"),
    ("report", "--from", "merged.json", "-o", "merged"),
    ("findings", "--csv", "findings.csv"),
    ("map", "check", "--csv", "codes.csv"),
    ("map", "show", "--fhir", "-o", "terminology"),
    ("doctor", "--site", "baltimore", "-o", "letter.md"),
    ("keys", "create", "-o", "keys/login.pem"),
    ("keys", "pseudonym", "-o", "keys/another.key"),
    ("init", "another/study"),
    ("runs",),
    ("audit", "--csv", "audit.csv"),
)
#: Files that lie there before, readable by all; the commands write them anew.
ALREADY_THERE = ("report.html", "series.json", "findings.csv", "codes.csv", "letter.md", "series.xlsx", "audit.csv")


class Done(NamedTuple):
    """The folder after all commands, the exit code of each, what they said, and what was there before them."""

    folder: Path
    codes: list[int]
    said: str
    before: frozenset[Path]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, records: bytes) -> Done:
    folder = tmp_path_factory.mktemp("study")
    folder.chmod(0o755)
    (folder / "dm-fhir.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "records.ndjson").write_bytes(records)
    for name in ALREADY_THERE:
        (folder / name).touch()
        (folder / name).chmod(0o666)
    before = frozenset(folder.rglob("*"))
    return Done(folder, *run_all(folder, [("keys", "pseudonym"), *COMMANDS]), before)


def modes(paths: list[Path]) -> dict[str, str]:
    """What is open to others, by name."""
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    return {str(path): oct(mode) for path, mode in found.items() if mode & 0o077}


def test_every_command_did_its_work(done: Done) -> None:
    assert done.codes == [0] * (1 + len(COMMANDS)), done.said


def test_every_file_and_folder_that_was_made_is_private(done: Done) -> None:
    made = [path for path in done.folder.rglob("*") if path not in done.before]
    assert modes(made) == {}
    names = {path.name for path in made}
    assert names >= {
        "dm-fhir.sqlite", "dm-fhir.sqlite.lock", "report", "report.html", "csv", "parquet", "series.ndjson", "merged.json",
        "terminology", "login.pem", "login.public.pem", "pseudonym.key", "another.key", "dm-fhir.toml",
    }  # fmt: skip
    assert sum(path.is_dir() for path in made) >= 8


@pytest.mark.parametrize("name", ALREADY_THERE)
def test_a_file_that_all_could_read_is_written_anew_for_its_user_alone(done: Done, name: str) -> None:
    assert (done.folder / name).stat().st_size > 0
    assert modes([done.folder / name]) == {}


def test_no_command_leaves_anything_half(done: Done) -> None:
    assert [path for path in done.folder.rglob("*") if path.name.endswith((".partial", ".new"))] == []


def test_files_beside_the_store_while_it_is_open(done: Done) -> None:
    db = sqlite3.connect(done.folder / "dm-fhir.sqlite")
    db.execute("SELECT count(*) FROM run").fetchall()  # whoever has it open keeps the next from clearing away
    assert run_all(done.folder, [("compute",)])[0] == [0]
    beside = [path for path in done.folder.iterdir() if path.name.startswith("dm-fhir.sqlite-")]
    found = modes(beside)
    db.close()
    assert (found, len(beside)) == ({}, 2)


def test_an_output_is_not_written_through_somebody_elses_link(done: Done) -> None:
    victim = done.folder / "victim"
    victim.write_bytes(b"precious")
    for name in ("linked.json.partial", "linked.json"):
        (done.folder / name).symlink_to(victim)
    assert run_all(done.folder, [("export", "-o", "linked.json")])[0] == [0]
    assert victim.read_bytes() == b"precious"
    assert not (done.folder / "linked.json").is_symlink()


@pytest.mark.parametrize("command", ["status", "compute", "report", "audit", "doctor"])
def test_a_store_that_all_can_read_is_named_with_what_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    tmp_path.chmod(0o755)
    config, store = tmp_path / "dm-fhir.toml", tmp_path / "dm-fhir.sqlite"
    config.write_text(CONFIG, encoding="utf-8")
    assert call(["--config", str(config), "runs"]) == 0
    store.chmod(0o644)
    capsys.readouterr()
    assert call(["--config", str(config), command]) == 2
    out, err = capsys.readouterr()
    said = out if command == "doctor" else err
    assert f"{store} can be read by others (mode 0644)" in said
    assert f"chmod 600 {store}" in said
    config.write_text(f"{CONFIG}\n[store]\nshared = true\n", encoding="utf-8")
    assert call(["--config", str(config), "runs"]) == 0
