"""A store of the first release opens in this one: nothing is lost, and nothing is claimed that nobody knew then."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_fhir.store import members
from dm_fhir.store.blocks import kept
from dm_fhir.store.cases import fingerprints
from dm_fhir.store.database import SCHEMA_VERSION, open_store
from dm_fhir.store.ledger import Run, begin_run, get_unit, runs
from dm_fhir.store.pushes import pushed
from dm_fhir.store.resources import (
    Quarantined,
    counts_by_type,
    deleted_by_type,
    ids_from_server,
    quarantined,
    quarantined_body,
    resources_of,
    set_aside,
)

#: As it was, word for word.
VERSION_1 = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE run (
  id INTEGER PRIMARY KEY, command TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, exit_code INTEGER, pid INTEGER NOT NULL
) STRICT;
CREATE TABLE unit (
  site TEXT NOT NULL, patient TEXT NOT NULL, query TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('complete', 'partial', 'failed', 'refused', 'unsupported')),
  expected INTEGER, received INTEGER NOT NULL, "unique" INTEGER NOT NULL, pages INTEGER NOT NULL, retries INTEGER NOT NULL,
  reason TEXT, message TEXT, notes TEXT NOT NULL, watermark TEXT, run INTEGER NOT NULL REFERENCES run, ended TEXT NOT NULL,
  PRIMARY KEY (site, patient, query)
) STRICT, WITHOUT ROWID;
CREATE TABLE resource (
  site TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version TEXT, last_updated TEXT, hash TEXT NOT NULL,
  subject TEXT, run INTEGER NOT NULL REFERENCES run, body BLOB NOT NULL, UNIQUE (site, type, id)
) STRICT;
CREATE INDEX resource_by_subject ON resource (site, subject);
CREATE TABLE resource_version (
  site TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version TEXT, last_updated TEXT, hash TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES run, body BLOB NOT NULL, UNIQUE (site, type, id, hash)
) STRICT;
CREATE TABLE quarantine (
  site TEXT NOT NULL, patient TEXT NOT NULL, query TEXT NOT NULL, place TEXT NOT NULL, reason TEXT NOT NULL,
  hash TEXT NOT NULL, run INTEGER NOT NULL REFERENCES run, body BLOB NOT NULL, UNIQUE (site, patient, query, place, hash)
) STRICT;
CREATE TABLE case_document (
  site TEXT NOT NULL, patient TEXT NOT NULL, fingerprint TEXT NOT NULL, state TEXT NOT NULL, run INTEGER NOT NULL REFERENCES run,
  body BLOB NOT NULL, PRIMARY KEY (site, patient)
) STRICT;
CREATE TABLE finding (
  site TEXT NOT NULL, patient TEXT NOT NULL, code TEXT NOT NULL, severity TEXT NOT NULL, reference TEXT NOT NULL, path TEXT,
  done TEXT NOT NULL
) STRICT;
CREATE INDEX finding_by_case ON finding (site, patient);
CREATE TABLE outcome (
  site TEXT NOT NULL, patient TEXT NOT NULL, variable TEXT NOT NULL, about TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (site, patient, variable, about)
) STRICT;
CREATE TABLE push (
  site TEXT NOT NULL, identifier TEXT NOT NULL, patient TEXT NOT NULL, variable TEXT NOT NULL, about TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('sending', 'confirmed', 'rejected', 'conflict', 'retracted')),
  server_id TEXT, version TEXT, hash TEXT NOT NULL, message TEXT, body BLOB NOT NULL, run INTEGER NOT NULL REFERENCES run, "when" TEXT NOT NULL,
  PRIMARY KEY (site, identifier)
) STRICT;
INSERT INTO setting VALUES ('drug', 'anifrolumab');
INSERT INTO run VALUES (1, 'pull', '2025-06-01T10:00:00Z', '2025-06-01T10:05:00Z', 3, 17), (2, 'sync', '2025-06-02T10:00:00Z', NULL, NULL, 18);
INSERT INTO unit VALUES
  ('leon', 'Patient/1', 'Observation?patient', 'partial', 9, 3, 2, 1, 4, 'short', '2 of 9', '{"duplicate":1}', '2025-05-31T00:00:00Z', 2, 'x'),
  ('leon', 'Patient/1', 'Condition?patient', 'complete', NULL, 0, 0, 1, 0, NULL, NULL, '{}', '2025-06-01T00:00:00Z', 1, 'x'),
  ('leon', '', 'whole plan', 'complete', NULL, 0, 0, 0, 0, NULL, NULL, '{}', '2025-06-01T00:00:00Z', 1, 'x'),
  ('madrid', '', 'file: a.ndjson', 'complete', NULL, 2, 1, 1, 0, NULL, NULL, '{}', '2025-06-01T00:00:00Z', 1, 'x');
INSERT INTO resource VALUES
  ('leon', 'Observation', 'o1', '2', '2025-06-01T00:00:00Z', 'h2', 'Patient/1', 2, x'32'),
  ('madrid', 'Observation', 'o1', NULL, NULL, 'h1', 'Patient/1', 1, x'31');
INSERT INTO resource_version VALUES ('leon', 'Observation', 'o1', '1', '2025-05-01T00:00:00Z', 'h1', 1, x'31');
INSERT INTO quarantine VALUES
  ('leon', 'Patient/1', 'Observation?patient', 'page 1, entry 0', 'no-id', 'h', 1, x'7b7d'),
  ('madrid', '', 'file: a.ndjson', 'a.ndjson:2', 'not-json', 'h', 1, x'7b');
INSERT INTO case_document VALUES ('leon', 'Patient/1', 'f', 'case', 1, x'7b7d');
INSERT INTO outcome VALUES ('leon', 'Patient/1', 'ck', '', x'7b7d');
INSERT INTO push VALUES ('leon', 'k1', 'Patient/1', 'ck', '', 'confirmed', 'Observation/7', '1', 'h', NULL, x'7b7d', 1, 'x');
PRAGMA user_version = 1;
"""


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A store of version 1, opened by this program."""
    path = tmp_path / "study.sqlite"
    before = sqlite3.connect(path)
    before.executescript(VERSION_1)
    before.close()
    db = open_store(path, "anifrolumab")
    yield db
    db.close()


def test_it_becomes_the_present_version_and_is_sound(migrated: sqlite3.Connection, tmp_path: Path) -> None:
    assert migrated.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert migrated.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert migrated.execute("PRAGMA foreign_key_check").fetchall() == []
    again = open_store(tmp_path / "study.sqlite", "anifrolumab")
    assert len(runs(again)) == 2
    again.close()


def test_it_has_the_tables_of_a_new_store(migrated: sqlite3.Connection, db: sqlite3.Connection) -> None:
    def columns(store: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
        tables = [row[0] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {table: store.execute(f"PRAGMA table_info({table})").fetchall() for table in tables}

    assert columns(migrated) == columns(db)


def test_the_ledger_is_read_as_it_was(migrated: sqlite3.Connection) -> None:
    unit = get_unit(migrated, "leon", "Patient/1", "Observation?patient")
    assert unit is not None
    assert (unit.state, unit.expected, unit.unique, unit.reason, unit.notes) == (
        "partial",
        9,
        2,
        "short",
        {"duplicate": 1},
    )
    assert (unit.watermark, unit.asked, unit.read_in_full, unit.not_before) == ("2025-05-31T00:00:00Z", "", None, None)
    assert runs(migrated, 1) == [Run(2, "sync", "2025-06-02T10:00:00Z", None, None, 18)]


def test_whoever_was_asked_about_is_in_the_cohort(migrated: sqlite3.Connection) -> None:
    assert (members.members(migrated, "leon"), members.members(migrated, "madrid")) == (["Patient/1"], [])
    assert members.have_left(migrated, "leon") == set()


def test_resources_are_there_and_nothing_is_called_deleted(migrated: sqlite3.Connection) -> None:
    assert [(one.id, one.version, one.body) for one in resources_of(migrated, "leon", "Patient/1")] == [
        ("o1", "2", b"2")
    ]
    places = migrated.execute("SELECT block, start, length FROM resource_version").fetchall()
    assert list(kept(migrated, places)) == [b"1"]
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
    assert pushed(migrated, "leon")["k1"].state == "confirmed"
