//! Full-text search over an account's messages, out of the way of the writer that stores them.
//!
//! The job: keep an FTS5 index of `messages.body` in a file of its own (`search.db`, beside the account's `messages.db`), fed by
//! one background thread for all accounts of the daemon, and answer queries that are complete at every moment: what the index
//! does not hold yet (the *tail*) is tokenised into memory by the query itself.
//!
//! Not the job: storing messages, who may read them, what is shown next to a hit, ranking (hits are newest first, always: ranking
//! a common word over a million messages costs 260 ms, newest first costs 0.1 ms).
//!
//! Invariants:
//! - The main store is only ever read, through connections that cannot write. `search.db` is written by the indexer thread alone.
//! - The index, its watermark (the newest message id it covers) and the number of the last processed deletion change in one
//!   transaction. `search.db` is a cache: `synchronous=NORMAL`, and rebuilt from the main store when it is missing or damaged.
//! - A hit is returned only if the main store, in a snapshot at least as new as the index's, still has the message, and in
//!   the conversation asked for. A deletion therefore counts from its commit on, not from when the index hears of it.
//! - Words of users never reach FTS5 as syntax: see [`words`].
//!
//! What the main store owes: `messages(id, conversation, body)` whose ids ascend in commit order and are never used again,
//! and whose bodies never change; `search_deletions(n, message)`, written in the transaction that deletes the message, whose `n`
//! ascends for ever (AUTOINCREMENT, or the newest row is kept), pruned up to [`Search::deletions_done`] at most.
//!
//! Choices, measured with 1,000,000 messages of 95 bytes (200 conversations; a rare word in 20 messages, a common one in most):
//! - The conversation is a token in front of the body (`words::document`), not a column. An unindexed column takes 148 ms for a
//!   common word in a small conversation, the token 0.5 ms; a second indexed column is 0.5 us a row slower and 3 % larger.
//! - `detail=full`, so that a quoted phrase, and a word like `don't` that is two tokens, is matched as a phrase, exactly: 77 MB and
//!   5.0 us a row, against 40 MB and 3.6 us with `detail=none`, which has no phrases. Fewer merges bring it to 4.0 us (`index`).
//! - Contentless with `contentless_delete`: no text is stored twice. A deleted message's words stay in the file as dead entries
//!   until their segment is merged.
//!
mod account;
mod fold;
mod index;
mod indexer;
mod reader;
#[cfg(test)]
mod tests;
pub mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use account::{Account, Progress};
pub use indexer::Indexer;
use indexer::Shared;

use crate::model::ids::ConversationRow;
use crate::store::error::SearchError;

/// Rows and time of one index transaction: long enough that its commit is a small part, short enough that queries, other accounts
/// and a stop wait little.
const BATCH_ROWS: usize = 10_000;
const BATCH_TIME: Duration = Duration::from_millis(50);
/// Rows and bytes that a query tokenises by itself (about 4 us a row). Above that it waits for the indexer.
const MAX_TAIL_ROWS: usize = 20_000;
const MAX_TAIL_BYTES: usize = 8 * 1024 * 1024;
/// How long a query waits for the indexer before it says that the index is not ready: a rebuild does 200,000 rows a second.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// A file that is damaged again this soon has a cause that no rebuild cures.
const MAX_REBUILDS: u64 = 2;
/// Hits of one query at most: the largest page of the RPC, and one that tells whether there are more.
pub const MAX_HITS: usize = 1_001;

/// The search of one account. Holds no open file while idle. Dropping it ends its indexing.
#[derive(Debug)]
pub struct Search {
    account: Arc<Account>,
    shared: Arc<Shared>,
}

impl Search {
    /// Registers the account with `indexer`, which looks at once, in the background, at how far the index is behind.
    ///
    /// No file is touched here. `search_db` is made if it is missing and made anew if it is damaged.
    ///
    /// # Errors
    ///
    /// [`SearchError::Stopped`] when the indexer's thread does not run.
    pub fn open(indexer: &Indexer, main_db: PathBuf, search_db: PathBuf) -> Result<Search, SearchError> {
        let shared = indexer.shared();
        if shared.stopped() {
            return Err(SearchError::Stopped);
        }
        let account = Arc::new(Account::new(main_db, search_db));
        shared.hurry(&account);
        Ok(Search { account, shared })
    }

    /// Tells the indexer that the main store has committed messages up to `newest_id`, or has queued deletions.
    ///
    /// Never blocks on IO and never fails: a lost nudge costs a query some tokenising, not a hit.
    pub fn nudge(&self, newest_id: i64) {
        self.shared.nudge(&self.account, newest_id);
    }

    /// Ids of the messages that contain every word of `words`, newest first, at most `limit` (and [`MAX_HITS`]) of them.
    ///
    /// A part in double quotes is a phrase. Case and accents do not count. `conversation` keeps to one conversation, `before` to
    /// ids below it (for the next page). Blocks: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// [`SearchError::NoWords`], [`SearchError::TooLong`] and [`SearchError::TooManyWords`] are the caller's;
    /// [`SearchError::Building`] when more than 20,000 messages are not indexed and the indexer does not get there in 10 s.
    pub fn query(
        &self,
        words: &str,
        conversation: Option<ConversationRow>,
        limit: usize,
        before: Option<i64>,
    ) -> Result<Vec<i64>, SearchError> {
        let request = reader::Request {
            expression: words::expression(words, conversation)?,
            conversation,
            limit: limit.min(MAX_HITS),
            newest: before.map_or(i64::MAX, |id| id.saturating_sub(1)),
        };
        let deadline = Instant::now() + MAX_WAIT;
        let first = self.wait(deadline, |p| p.ready)?;
        let mut seen = first.clone();
        loop {
            // The reader's lock is not held while waiting: the indexer takes it to replace a damaged file.
            let outcome = self.account.with_reader(|reader| reader.query(&request));
            self.shared.reader_used(&self.account);
            match outcome {
                Ok(hits) => return Ok(hits),
                // A pass that left nothing to do also ends the wait: what was to be indexed may have been deleted.
                Err(reader::Failure::Behind { reach }) => {
                    seen = self.wait(deadline, |p| p.watermark >= reach || p.caught_up > seen.caught_up)?;
                }
                Err(reader::Failure::Damaged) if seen.rebuilds >= first.rebuilds + MAX_REBUILDS => {
                    return Err(SearchError::Unavailable { reason: "damaged again after it was built anew".into() });
                }
                Err(reader::Failure::Damaged) => {
                    self.account.set_damaged();
                    seen = self.wait(deadline, |p| p.ready && p.rebuilds > seen.rebuilds)?;
                }
                Err(reader::Failure::Main(source)) => {
                    return Err(SearchError::Main { path: self.account.main_db.clone(), source });
                }
                Err(reader::Failure::Index(source)) => {
                    return Err(SearchError::Index { path: self.account.search_db.clone(), source });
                }
            }
        }
    }

    /// The newest message id that the index covers; 0 before the indexer has looked.
    #[must_use]
    pub fn watermark(&self) -> i64 {
        self.account.progress().watermark
    }

    /// The newest `search_deletions.n` that is done with: the main store may prune the queue up to it.
    #[must_use]
    pub fn deletions_done(&self) -> i64 {
        self.account.progress().deletions
    }

    /// Hurries the indexer until its progress on this account satisfies `done`.
    fn wait(&self, deadline: Instant, done: impl Fn(&Progress) -> bool) -> Result<Progress, SearchError> {
        let start = self.account.progress();
        if done(&start) && Instant::now() < deadline {
            return Ok(start);
        }
        self.shared.hurry(&self.account);
        // A failure from before this wait says nothing: the cause may be gone.
        let failed = |p: &Progress| p.failed > start.failed;
        let end = self.account.wait(deadline, |p| done(p) || failed(p) || self.shared.stopped());
        if done(&end) && Instant::now() < deadline {
            return Ok(end);
        }
        if self.shared.stopped() {
            return Err(SearchError::Stopped);
        }
        let reason = if failed(&end) { end.failure } else { None };
        Err(match reason {
            Some(reason) => SearchError::Unavailable { reason },
            None => SearchError::Building { remaining: self.account.newest().saturating_sub(end.watermark).max(1) },
        })
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.account.close();
        self.shared.hurry(&self.account);
    }
}
