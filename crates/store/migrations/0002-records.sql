-- Private state that no snapshot shows: hashed credentials, sealed keys, what files own of a document.
CREATE TABLE record (
  collection TEXT NOT NULL,
  key        TEXT NOT NULL,
  value      TEXT NOT NULL CHECK (json_valid(value)),
  keep_until INTEGER,
  PRIMARY KEY (collection, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_keep_until ON record (keep_until) WHERE keep_until IS NOT NULL;
