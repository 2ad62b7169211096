//! Durable consumers of the feed: who reads which, and what their readers tell.
//!
//! A name has one reader at a time. The reader's subscription holds the name and gives it back when it is dropped, and the
//! connection drops its subscriptions when it ends, however it does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::rpc::advice::Step;
use proto::rpc::types::{
    Consumer, ConsumerParams, ConsumerResetParams, ConsumersResult, DeadLettersParams, DeadLettersResult, Done,
    FeedAckParams, FeedAttemptParams, FeedAttemptResult, FeedGiveUpParams, PageParams,
};

use super::account::Account;
use super::{Service, ServiceError};
use crate::model::Caller;
use crate::store::feed::consumers;

/// Bytes of a consumer's name at most.
const MAX_NAME_BYTES: usize = 128;
/// Bytes of the reason of a dead letter at most.
const MAX_REASON_BYTES: usize = 256;
/// Entries of one answer at most.
const MAX_PAGE: u32 = 1_000;
/// Consumers, and dead letters, in one answer if nothing is said.
const DEFAULT_PAGES: (u32, u32) = (200, 100);

/// Names in use, with the process that reads each. Bounded by the number of subscriptions.
type Names = Arc<Mutex<HashMap<String, Option<i32>>>>;

/// The consumers of one account that are being read.
#[derive(Debug, Default)]
pub(super) struct Readers(Names);

/// The right to read a consumer, until it is dropped.
#[derive(Debug)]
pub(super) struct Reading {
    names: Names,
    name: String,
}

fn lock(names: &Names) -> MutexGuard<'_, HashMap<String, Option<i32>>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Reading {
    fn drop(&mut self) {
        lock(&self.names).remove(&self.name);
    }
}

impl Readers {
    /// Those that are being read now.
    pub(super) fn names(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }

    fn claim(&self, name: &str, pid: Option<i32>) -> Result<Reading, ServiceError> {
        let mut names = lock(&self.0);
        if let Some(other) = names.get(name) {
            return Err(in_use(name, *other));
        }
        names.insert(name.to_owned(), pid);
        Ok(Reading { names: Arc::clone(&self.0), name: name.to_owned() })
    }

    fn reads(&self, name: &str) -> bool {
        lock(&self.0).contains_key(name)
    }
}

fn in_use(name: &str, pid: Option<i32>) -> ServiceError {
    let by = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    ServiceError::InUse(format!(
        "the consumer {name} is being read by another program{by}: stop that one first, or choose another name"
    ))
}

fn check(name: &str) -> Result<(), ServiceError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(ServiceError::InvalidParams(format!(
            "a consumer's name has 1 to {MAX_NAME_BYTES} bytes and no control characters"
        )));
    }
    Ok(())
}

/// Claims a consumer for a subscription, and makes it behind `from` if it is new; where it stands.
pub(super) async fn begin(
    account: &Account,
    caller: &Caller,
    name: String,
    from: u64,
) -> Result<(Reading, u64), ServiceError> {
    check(&name)?;
    let reading = account.readers.claim(&name, caller.pid)?;
    let lookup = name.clone();
    if let Some(seq) = account.store.read(move |conn| consumers::place(conn, &lookup)).await? {
        return Ok((reading, seq));
    }
    let count = account.store.write(move |tx| consumers::consumer_begin(tx, &name, from)).await?;
    if count > consumers::MAX_CONSUMERS {
        let most = consumers::MAX_CONSUMERS;
        let text = format!("the account has {most} consumers, and that is the most");
        return Err(ServiceError::LimitReached(text).advise(Step::RemoveConsumer.alone()));
    }
    Ok((reading, from))
}

fn unknown(error: crate::store::StoreError, name: &str) -> ServiceError {
    match error {
        crate::store::StoreError::NotFound(_) => {
            ServiceError::NotFound(format!("there is no consumer {name}")).advise(Step::ListConsumers.alone())
        }
        error => error.into(),
    }
}

impl Service {
    /// `feed.ack`.
    ///
    /// # Errors
    /// No such consumer.
    pub async fn feed_ack(&self, caller: &Caller, params: FeedAckParams) -> Result<Done, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let head = account.store.hub().head();
        let name = params.consumer.clone();
        let kept = account.store.write(move |tx| consumers::consumer_ack(tx, &name, params.seq, head)).await;
        kept.map_err(|error| unknown(error, &params.consumer))?;
        Ok(Done {})
    }

    /// `feed.attempt`.
    ///
    /// # Errors
    /// No such consumer.
    pub async fn feed_attempt(
        &self,
        caller: &Caller,
        params: FeedAttemptParams,
    ) -> Result<FeedAttemptResult, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let name = params.consumer.clone();
        let counted = account.store.write(move |tx| consumers::consumer_attempt(tx, &name, params.seq)).await;
        Ok(FeedAttemptResult { attempts: counted.map_err(|error| unknown(error, &params.consumer))? })
    }

    /// `feed.give_up`.
    ///
    /// # Errors
    /// No such consumer; a reason that is too long.
    pub async fn feed_give_up(&self, caller: &Caller, params: FeedGiveUpParams) -> Result<Done, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        if params.reason.len() > MAX_REASON_BYTES {
            return Err(ServiceError::InvalidParams(format!("a reason has {MAX_REASON_BYTES} bytes at most")));
        }
        let head = account.store.hub().head();
        let name = params.consumer.clone();
        let given = account
            .store
            .write(move |tx| consumers::consumer_give_up(tx, &name, params.seq, &params.reason, head))
            .await;
        given.map_err(|error| unknown(error, &params.consumer))?;
        Ok(Done {})
    }

    /// `consumer.list`.
    ///
    /// # Errors
    /// When no account is selected.
    pub async fn consumer_list(&self, caller: &Caller, params: PageParams) -> Result<ConsumersResult, ServiceError> {
        let account = self.account_to_read(caller, params.account.as_deref())?;
        let limit = params.limit.unwrap_or(DEFAULT_PAGES.0).clamp(1, MAX_PAGE) as usize;
        let (after, head) = (params.after.unwrap_or_default(), account.store.hub().head());
        let mut found = account.store.read(move |conn| consumers::page(conn, &after, limit + 1, head)).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|consumer| consumer.name.clone());
        let told = found
            .into_iter()
            .map(|consumer| Consumer { reading: account.readers.reads(&consumer.name), ..consumer.into() });
        Ok(ConsumersResult { consumers: told.collect(), next })
    }

    /// `consumer.reset`.
    ///
    /// # Errors
    /// No such consumer; somebody reads it.
    pub async fn consumer_reset(&self, caller: &Caller, params: ConsumerResetParams) -> Result<Consumer, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let name = params.consumer;
        // Claimed meanwhile: a reader that begins now would go on from where it was.
        let _reading = account.readers.claim(&name, caller.pid)?;
        let head = account.store.hub().head();
        let (at, changed) = (params.since.unwrap_or(head).min(head), name.clone());
        let reset = account.store.write(move |tx| consumers::consumer_reset(tx, &changed, at)).await;
        reset.map_err(|error| unknown(error, &name))?;
        let lookup = name.clone();
        let found = account.store.read(move |conn| consumers::one(conn, &lookup, head)).await;
        found.map(Into::into).map_err(|error| unknown(error, &name))
    }

    /// `consumer.remove`.
    ///
    /// # Errors
    /// No such consumer; somebody reads it.
    pub async fn consumer_remove(&self, caller: &Caller, params: ConsumerParams) -> Result<Done, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let _reading = account.readers.claim(&params.consumer, caller.pid)?;
        let name = params.consumer.clone();
        let removed = account.store.write(move |tx| consumers::consumer_remove(tx, &name)).await;
        removed.map_err(|error| unknown(error, &params.consumer))?;
        Ok(Done {})
    }

    /// `consumer.dead_letters`.
    ///
    /// # Errors
    /// No such consumer.
    pub async fn consumer_dead_letters(
        &self,
        caller: &Caller,
        params: DeadLettersParams,
    ) -> Result<DeadLettersResult, ServiceError> {
        let account = self.account_to_read(caller, params.account.as_deref())?;
        let limit = params.limit.unwrap_or(DEFAULT_PAGES.1).clamp(1, MAX_PAGE) as usize;
        let (name, after) = (params.consumer.clone(), params.after.unwrap_or(0));
        let found = account.store.read(move |conn| consumers::dead_letters(conn, &name, after, limit)).await;
        let (dead_letters, more) = found.map_err(|error| unknown(error, &params.consumer))?;
        let next = dead_letters.last().filter(|_| more).map(|letter| letter.seq);
        Ok(DeadLettersResult { dead_letters: dead_letters.into_iter().map(Into::into).collect(), next })
    }
}
