//! The store of one side over a database in memory: transactions that are cut short, copies of the disk, disks that go back.

use std::collections::BTreeSet;

use proto::ids::{DeviceId, MessageId};
use proto::time::Timestamp;
use rusqlite::{Connection, params};

use crate::model::ids::PeerId;
use crate::model::{AccountRow, Format, Priority};
use crate::policy::limits::Retention;
use crate::store::account::{self, NewAccount};
use crate::store::engine::cache::Cache;
use crate::store::engine::schema;
use crate::store::engine::tx::Tx;
use crate::store::engine::writer::newest_message;
use crate::store::error::StoreError;
use crate::store::log::outgoing::NewMessage;
use crate::store::log::recovery::{RESTORED, epochs};
use crate::store::log::reorder::{self, holes};
use crate::store::peers::{NewContact, trust};
use crate::store::prune::{self, Progress};

/// What a run changes, and a copy of the disk holds.
const TABLES: [&str; 23] = [
    "packs",
    "usage",
    "unseen",
    "messages",
    "streams_out",
    "outbox",
    "owed",
    "marks",
    "attempts",
    "signals",
    "streams_in",
    "reorder_buffer",
    "events",
    "deposits",
    "mailboxes",
    "lifetimes",
    "account",
    "conversations",
    "members",
    "peers",
    "peer_devices",
    "contacts",
    "sqlite_sequence",
];

/// An operation that may be lost in a crash.
pub(crate) type Note = Box<dyn FnOnce(&mut Tx<'_>) -> Result<(), StoreError>>;

/// See the module.
pub(crate) struct Memory {
    conn: Connection,
    cache: Cache,
    head: u64,
    /// The newest message when the process began.
    opened_with: i64,
    pub has_copy: bool,
    /// Transactions so far: now and then the disk is pruned before one.
    count: u64,
    /// What the next transaction writes down.
    pub notes: Vec<Note>,
    /// For whom something changed.
    pub dirty: BTreeSet<PeerId>,
    /// The other side, who is a contact from the beginning.
    pub peer: PeerId,
}

impl Memory {
    /// The store of `row`, whose only contact gave it `token`.
    pub fn new(row: AccountRow, record: Vec<u8>, contact: &NewContact, token: [u8; 32]) -> Self {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.set_prepared_statement_cache_capacity(512);
        // Tables are emptied and filled one after the other.
        conn.pragma_update(None, "foreign_keys", false).unwrap();
        schema::migrate(&mut conn, 0).unwrap();
        let new = NewAccount {
            row,
            recovery_hash: [0; 32],
            record,
            record_seq: 1,
            display_name: String::new(),
            directory_key: None,
        };
        account::insert(&conn, &new).unwrap();
        let mut memory = Self {
            conn,
            cache: Cache::default(),
            head: 0,
            opened_with: 0,
            has_copy: false,
            count: 0,
            notes: Vec::new(),
            dirty: BTreeSet::new(),
            peer: PeerId(0),
        };
        // A number that no conversation has: none is to be taken for the other.
        memory.run("INSERT INTO conversations (id, conversation, kind) VALUES (100, x'00', 0)");
        memory.peer = memory.tx(0, |tx| {
            let peer = trust::upsert_contact(tx, contact)?;
            tx.conn
                .execute("UPDATE contacts SET state = 16, token_held = ?2 WHERE peer = ?1", params![peer, &token])?;
            Ok(peer)
        });
        memory.run("DELETE FROM conversations WHERE id = 100");
        // What it starts from, and a copy of it as of some moment.
        for place in ["begin", "copy"] {
            memory.conn.execute_batch(&format!("ATTACH ':memory:' AS {place}")).unwrap();
            for table in TABLES {
                let make = format!("CREATE TABLE {place}.c_{table} AS SELECT * FROM main.{table}");
                memory.conn.execute_batch(&make).unwrap();
            }
        }
        memory
    }

    /// Everything as in the beginning.
    pub fn reset(&mut self) {
        self.take_from("begin");
        (self.has_copy, self.count) = (false, 0);
        self.run("INSERT OR IGNORE INTO sqlite_sequence (name, seq) VALUES ('messages', 0)");
    }

    fn run(&self, sql: &str) {
        self.conn.prepare_cached(sql).unwrap().execute([]).unwrap();
    }

    fn take_from(&mut self, place: &str) {
        let sql = self.conn.unchecked_transaction().unwrap();
        for table in TABLES {
            self.run(&format!("DELETE FROM main.{table}"));
            self.run(&format!("INSERT INTO main.{table} SELECT * FROM {place}.c_{table}"));
        }
        sql.commit().unwrap();
        self.crash();
        self.head = self.number("SELECT coalesce(max(last), 0) FROM events") as u64;
    }

    /// Keeps a copy of the disk.
    pub fn copy(&mut self) {
        let sql = self.conn.unchecked_transaction().unwrap();
        for table in TABLES {
            self.run(&format!("DELETE FROM copy.c_{table}"));
            self.run(&format!("INSERT INTO copy.c_{table} SELECT * FROM main.{table}"));
        }
        sql.commit().unwrap();
        self.has_copy = true;
    }

    /// The disk is what it was. A restore makes a new device and begins new epochs before it goes online; a disk that was
    /// rolled back knows nothing of it. The own record is the newest: the daemon writes it again.
    pub fn go_back(&mut self, now: i64, restored_as: Option<DeviceId>, (record, seq): (&[u8], u64)) {
        self.take_from("copy");
        if let Some(device) = restored_as {
            self.conn.prepare_cached("UPDATE account SET device = ?1").unwrap().execute([device.as_bytes()]).unwrap();
            self.cache = Cache::default();
        }
        self.tx(now, |tx| {
            account::set_own_record(tx, record, seq)?;
            if restored_as.is_some() {
                epochs::begin_epochs(tx, RESTORED)?;
            }
            Ok(())
        });
    }

    pub fn number(&self, sql: &str) -> i64 {
        self.conn.prepare_cached(sql).unwrap().query_row([], |row| row.get(0)).unwrap()
    }

    /// Rows that were changed so far, whatever became of the transaction.
    pub fn changes(&self) -> u64 {
        self.conn.total_changes()
    }

    /// The process ends: what was not committed is gone.
    pub fn crash(&mut self) {
        self.opened_with = newest_message(&self.conn).unwrap();
        self.cache = Cache::default();
        self.notes.clear();
        self.dirty.clear();
    }

    /// Runs an operation in a transaction of its own.
    pub fn tx<T>(&mut self, now: i64, op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>) -> T {
        self.count += 1;
        let (notes, count) = (std::mem::take(&mut self.notes), self.count);
        self.tx_alone(now, |tx| {
            notes.into_iter().try_for_each(|note| note(tx))?;
            let mut prune = count.is_multiple_of(7).then(Progress::default);
            while let Some(at) = prune {
                prune = prune::prune(tx, at, &Retention::default(), &[])?;
            }
            op(tx)
        })
    }

    /// The same for the operation alone: nothing that was noted goes with it.
    pub fn tx_alone<T>(&mut self, now: i64, op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>) -> T {
        let sql = self.conn.unchecked_transaction().unwrap();
        let mut tx = Tx::new(&sql, &mut self.cache, (self.head, self.opened_with), (false, None), Timestamp(now));
        let out = op(&mut tx).unwrap();
        let finished = tx.finish().unwrap();
        sql.commit().unwrap();
        self.head = finished.events.map_or(self.head, |batch| batch.last);
        self.dirty.extend(finished.dirty);
        out
    }

    /// The process ends in the middle of a transaction.
    pub fn crash_in<T>(&mut self, now: i64, op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>) -> T {
        let sql = self.conn.unchecked_transaction().unwrap();
        let mut tx = Tx::new(&sql, &mut self.cache, (self.head, self.opened_with), (false, None), Timestamp(now));
        let out = op(&mut tx).unwrap();
        drop(tx);
        sql.rollback().unwrap();
        self.crash();
        out
    }

    pub fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, StoreError>) -> T {
        query(&self.conn).unwrap()
    }

    /// Since when something is held behind a hole.
    pub fn hole(&self) -> Option<i64> {
        self.read(holes).first().map(|hole| hole.since.0)
    }

    /// Gives up holes whose time is over.
    pub fn give_up_gaps(&mut self, now: i64, drained: bool) {
        self.tx(now, |tx| reorder::give_up_gaps(tx, Timestamp(now), drained));
    }

    /// Own messages that ended by their lifetime, or the others.
    pub fn own_messages(&self, expired: bool) -> Vec<MessageId> {
        self.read(|conn| {
            let mut select = conn.prepare_cached(
                "SELECT msgid FROM messages m WHERE sender = 0
                 AND ?1 = EXISTS (SELECT 1 FROM marks k WHERE k.stream = m.stream AND k.state = 6
                   AND m.seq BETWEEN k.low AND k.high)",
            )?;
            let rows = select.query_map([expired], |row| row.get::<_, Vec<u8>>(0))?;
            Ok(rows.map(|id| MessageId::from_slice(&id.unwrap()).unwrap()).collect())
        })
    }

    /// All own messages.
    pub fn all_own_messages(&self) -> std::collections::HashSet<MessageId> {
        let (ended, rest) = (self.own_messages(true), self.own_messages(false));
        ended.into_iter().chain(rest).collect()
    }

    /// Messages of the other that were shown after a local number: number, id, flags.
    pub fn shown_after(&self, row: i64) -> Vec<(i64, MessageId, i64)> {
        self.read(|conn| {
            let mut select =
                conn.prepare_cached("SELECT id, msgid, flags FROM messages WHERE sender <> 0 AND id > ?1 ORDER BY id")?;
            let rows = select.query_map([row], |r| Ok((r.get(0)?, r.get::<_, Vec<u8>>(1)?, r.get(2)?)))?;
            let rows = rows.map(Result::unwrap);
            Ok(rows.map(|(id, msgid, flags)| (id, MessageId::from_slice(&msgid).unwrap(), flags)).collect())
        })
    }
}

/// A message of a number.
pub(crate) fn message(number: u64, expires: Option<i64>) -> NewMessage {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    NewMessage {
        id: MessageId(id),
        body: "hello".to_owned(),
        format: Format::Plain,
        priority: Priority::Normal,
        tags: Vec::new(),
        reply_to: None,
        expires,
    }
}
