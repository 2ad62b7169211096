//! The tables of tokens: the third migration.

pub(in crate::store) const V3: &str = "
-- Tokens by which others act for the account. What is granted never changes.
CREATE TABLE tokens (
  id           INTEGER PRIMARY KEY,
  name         TEXT    NOT NULL,
  hash         BLOB    NOT NULL,              -- SHA-256; x'' once it has ended
  scopes       INTEGER NOT NULL,              -- 1 read, 2 send, 4 contacts, 8 admin
  confined     INTEGER NOT NULL,              -- 1 reads some conversations only, 2 sends to some only
  rate         INTEGER NOT NULL,              -- 0: without a limit
  rate_seconds INTEGER NOT NULL,
  made_by      INTEGER NOT NULL,              -- uid
  created      INTEGER NOT NULL,              -- Unix ms
  expires      INTEGER,                       -- Unix ms
  used         INTEGER,                       -- Unix ms
  ended        INTEGER,                       -- Unix ms
  expired      INTEGER NOT NULL DEFAULT 0     -- 1: by itself, 0: revoked
) STRICT;
CREATE UNIQUE INDEX tokens_in_force ON tokens (name) WHERE ended IS NULL;

-- With whom a token reads (1) and to whom it sends (2), by their accounts: names and labels may change hands.
CREATE TABLE token_people (
  token   INTEGER NOT NULL,
  may     INTEGER NOT NULL,
  account BLOB    NOT NULL,
  PRIMARY KEY (token, may, account)
) STRICT, WITHOUT ROWID;

-- What was done with a token; the same on one day is one row.
CREATE TABLE token_log (
  id      INTEGER PRIMARY KEY,
  token   INTEGER NOT NULL,
  day     INTEGER NOT NULL,                   -- days since the Unix epoch
  method  TEXT    NOT NULL,
  account BLOB    NOT NULL,                   -- whom it was about; x'' for nobody
  uid     INTEGER NOT NULL,
  refused TEXT    NOT NULL,                   -- why; '' if it was done
  count   INTEGER NOT NULL,
  first   INTEGER NOT NULL,                   -- Unix ms
  last    INTEGER NOT NULL,
  UNIQUE (token, day, method, account, uid, refused)
) STRICT;
";
