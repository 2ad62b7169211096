//! The schema of `messages.db` and its migrations. All that are pending run in one transaction with the new `user_version`.
//!
//! SQL habits: STRICT tables, NOT NULL unless absence means something, named columns in every statement.

use rusqlite::Connection;

use crate::store::error::StoreError;

/// Migration `n` brings `user_version` from `n` to `n + 1`. Never edit one that was released; append.
pub(in crate::store) const MIGRATIONS: &[&str] = &[V1, V2, super::tokens::V3];

/// The schema that this program writes.
pub(in crate::store) const NEWEST: i64 = MIGRATIONS.len() as i64;

pub(in crate::store) const V1: &str = "
-- The account itself: one row.
CREATE TABLE account (
  one             INTEGER PRIMARY KEY CHECK (one = 1),
  id              BLOB    NOT NULL,
  device          BLOB    NOT NULL,
  name            TEXT    NOT NULL,
  origin          TEXT    NOT NULL,           -- '' without a directory
  directory       TEXT    NOT NULL,           -- URL, '' without one
  uid             INTEGER NOT NULL,
  user            TEXT    NOT NULL,
  logged_in       INTEGER NOT NULL,
  created         INTEGER NOT NULL,           -- Unix ms
  recovery_hash   BLOB    NOT NULL,
  record          BLOB    NOT NULL,           -- own newest signed record
  record_seq      INTEGER NOT NULL,
  reach           BLOB    NOT NULL,           -- own newest signed reach, x'' when none
  reach_seq       INTEGER NOT NULL,
  session_counter INTEGER NOT NULL, session_confirmed INTEGER NOT NULL DEFAULT 0, -- the last session, and that of which its directory knows
  profile_version INTEGER NOT NULL,
  display_name    TEXT    NOT NULL,
  status          TEXT    NOT NULL,
  bio             TEXT    NOT NULL
) STRICT;

CREATE TABLE conversations (
  id           INTEGER PRIMARY KEY,
  conversation BLOB    NOT NULL UNIQUE,
  kind         INTEGER NOT NULL,              -- 0 direct; groups, channels and notes to oneself come
  unread       INTEGER NOT NULL DEFAULT 0,
  read_upto    INTEGER NOT NULL DEFAULT 0,    -- messages.id
  muted_until  INTEGER                        -- Unix ms
) STRICT;

-- Whoever we know a key of.
CREATE TABLE peers (
  id              INTEGER PRIMARY KEY,
  account         BLOB    NOT NULL UNIQUE,
  name            TEXT    NOT NULL,
  origin          TEXT    NOT NULL,
  trust           INTEGER NOT NULL,
  confirmed       INTEGER NOT NULL,
  record          BLOB    NOT NULL,
  record_seq      INTEGER NOT NULL,
  suite_floor     INTEGER NOT NULL DEFAULT 0, -- the best suite that it ever offered, since it was last verified
  identity_key    BLOB    NOT NULL,
  reach           BLOB    NOT NULL,
  reach_seq       INTEGER NOT NULL,
  node            BLOB    NOT NULL,           -- the reach's node id, x'' when unknown
  profile_version INTEGER NOT NULL,
  display_name    TEXT    NOT NULL,
  status          TEXT    NOT NULL,
  bio             TEXT    NOT NULL
) STRICT;
CREATE INDEX peers_by_name ON peers (name, origin);
CREATE INDEX peers_by_node ON peers (node);

-- Devices of peers, as their newest record names them. Anybody can name anybody's device in a record of their own.
-- `peer` is -1 for the account's own other devices.
CREATE TABLE peer_devices (
  device BLOB    NOT NULL,
  peer   INTEGER NOT NULL,
  key    BLOB    NOT NULL,
  proved INTEGER NOT NULL,                    -- 1: the device signed an envelope that names the peer as its account
  PRIMARY KEY (device, peer)
) STRICT, WITHOUT ROWID;
CREATE INDEX peer_devices_by_peer ON peer_devices (peer);

-- Who takes part in a conversation. `peer` is a peers.id, or -1 for the account itself.
CREATE TABLE members (
  conversation INTEGER NOT NULL REFERENCES conversations (id),
  peer         INTEGER NOT NULL,
  since        INTEGER NOT NULL,              -- Unix ms
  PRIMARY KEY (conversation, peer)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_peer ON members (peer);

-- What passed between a peer and the owner: requests, consent, and what the owner calls it.
CREATE TABLE contacts (
  peer         INTEGER PRIMARY KEY REFERENCES peers (id),
  conversation INTEGER NOT NULL UNIQUE REFERENCES conversations (id), -- the direct one
  label        TEXT    UNIQUE,
  state        INTEGER NOT NULL,              -- see store::peers::state_number
  token_given  BLOB,
  token_held   BLOB,
  request_text TEXT    NOT NULL,
  request_at   INTEGER,
  ids          BLOB    NOT NULL               -- policy::contact_ids::ContactIds
) STRICT;

-- What is shown, in the order of local commits. `sender` is a peers.id, 0 for this device, -1 for another of the account. The search index
-- and the feed rely on ids that are never used again, whatever is deleted: hence AUTOINCREMENT, whose cost was not to be
-- told from noise in benches/store.rs (both about 1.4 ms for 256 messages sent).
CREATE TABLE messages (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  msgid        BLOB    NOT NULL,
  conversation INTEGER NOT NULL,
  sender       INTEGER NOT NULL,
  stream       INTEGER NOT NULL,              -- streams_out.id if sender = 0, else streams_in.id
  seq          INTEGER NOT NULL,
  sent_at      INTEGER NOT NULL,              -- sender's clock, Unix ms
  received_at  INTEGER NOT NULL,              -- own clock, Unix ms
  flags        INTEGER NOT NULL,              -- bits 0-1 priority, 2-3 format, 4 late
  tags         TEXT    NOT NULL,              -- each followed by a line feed
  reply_to     BLOB,
  body         TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_by_msgid ON messages (msgid, sender);
CREATE INDEX messages_by_conversation ON messages (conversation, id);

CREATE TABLE search_deletions (
  n       INTEGER PRIMARY KEY AUTOINCREMENT,
  message INTEGER NOT NULL
) STRICT;

-- Own runs of sequence numbers; the newest of a conversation is in use.
CREATE TABLE streams_out (
  id           INTEGER PRIMARY KEY,
  conversation INTEGER NOT NULL,
  epoch        BLOB    NOT NULL,
  seq          INTEGER NOT NULL,              -- last one given out
  prev         BLOB    NOT NULL               -- SHA-256 of the core with it
) STRICT;
CREATE INDEX streams_out_by_conversation ON streams_out (conversation, id);

-- Cores that their recipient has not acknowledged. That of a message is made from its row in `messages`, so that its text
-- is stored once; the bytes are the same each time (`store::delivery::core`).
CREATE TABLE outbox (
  stream  INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  message INTEGER NOT NULL,                   -- messages.id; 0 for a skip
  bytes   INTEGER NOT NULL,                   -- length of the core
  prev    BLOB    NOT NULL,                   -- SHA-256 of the core before it
  core    BLOB    NOT NULL,                   -- that of a skip; x'' of a message
  PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;

-- The devices that an own stream goes to, where they are several, and what each has of it (`store::delivery::owed`).
CREATE TABLE owed (
  stream INTEGER NOT NULL,
  device BLOB    NOT NULL,
  peer   INTEGER NOT NULL,                    -- whose it is; -1: another device of the account
  has    BLOB    NOT NULL,                    -- pairs of u64be
  PRIMARY KEY (stream, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX owed_by_device ON owed (device, stream);

-- Which part of an own stream reached which state when: a row per acknowledgement, not per message.
CREATE TABLE marks (
  stream INTEGER NOT NULL,
  state  INTEGER NOT NULL,
  high   INTEGER NOT NULL,
  low    INTEGER NOT NULL,
  at     INTEGER NOT NULL,
  cause  TEXT    NOT NULL,
  PRIMARY KEY (stream, state, high)
) STRICT, WITHOUT ROWID;

-- A row per envelope that was tried.
CREATE TABLE attempts (
  id      INTEGER PRIMARY KEY,
  stream  INTEGER NOT NULL,
  low     INTEGER NOT NULL,
  high    INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  path    TEXT    NOT NULL,
  outcome TEXT    NOT NULL,                   -- sent, deposited, or the word of a Reason
  detail  TEXT    NOT NULL
) STRICT;
CREATE INDEX attempts_by_stream ON attempts (stream, high);

-- Cores outside of any chain (contact.*, receipts, profile) that wait for their acknowledgement.
CREATE TABLE signals (
  id      INTEGER PRIMARY KEY,
  contact INTEGER NOT NULL,
  kind    TEXT    NOT NULL,
  msgid   BLOB    NOT NULL,
  payload BLOB    NOT NULL,                   -- x'' for cards, which are built when they are sent
  at      INTEGER NOT NULL
) STRICT;
CREATE INDEX signals_by_contact ON signals (contact, id);

-- What was received of every foreign stream. Kept for ever: it is what makes a message visible once.
CREATE TABLE streams_in (
  id           INTEGER PRIMARY KEY,
  device       BLOB    NOT NULL,
  conversation INTEGER NOT NULL,
  epoch        BLOB    NOT NULL,
  peer         INTEGER NOT NULL,              -- whose device it is
  contiguous   INTEGER NOT NULL,
  prev         BLOB    NOT NULL,              -- SHA-256 of the core at `contiguous`
  below        BLOB    NOT NULL DEFAULT x'',  -- while a hole above it is given up, and `prev` is of the core at `shown`: that still
  ranges       BLOB    NOT NULL               -- pairs of u64be above it
) STRICT;
CREATE UNIQUE INDEX streams_in_by_key ON streams_in (device, conversation, epoch);
CREATE INDEX streams_in_by_peer ON streams_in (peer);

-- Cores whose predecessor has not come yet.
CREATE TABLE reorder_buffer (
  stream INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  core   BLOB    NOT NULL,
  PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;

-- A row per commit and type, covering the events first..=last; the feed expands it.
CREATE TABLE events (
  last  INTEGER PRIMARY KEY,
  first INTEGER NOT NULL,
  type  INTEGER NOT NULL,  -- see store::engine::numbers::kind_number
  at    INTEGER NOT NULL,
  body  BLOB    NOT NULL
) STRICT;

CREATE TABLE consumers (
  name TEXT    PRIMARY KEY,
  seq  INTEGER NOT NULL,
  at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Mailboxes, gaps, lifetimes, settings, key change.
const V2: &str = "
ALTER TABLE account ADD COLUMN read_receipts INTEGER NOT NULL DEFAULT 1;
ALTER TABLE account ADD COLUMN lifetime INTEGER;                 -- seconds that own messages live; NULL: for ever
ALTER TABLE account ADD COLUMN restored INTEGER NOT NULL DEFAULT 0; -- 1: made by restore, and new epochs are not begun yet

-- A record with another key for which no rotation vouches; `verify` may accept it.
ALTER TABLE peers ADD COLUMN rejected_record BLOB;
-- 1: something came by mailbox, and the acknowledgement has not left.
ALTER TABLE contacts ADD COLUMN ack_due INTEGER NOT NULL DEFAULT 0;

-- What labels are compared by (proto::who::label_key), and the number of the newest request (store::peers::names).
ALTER TABLE contacts ADD COLUMN label_key TEXT;
ALTER TABLE contacts ADD COLUMN handle INTEGER;
UPDATE contacts SET label_key = lower(label);
CREATE UNIQUE INDEX contacts_by_label ON contacts (label_key) WHERE label_key IS NOT NULL;
CREATE UNIQUE INDEX contacts_by_handle ON contacts (handle) WHERE handle IS NOT NULL;
CREATE UNIQUE INDEX peers_by_confirmed_name ON peers (name, origin) WHERE confirmed = 1;
-- The last handle that was given.
ALTER TABLE account ADD COLUMN handles INTEGER NOT NULL DEFAULT 0;
-- Among copies of the account: 1 takes the place of whichever its directory knows, 2 had its place taken (model::Standing).
ALTER TABLE account ADD COLUMN standing INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN preferred INTEGER NOT NULL DEFAULT 0;  -- above 0: its owner's default; the highest counts

-- The directory's newest word that the account is a member; x'' when none.
ALTER TABLE account ADD COLUMN membership BLOB NOT NULL DEFAULT x'';
-- Directories by their domain, and the identity key that each was first known by.
CREATE TABLE directory_keys (
  origin TEXT    PRIMARY KEY,
  key    BLOB    NOT NULL,
  at     INTEGER NOT NULL                     -- Unix ms
) STRICT, WITHOUT ROWID;

-- Parts of own streams that lie in a recipient's mailbox, so that they need not be put there again before `until`.
CREATE TABLE deposits (
  stream  INTEGER NOT NULL,
  device  BLOB    NOT NULL,                    -- for which of the recipient's
  high    INTEGER NOT NULL,
  low     INTEGER NOT NULL,
  at      INTEGER NOT NULL,                    -- Unix ms
  until   INTEGER NOT NULL,                    -- Unix ms
  mailbox TEXT    NOT NULL,                    -- the mailbox's URL
  number  INTEGER NOT NULL,                    -- what the mailbox counted for the contact's token
  PRIMARY KEY (stream, device, high)
) STRICT, WITHOUT ROWID;
CREATE INDEX deposits_by_mailbox ON deposits (mailbox, number);

-- The highest number that a mailbox has counted for a contact's token: one that counts from further down was restored.
CREATE TABLE mailboxes (
  url     TEXT    NOT NULL,
  contact INTEGER NOT NULL,
  token   BLOB    NOT NULL,
  highest INTEGER NOT NULL,
  PRIMARY KEY (url, contact)
) STRICT, WITHOUT ROWID;

-- Until when (Unix ms) a signal lies in the recipient's mailbox; 0: it does not.
ALTER TABLE signals ADD COLUMN deposited_until INTEGER NOT NULL DEFAULT 0;
-- When a signal is given up (Unix s, by the agreed clock); below 0: the seconds that it has, and nothing was counted yet.
ALTER TABLE signals ADD COLUMN expires INTEGER NOT NULL DEFAULT -2592000;
CREATE INDEX signals_by_expiry ON signals (expires);
-- Why the last request of ours ended without an answer; '' if it did not.
ALTER TABLE contacts ADD COLUMN request_end TEXT NOT NULL DEFAULT '';
-- 1: its directory has said twice that it knows no such account, and nothing was heard of it since.
ALTER TABLE peers ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;

-- Own messages that end by themselves if they are not delivered by then (Unix s, by the agreed clock).
CREATE TABLE lifetimes (
  stream  INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX lifetimes_by_expiry ON lifetimes (expires);

-- Up to here everything of the stream is shown, or was given up as a gap; what comes below it is late.
ALTER TABLE streams_in ADD COLUMN shown INTEGER NOT NULL DEFAULT 0;
-- `prev` is the hash of the core there; without holes it is where `contiguous` is.
UPDATE streams_in SET shown = contiguous;
-- When the last hole below `shown` was given up (Unix ms).
ALTER TABLE streams_in ADD COLUMN given_up INTEGER NOT NULL DEFAULT 0;
-- 1: a number of it came again with another message.
ALTER TABLE streams_in ADD COLUMN reused INTEGER NOT NULL DEFAULT 0;
-- When it came (Unix ms).
ALTER TABLE reorder_buffer ADD COLUMN at INTEGER NOT NULL DEFAULT 0;

-- How often which event was tried; counted before the attempt.
ALTER TABLE consumers ADD COLUMN tried INTEGER NOT NULL DEFAULT 0;
ALTER TABLE consumers ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
-- Events that a consumer gave up.
CREATE TABLE dead_letters (
  consumer TEXT    NOT NULL,
  seq      INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  reason   TEXT    NOT NULL,
  PRIMARY KEY (consumer, seq)
) STRICT, WITHOUT ROWID;
-- By their numbers: what a contact names must not be searched for in all of history.
CREATE INDEX messages_by_place ON messages (stream, seq);
CREATE INDEX streams_out_by_epoch ON streams_out (conversation, epoch);
-- Marks that lie side by side become one: which part of it was when (store::prune); x'' for a mark of one moment.
ALTER TABLE marks ADD COLUMN runs BLOB NOT NULL DEFAULT x'';
-- Attempts of which nothing waits any more, many in a row.
CREATE TABLE packs (
  id     INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  high   INTEGER NOT NULL,
  low    INTEGER NOT NULL,
  body   BLOB    NOT NULL
) STRICT;
CREATE INDEX packs_by_stream ON packs (stream, high);
-- Every acknowledgement looks for these, and must not walk over what waits.
CREATE INDEX outbox_skips ON outbox (stream, seq) WHERE message = 0;

-- Numbers of foreign streams, the newest 4,096 of each, that were taken by something that made no row of `messages`.
CREATE TABLE unseen (
  stream INTEGER NOT NULL,                    -- streams_in.id
  seq    INTEGER NOT NULL,
  msgid  BLOB    NOT NULL,
  PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;

-- What each contact has cost (store::peers::usage); `day` is that of the counts that are of a day.
CREATE TABLE usage (
  contact      INTEGER PRIMARY KEY,
  day          INTEGER NOT NULL,              -- days since the Unix epoch
  messages     INTEGER NOT NULL,
  bytes        INTEGER NOT NULL,
  all_messages INTEGER NOT NULL,
  all_bytes    INTEGER NOT NULL,
  epochs       INTEGER NOT NULL,
  renewals     INTEGER NOT NULL,
  rewritten    INTEGER NOT NULL,
  owed         INTEGER NOT NULL,              -- 1: a new epoch of ours, which the budget of the day did not allow
  told         INTEGER NOT NULL,              -- 1: its owner knows that its quota is used up
  held         INTEGER NOT NULL,
  held_bytes   INTEGER NOT NULL
) STRICT;

-- Invites that are out, and those that were used until their time is over (store::contacts::invites).
CREATE TABLE invites (
  hash    BLOB    PRIMARY KEY,                -- SHA-256 of the token, which is stored nowhere
  created INTEGER NOT NULL, expires INTEGER NOT NULL, -- Unix ms
  label   TEXT,                               -- what whoever uses it is called
  used_by INTEGER                             -- peers.id
) STRICT, WITHOUT ROWID;
-- The token of the invite by which the owner asks, until it is answered.
ALTER TABLE contacts ADD COLUMN invite BLOB;
";

/// Brings the schema from version `found` up to date: all pending migrations in one transaction.
///
/// # Errors
/// When it fails, nothing is changed.
pub(in crate::store) fn migrate(conn: &mut Connection, found: i64) -> Result<(), StoreError> {
    let tx = conn.transaction()?;
    for sql in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        tx.execute_batch(sql)?;
    }
    tx.pragma_update(None, "user_version", NEWEST)?;
    proto::fault::point("store.upgrade.commit");
    tx.commit()?;
    Ok(())
}
