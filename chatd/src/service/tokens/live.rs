//! The tokens of an account that are in force, in memory: by their hashes, with what each may still do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use governor::clock::DefaultClock;
use proto::time::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::model::{Grant, TokenRow};
use crate::policy::rate::keyed::KeyedLimiter;
use crate::store::Store;
use crate::store::account::tokens;

/// A token in force.
pub(in crate::service) struct Live {
    pub grant: Arc<Grant>,
    expires: Option<Timestamp>,
    /// Shared by all its connections.
    limiter: Option<KeyedLimiter<()>>,
}

impl Live {
    fn new(row: TokenRow, account: proto::ids::AccountId, now: Timestamp) -> Self {
        let left = |at: Timestamp| Duration::from_millis(u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0));
        let limiter = row.rate.map(|rate| {
            let period = Duration::from_secs(rate.seconds.get().into());
            KeyedLimiter::new(rate.count, period, std::num::NonZeroU32::MIN, DefaultClock::default())
        });
        let grant = Grant {
            token: row.id,
            name: row.name,
            account,
            scopes: row.scopes,
            within: row.within,
            send_to: row.send_to,
            deadline: row.expires.and_then(|at| Instant::now().checked_add(left(at))),
            over: CancellationToken::new(),
        };
        Self { grant: Arc::new(grant), expires: row.expires, limiter }
    }

    /// Takes one of what its rate grants.
    ///
    /// # Errors
    /// Too fast; for how long.
    pub fn take(&self) -> Result<(), Duration> {
        self.limiter.as_ref().map_or(Ok(()), |limiter| limiter.check(&()).map_err(|fast| fast.0))
    }
}

/// See the module.
#[derive(Default)]
pub(in crate::service) struct Tokens {
    live: RwLock<HashMap<[u8; 32], Arc<Live>>>,
    /// The latest time that was seen, in Unix ms: a clock that is put back brings no token back.
    latest: AtomicI64,
}

impl Tokens {
    /// Those of an account that is opened. Of one that cannot be read there are none.
    pub fn open(store: &Store, account: proto::ids::AccountId) -> Self {
        let read = store.read_blocking(|conn| Ok((tokens::in_force(conn)?, tokens::newest_time(conn)?)));
        let (rows, newest) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, %account, "the tokens of the account cannot be read: none is in force");
                return Self::default();
            }
        };
        let opened = Self { live: RwLock::default(), latest: AtomicI64::new(newest.0) };
        let now = opened.now(Timestamp::now());
        for row in rows {
            opened.insert(row, account, now);
        }
        opened
    }

    /// The time by which tokens end: what is shown now, or was before, if that is later.
    pub fn now(&self, shown: Timestamp) -> Timestamp {
        Timestamp(self.latest.fetch_max(shown.0, Ordering::Relaxed).max(shown.0))
    }

    /// Puts a token in force.
    pub fn insert(&self, row: TokenRow, account: proto::ids::AccountId, now: Timestamp) {
        if let Some(hash) = row.hash {
            let live = Arc::new(Live::new(row, account, now));
            self.live.write().unwrap_or_else(PoisonError::into_inner).insert(hash, live);
        }
    }

    /// The one with this hash. Looking for a hash tells nobody how near a guess was.
    pub fn find(&self, hash: &[u8; 32]) -> Option<Arc<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    /// The one with this number.
    pub fn of(&self, token: i64) -> Option<Arc<Live>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.values().find(|live| live.grant.token == token).cloned()
    }

    /// Those whose time is up.
    pub fn expired(&self, now: Timestamp) -> Vec<Arc<Live>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.values().filter(|live| live.is_over(now)).cloned().collect()
    }

    /// Puts a token out of force; its connections end.
    pub fn end(&self, token: i64) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, live| {
            if live.grant.token == token {
                live.grant.over.cancel();
            }
            live.grant.token != token
        });
    }
}

impl Live {
    /// Whether its time is up, by the time that clocks show or by the time that has passed.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let passed = self.grant.deadline.is_some_and(|deadline| deadline <= Instant::now());
        self.grant.over.is_cancelled() || passed || self.expires.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Rate;
    use proto::ids::AccountId;
    use proto::scope::Scope;
    use std::num::NonZeroU32;

    fn row(id: i64, expires: Option<i64>) -> TokenRow {
        TokenRow {
            id,
            name: format!("token{id}"),
            hash: Some([id as u8; 32]),
            scopes: vec![Scope::Send],
            within: None,
            send_to: None,
            rate: Some(Rate { count: NonZeroU32::new(2).unwrap(), seconds: NonZeroU32::new(60).unwrap() }),
            made_by: 1,
            created: Timestamp(1_000),
            expires: expires.map(Timestamp),
            used: None,
            ended: None,
            expired: false,
        }
    }

    #[test]
    fn a_clock_that_jumps_brings_no_token_back() {
        let (tokens, account) = (Tokens::default(), AccountId([1; 16]));
        let begin = tokens.now(Timestamp(1_000));
        tokens.insert(row(1, Some(3_600_000)), account, begin);
        let live = tokens.find(&[1; 32]).unwrap();
        assert!(!live.is_over(tokens.now(Timestamp(3_599_999))));
        assert!(live.is_over(tokens.now(Timestamp(3_600_000))), "its time is up");
        assert!(live.is_over(tokens.now(Timestamp(1_000))), "and stays so when the clock is put back");
        // Made when the clock had been put back: the time that passes counts.
        let soon = Tokens::default();
        soon.insert(row(2, Some(1_001)), account, Timestamp(1_001));
        assert!(soon.find(&[2; 32]).unwrap().is_over(Timestamp(0)), "no time is left, whatever the clock shows");
        assert_eq!(tokens.expired(tokens.now(Timestamp(0))).len(), 1);
    }

    #[test]
    fn a_rate_is_the_tokens_and_ending_is_told() {
        let tokens = Tokens::default();
        tokens.insert(row(1, None), AccountId([1; 16]), Timestamp(0));
        let (one, other) = (tokens.find(&[1; 32]).unwrap(), tokens.of(1).unwrap());
        assert!(one.take().is_ok() && other.take().is_ok());
        assert!(one.take().unwrap_err() > Duration::from_secs(10), "both took from the same");
        let grant = Arc::clone(&one.grant);
        tokens.end(1);
        assert!(grant.over.is_cancelled() && tokens.find(&[1; 32]).is_none() && tokens.of(1).is_none());
    }
}
