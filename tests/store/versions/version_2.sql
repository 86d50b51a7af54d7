-- A store of version 2 as it was, with something in every table.
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
INSERT INTO setting VALUES ('drug', 'anifrolumab'), ('bytes of the last pull', '4096');
INSERT INTO run VALUES (1, 'pull', '2025-06-01T10:00:00Z', '2025-06-01T10:05:00Z', 3, 17), (2, 'sync', '2025-06-02T10:00:00Z', NULL, NULL, 18);
INSERT INTO unit VALUES
  ('leon', 'Patient/1', 'Observation?patient', 'partial', 9, 3, 2, 1, 4, 'short', '2 of 9', '{"duplicate":1}', '2025-05-31T00:00:00Z', 2, 'x', 'q1', '2025-05-30T00:00:00Z', '2025-06-02T12:00:00Z'),
  ('leon', 'Patient/1', 'Condition?patient', 'complete', NULL, 0, 0, 1, 0, NULL, NULL, '{}', '2025-06-01T00:00:00Z', 1, 'x', 'q2', '2025-06-01T00:00:00Z', NULL),
  ('leon', '', 'whole plan', 'complete', NULL, 0, 0, 0, 0, NULL, NULL, '{}', '2025-06-01T00:00:00Z', 1, 'x', '', NULL, NULL);
INSERT INTO resource VALUES
  ('leon', 'Observation', 'o1', '2', '2025-06-01T00:00:00Z', 'h2', 'Patient/1', 2, x'32', 'server', NULL),
  ('leon', 'Observation', 'o2', '1', '2025-05-01T00:00:00Z', 'h1', 'Patient/1', 1, x'31', 'server', '2025-06-02T10:00:00Z'),
  ('madrid', 'Observation', 'o1', NULL, NULL, 'h1', 'Patient/1', 1, x'31', 'file', NULL);
INSERT INTO resource_version VALUES ('leon', 'Observation', 'o1', '1', '2025-05-01T00:00:00Z', 'h1', 1, x'31');
INSERT INTO quarantine VALUES
  (1, 'leon', 'Patient/1', 'Observation?patient', 'page 1, entry 0', 'no-id', 'h', 1, x'7b7d', '2025-06-02T11:00:00Z'),
  (3, 'madrid', '', 'file: a.ndjson', 'a.ndjson:2', 'not-json', 'h', 1, x'7b', NULL),
  (9, 'madrid', '', 'file: a.ndjson', 'a.ndjson:3', 'not-json', 'h', 1, x'7b', NULL);
DELETE FROM quarantine WHERE number = 9;
INSERT INTO case_document VALUES ('leon', 'Patient/1', 'f', 'case', 1, x'7b7d');
INSERT INTO finding VALUES ('leon', 'Patient/1', 'no_unit', 'warning', 'Observation/o1', NULL, 'left out');
INSERT INTO outcome VALUES ('leon', 'Patient/1', 'ck', '', x'7b7d');
INSERT INTO push VALUES
  ('leon', 'k1', 'Patient/1', 'ck', '', 'confirmed', 'Observation/7', '1', 'h', NULL, x'7b7d', 1, 'x'),
  ('leon', 'k2', 'Patient/1', 'ck', 'week_4', 'sending', NULL, NULL, 'h', NULL, x'7b7d', 2, 'x'),
  ('leon', 'k3', 'Patient/1', 'ck', 'week_8', 'conflict', 'Observation/8', '2', 'h', 'changed by someone else', x'7b7d', 2, 'x');
INSERT INTO cohort_member VALUES ('leon', 'Patient/1', 1, NULL), ('leon', 'Patient/2', 1, '2025-06-02T10:00:00Z');
INSERT INTO server_fact VALUES ('leon', 'batch', 'no', '2025-06-01T10:00:00Z');
PRAGMA user_version = 2;
