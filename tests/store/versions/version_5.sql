-- A store of version 5 as it was, with something in every table.
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
DROP TABLE resource_before;
DROP TABLE resource_version_before;
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
INSERT INTO setting VALUES ('drug', 'anifrolumab'), ('bytes of the last pull', '4096');
INSERT INTO run VALUES (1, 'pull', '2025-06-01T10:00:00Z', '2025-06-01T10:05:00Z', 3, 17, 'ana'), (2, 'sync', '2025-06-02T10:00:00Z', NULL, NULL, 18, '');
INSERT INTO unit VALUES
  ('leon', 'Patient/1', 'Observation?patient', 'partial', 9, 3, 2, 1, 4, 'short', '2 of 9', '{"duplicate":1}', '2025-05-31T00:00:00Z', 2, 'x', 'q1', '2025-05-30T00:00:00Z', '2025-06-02T12:00:00Z'),
  ('leon', 'Patient/1', 'Condition?patient', 'complete', NULL, 0, 0, 1, 0, NULL, NULL, '{}', '2025-06-01T00:00:00Z', 1, 'x', 'q2', '2025-06-01T00:00:00Z', NULL),
  ('leon', '', 'whole plan', 'complete', NULL, 0, 0, 0, 0, NULL, NULL, '{}', '2025-06-01T00:00:00Z', 1, 'x', '', NULL, NULL);
INSERT INTO block VALUES (7, x'28b52ffd20509d0100b4027b227265736f7572636554797065223a224f62736572766174696f6e222c226964223a226f31227d32227d0100b01e5506');
INSERT INTO resource VALUES
  ('leon', 'Observation', 'o1', '2', '2025-06-01T00:00:00Z', 'h2', 'Patient/1', 2, 'server', NULL, 7, 0, 40),
  ('leon', 'Observation', 'o2', '1', '2025-05-01T00:00:00Z', 'h1', 'Patient/1', 1, 'server', '2025-06-02T10:00:00Z', 7, 40, 40),
  ('madrid', 'Observation', 'o1', NULL, NULL, 'h1', 'Patient/1', 1, 'file', NULL, 7, 0, 40);
INSERT INTO resource_version VALUES ('leon', 'Observation', 'o1', '1', '2025-05-01T00:00:00Z', 'h1', 1, 7, 0, 40);
INSERT INTO query_mark VALUES ('leon', 'Condition?patient', '2025-06-02T00:00:00Z', 2);
INSERT INTO quarantine VALUES
  (1, 'leon', 'Patient/1', 'Observation?patient', 'page 1, entry 0', 'no-id', 'h', 1, x'7b7d', '2025-06-02T11:00:00Z'),
  (3, 'madrid', '', 'file: a.ndjson', 'a.ndjson:2', 'not-json', 'h', 1, x'7b', NULL),
  (9, 'madrid', '', 'file: a.ndjson', 'a.ndjson:3', 'not-json', 'h', 1, x'7b', NULL);
DELETE FROM quarantine WHERE number = 9;
INSERT INTO case_document VALUES ('leon', 'Patient/1', 'f', 'case', 1, x'7b7d');
INSERT INTO finding VALUES ('leon', 'Patient/1', 'no_unit', 'warning', 'Observation/o1', NULL, 'left out');
INSERT INTO outcome VALUES ('leon', 'Patient/1', 'ck', '', x'7b7d');
INSERT INTO transmission VALUES
  (1, 'leon', 1, '2025-06-01T10:04:00Z', 'CREATE', 'documented', 'Provenance/3'), (4, 'leon', 2, '2025-06-02T10:01:00Z', 'UPDATE', 'sending', NULL);
INSERT INTO push VALUES
  ('leon', 'k1', 'Patient/1', 'ck', '', 'confirmed', 'Observation/7', '1', 'h', NULL, x'7b7d', 1, 'x', 'm1', 1),
  ('leon', 'k2', 'Patient/1', 'ck', 'week_4', 'sending', NULL, NULL, 'h', NULL, x'7b7d', 2, 'x', 'm2', 4),
  ('leon', 'k3', 'Patient/1', 'ck', 'week_8', 'conflict', 'Observation/8', '2', 'h', 'changed by someone else', x'7b7d', 2, 'x', '', NULL),
  ('leon', 'k4', 'Patient/1', 'tis', 'week_8', 'blocked', NULL, NULL, 'h', 'no id', x'7b7d', 2, 'x', 'm4', NULL);
INSERT INTO audit VALUES
  (1, '2025-06-01T10:01:00Z', 1, 'ana', 'pull', 'leon', 'read', 'Patient/1', ''),
  (2, '2025-06-02T10:02:00Z', NULL, 'ben', 'explain', 'leon', 'explain', 'Patient/1', 'ck');
INSERT INTO cohort_member VALUES ('leon', 'Patient/1', 1, NULL), ('leon', 'Patient/2', 1, '2025-06-02T10:00:00Z');
INSERT INTO server_fact VALUES ('leon', 'batch', 'no', '2025-06-01T10:00:00Z');
INSERT INTO bulk_job VALUES
  (1, 'leon', 'q1', NULL, '2025-06-01T10:00:00Z', 1, 'ended', 'https://leon.test/job/1', '2025-06-01T10:00:00Z', 0, NULL, '{}', '2025-06-01T10:04:00Z'),
  (3, 'leon', 'q1', '2025-06-01T10:00:00Z', '2025-06-02T10:00:00Z', 2, 'listed', 'https://leon.test/job/3', '2025-06-02T10:00:00Z', 1, '["x"]', '{"a":"b"}', NULL);
INSERT INTO bulk_file VALUES
  (3, 'output', 0, 'Patient', 'https://leon.test/file/1', 2, '3-output-0.ndjson', 120, 2),
  (3, 'error', 0, 'OperationOutcome', 'https://leon.test/file/2', NULL, NULL, NULL, NULL);
INSERT INTO bulk_patient VALUES ('leon', 'Patient/1');
PRAGMA user_version = 5;
