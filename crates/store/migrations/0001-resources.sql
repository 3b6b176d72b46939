-- One row: where the store is in its own history. high_water is the greatest time that was ever seen here; it only grows.
CREATE TABLE state (
  id           INTEGER PRIMARY KEY CHECK (id = 1),
  revision     INTEGER NOT NULL CHECK (revision >= 0),
  committed_at INTEGER NOT NULL,
  high_water   INTEGER NOT NULL
) STRICT;
INSERT INTO state (id, revision, committed_at, high_water) VALUES (1, 0, 0, 0);

-- The directory: one document a row, as JSON. Times everywhere are microseconds since the Unix epoch.
CREATE TABLE resource (
  kind     TEXT NOT NULL,
  name     TEXT NOT NULL,
  uid      TEXT NOT NULL,
  revision INTEGER NOT NULL,
  document TEXT NOT NULL CHECK (json_valid(document)),
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX resource_uid ON resource (kind, uid);

-- Which documents each revision touched.
CREATE TABLE change (
  revision  INTEGER NOT NULL,
  kind      TEXT NOT NULL,
  name      TEXT NOT NULL,
  operation TEXT NOT NULL CHECK (operation IN ('put', 'delete')),
  at        INTEGER NOT NULL,
  PRIMARY KEY (revision, kind, name)
) STRICT, WITHOUT ROWID;
