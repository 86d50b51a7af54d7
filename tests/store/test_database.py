"""The store's file: private, durable, of one drug, and never somebody else's."""

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dm_fhir.errors import ConfigError, StoreError
from dm_fhir.store.database import SCHEMA_VERSION, open_store, setting, transaction


def runs(db: sqlite3.Connection) -> int:
    """How many runs are in the store."""
    return int(db.execute("SELECT count(*) FROM run").fetchone()[0])


def add(db: sqlite3.Connection) -> None:
    """Begin a run, whatever transaction is open."""
    db.execute("INSERT INTO run (command, started, pid) VALUES ('x', 'y', 1)")


def test_a_new_store_is_private_and_durable(db: sqlite3.Connection, path: Path) -> None:
    pragmas = {
        name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["study.sqlite", "study.sqlite-shm", "study.sqlite-wal"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o000])
def test_a_new_store_is_private_under_any_umask(path: Path, umask: int) -> None:
    os.umask(umask)
    db = open_store(path, "anifrolumab")
    modes = [file.stat().st_mode & 0o777 for file in path.parent.iterdir()]
    db.close()
    assert modes == [0o600] * 3
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o602, 0o620, 0o601])
def test_a_store_that_others_can_read_is_refused_and_left_alone(path: Path, mode: int) -> None:
    open_store(path, "anifrolumab").close()
    path.chmod(mode)
    before = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        open_store(path, "anifrolumab")
    assert caught.value.message == f"{path} can be read by others (mode {mode:04o})"
    assert caught.value.hint == f"mend it: chmod 600 {path}; or, if that is meant: [store] shared = true"
    assert path.read_bytes() == before
    open_store(path, "anifrolumab", shared=True).close()
    subprocess.run(["/bin/sh", "-c", caught.value.hint.removeprefix("mend it: ").partition(";")[0]], check=True)
    open_store(path, "anifrolumab").close()


def test_what_sqlite_keeps_beside_it_is_looked_at_too(db: sqlite3.Connection, path: Path) -> None:
    wal = path.with_name("study.sqlite-wal")
    wal.chmod(0o644)
    with pytest.raises(ConfigError, match=r"study\.sqlite-wal can be read by others \(mode 0644\)"):
        open_store(path, "anifrolumab")
    path.chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        open_store(path, "anifrolumab")
    assert f"chmod 600 {path} {wal};" in str(caught.value)


@pytest.mark.parametrize(("mode", "is_refused"), [
    (0o700, False), (0o755, False), (0o750, False), (0o775, True), (0o757, True), (0o1777, True), (0o2770, True),
])  # fmt: skip
def test_a_folder_may_be_looked_into_but_not_written_by_others(path: Path, mode: int, is_refused: bool) -> None:
    open_store(path, "anifrolumab").close()
    path.parent.chmod(mode)
    if is_refused:
        with pytest.raises(ConfigError, match="others can put files into") as caught:
            open_store(path, "anifrolumab")
        assert f"(mode {mode:04o})" in caught.value.message
        assert f"chmod go-w {path.parent};" in str(caught.value)
        with pytest.raises(ConfigError, match="others can put files into"):
            open_store(path.with_name("new.sqlite"), "anifrolumab")
        assert not path.with_name("new.sqlite").exists()
    open_store(path, "anifrolumab", shared=is_refused).close()


def test_a_link_to_a_store_is_as_private_as_what_it_leads_to(path: Path, tmp_path: Path) -> None:
    open_store(path, "anifrolumab").close()
    link = tmp_path / "link.sqlite"
    link.symlink_to(path)
    open_store(link, "anifrolumab").close()
    path.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="others can put files into"):
        open_store(link, "anifrolumab")


def test_a_store_is_opened_again_with_what_it_held(db: sqlite3.Connection, path: Path) -> None:
    again = open_store(path, "anifrolumab")
    assert (runs(again), again.execute("PRAGMA user_version").fetchone()[0]) == (1, SCHEMA_VERSION)
    again.close()


def test_a_transaction_is_all_or_nothing(db: sqlite3.Connection) -> None:
    with transaction(db):
        add(db)
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error):
            _add_and_fail(db, error)
    assert (runs(db), db.in_transaction) == (2, False)


def _add_and_fail(db: sqlite3.Connection, error: type[BaseException]) -> None:
    with transaction(db):
        add(db)
        raise error


def _add_much(db: sqlite3.Connection) -> None:
    with transaction(db):
        add(db)
        db.execute("INSERT INTO setting VALUES ('big', ?)", ("x" * 1_000_000,))


def test_a_full_disk_rolls_back_and_is_a_store_error(db: sqlite3.Connection) -> None:
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(
        StoreError, match=r"no space left in .*/data; at least 10 MB needed\n.*nothing committed is lost"
    ):
        _add_much(db)
    assert (runs(db), db.in_transaction) == (1, False)
    with transaction(db):
        add(db)
    assert runs(db) == 2


def test_a_store_that_another_process_writes_is_a_store_error(db: sqlite3.Connection, path: Path) -> None:
    other = open_store(path, "anifrolumab")
    other.execute("PRAGMA busy_timeout = 1")
    with transaction(db), pytest.raises(StoreError, match="database is locked"), transaction(other):
        add(other)
    other.close()
    assert runs(db) == 1


def test_a_newer_store_is_refused_and_left_alone(db: sqlite3.Connection, path: Path) -> None:
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(
        StoreError, match=rf"newer dm-fhir \(store version {SCHEMA_VERSION + 1}; this one knows {SCHEMA_VERSION}\)"
    ) as caught:
        open_store(path, "anifrolumab")
    assert (caught.value.exit_code, runs(db)) == (1, 1)


def test_another_drugs_store_is_refused(db: sqlite3.Connection, path: Path) -> None:
    with pytest.raises(StoreError, match="is the store of a study of anifrolumab, the config says deucravacitinib"):
        open_store(path, "deucravacitinib")
    assert setting(db, "drug", "?") == "anifrolumab"


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(StoreError, match="file is not a database"):
        open_store(path, "anifrolumab")


@pytest.mark.parametrize("content", [b"Dear colleague,\n" * 100, b"x"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"letter.txt cannot be used as a store: it is not a database"):
        open_store(path, "anifrolumab")
    assert path.read_bytes() == content


@pytest.mark.parametrize("version", [0, 1])
def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "other.sqlite"
    other = sqlite3.connect(path)
    other.executescript(f"CREATE TABLE theirs (a); PRAGMA user_version = {version};")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"other.sqlite is another program's database"):
        open_store(path, "anifrolumab")
    assert path.read_bytes() == before


@pytest.mark.parametrize("place", ["folder", "file/below.sqlite"])
def test_a_place_where_no_store_can_be(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / place, "anifrolumab")
    assert str(tmp_path / place) in str(caught.value)


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "new.sqlite").touch()
    db = open_store(tmp_path / "new.sqlite", "anifrolumab")
    assert runs(db) == 0
    db.close()


def test_two_that_make_the_store_at_once_both_have_it(tmp_path: Path) -> None:
    for number in range(5):
        path = tmp_path / f"{number}.sqlite"
        with ThreadPoolExecutor(4) as pool:
            names = [pool.submit(_drug_of, path) for _ in range(4)]
            assert [name.result() for name in names] == ["anifrolumab"] * 4


def _drug_of(path: Path) -> str:
    db = open_store(path, "anifrolumab")
    drug = setting(db, "drug", "?")
    db.close()
    return drug


def test_a_setting_is_what_it_was_first(db: sqlite3.Connection) -> None:
    assert [setting(db, "key", value) for value in ("a", "b")] == ["a", "a"]


KILLED = """
import os, signal, sys
from pathlib import Path
from dm_fhir.store.database import open_store, transaction
db = open_store(Path(sys.argv[1]), "anifrolumab")
with transaction(db):
    db.execute("INSERT INTO run (command, started, pid) VALUES ('committed', '', 1)")
with transaction(db):
    db.executemany("INSERT INTO setting VALUES (?, ?)", ((str(n), "x" * 1000) for n in range(3000)))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_inside_a_transaction_loses_nothing_that_was_committed(path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, env=dict(os.environ), timeout=30)
    assert killed.returncode == -signal.SIGKILL
    db = open_store(path, "anifrolumab")
    assert db.execute("SELECT command FROM run").fetchall() == [("committed",)]
    assert db.execute("SELECT name FROM setting").fetchall() == [("drug",)]
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
