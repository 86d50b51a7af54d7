"""A store of every earlier version opens in this one: nothing is lost, nothing is claimed that nobody knew then, and the old one is kept."""

import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.errors import StoreError
from dm_fhir.store import members
from dm_fhir.store.blocks import kept
from dm_fhir.store.cases import fingerprints
from dm_fhir.store.database import SCHEMA_VERSION, open_store
from dm_fhir.store.ledger import begin_run, get_unit, runs, units
from dm_fhir.store.pushes import pushed
from dm_fhir.store.quarantine import Quarantined, quarantined, quarantined_body, set_aside
from dm_fhir.store.resources import counts_by_type, deleted_by_type, ids_from_server, resources_of

#: Each earlier version's tables word for word, with rows in every one of them.
VERSIONS = Path(__file__).parent / "versions"
EARLIER = range(1, SCHEMA_VERSION)
Rows = dict[str, list[dict[str, Any]]]


def old_store(path: Path, version: int) -> Path:
    """A store of that version at `path`, as a killed program left it: in WAL mode, not tidied up."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript((VERSIONS / f"version_{version}.sql").read_text(encoding="utf-8"))
    path.chmod(0o600)
    return path


def rows_of(path: Path) -> Rows:
    """Every row of every table by column; the bytes of resources are a column of theirs wherever they stand."""
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = {name: [dict(row) for row in db.execute(f"SELECT * FROM {name}")] for name in names}  # noqa: S608
        db.row_factory = None
        for row in (*tables["resource"], *tables["resource_version"]):
            if "block" in row:
                (row["body"],) = kept(db, [(row.pop("block"), row.pop("start"), row.pop("length"))])
    del tables["setting"]  # a newer program may add to them; the drug is checked when it is opened
    return tables


def lost(before: Rows, after: Rows) -> list[tuple[str, dict[str, Any]]]:
    """The rows that have no equal afterwards, by the columns that they had."""
    return [
        (table, row)
        for table, rows in before.items()
        for row in rows
        if not any(row == {key: one.get(key) for key in row} for one in after[table])
    ]


def shape_of(db: sqlite3.Connection) -> dict[str, object]:
    """Everything in the file that is no row: columns of tables and views, indexes, triggers."""
    things = db.execute("SELECT type, name FROM sqlite_master ORDER BY name").fetchall()
    columns = {
        name: db.execute(f"PRAGMA table_info({name})").fetchall() for kind, name in things if kind in ("table", "view")
    }
    keys = {name: db.execute(f"PRAGMA foreign_key_list({name})").fetchall() for kind, name in things if kind == "table"}
    indexed = {name: db.execute(f"PRAGMA index_xinfo({name})").fetchall() for kind, name in things if kind == "index"}
    return {"things": things, "columns": columns, "keys": keys, "indexed": indexed}


@pytest.mark.parametrize("version", EARLIER)
def test_nothing_is_lost_and_nothing_is_added(tmp_path: Path, version: int) -> None:
    path = old_store(tmp_path / "study.sqlite", version)
    before = rows_of(path)
    assert all(before.values()), "a table without a row would show nothing"

    open_store(path, "anifrolumab").close()

    after = rows_of(path)
    assert lost(before, after) == []
    # Whoever was asked about is in the cohort: that is how the second version came to know it.
    derived = {"cohort_member", "block", "sqlite_sequence"} - before.keys()
    assert {table: len(rows) for table, rows in after.items() if rows and table not in derived} == {
        table: len(rows) for table, rows in before.items()
    }


@pytest.mark.parametrize("version", EARLIER)
def test_it_is_sound_and_like_a_new_store(tmp_path: Path, db: sqlite3.Connection, version: int) -> None:
    with closing(open_store(old_store(tmp_path / "study.sqlite", version), "anifrolumab")) as migrated:
        assert migrated.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert migrated.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert migrated.execute("PRAGMA foreign_key_check").fetchall() == []
        assert shape_of(migrated) == shape_of(db)


@pytest.mark.parametrize("version", EARLIER)
def test_the_store_as_it_was_is_kept_beside_it_and_somebody_is_told(tmp_path: Path, version: int) -> None:
    path, told = old_store(tmp_path / "study.sqlite", version), list[str]()
    before = rows_of(path)
    open_store(path, "anifrolumab", told.append).close()

    backup = tmp_path / f"study.sqlite.version-{version}.backup"
    assert (rows_of(backup), backup.stat().st_mode & 0o777) == (before, 0o600)
    assert told == [
        f"the store becomes one of version {SCHEMA_VERSION}; as it is, of version {version}, it is kept as {backup}"
    ]
    open_store(path, "anifrolumab", told.append).close()
    assert len(told) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["study.sqlite", backup.name]


def test_a_new_store_leaves_no_backup(tmp_path: Path) -> None:
    told = list[str]()
    open_store(tmp_path / "study.sqlite", "anifrolumab", told.append).close()
    assert (told, [file.name for file in tmp_path.iterdir()]) == ([], ["study.sqlite"])


def test_another_drugs_store_is_not_even_migrated(tmp_path: Path) -> None:
    path = old_store(tmp_path / "study.sqlite", 1)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is the store of a study of anifrolumab"):
        open_store(path, "deucravacitinib")
    assert (path.read_bytes(), [file.name for file in tmp_path.iterdir()]) == (before, ["study.sqlite"])


Usage = namedtuple("Usage", "total used free")


def test_without_space_for_the_backup_the_old_store_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = old_store(tmp_path / "study.sqlite", 3)
    size = path.stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 2 * size - 1))
    with pytest.raises(StoreError, match=r"no space left in .*; 1 MB needed, 0 MB free\n.*nothing was changed"):
        open_store(path, "anifrolumab")
    assert [file.name for file in tmp_path.iterdir()] == ["study.sqlite"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 2 * size))
    open_store(path, "anifrolumab").close()


def test_where_the_backup_cannot_be_written_the_old_store_stays(tmp_path: Path) -> None:
    path = old_store(tmp_path / "study.sqlite", 3)
    before = rows_of(path)
    (tmp_path / "study.sqlite.version-3.backup").mkdir()
    with pytest.raises(StoreError, match=r"version-3.backup cannot be written: Is a directory"):
        open_store(path, "anifrolumab")
    assert rows_of(path) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["study.sqlite", "study.sqlite.version-3.backup"]


#: Opens copies of an old store in processes of their own, each killed before one more statement than the one before.
KILLED = """
import json, os, shutil, signal, sqlite3, sys
from pathlib import Path
old, folder = Path(sys.argv[1]), Path(sys.argv[2])
from dm_fhir.store.database import open_store
from dm_fhir.store.turns import SharedConnection
left = 0
class Mortal(SharedConnection):
    def execute(self, *statement):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*statement)
connect = sqlite3.connect
sqlite3.connect = lambda *given, **named: connect(*given, **named | {"factory": Mortal})
killed = 0
while True:
    path = folder / str(killed) / "study.sqlite"
    path.parent.mkdir()
    shutil.copy(old, path)
    child = os.fork()
    if child == 0:
        left = killed
        open_store(path, "anifrolumab").close()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    killed += 1
print(killed)
"""


@pytest.mark.parametrize("version", EARLIER)
def test_kill_9_at_any_statement_leaves_the_old_store_or_the_new_one(tmp_path: Path, version: int) -> None:
    old, folder = old_store(tmp_path / "old.sqlite", version), tmp_path / "killed"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", KILLED, str(old), str(folder)], check=True, capture_output=True, text=True, timeout=120)  # fmt: skip
    before, killed = rows_of(old), int(done.stdout)
    with closing(open_store(old, "anifrolumab")):
        after = rows_of(old)
    found = list[int]()
    for number in range(killed):
        path = folder / str(number) / "study.sqlite"
        with closing(sqlite3.connect(path)) as db:
            found.append(db.execute("PRAGMA user_version").fetchone()[0])
        assert rows_of(path) == (before if found[-1] == version else after)
        if number % 7 == 0:  # the next to open it begins again, or has nothing to do
            open_store(path, "anifrolumab").close()
            assert (rows_of(path), list(path.parent.glob("*.partial*"))) == (after, [])
            assert rows_of(path.with_name(f"study.sqlite.version-{version}.backup")) == before
    assert found == sorted(found)
    assert found.count(version) > 20, "the copy and every statement of the migration"


OPENED = """
import sys
from pathlib import Path
from dm_fhir.store.database import open_store
open_store(Path(sys.argv[1]), "anifrolumab").close()
"""


def test_several_that_open_it_at_once_migrate_it_once(tmp_path: Path) -> None:
    path = old_store(tmp_path / "study.sqlite", 1)
    before = rows_of(path)
    opening = [subprocess.Popen([sys.executable, "-c", OPENED, str(path)]) for _ in range(4)]
    assert [one.wait(60) for one in opening] == [0] * 4
    assert rows_of(tmp_path / "study.sqlite.version-1.backup") == before


def test_a_backup_of_what_is_in_the_wal_alone(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript((VERSIONS / "version_3.sql").read_text(encoding="utf-8"))
        before = rows_of(path)
        assert path.stat().st_size < path.with_name("study.sqlite-wal").stat().st_size
        open_store(path, "anifrolumab").close()
    assert rows_of(tmp_path / "study.sqlite.version-3.backup") == before


# What the first version did not know.


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A store of version 1, opened by this program."""
    db = open_store(old_store(tmp_path / "study.sqlite", 1), "anifrolumab")
    yield db
    db.close()


def test_the_ledger_is_read_as_it_was(migrated: sqlite3.Connection) -> None:
    unit = get_unit(migrated, "leon", "Patient/1", "Observation?patient")
    assert unit is not None
    told = (unit.state, unit.expected, unit.unique, unit.reason, unit.notes)
    assert told == ("partial", 9, 2, "short", {"duplicate": 1})
    assert (unit.watermark, unit.asked, unit.read_in_full, unit.not_before) == ("2025-05-31T00:00:00Z", "", None, None)
    assert [(run.id, run.command, run.ended, run.exit_code) for run in runs(migrated, 1)] == [(2, "sync", None, None)]


def test_whoever_was_asked_about_is_in_the_cohort(migrated: sqlite3.Connection) -> None:
    assert (members.members(migrated, "leon"), members.members(migrated, "madrid")) == (["Patient/1"], [])
    assert members.have_left(migrated, "leon") == set()


def test_resources_are_there_and_nothing_is_called_deleted(migrated: sqlite3.Connection) -> None:
    assert [(one.id, one.version, one.body) for one in resources_of(migrated, "leon", "Patient/1")] == [
        ("o1", "2", b"2")
    ]
    assert (counts_by_type(migrated, "leon"), deleted_by_type(migrated, "leon")) == ({"Observation": 1}, {})


def test_where_files_were_read_nothing_is_called_the_servers(migrated: sqlite3.Connection) -> None:
    found = [list(ids_from_server(migrated, site, "Observation", ["Patient/1"])) for site in ("leon", "madrid")]
    assert found == [[("Patient/1", "o1")], []]


def test_what_was_set_aside_has_a_number_and_nobody_has_acknowledged_it(migrated: sqlite3.Connection) -> None:
    of_leon = Quarantined(1, "Patient/1 Observation?patient, page 1, entry 0", "no-id", 2, None)
    of_madrid = Quarantined(2, "a.ndjson:2", "not-json", 1, None)
    assert (quarantined(migrated, "leon"), quarantined(migrated, "madrid")) == ([of_leon], [of_madrid])
    assert quarantined_body(migrated, "leon", 1) == b"{}"
    set_aside(migrated, "leon", "", "q", "page 1", "no-id", b"x", begin_run(migrated, "pull"))
    assert [one.number for one in quarantined(migrated, "leon")] == [1, 3]


def test_cases_and_pushes_are_there(migrated: sqlite3.Connection) -> None:
    assert fingerprints(migrated, "leon") == {"Patient/1": "f"}
    assert {one.identifier: one.state for one in pushed(migrated, "leon")}["k1"] == "confirmed"


# What the third did not know.


def test_what_was_written_was_made_from_nobody_knows_what(tmp_path: Path) -> None:
    with closing(open_store(old_store(tmp_path / "study.sqlite", 3), "anifrolumab")) as db:
        found = pushed(db, "leon")
        assert {one.identifier: (one.state, one.made_from, one.transmission) for one in found} == {
            "k1": ("confirmed", "", None),
            "k2": ("sending", "", None),
            "k3": ("conflict", "", None),
        }
        assert db.execute("SELECT DISTINCT user FROM run").fetchall() == [("",)]


def test_a_number_of_what_was_set_aside_is_never_given_twice(tmp_path: Path) -> None:
    with closing(open_store(old_store(tmp_path / "study.sqlite", 3), "anifrolumab")) as db:
        set_aside(db, "leon", "", "q", "page 1", "no-id", b"x", begin_run(db, "pull"))
        assert [one.number for one in quarantined(db, "leon")] == [1, 10]


def test_a_mark_of_a_query_still_holds(tmp_path: Path) -> None:
    with closing(open_store(old_store(tmp_path / "study.sqlite", 3), "anifrolumab")) as db:
        assert {unit.query: unit.watermark for unit in units(db, "leon")}["Condition?patient"] == "2025-06-02T00:00:00Z"
        assert [one.id for one in resources_of(db, "leon", "Patient/1")] == ["o1"]
