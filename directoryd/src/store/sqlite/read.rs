//! Reading: the fill of the index at the start, and the connections that only read.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use proto::directory::{SignedReach, SignedRecord};
use proto::ids::{AccountId, DeviceId, sha256};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::Semaphore;

use super::super::rules::mailbox::signed;
use super::super::{OpenError, StoreError};
use super::schema;
use crate::cluster::index::{Change, Entry, Index};
use crate::cluster::uptime::Uptime;

/// Reading connections: more would only wait for the two cores that a small directory has.
const READERS: usize = 4;
/// Accounts that are put into the index at once.
const LOAD_CHUNK: usize = 1_000;

/// A pool of connections that cannot write, used on tokio's blocking threads.
#[derive(Debug, Clone)]
pub struct Readers {
    free: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    uptime: Arc<Uptime>,
}

/// Envelopes of a mailbox, in the order of their numbers.
#[derive(Debug, Default)]
pub struct Mail {
    /// Number and exact bytes.
    pub envelopes: Vec<(u64, Vec<u8>)>,
    /// Whether there was one that did not fit any more.
    pub more: bool,
}

impl Readers {
    pub(in crate::store) fn open(path: &Path, uptime: Arc<Uptime>) -> Result<Self, OpenError> {
        let connections = (0..READERS)
            .map(|_| schema::open_reader(path))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
        Ok(Self { free: Arc::new(Mutex::new(connections)), permits: Arc::new(Semaphore::new(READERS)), uptime })
    }

    /// The exact bytes of an account's record.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn record(&self, account: AccountId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT record FROM accounts WHERE account = ?1")?
                .query_row(params![account.0], |row| row.get(0))
                .optional()
        })
        .await
    }

    /// The exact bytes of the reach of each of an account's devices.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reach(&self, account: AccountId) -> Result<Vec<Vec<u8>>, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT reach FROM reach WHERE account = ?1 ORDER BY device")?
                .query_map(params![account.0], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// For each pair, whether the account honours that token.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn honours(&self, pairs: Vec<(AccountId, [u8; 32])>) -> Result<Vec<bool>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT 1 FROM tokens WHERE account = ?1 AND hash = ?2")?;
            pairs.iter().map(|(account, hash)| query.exists(params![account.0, hash])).collect()
        })
        .await
    }

    /// The highest number that lies in the mailbox for a device.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_mail(&self, account: AccountId, device: DeviceId) -> Result<Option<u64>, StoreError> {
        let now = signed(self.uptime.now());
        self.read(move |db| {
            db.prepare_cached(
                "SELECT number FROM mailbox WHERE account = ?1 AND device = ?2 AND expires > ?3
                 ORDER BY number DESC LIMIT 1",
            )?
            .query_row(params![account.0, device.0, now], |row| row.get::<_, i64>(0))
            .optional()
            .map(|number| number.map(i64::unsigned_abs))
        })
        .await
    }

    /// What lies in the mailbox for a device with numbers above `after`, without those in `except`: at most `count`, and
    /// at most `bytes` of them unless it is one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn mail(
        &self,
        (account, device): (AccountId, DeviceId),
        after: u64,
        except: HashSet<u64>,
        (count, bytes): (usize, usize),
    ) -> Result<Mail, StoreError> {
        let now = signed(self.uptime.now());
        self.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT number, size, hash, envelope FROM mailbox
                 WHERE account = ?1 AND device = ?2 AND number > ?3 AND expires > ?4 ORDER BY number",
            )?;
            let mut rows = query.query(params![account.0, device.0, signed(after), now])?;
            let mut mail = Mail::default();
            let mut taken = 0usize;
            while let Some(row) = rows.next()? {
                let number = row.get::<_, i64>(0)?.unsigned_abs();
                if except.contains(&number) {
                    continue;
                }
                let size = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(usize::MAX);
                let fits = mail.envelopes.is_empty() || taken.saturating_add(size) <= bytes;
                if mail.envelopes.len() == count || !fits {
                    mail.more = true;
                    break;
                }
                let envelope: Vec<u8> = row.get(3)?;
                if row.get::<_, [u8; 32]>(2)? != sha256(&[&envelope]) {
                    // SQLite does not notice a flipped bit. What was not deposited is not handed out as if it was.
                    tracing::error!(
                        number,
                        "an envelope is damaged on the disk; it is left out, and its sender sends it again"
                    );
                    continue;
                }
                taken = taken.saturating_add(size);
                mail.envelopes.push((number, envelope));
            }
            Ok(mail)
        })
        .await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn alive(&self) -> Result<(), StoreError> {
        self.read(|db| db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))).await
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let unavailable = |reason: String| StoreError::Unavailable(reason);
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|e| unavailable(e.to_string()))?;
        let free = Arc::clone(&self.free);
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = connection.ok_or(rusqlite::Error::InvalidQuery)?;
            let answer = query(&connection);
            free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer
        })
        .await;
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }
}

/// Puts everything that lookups need into the index.
pub(in crate::store) fn load(db: &Connection, index: &Index, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
    let mut query = db.prepare("SELECT record FROM accounts").map_err(failed)?;
    let mut rows = query.query([]).map_err(failed)?;
    let mut changes = Vec::with_capacity(LOAD_CHUNK);
    while let Some(row) = rows.next().map_err(failed)? {
        let bytes: Vec<u8> = row.get(0).map_err(failed)?;
        // Verified when it came in, and not again: a directory vouches for nothing, and readers verify.
        let record = SignedRecord::decode(&bytes).and_then(|signed| signed.peek());
        let record = record.map_err(|error| damaged(error.to_string()))?;
        let addresses = if record.list_address { addresses(db, record.account()).map_err(failed)? } else { Vec::new() };
        changes.push(Change::Put(Box::new(Entry::new(&record, bytes, addresses))));
        if changes.len() == LOAD_CHUNK {
            index.apply(std::mem::take(&mut changes));
        }
    }
    index.apply(changes);
    Ok(())
}

/// Where an account's devices are, for the search by address.
pub(in crate::store) fn addresses(
    db: &Connection,
    account: AccountId,
) -> Result<Vec<std::net::SocketAddr>, rusqlite::Error> {
    let mut query = db.prepare_cached("SELECT reach FROM reach WHERE account = ?1 ORDER BY device")?;
    let rows = query.query_map(params![account.0], |row| row.get::<_, Vec<u8>>(0))?;
    let mut found = Vec::new();
    for row in rows {
        let reach = SignedReach::decode(&row?).and_then(|signed| signed.peek());
        found.extend(reach.map(|reach| reach.addresses).unwrap_or_default());
    }
    Ok(found)
}
