//! Connections that only read, and the fill of the index at the start.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use proto::directory::SignedRecord;
use proto::ids::{AccountId, DeviceId, LogId, NodeId};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::queries::Sql;
use super::schema;
use crate::cluster::{Change, Cluster, Entry};
use crate::store::command::{Applied, EntriesFetch, Failure, Fetch, Group, GroupQueries, Mail, Queries, Slots};
use crate::store::error::{OpenError, StoreError};
use crate::store::groups::GroupKeys;
use crate::store::rules::{GroupRead, addresses, entries, look, read_slots};

/// Reading connections: more would only wait for the two cores that a small directory has.
const READERS: usize = 4;
/// Accounts that are put into the index at once.
const LOAD_CHUNK: usize = 1_000;

/// A pool of connections that cannot write, used on tokio's blocking threads.
#[derive(Debug, Clone)]
pub struct Readers {
    free: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    cluster: Arc<dyn Cluster>,
}

impl Readers {
    pub(in crate::store) fn open(path: &Path, cluster: Arc<dyn Cluster>) -> Result<Self, OpenError> {
        let connections = (0..READERS)
            .map(|_| schema::open_reader(path))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
        Ok(Self { free: Arc::new(Mutex::new(connections)), permits: Arc::new(Semaphore::new(READERS)), cluster })
    }

    /// The exact bytes of an account's record.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn record(&self, account: AccountId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |db| db.record(account)).await
    }

    /// The exact bytes of the reach of each of an account's devices.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reach(&self, account: AccountId) -> Result<Vec<Vec<u8>>, StoreError> {
        self.read(move |db| db.reach(account)).await
    }

    /// For each node, whether it stands in the reach of a device.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn host_somebody(&self, nodes: Vec<NodeId>) -> Result<Vec<bool>, StoreError> {
        self.read(move |db| nodes.iter().map(|node| db.hosts_somebody(*node)).collect()).await
    }

    /// For each pair, whether the account honours that token.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn honours(&self, pairs: Vec<(AccountId, [u8; 32])>) -> Result<Vec<bool>, StoreError> {
        self.read(move |db| {
            let honoured = |(account, token): &(AccountId, [u8; 32])| Ok(db.counted(*account, token)?.is_some());
            pairs.iter().map(honoured).collect()
        })
        .await
    }

    /// The highest number that lies in the mailbox for a device.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_mail(&self, account: AccountId, device: DeviceId) -> Result<Option<u64>, StoreError> {
        let now = self.cluster.uptime();
        self.read(move |db| db.last_mail(account, device, now)).await
    }

    /// What lies in the mailbox. What has expired is not there, whatever [`Fetch::now`] says.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn mail(&self, fetch: Fetch) -> Result<Mail, StoreError> {
        let fetch = Fetch { now: self.cluster.uptime(), ..fetch };
        self.read(move |db| db.mail(&fetch)).await
    }

    /// A log, for a token that reads it.
    ///
    /// # Errors
    /// When there is none for this token, or the database does not answer.
    pub async fn group(&self, log: LogId, token: [u8; 32]) -> Result<GroupRead, StoreError> {
        self.read(move |db| look(db, log, &token)).await
    }

    /// The same with entries. What has expired is not there, whatever [`EntriesFetch::now`] says.
    ///
    /// # Errors
    /// When there is no such log for this token, or the database does not answer.
    pub async fn entries(&self, token: [u8; 32], fetch: EntriesFetch) -> Result<GroupRead, StoreError> {
        let fetch = EntriesFetch { now: self.cluster.uptime(), ..fetch };
        self.read(move |db| entries(db, &token, fetch)).await
    }

    /// Slots of a log above a key, or one of them; `most` and `bytes` at most.
    ///
    /// # Errors
    /// When there is no such log for this token, or the database does not answer.
    pub async fn slots(
        &self,
        (log, token): (LogId, [u8; 32]),
        which: (Option<[u8; 32]>, Option<[u8; 32]>),
        most: (usize, usize),
    ) -> Result<Slots, StoreError> {
        self.read(move |db| read_slots(db, (log, &token), which, most)).await
    }

    /// The keys in force of a log, and the root that says so. For nobody but whoever verifies by them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn group_keys(&self, log: LogId) -> Result<Option<GroupKeys>, StoreError> {
        let keys = |group: Group| GroupKeys { root: group.root, root_key: group.root_key, log_key: group.log_key };
        self.read(move |db| Ok(db.group(log)?.map(keys))).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn alive(&self) -> Result<(), StoreError> {
        self.read(|db| Ok(db.0.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Sql<'_>) -> Applied<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let unavailable = |reason: String| StoreError::Unavailable(reason);
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|e| unavailable(e.to_string()))?;
        let free = Arc::clone(&self.free);
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = connection.ok_or(rusqlite::Error::InvalidQuery)?;
            let answer = query(&Sql(&connection));
            free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer
        })
        .await;
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Failure::Refused(error))) => Err(error),
            Ok(Err(Failure::Engine(error))) => Err(unavailable(error.to_string())),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }
}

/// Tells the cluster everything that look-ups need.
pub(in crate::store) fn load(db: &Connection, cluster: &dyn Cluster, path: &Path) -> Result<(), OpenError> {
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
        let addresses = match record.list_address {
            true => addresses(&Sql(db), record.account()).map_err(|failure| match failure {
                Failure::Engine(source) => failed(source),
                Failure::Refused(error) => damaged(error.to_string()),
            })?,
            false => Vec::new(),
        };
        changes.push(Change::Put(Box::new(Entry::new(&record, bytes, addresses))));
        if changes.len() == LOAD_CHUNK {
            cluster.committed(std::mem::take(&mut changes));
        }
    }
    cluster.committed(changes);
    Ok(())
}
