"""Files into the store: every line counted, damage named, and the same content however often it is read."""

import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.config import Auth, Cohort, Pull, Site
from dm_fhir.fhir.sources import source_of
from dm_fhir.store.blocks import kept
from dm_fhir.store.database import open_store
from dm_fhir.store.ledger import Unit, begin_run, get_unit, units
from dm_fhir.store.quarantine import acknowledge, quarantined
from dm_fhir.store.resources import counts_by_type, ids_from_server
from dm_fhir.sync.files import pull_files, pull_sources
from dm_fhir.sync.scan import lines, scanned

LEON = Site(
    name="leon", endpoint=None, timezone="UTC", tables=(), headers={}, auth=Auth(), pull=Pull(scope="all"),
    cohort=Cohort("everybody"),
)  # fmt: skip


class FakeMapper:
    """Knows as its own what says so."""

    def is_own(self, body: bytes) -> bool:
        return b"written-by-us" in body


def observation(number: int, tail: str = "") -> str:
    """One line of NDJSON."""
    return f'{{"resourceType":"Observation","id":"o{number}","subject":{{"reference":"Patient/1"}}{tail}}}\n'


def pull(
    db: sqlite3.Connection, *paths: Path, run: int = 1, progress: Any = lambda *_: None
) -> tuple[dict[str, int], list[str]]:
    """Pull the files into site leon."""
    taken, passed_over = pull_files(db, LEON, [str(path) for path in paths], FakeMapper(), run, progress, full=True)  # type: ignore[arg-type]
    return dict(taken.types), [one.path for one in passed_over]


def row(db: sqlite3.Connection, path: Path) -> Unit:
    """The file's row of the ledger."""
    unit = get_unit(db, "leon", "", f"file: {path}")
    assert unit is not None
    return unit


def content(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """All resources, old and new, with their bytes, and what was set aside."""
    columns = "SELECT site, type, id, version, last_updated, hash, run, block, start, length FROM "
    found: list[tuple[Any, ...]] = db.execute("SELECT * FROM quarantine ORDER BY 1, 2, 3, 4, 5").fetchall()
    for table in ("resource", "resource_version"):
        rows = db.execute(f"{columns} {table} ORDER BY 1, 2, 3, 4, 5").fetchall()
        found += [(*row[:-3], body) for row, body in zip(rows, kept(db, (r[-3:] for r in rows)), strict=True)]
    return found


def aside(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Where something is set aside, and why."""
    return [(one.place, one.reason) for one in quarantined(db, "leon")]


def test_the_counts_are_the_lines(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.ndjson"
    path.parent.mkdir()
    path.write_text('{"resourceType":"Patient","id":"1"}\n' + "".join(map(observation, range(7))))
    (tmp_path / "in" / "readme.txt").write_text("x")
    steps: list[tuple[str, int, int]] = []
    types, passed_over = pull(db, tmp_path / "in", progress=lambda *step: steps.append(step))
    assert (types, passed_over) == ({"Patient": 1, "Observation": 7}, [str(tmp_path / "in" / "readme.txt")])
    assert counts_by_type(db, "leon") == types
    unit = row(db, path)
    assert (unit.state, unit.reason, unit.received, unit.unique, unit.pages) == ("complete", None, 8, 8, 1)
    assert (unit.notes, unit.run, str(unit.watermark)[-1]) == ({"new": 8}, 1, "Z")
    assert steps == [("leon", 0, 1), ("leon", 1, 1)]
    assert get_unit(db, "leon", "", "all files").state == "complete"  # type: ignore[union-attr]


def test_damaged_lines_are_set_aside_and_the_rest_goes_on(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(observation(1) + "{oops\n" + '{"resourceType":"Observation"}\n' + observation(2))
    assert pull(db, path)[0] == {"Observation": 2}
    assert aside(db) == [(f"{path}:2", "not-json"), (f"{path}:3", "no-id")]
    assert db.execute("SELECT body FROM quarantine WHERE reason = 'not-json'").fetchone() == (b"{oops",)
    unit = row(db, path)
    assert (unit.state, unit.received, unit.unique, unit.notes) == ("complete", 4, 2, {"new": 2, "set_aside": 2})


def test_a_mended_line_is_no_longer_set_aside(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(observation(1) + "{oops\n")
    pull(db, path)
    path.write_text(observation(1) + observation(2))
    pull(db, path, run=begin_run(db, "pull"))
    assert (aside(db), row(db, path).notes) == ([], {"new": 1, "unchanged": 1})


def test_what_we_wrote_ourselves_is_counted_and_not_stored(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(observation(1) + observation(2, ',"note":"written-by-us"'))
    assert pull(db, path)[0] == {"Observation": 2}
    assert (counts_by_type(db, "leon"), row(db, path).notes) == ({"Observation": 1}, {"new": 1, "own_outcome": 1})


def test_reading_twice_changes_nothing(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text("".join(map(observation, range(5))) + "{oops\n")
    assert pull(db, path) == ({"Observation": 5}, [])
    before = content(db)
    assert pull(db, path) == ({"Observation": 5}, [])
    assert (content(db), row(db, path).notes) == (before, {"set_aside": 1, "unchanged": 5})
    assert len(before) == 6


def test_what_a_file_held_is_not_called_the_servers(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(observation(1))
    pull(db, path)
    assert list(ids_from_server(db, "leon", "Observation", ["Patient/1"])) == []


def test_what_was_acknowledged_stays_so_when_the_file_is_read_again(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text("{oops\n" + observation(1))
    pull(db, path)
    acknowledge(db, "leon", quarantined(db, "leon")[0].number, "2025-06-01T10:00:00Z")
    path.write_text(observation(1) + "{oops\n" + "{oops again\n")
    pull(db, path, run=begin_run(db, "pull"))
    assert [(one.place, one.acknowledged is not None) for one in quarantined(db, "leon")] == [
        (f"{path}:2", True),
        (f"{path}:3", False),
    ]


def test_a_line_that_stands_twice_is_one_resource(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(observation(1) * 3)
    assert pull(db, path)[0] == {"Observation": 3}
    unit = row(db, path)
    assert (counts_by_type(db, "leon"), unit.received, unit.unique) == ({"Observation": 1}, 3, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5000])
def test_a_cut_off_file_is_partial_however_it_falls_into_parcels(
    db: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(scanned, "PARCEL_RESOURCES", size)
    monkeypatch.setattr(lines, "BATCH_BYTES", 1)
    path = tmp_path / "a.ndjson"
    whole = zlib.compressobj(wbits=31)
    content = whole.compress((observation(1) + observation(2)).encode())
    path.write_bytes(content + whole.flush(zlib.Z_SYNC_FLUSH) + whole.flush())
    pull(db, path)
    watermark = row(db, path).watermark
    path.write_bytes(path.read_bytes()[:-10])
    pull(db, path)
    unit = row(db, path)
    assert (unit.state, unit.reason, unit.received, unit.unique) == ("partial", "file-cut-off", 3, 2)
    assert unit.notes == {"file-cut-off": 1, "unchanged": 2}
    assert unit.watermark == watermark is not None
    assert aside(db) == [(str(path), "file-cut-off")]


def test_a_file_whose_name_is_no_utf8(db: sqlite3.Connection, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"a\xf1o.ndjson")
    path.write_text(observation(1) + "{oops\n")
    assert pull(db, path)[0] == {"Observation": 1}
    assert [unit.query for unit in units(db, "leon") if unit.query != "all files"] == [
        f"file: {tmp_path}/a\ufffdo.ndjson"
    ]
    assert aside(db) == [(f"{tmp_path}/a\ufffdo.ndjson:2", "not-json")]


def test_several_sources_may_be_one_unit(db: sqlite3.Connection, tmp_path: Path) -> None:
    """As the files of a bulk export are: the lines of each are counted by themselves, the unit ends with the last of them."""
    paths = [tmp_path / "1.ndjson", tmp_path / "2.ndjson"]
    paths[0].write_text(observation(1) + "{oops\n")
    paths[1].write_text(observation(2) + observation(3) + "{oops again\n")
    sources = [source_of(str(path)) for path in paths]

    def pulled(expected: int) -> Unit:
        pull_sources(
            db, LEON, sources, FakeMapper(), 1, lambda *_: None, unit_of=lambda _: "bulk: Observation",  # type: ignore[arg-type]
            origin="server", expected={"bulk: Observation": expected}, watermark="2025-06-01T10:00:00Z",
        )  # fmt: skip
        (unit,) = units(db, "leon")
        assert (unit.query, unit.received, unit.unique, unit.expected) == ("bulk: Observation", 5, 3, expected)
        return unit

    short = pulled(6)
    assert (short.state, short.reason, short.message, short.watermark) == (
        "partial", "short", "5 of 6 announced", None,
    )  # fmt: skip
    whole = pulled(5)
    assert (whole.state, whole.reason, whole.watermark) == ("complete", None, "2025-06-01T10:00:00Z")
    named = [(f"bulk: Observation, {paths[0]}:2", "not-json"), (f"bulk: Observation, {paths[1]}:3", "not-json")]
    assert aside(db) == named
    assert {id_ for _, id_ in ids_from_server(db, "leon", "Observation", ["Patient/1"])} == {"o1", "o2", "o3"}


KILLED = """
import os, signal, sys
from pathlib import Path
from dm_fhir.config import Auth, Cohort, Pull, Site
from dm_fhir.store.database import open_store
from dm_fhir.store.ledger import begin_run
from dm_fhir.sync import files
from dm_fhir.sync.scan import lines, scanned
class Mapper:
    seen = 0
    def is_own(self, body):
        Mapper.seen += 1
        if Mapper.seen == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return False
scanned.PARCEL_RESOURCES = 10
lines.BATCH_BYTES = 1
db = open_store(Path(sys.argv[1]), "anifrolumab")
leon = Site(
    "leon", None, "UTC", (), {}, Auth(), Pull(scope="all"), cohort=Cohort("everybody")
)
files.pull_files(db, leon, [sys.argv[2]], Mapper(), begin_run(db, "pull"), lambda *_: None)
"""


@pytest.mark.parametrize(("killed_at", "stored"), [(1, 0), (10, 0), (11, 10), (25, 20)])
def test_kill_9_between_parcels_and_the_same_again_gives_the_same_store(
    db: sqlite3.Connection, tmp_path: Path, killed_at: int, stored: int
) -> None:
    path, store = tmp_path / "a.ndjson", tmp_path / "killed.sqlite"
    path.write_text("".join(map(observation, range(30))) + "{oops\n")
    line = [sys.executable, "-c", KILLED, str(store), str(path), str(killed_at)]
    assert subprocess.run(line, check=False, timeout=30).returncode == -signal.SIGKILL
    killed = open_store(store, "anifrolumab")
    unit = row(killed, path)
    assert (unit.state, unit.reason, unit.received, unit.watermark) == ("partial", "interrupted", stored, None)
    assert counts_by_type(killed, "leon") == ({"Observation": stored} if stored else {})
    assert pull(killed, path) == pull(db, path) == ({"Observation": 30}, [])
    assert content(killed) == content(db)
    assert (row(killed, path).state, row(killed, path).unique) == ("complete", 30)
    killed.close()


def test_no_archive_stays_open_after_a_pull(db: sqlite3.Connection, tmp_path: Path) -> None:
    member, archive = tmp_path / "Observation.ndjson", tmp_path / "export.tar.gz"
    member.write_text("".join(observation(n) for n in range(3)))
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(member, member.name)
    assert pull(db, archive)[0] == {"Observation": 3}
    assert archive not in {path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
