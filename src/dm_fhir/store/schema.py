"""The tables of the store, and how a store of an earlier version becomes one of this."""

import sqlite3
from collections.abc import Callable

from dm_fhir.store.blocks import keep

_FIRST = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE run (
  id INTEGER PRIMARY KEY, command TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, exit_code INTEGER, pid INTEGER NOT NULL
) STRICT;
-- The ledger: one row per site x patient x query. `patient` is '' for queries that are not one patient's.
CREATE TABLE unit (
  site TEXT NOT NULL, patient TEXT NOT NULL, query TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('complete', 'partial', 'failed', 'refused', 'unsupported')),
  expected INTEGER, received INTEGER NOT NULL, "unique" INTEGER NOT NULL, pages INTEGER NOT NULL, retries INTEGER NOT NULL,
  reason TEXT, message TEXT, notes TEXT NOT NULL, watermark TEXT, run INTEGER NOT NULL REFERENCES run, ended TEXT NOT NULL,
  PRIMARY KEY (site, patient, query)
) STRICT, WITHOUT ROWID;
-- The current version of every resource, as the bytes that were sent.
CREATE TABLE resource (
  site TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version TEXT, last_updated TEXT, hash TEXT NOT NULL,
  subject TEXT, run INTEGER NOT NULL REFERENCES run, body BLOB NOT NULL, UNIQUE (site, type, id)
) STRICT;
CREATE INDEX resource_by_subject ON resource (site, subject);
-- Every version that is no longer current.
CREATE TABLE resource_version (
  site TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version TEXT, last_updated TEXT, hash TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES run, body BLOB NOT NULL, UNIQUE (site, type, id, hash)
) STRICT;
-- What arrived and cannot be kept as a resource: its bytes, where it stood and why.
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
-- What we wrote, by its identifier. `state` is 'sending' from before the request until the answer is read back.
CREATE TABLE push (
  site TEXT NOT NULL, identifier TEXT NOT NULL, patient TEXT NOT NULL, variable TEXT NOT NULL, about TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('sending', 'confirmed', 'rejected', 'conflict', 'retracted')),
  server_id TEXT, version TEXT, hash TEXT NOT NULL, message TEXT, body BLOB NOT NULL, run INTEGER NOT NULL REFERENCES run, "when" TEXT NOT NULL,
  PRIMARY KEY (site, identifier)
) STRICT;
"""


#: What a unit asked, when it was last asked in full, when a server wants to be asked again; what was deleted, where it came
#: from; what is set aside has a number that nothing else will ever have, and may have been looked at; whose records are
#: pulled; what was found out about a server. What is asked of resources at every run is answered by their indexes alone.
_SECOND = """
ALTER TABLE unit ADD COLUMN asked TEXT NOT NULL DEFAULT '';
ALTER TABLE unit ADD COLUMN read_in_full TEXT;
ALTER TABLE unit ADD COLUMN not_before TEXT;
ALTER TABLE resource ADD COLUMN origin TEXT NOT NULL DEFAULT 'server' CHECK (origin IN ('server', 'file'));
ALTER TABLE resource ADD COLUMN deleted TEXT;
-- Where files were read, nobody knows any more which resources are theirs. What the server sends again becomes the server's.
UPDATE resource SET origin = 'file' WHERE site IN (SELECT site FROM unit WHERE query LIKE 'file: %');
DROP INDEX resource_by_subject;
CREATE INDEX resource_by_subject ON resource (site, subject, deleted);
CREATE INDEX resource_deleted ON resource (site, type) WHERE deleted IS NOT NULL;
ALTER TABLE quarantine RENAME TO quarantine_before;
CREATE TABLE quarantine (
  number INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, patient TEXT NOT NULL, query TEXT NOT NULL, place TEXT NOT NULL,
  reason TEXT NOT NULL, hash TEXT NOT NULL, run INTEGER NOT NULL REFERENCES run, body BLOB NOT NULL, acknowledged TEXT,
  UNIQUE (site, patient, query, place, hash)
) STRICT;
INSERT INTO quarantine (site, patient, query, place, reason, hash, run, body)
  SELECT site, patient, query, place, reason, hash, run, body FROM quarantine_before;
DROP TABLE quarantine_before;
CREATE TABLE cohort_member (
  site TEXT NOT NULL, patient TEXT NOT NULL, joined INTEGER NOT NULL REFERENCES run, gone TEXT, PRIMARY KEY (site, patient)
) STRICT;
INSERT INTO cohort_member SELECT DISTINCT site, patient, min(run), NULL FROM unit WHERE patient <> '' GROUP BY site, patient;
CREATE TABLE server_fact (
  site TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, learned TEXT NOT NULL, PRIMARY KEY (site, name)
) STRICT;
"""

#: The bytes of resources stand many together in compressed blocks; a row says in which, from where, and how many. Where
#: nothing of a query has changed for anybody, one mark says so for all its units, in place of as many rows as patients.
#: (Run and block of a resource are not declared as references: two look-ups for every row that is written.)
_THIRD = """
CREATE TABLE block (number INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
DROP INDEX resource_by_subject;
DROP INDEX resource_deleted;
ALTER TABLE resource RENAME TO resource_before;
ALTER TABLE resource_version RENAME TO resource_version_before;
CREATE TABLE resource (
  site TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version TEXT, last_updated TEXT, hash TEXT NOT NULL,
  subject TEXT, run INTEGER NOT NULL, origin TEXT NOT NULL DEFAULT 'server' CHECK (origin IN ('server', 'file')),
  deleted TEXT, block INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, UNIQUE (site, type, id)
) STRICT;
CREATE INDEX resource_by_subject ON resource (site, subject, deleted);
CREATE INDEX resource_deleted ON resource (site, type) WHERE deleted IS NOT NULL;
CREATE TABLE resource_version (
  site TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version TEXT, last_updated TEXT, hash TEXT NOT NULL,
  run INTEGER NOT NULL, block INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, UNIQUE (site, type, id, hash)
) STRICT;
CREATE TABLE query_mark (
  site TEXT NOT NULL, query TEXT NOT NULL, watermark TEXT NOT NULL, run INTEGER NOT NULL REFERENCES run, PRIMARY KEY (site, query)
) STRICT, WITHOUT ROWID;
CREATE VIEW unit_now AS SELECT
  unit.site, patient, unit.query, state, expected, received, "unique", pages, retries, reason, message, notes,
  CASE WHEN unit.run < mark.run AND unit.watermark < mark.watermark AND patient <> '' THEN mark.watermark
    ELSE unit.watermark END AS watermark,
  unit.run, ended, asked, read_in_full, not_before
  FROM unit LEFT JOIN query_mark AS mark ON mark.site = unit.site AND mark.query = unit.query;
"""
#: What was written from what, so that nothing need be built to see that it has not changed, and in which transmission; a
#: resource may be kept back before it is ever sent. Who ran what; what was read and written of whom, which nobody can take out again.
_FOURTH = """
ALTER TABLE run ADD COLUMN user TEXT NOT NULL DEFAULT '';
CREATE TABLE transmission (
  number INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, run INTEGER NOT NULL REFERENCES run, recorded TEXT NOT NULL,
  activity TEXT NOT NULL CHECK (activity IN ('CREATE', 'UPDATE', 'NULLIFY')),
  state TEXT NOT NULL CHECK (state IN ('sending', 'sent', 'documented', 'undocumented')), provenance TEXT
) STRICT;
ALTER TABLE push RENAME TO push_before;
CREATE TABLE push (
  site TEXT NOT NULL, identifier TEXT NOT NULL, patient TEXT NOT NULL, variable TEXT NOT NULL, about TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('blocked', 'sending', 'confirmed', 'rejected', 'conflict', 'retracted')),
  server_id TEXT, version TEXT, hash TEXT NOT NULL, message TEXT, body BLOB NOT NULL, run INTEGER NOT NULL REFERENCES run, "when" TEXT NOT NULL,
  made_from TEXT NOT NULL DEFAULT '', transmission INTEGER REFERENCES transmission, PRIMARY KEY (site, identifier)
) STRICT;
INSERT INTO push (site, identifier, patient, variable, about, state, server_id, version, hash, message, body, run, "when")
  SELECT site, identifier, patient, variable, about, state, server_id, version, hash, message, body, run, "when" FROM push_before;
DROP TABLE push_before;
CREATE TABLE audit (
  number INTEGER PRIMARY KEY AUTOINCREMENT, "when" TEXT NOT NULL, run INTEGER REFERENCES run, user TEXT NOT NULL DEFAULT '',
  command TEXT NOT NULL DEFAULT '', site TEXT NOT NULL,
  action TEXT NOT NULL CHECK (action IN ('read', 'write', 'retract', 'report', 'export', 'explain', 'show')),
  patient TEXT NOT NULL, reference TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX audit_of_reads ON audit (run, site, patient) WHERE action = 'read';
CREATE TRIGGER audit_has_a_read_once BEFORE INSERT ON audit WHEN NEW.action = 'read' AND EXISTS (SELECT 1 FROM audit
  WHERE run = NEW.run AND site = NEW.site AND patient = NEW.patient AND action = 'read') BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number)
  BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER run_keeps_who_and_what BEFORE UPDATE OF id, command, started, user ON run
  BEGIN SELECT RAISE(ABORT, 'who ran what is not changed'); END;
CREATE TRIGGER run_is_not_replaced BEFORE INSERT ON run WHEN EXISTS (SELECT 1 FROM run WHERE id = NEW.id)
  BEGIN SELECT RAISE(ABORT, 'who ran what is not changed'); END;
CREATE TRIGGER run_is_not_deleted BEFORE DELETE ON run BEGIN SELECT RAISE(ABORT, 'who ran what is not deleted'); END;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
"""
#: An export that a server prepares: its job, known before it is first asked how far it is; the files that it consists of;
#: and the patients of whom an export has brought everything, not only what changed.
_FIFTH = """
CREATE TABLE bulk_job (
  number INTEGER PRIMARY KEY AUTOINCREMENT, site TEXT NOT NULL, asked TEXT NOT NULL, since TEXT, begun TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES run,
  state TEXT NOT NULL CHECK (state IN ('asked', 'preparing', 'listed', 'taken in', 'given up', 'ended')),
  url TEXT, transaction_time TEXT, needs_token INTEGER, faults TEXT, marks TEXT NOT NULL, ended TEXT
) STRICT;
CREATE UNIQUE INDEX bulk_job_open ON bulk_job (site) WHERE state <> 'ended';
CREATE TABLE bulk_file (
  job INTEGER NOT NULL REFERENCES bulk_job, kind TEXT NOT NULL CHECK (kind IN ('output', 'deleted', 'error')),
  number INTEGER NOT NULL, type TEXT NOT NULL, url TEXT NOT NULL, expected INTEGER, name TEXT, bytes INTEGER, lines INTEGER,
  PRIMARY KEY (job, kind, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE bulk_patient (site TEXT NOT NULL, patient TEXT NOT NULL, PRIMARY KEY (site, patient)) STRICT, WITHOUT ROWID;
"""
#: What stopped a step of a site when it was last tried.
_SIXTH = """
CREATE TABLE stop (
  site TEXT NOT NULL, step TEXT NOT NULL CHECK (step IN ('pull', 'compute', 'push')), exit_code INTEGER NOT NULL, reason TEXT,
  message TEXT NOT NULL, since TEXT NOT NULL, tried TEXT NOT NULL, run INTEGER NOT NULL REFERENCES run, PRIMARY KEY (site, step)
) STRICT, WITHOUT ROWID;
"""
_MOVED = (
    ("resource", "site, type, id, version, last_updated, hash, subject, run, origin, deleted"),
    ("resource_version", "site, type, id, version, last_updated, hash, run"),
)
_ROWS_AT_A_TIME = 500


def _move_bodies(db: sqlite3.Connection) -> None:
    """The rows of the second version, with their bytes put into blocks; in order, so that one patient's stay together."""
    for table, columns in _MOVED:
        moving = db.execute(f"SELECT {columns}, body FROM {table}_before ORDER BY rowid")
        while rows := moving.fetchmany(_ROWS_AT_A_TIME):
            places = keep(db, [row[-1] for row in rows])
            values = [(*row[:-1], *place) for row, place in zip(rows, places, strict=True)]
            given = ", ".join("?" * len(values[0]))
            db.executemany(f"INSERT INTO {table} ({columns}, block, start, length) VALUES ({given})", values)
        db.execute(f"DROP TABLE {table}_before")


_MIGRATIONS: tuple[tuple[str, Callable[[sqlite3.Connection], None] | None], ...] = (
    (_FIRST, None),
    (_SECOND, None),
    (_THIRD, _move_bodies),
    (_FOURTH, None),
    (_FIFTH, None),
    (_SIXTH, None),
)
SCHEMA_VERSION = len(_MIGRATIONS)


def version(db: sqlite3.Connection) -> int:
    """The version of the tables in the file; 0 where there are none."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection) -> None:
    """Make or renew the tables, unless another process has just done so. Call it inside a transaction."""
    for statements, then in _MIGRATIONS[version(db) :]:
        for statement in statements.split(";\n"):
            db.execute(statement)
        if then is not None:
            then(db)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
