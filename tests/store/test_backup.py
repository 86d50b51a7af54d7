"""A copy of the store is of one moment, whole, private and checked; put back, it takes the place of whatever is there."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dm_fhir.errors import StoreError
from dm_fhir.store import backup
from dm_fhir.store.backup import About, about, copy_store, restore_store
from dm_fhir.store.database import SCHEMA_VERSION, open_store, transaction


def settings(path: Path) -> dict[str, str]:
    """What the store at `path` holds under the names of a test."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return dict(db.execute("SELECT name, value FROM setting WHERE name <> 'drug'").fetchall())


def write(db: sqlite3.Connection, **values: str) -> None:
    """Put them into the store, all of them or none."""
    with transaction(db):
        db.executemany("INSERT OR REPLACE INTO setting VALUES (?, ?)", values.items())


@contextmanager
def written_meanwhile(path: Path) -> Iterator[list[int]]:
    """Another connection keeps writing the same number in two places; how often it has."""
    done, enough = [0], threading.Event()

    def work() -> None:
        with closing(open_store(path, "anifrolumab")) as db:
            while not enough.is_set():
                number = str(done[0])
                write(db, first=number, filling="x" * 100_000, last=number)
                done[0] += 1

    writer = threading.Thread(target=work)
    writer.start()
    try:
        while not done[0]:
            pass
        yield done
    finally:
        enough.set()
        writer.join()


def test_a_copy_is_of_one_moment_while_others_write(
    db: sqlite3.Connection, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_PAGES_AT_A_TIME", 2)
    write(db, **{str(number): "y" * 10_000 for number in range(300)})
    with written_meanwhile(path) as writes:
        for number in range(3):
            before, steps = writes[0], list[tuple[int, int]]()

            def wait(done: int, total: int, steps: list[tuple[int, int]] = steps) -> None:
                steps.append((done, total))
                started = writes[0]
                while writes[0] < started + (len(steps) < 5):
                    pass

            copy_store(path, tmp_path / f"copy {number}", wait)
            assert writes[0] >= before + 4, "the writer did not stand still"
            assert steps == sorted(steps)
            assert steps[-1][0] == steps[-1][1]
    for number in range(3):
        found = settings(tmp_path / f"copy {number}")
        assert len(found) == 303
        assert found["first"] == found["last"]


def test_a_copy_is_one_private_file_that_opens_where_nothing_can_be_written(
    db: sqlite3.Connection, path: Path, tmp_path: Path
) -> None:
    os.umask(0o000)
    try:
        size = copy_store(path, tmp_path / "copy.sqlite")
    finally:
        os.umask(0o022)
    copy = tmp_path / "copy.sqlite"
    assert (copy.stat().st_mode & 0o777, copy.stat().st_size) == (0o600, size)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["copy.sqlite", "data"]
    with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as db_of_copy:
        assert db_of_copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert db_of_copy.execute("SELECT command FROM run").fetchall() == [("pull",)]


@pytest.mark.parametrize("name", ["a b?c#d%20.sqlite", "ñandú.sqlite"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    open_store(tmp_path / name, "anifrolumab").close()
    copy_store(tmp_path / name, tmp_path / f"copy of {name}")
    assert about(tmp_path / f"copy of {name}") == About(SCHEMA_VERSION, "anifrolumab", 0, None)


def damaged(path: Path) -> Path:
    """A store in the middle of which something else stands."""
    with closing(open_store(path, "anifrolumab")) as db:
        write(db, **{str(number): "y" * 10_000 for number in range(100)})
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[60 * 16_384 : 61 * 16_384] = b"\xaa" * 16_384
    path.write_bytes(content)
    return path


def test_a_damaged_store_makes_no_copy_that_looks_sound(tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    target.write_text("the copy of yesterday", encoding="utf-8")
    with pytest.raises(StoreError, match=r"study.sqlite is damaged: .*\n.*dm-fhir restore"):
        copy_store(damaged(tmp_path / "study.sqlite"), target)
    assert target.read_text(encoding="utf-8") == "the copy of yesterday"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["copy.sqlite", "study.sqlite"]


Usage = namedtuple("Usage", "total used free")


def test_without_space_nothing_is_begun(
    db: sqlite3.Connection, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 10))
    with pytest.raises(StoreError, match=r"no space left in .* for a copy of the store; 1 MB needed, 0 MB free"):
        copy_store(path, tmp_path / "copy.sqlite")
    assert [one.name for one in tmp_path.iterdir()] == ["data"]


def test_a_place_that_is_not_there(path: Path, db: sqlite3.Connection, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/copy.sqlite cannot be written: No such file or directory"):
        copy_store(path, tmp_path / "nowhere" / "copy.sqlite")


def test_a_step_that_fails_leaves_nothing(path: Path, db: sqlite3.Connection, tmp_path: Path) -> None:
    def interrupted(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_store(path, tmp_path / "copy.sqlite", interrupted)
    assert [one.name for one in tmp_path.iterdir()] == ["data"]


# Putting a copy back.


@pytest.fixture
def copy(db: sqlite3.Connection, path: Path, tmp_path: Path) -> Path:
    """A copy of the store, made before something more was written."""
    write(db, when="before")
    copy_store(path, tmp_path / "copy.sqlite")
    write(db, when="after")
    return tmp_path / "copy.sqlite"


def beside(path: Path) -> list[str]:
    """What lies in the store's folder."""
    return sorted(one.name for one in path.parent.iterdir())


def test_the_copy_takes_the_place_of_the_store_and_that_is_kept(copy: Path, path: Path, db: sqlite3.Connection) -> None:
    before = copy.read_bytes()
    aside = restore_store(copy, path, "anifrolumab")
    assert aside is not None
    assert (settings(path), settings(aside), copy.read_bytes()) == ({"when": "before"}, {"when": "after"}, before)
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(open_store(path, "anifrolumab")) as again:
        write(again, when="again")
    again_aside = restore_store(copy, path, "anifrolumab")
    assert again_aside not in (None, aside)
    assert (settings(path), settings(aside)) == ({"when": "before"}, {"when": "after"})


def test_who_still_has_the_old_store_open_reads_the_old_one(copy: Path, path: Path, db: sqlite3.Connection) -> None:
    """Like `status`, begun before: it must see one store or the other, never a mixture, and do no harm when it ends."""
    restore_store(copy, path, "anifrolumab")
    with closing(open_store(path, "anifrolumab")) as new:
        write(new, when="now")
        assert db.execute("SELECT value FROM setting WHERE name = 'when'").fetchone() == ("after",)
    db.close()
    assert settings(path) == {"when": "now"}


def test_where_the_store_is_being_read_nothing_is_changed(
    copy: Path, path: Path, db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_PATIENCE_SECONDS", 0.1)
    with closing(open_store(path, "anifrolumab")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM setting").fetchall()
        write(db, when="later")
        with pytest.raises(StoreError, match="is being used by another process"):
            restore_store(copy, path, "anifrolumab")
        reader.execute("COMMIT")
    assert settings(path) == {"when": "later"}
    assert [name for name in beside(path) if "before" in name or "restored" in name] == []


def test_a_link_to_the_store_stays_one(copy: Path, path: Path, db: sqlite3.Connection, tmp_path: Path) -> None:
    link = tmp_path / "link.sqlite"
    link.symlink_to(path)
    restore_store(copy, link, "anifrolumab")
    assert (link.is_symlink(), settings(path)) == (True, {"when": "before"})


@pytest.mark.parametrize("is_there", [True, False])
def test_a_damaged_or_missing_store_is_replaced_too(tmp_path: Path, copy: Path, is_there: bool) -> None:
    path = tmp_path / "other" / "study.sqlite"
    path.parent.mkdir()
    path.with_name("study.sqlite-wal").write_bytes(b"left by somebody")
    if is_there:
        path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    aside = restore_store(copy, path, "anifrolumab")
    assert settings(path) == {"when": "before"}
    assert (aside is not None, path.with_name("study.sqlite-wal").exists()) == (is_there, False)
    if aside is not None:
        assert aside.read_bytes() == b"SQLite format 3\0" + b"\xff" * 5000


def newer(path: Path) -> None:
    with closing(open_store(path, "anifrolumab")) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def another_drugs(path: Path) -> None:
    open_store(path, "deucravacitinib").close()


def no_store(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE theirs (a); PRAGMA user_version = 1")


def no_database(path: Path) -> None:
    path.write_text("Dear colleague,\n" * 100, encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            newer,
            f"was written by a newer dm-fhir (store version {SCHEMA_VERSION + 1}; this one knows {SCHEMA_VERSION})",
        ),
        (another_drugs, "is the store of a study of deucravacitinib, the config says anifrolumab"),
        (no_store, "is no store of dm-fhir"),
        (no_database, "file is not a database"),
        (damaged, "is damaged"),
    ],
)
def test_what_is_no_store_of_this_study_is_refused_and_nothing_is_changed(
    copy: Path, path: Path, db: sqlite3.Connection, tmp_path: Path, make: object, said: str
) -> None:
    wrong = tmp_path / "wrong.sqlite"
    make(wrong)  # type: ignore[operator]
    with pytest.raises(StoreError) as caught:
        restore_store(wrong, path, "anifrolumab")
    assert said in str(caught.value)
    assert settings(path) == {"when": "after"}
    assert beside(path) == ["study.sqlite", "study.sqlite-shm", "study.sqlite-wal"]


#: Restores, and is killed at the n-th step of it that can be seen from outside.
KILLED = """
import os, pathlib, signal, sys
from pathlib import Path
from dm_fhir.store.backup import restore_store
left = int(sys.argv[1])
def mortal(name, owner):
    original = getattr(owner, name)
    def step(*given, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*given, **named)
    setattr(owner, name, step)
for name in ("rename", "replace", "unlink"):
    mortal(name, pathlib.Path)
for name in ("link", "fsync"):
    mortal(name, os)
restore_store(Path(sys.argv[2]), Path(sys.argv[3]), "anifrolumab")
"""


def test_kill_9_at_any_step_leaves_the_one_store_or_the_other(copy: Path, path: Path, db: sqlite3.Connection) -> None:
    db.close()
    seen = list[str]()
    for step in range(100):
        with closing(open_store(path, "anifrolumab")) as again:
            write(again, when="after")
        done = subprocess.run([sys.executable, "-c", KILLED, str(step), str(copy), str(path)], check=False, timeout=60)
        seen.append(settings(path)["when"])
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    assert (seen[0], seen[-1], seen) == ("after", "before", sorted(seen))
    assert len(seen) > 8
