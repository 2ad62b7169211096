//! One side: the real store over a database in memory, and what a daemon forgets when it ends.

use proto::ids::{AccountId, ConversationId, DeviceId, MessageId};
use proto::time::Timestamp;
use proto::wire::envelope::{AckEntry, Core};
use rusqlite::{Connection, params};

use crate::model::ids::{ConversationRow, OutStreamRow, PeerDevice, PeerId};
use crate::model::{AccountRow, Format, Priority};
use crate::store::account::{self, NewAccount};
use crate::store::delivery::attempts::{self, AttemptNote};
use crate::store::engine::cache::Cache;
use crate::store::engine::schema;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::outgoing::NewMessage;
use crate::store::log::recovery::{RESTORED, epochs};
use crate::store::log::taking::Received;
use crate::store::log::told::resume_entries;
use crate::store::log::{ack_filter, acks, incoming};
use crate::store::prune::{self, Progress};

/// The only contact.
pub const CONTACT: PeerId = PeerId(1);

/// Its device, whichever it is: it has one alone.
const THEIRS: PeerDevice = PeerDevice { peer: CONTACT, device: DeviceId([0; 16]) };

/// The conversation with it: of another number, so that none is taken for the other.
const DIRECT: ConversationRow = ConversationRow(101);

/// What a run changes, and a copy of the disk holds.
const TABLES: [&str; 21] = [
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
    "held",
    "events",
    "deposits",
    "mailboxes",
    "lifetimes",
    "account",
    "conversations",
    "peers",
    "contacts",
    "sqlite_sequence",
];

pub struct Node {
    conn: Connection,
    cache: Cache,
    head: u64,
    pub device: DeviceId,
    pub has_copy: bool,
    /// Transactions so far: now and then the disk is pruned before one.
    count: u64,
    /// What a crash takes.
    pub life: Life,
}

/// What is in memory only.
#[derive(Default)]
pub struct Life {
    /// The directory counted this session, and we heeded it.
    pub session: bool,
    /// The other's resume was heard on this link.
    pub ready: bool,
    pub cursor: (OutStreamRow, u64),
    /// Attempts that the next transaction writes down.
    pub notes: Vec<AttemptNote>,
    /// The own mailbox was empty in this session.
    pub drained: bool,
}

pub fn device(number: u64) -> DeviceId {
    let mut id = [0xd0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    DeviceId(id)
}

impl Node {
    pub fn new(own: AccountId, peer: AccountId, name: &str) -> Self {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.set_prepared_statement_cache_capacity(512);
        // Tables are emptied and filled one after the other.
        conn.pragma_update(None, "foreign_keys", false).unwrap();
        schema::migrate(&mut conn, 0).unwrap();
        let row = AccountRow {
            id: own,
            device: device(0),
            name: name.to_owned(),
            origin: "example.org".to_owned(),
            directory: "http://127.0.0.1:7470".to_owned(),
            uid: 1_000,
            user: name.to_owned(),
            logged_in: true,
            preferred: 0,
            standing: Default::default(),
        };
        let (recovery_hash, record, display_name) = ([0; 32], vec![0], String::new());
        account::insert(
            &conn,
            &NewAccount { row, recovery_hash, record, record_seq: 1, display_name, directory_key: None },
        )
        .unwrap();
        conn.execute(
            "INSERT INTO conversations (id, conversation, kind) VALUES (?1, ?2, 0)",
            params![DIRECT, ConversationId::direct(own, peer).as_bytes()],
        )
        .unwrap();
        conn.execute(
            "INSERT INTO peers (id, account, name, origin, trust, confirmed, record, record_seq, identity_key, reach,
               reach_seq, node, profile_version, display_name, status, bio)
             VALUES (?1, ?2, 'peer', 'example.org', 0, 1, x'', 1, zeroblob(32), x'', 0, x'', 0, '', '', '')",
            params![CONTACT, peer.as_bytes()],
        )
        .unwrap();
        conn.execute(
            "INSERT INTO contacts (peer, conversation, state, request_text, ids) VALUES (?1, ?2, 16, '', zeroblob(64))",
            params![CONTACT, DIRECT],
        )
        .unwrap();
        // What it starts from, and a copy of it as of some moment.
        for place in ["begin", "copy"] {
            conn.execute_batch(&format!("ATTACH ':memory:' AS {place}")).unwrap();
            for table in TABLES {
                conn.execute_batch(&format!("CREATE TABLE {place}.c_{table} AS SELECT * FROM main.{table}")).unwrap();
            }
        }
        Self {
            conn,
            cache: Cache::default(),
            head: 0,
            device: device(0),
            has_copy: false,
            count: 0,
            life: Life::default(),
        }
    }

    /// Everything as in the beginning, with a device of its own.
    pub fn reset(&mut self, device: DeviceId) {
        self.take_from("begin");
        self.set_device(device);
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
        self.cache = Cache::default();
        self.life = Life::default();
        self.head = self.number("SELECT coalesce(max(last), 0) FROM events") as u64;
        // A disk that goes back is that of the device that it was.
        let own: Vec<u8> = self.read(|conn| Ok(conn.query_row("SELECT device FROM account", [], |row| row.get(0))?));
        self.device = DeviceId::from_slice(&own).unwrap();
    }

    fn set_device(&mut self, device: DeviceId) {
        self.device = device;
        self.conn.prepare_cached("UPDATE account SET device = ?1").unwrap().execute([device.as_bytes()]).unwrap();
        self.cache = Cache::default();
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
    /// rolled back knows nothing of it.
    pub fn go_back(&mut self, now: i64, restored_as: Option<DeviceId>) {
        self.take_from("copy");
        if let Some(device) = restored_as {
            self.set_device(device);
            self.tx(now, |tx| epochs::begin_epochs(tx, RESTORED));
        }
    }

    pub fn number(&self, sql: &str) -> i64 {
        self.conn.prepare_cached(sql).unwrap().query_row([], |row| row.get(0)).unwrap()
    }

    /// The process ends: what was not committed is gone.
    pub fn crash(&mut self) {
        self.cache = Cache::default();
        self.life = Life::default();
    }

    /// Runs an operation in a transaction of its own.
    pub fn tx<T>(&mut self, now: i64, op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>) -> T {
        let sql = self.conn.unchecked_transaction().unwrap();
        let mut tx = Tx::new(&sql, &mut self.cache, self.head, (false, false), Timestamp(now));
        for note in self.life.notes.drain(..) {
            attempts::attempt(&mut tx, CONTACT, &note).unwrap();
        }
        self.count += 1;
        let mut prune = self.count.is_multiple_of(7).then(Progress::default);
        while let Some(at) = prune {
            prune = prune::prune(&mut tx, at, &[]).unwrap();
        }
        let out = op(&mut tx).unwrap();
        let finished = tx.finish().unwrap();
        sql.commit().unwrap();
        self.head = finished.events.map_or(self.head, |batch| batch.last);
        out
    }

    /// Takes an acknowledgement as delivery does: what cannot change anything never comes to the store, and would change
    /// nothing.
    pub fn acknowledged(&mut self, now: i64, entries: &[AckEntry]) {
        // What was noted before comes first.
        self.tx(now, |_| Ok(()));
        let device = self.device;
        let changes = self.read(|conn| ack_filter::would_change(conn, THEIRS, device, entries, Timestamp(now)));
        let before = self.conn.total_changes();
        let sql = self.conn.unchecked_transaction().unwrap();
        let mut tx = Tx::new(&sql, &mut self.cache, self.head, (false, false), Timestamp(now));
        acks::acknowledged(&mut tx, THEIRS, entries).unwrap();
        let finished = tx.finish().unwrap();
        sql.commit().unwrap();
        self.head = finished.events.map_or(self.head, |batch| batch.last);
        assert!(changes || self.conn.total_changes() == before, "left out, though it changes something: {entries:?}");
    }

    /// The process ends in the middle of a transaction.
    pub fn crash_in<T>(&mut self, now: i64, op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>) {
        let sql = self.conn.unchecked_transaction().unwrap();
        let mut tx = Tx::new(&sql, &mut self.cache, self.head, (false, false), Timestamp(now));
        drop(op(&mut tx).unwrap());
        drop(tx);
        sql.rollback().unwrap();
        self.crash();
    }

    pub fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, StoreError>) -> T {
        query(&self.conn).unwrap()
    }

    pub fn entries(&self, of: DeviceId) -> Vec<AckEntry> {
        self.read(|conn| resume_entries(conn, CONTACT, of))
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

/// Takes acknowledgements and cores as an inbox does.
pub fn receive(tx: &mut Tx<'_>, acks: &[AckEntry], cores: &[Vec<u8>]) -> Result<Received, StoreError> {
    epochs::heed_mailed(tx, CONTACT, acks)?;
    acks::acknowledged(tx, THEIRS, acks)?;
    let list: Vec<(&[u8], Core<'_>)> =
        cores.iter().map(|bytes| (bytes.as_slice(), Core::decode(bytes).unwrap())).collect();
    let refs: Vec<(&[u8], &Core<'_>)> = list.iter().map(|(bytes, core)| (*bytes, core)).collect();
    if refs.is_empty() { Ok(Received::default()) } else { incoming::receive(tx, CONTACT, &refs, &Default::default()) }
}

pub fn message(number: u64, expires: Option<i64>) -> NewMessage {
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
