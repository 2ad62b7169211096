//! The thread that owns the write connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::fault::point;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::rules::{self as apply, Answer, Context, mailbox};
use super::super::{Command, Rules, StoreError};
use super::health::Health;
use crate::cluster::index::{Change, Index};
use crate::cluster::uptime::Uptime;
use crate::live::Live;
use crate::metrics::Metrics;

/// Commands in one transaction at most: keeps the longest wait for a commit to some milliseconds.
const BATCH: usize = 512;
/// After the disk was full, deposits are refused for so long without a try: what else there is to write, deletions from
/// the mailbox above all, must not be lost in a transaction that a deposit has filled.
const FULL_PAUSE: Duration = Duration::from_secs(1);

pub(in crate::store) struct Writer {
    pub connection: Connection,
    pub index: Arc<Index>,
    pub metrics: Arc<Metrics>,
    pub uptime: Arc<Uptime>,
    pub health: Arc<Health>,
    pub rules: Arc<Live<Rules>>,
    pub failed: CancellationToken,
    /// Since when the disk is full.
    pub full: Option<Instant>,
}

impl Writer {
    pub fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
            self.serve(&mut batch);
        }
        self.close();
    }

    /// Serves what has come, and empties `batch`.
    fn serve(&mut self, batch: &mut Vec<Command>) {
        let mut changes = Vec::new();
        let mut answers = Vec::with_capacity(batch.len());
        let outcome = match self.refusal() {
            Some(refusal) => {
                let mut nothing = self.context();
                answers
                    .extend(batch.drain(..).map(|command| apply::apply(None, command, &mut nothing, &mut changes).1));
                Err(refusal)
            }
            None => self.transaction(batch, &mut changes, &mut answers).map_err(|error| {
                tracing::error!(%error, commands = answers.len(), "transaction rolled back");
                self.note(&error);
                StoreError::Unavailable(error.to_string())
            }),
        };
        if outcome.is_ok() {
            self.metrics.committed(answers.len());
            self.index.apply(changes);
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

    fn context(&self) -> Context {
        let rules = self.rules.get();
        Context {
            max_accounts: rules.max_accounts,
            accounts: self.index.len() as u64,
            quotas: rules.quotas,
            now: self.uptime.now(),
            disk_full: self.full.is_some_and(|since| since.elapsed() < FULL_PAUSE),
            mail: mailbox::Touched::default(),
        }
    }

    fn transaction(
        &mut self,
        batch: &mut Vec<Command>,
        changes: &mut Vec<Change>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), rusqlite::Error> {
        let mut context = self.context();
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let (transaction, mut outcome) = match begun {
            Ok(transaction) => (Some(transaction), Ok(())),
            Err(error) => (None, Err(error)),
        };
        for command in batch.drain(..) {
            // After a failure the rest is only told about it: the transaction is lost as a whole.
            let usable = transaction.as_ref().filter(|_| outcome.is_ok());
            let (result, answer) = apply::apply(usable, command, &mut context, changes);
            answers.push(answer);
            if let Err(error) = result {
                outcome = outcome.and(Err(error));
            }
        }
        outcome?;
        match transaction {
            Some(transaction) => commit(transaction, &context, &self.metrics),
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
            let now = self.uptime.now();
            let saved = self.connection.transaction().and_then(|transaction| {
                mailbox::save_uptime(&transaction, now)?;
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

fn commit(transaction: Transaction<'_>, context: &Context, metrics: &Metrics) -> Result<(), rusqlite::Error> {
    let mail = &context.mail;
    if mail.deposited {
        mailbox::save_uptime(&transaction, context.now)?;
    }
    let lying = if mail.any() { Some(mailbox::lying(&transaction)?) } else { None };
    if mail.deposited {
        point("directory.deposit.before_commit");
    }
    if mail.deleted > 0 {
        point("directory.delete.before_commit");
    }
    transaction.commit()?;
    if mail.deposited {
        point("directory.deposit.after_commit");
    }
    if mail.deleted > 0 {
        point("directory.delete.after_commit");
    }
    if let Some((envelopes, bytes)) = lying {
        metrics.mailbox.committed(envelopes, bytes, mail.deleted, mail.expired);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto::ids::AccountId;
    use rusqlite::ffi;
    use tokio::sync::oneshot;

    use super::*;
    use crate::cluster::uptime::Monotonic;
    use crate::store::sqlite::schema;

    fn writer(folder: &tempfile::TempDir) -> Writer {
        Writer {
            connection: schema::open(&folder.path().join("directory.db"), None).unwrap(),
            index: Arc::default(),
            metrics: Arc::default(),
            uptime: Arc::new(Uptime::resume(Monotonic::manual(), 0)),
            health: Arc::default(),
            rules: Arc::new(Live::new(Rules {
                max_accounts: 10,
                quotas: crate::store::Quotas {
                    envelopes: 10,
                    bytes: 10_000,
                    strangers: 10,
                    work_bits: 20,
                    total_bytes: 10_000,
                },
            })),
            failed: CancellationToken::new(),
            full: None,
        }
    }

    /// What a write says: no such account, when the store does write.
    fn write(writer: &mut Writer) -> StoreError {
        let (reply, mut answer) = oneshot::channel();
        let tokens = Command::Tokens { account: AccountId([1; 16]), add: vec![[1; 32]], remove: vec![], reply };
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
        assert!(writer.context().disk_full);
        assert!(matches!(write(&mut writer), StoreError::NotFound), "others are tried at once");
        writer.full = Instant::now().checked_sub(FULL_PAUSE);
        assert!(!writer.context().disk_full);
        assert!(!writer.failed.is_cancelled());
    }
}
