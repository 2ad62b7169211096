//! The thread that owns the write connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::fault::point;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::health::Health;
use super::queries::Sql;
use crate::cluster::Cluster;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::store::command::{Applied, Commands, Failure, Sums};
use crate::store::error::StoreError;
use crate::store::options::Bounds;
use crate::store::request::Request;
use crate::store::rules::{self, Answer, Batch};

/// Requests in one transaction at most: keeps the longest wait for a commit to some milliseconds.
const BATCH: usize = 512;
/// After the disk was full, deposits are refused for so long without a try: what else there is to write, deletions from
/// the mailbox above all, must not be lost in a transaction that a deposit has filled.
const FULL_PAUSE: Duration = Duration::from_secs(1);

pub(in crate::store) struct Writer {
    pub connection: Connection,
    pub cluster: Arc<dyn Cluster>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub bounds: Arc<Live<Bounds>>,
    pub failed: CancellationToken,
    /// Since when the disk is full.
    pub full: Option<Instant>,
}

impl Writer {
    pub fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut requests = Vec::with_capacity(BATCH);
        while queue.blocking_recv_many(&mut requests, BATCH) > 0 {
            self.serve(&mut requests);
        }
        self.close();
    }

    /// Serves what has come, and empties `requests`.
    fn serve(&mut self, requests: &mut Vec<Request>) {
        let mut batch = self.batch();
        let mut answers = Vec::with_capacity(requests.len());
        let outcome = match self.refusal() {
            Some(refusal) => {
                let nothing =
                    requests.drain(..).map(|request| rules::apply(None::<&mut Sql<'_>>, request, &mut batch).1);
                answers.extend(nothing);
                Err(refusal)
            }
            None => self.transaction(requests, &mut batch, &mut answers).map_err(|error| {
                tracing::error!(%error, commands = answers.len(), "transaction rolled back");
                self.note(&error);
                StoreError::Unavailable(error.to_string())
            }),
        };
        if outcome.is_ok() {
            self.metrics.committed(answers.len());
            self.cluster.committed(batch.changes);
        }
        answers.into_iter().for_each(|answer| answer(outcome.clone()));
    }

    /// Why nothing may be written any more.
    fn refusal(&self) -> Option<StoreError> {
        if self.failed.is_cancelled() {
            // A second sync says "ok" after a first one failed and lost the pages: nothing is tried again.
            return Some(StoreError::Unavailable("the disk failed, and the directory is stopping".into()));
        }
        let damage = self.health.damage()?;
        Some(StoreError::Unavailable(format!("the database is damaged and only read: {damage}")))
    }

    fn batch(&self) -> Batch {
        let full = self.full.is_some_and(|since| since.elapsed() < FULL_PAUSE);
        Batch::new(*self.bounds.get(), self.cluster.uptime(), full)
    }

    fn transaction(
        &mut self,
        requests: &mut Vec<Request>,
        batch: &mut Batch,
        answers: &mut Vec<Answer>,
    ) -> Result<(), rusqlite::Error> {
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let (transaction, mut outcome) = match begun {
            Ok(transaction) => (Some(transaction), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let mut sql = transaction.as_ref().map(|transaction| Sql(transaction));
        for request in requests.drain(..) {
            // After a failure the rest is only told about it: the transaction is lost as a whole.
            let usable = sql.as_mut().filter(|_| outcome.is_ok());
            let (result, answer) = rules::apply(usable, request, batch);
            answers.push(answer);
            if let Err(error) = result {
                outcome = outcome.and(Err(error));
            }
        }
        outcome?;
        match transaction {
            Some(transaction) => commit(transaction, batch, &self.metrics),
            None => Ok(()),
        }
    }

    /// After a failed write or sync nobody knows what the disk holds: retrying could acknowledge what is lost. The
    /// process ends and recovers from the write-ahead log. A damaged database is only read from here on: what is whole
    /// of it still serves. A full disk is neither: what was rolled back is known.
    fn note(&mut self, error: &rusqlite::Error) {
        use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase, ReadOnly, SystemIoFailure};
        match error.sqlite_error_code() {
            Some(SystemIoFailure | ReadOnly) => {
                tracing::error!(%error, "the database can no longer be trusted to keep what it is given: stopping");
                self.failed.cancel();
            }
            Some(DatabaseCorrupt | NotADatabase) => self.health.damaged(&error.to_string()),
            Some(DiskFull) => self.full = Some(Instant::now()),
            _ => {}
        }
    }

    fn close(mut self) {
        if self.refusal().is_none() {
            let now = self.cluster.uptime();
            let saved = self.connection.transaction().and_then(|transaction| {
                engine(Sql(&transaction).save_uptime(now))?;
                transaction.commit()
            });
            if let Err(error) = saved {
                tracing::warn!(%error, "the mailbox's clock was not saved; it goes on from the last minute");
            }
        }
        // The last connection to close copies the log back into the database.
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "the database did not close cleanly; it will be recovered at the next start");
        }
    }
}

fn commit(transaction: Transaction<'_>, batch: &Batch, metrics: &Metrics) -> Result<(), rusqlite::Error> {
    let lying = engine(rules::conclude(&mut Sql(&transaction), batch))?;
    if batch.deposited {
        point("directory.deposit.before_commit");
    }
    if batch.deleted > 0 {
        point("directory.delete.before_commit");
    }
    if batch.appended > 0 {
        point("directory.append.before_commit");
    }
    transaction.commit()?;
    if batch.deposited {
        point("directory.deposit.after_commit");
    }
    if batch.appended > 0 {
        point("directory.append.after_commit");
    }
    if batch.deleted > 0 {
        point("directory.delete.after_commit");
    }
    if let Some(Sums { mail, groups, entries, group_bytes, .. }) = lying {
        metrics.mailbox.committed(mail.envelopes, mail.bytes, batch.deleted, batch.expired);
        metrics.groups.committed((groups, entries, group_bytes), (batch.appended, batch.cut, batch.raced));
    }
    Ok(())
}

/// What failed of the database. Commands refuse nothing: only rules do.
fn engine<T>(applied: Applied<T, rusqlite::Error>) -> Result<T, rusqlite::Error> {
    applied.map_err(|failure| match failure {
        Failure::Engine(error) => error,
        Failure::Refused(error) => rusqlite::Error::ToSqlConversionFailure(error.into()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto::ids::AccountId;
    use rusqlite::ffi;
    use tokio::sync::oneshot;

    use super::*;
    use crate::cluster::{Local, Monotonic};
    use crate::store::options::{GroupBounds, Quotas};
    use crate::store::sqlite::schema;

    fn writer(folder: &tempfile::TempDir) -> Writer {
        Writer {
            connection: schema::open(&folder.path().join("directory.db"), None).unwrap(),
            cluster: Arc::new(Local::new(Monotonic::manual())),
            metrics: Arc::default(),
            health: Arc::default(),
            bounds: Arc::new(Live::new(Bounds {
                max_accounts: 10,
                quotas: Quotas { envelopes: 10, bytes: 10_000, strangers: 10, work_bits: 20, total_bytes: 10_000 },
                groups: GroupBounds {
                    per_account: 1,
                    entries: 10,
                    bytes: 10_000,
                    total_bytes: 10_000,
                    appends_per_minute: 10,
                },
            })),
            failed: CancellationToken::new(),
            full: None,
        }
    }

    /// What a write says: no such account, when the store does write.
    fn write(writer: &mut Writer) -> StoreError {
        let (reply, mut answer) = oneshot::channel();
        let tokens = Request::Tokens { account: AccountId([1; 16]), add: vec![[1; 32]], remove: vec![], reply };
        writer.serve(&mut vec![tokens]);
        answer.try_recv().unwrap().unwrap_err()
    }

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn nothing_is_written_after_a_failed_sync_or_to_a_damaged_database() {
        for (code, words, stops) in [
            (ffi::SQLITE_IOERR_FSYNC, "the disk failed", true),
            (ffi::SQLITE_IOERR_WRITE, "the disk failed", true),
            (ffi::SQLITE_READONLY, "the disk failed", true),
            (ffi::SQLITE_CORRUPT, "damaged", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut writer = writer(&folder);
            assert!(matches!(write(&mut writer), StoreError::NotFound));
            writer.note(&failure(code));
            let refusal = write(&mut writer);
            assert!(matches!(&refusal, StoreError::Unavailable(why) if why.contains(words)), "{code}: {refusal}");
            assert_eq!(writer.failed.is_cancelled(), stops, "{code}");
        }
    }

    #[test]
    fn after_a_full_disk_only_deposits_wait() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder);
        writer.note(&failure(ffi::SQLITE_FULL));
        assert!(writer.batch().disk_full);
        assert!(matches!(write(&mut writer), StoreError::NotFound), "others are tried at once");
        writer.full = Instant::now().checked_sub(FULL_PAUSE);
        assert!(!writer.batch().disk_full);
        assert!(!writer.failed.is_cancelled());
    }
}
