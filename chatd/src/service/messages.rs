//! Messages: sending, waiting for a state, history, search, read marks, traces.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proto::ids::MessageId;
use proto::rpc::advice::Step;
use proto::rpc::types::{
    HistoryParams, MessagesResult, PageParams, ReadParams, ReadResult, SearchParams, SendParams, SendResult,
    TraceParams, TraceResult, UnreadResult, WaitParams,
};
use proto::wire::MAX_TEXT_BYTES;
use proto::wire::payload::Text;

use super::account::{Account, SUPERSEDED};
use super::{Service, ServiceError, storage};
use crate::model::ids::PeerId;
use crate::model::{Caller, MessageState, Standing, Trust};
use crate::policy::contact::{ContactError, Event, Incoming, Outgoing, Relation};
use crate::store::contacts::{list, requests};
use crate::store::delivery::trace;
use crate::store::history::{self, conversations, salvage};
use crate::store::log::expiry;
use crate::store::log::outgoing::{self, NewMessage, Stored};
use crate::store::peers::{self, names};
use crate::store::{ContactRow, Pending, StoreError, account};

/// Messages in one answer at most.
const MAX_PAGE: u32 = 1_000;
/// Messages in one answer if nothing is said.
const DEFAULT_PAGE: u32 = 50;
/// Waiting for a state lasts an hour at most.
const MAX_WAIT: Duration = Duration::from_secs(3_600);

/// Messages on their way to disk: what each of a batch became, known after COMMIT.
#[derive(Debug)]
pub struct Sending {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Failed(ServiceError),
    Queued { count: usize, outcome: Pending<Vec<Stored>> },
}

impl Sending {
    /// Waits for COMMIT; one result for each message of the batch, in order.
    pub async fn outcome(self) -> Vec<Result<SendResult, ServiceError>> {
        let mut results = Vec::new();
        for part in self.parts {
            match part {
                Part::Failed(error) => results.push(Err(error)),
                Part::Queued { count, outcome } => match outcome.outcome().await {
                    Ok(stored) => results.extend(stored.into_iter().map(|stored| {
                        Ok(SendResult { id: stored.id, state: stored.state.into(), reason: stored.reason })
                    })),
                    Err(error) => {
                        let text = error.to_string();
                        results.push(Err(error.into()));
                        results.extend((1..count).map(|_| Err(ServiceError::DataDir(text.clone()))));
                    }
                },
            }
        }
        results
    }
}

/// Somebody to send to, looked up once per batch.
#[derive(Clone)]
struct Target {
    account: Arc<Account>,
    contact: PeerId,
    /// Ask them first.
    ask: bool,
    /// Seconds that messages live unless they say otherwise; 0 for ever.
    lifetime: u64,
    /// The time by which they are counted.
    agreed: Option<i64>,
}

impl Service {
    /// `message.send`, many at once: returns when all have their place in the store's queue.
    pub async fn message_send(&self, caller: &Caller, batch: Vec<SendParams>) -> Sending {
        let mut targets: HashMap<(Option<String>, String), Target> = HashMap::new();
        let mut parts = Vec::new();
        let mut run: Option<(Target, Vec<NewMessage>)> = None;
        for params in batch {
            let key = (params.account.clone(), params.to.clone());
            let target = match targets.get(&key) {
                Some(target) => Ok(target.clone()),
                None => self.target(caller, params.account.as_deref(), &params.to).await,
            };
            let message = target.and_then(|target| {
                targets.insert(key, target.clone());
                let message = new_message(params, &target)?;
                Ok((target, message))
            });
            match message {
                Ok((target, message)) => match &mut run {
                    Some((open, messages))
                        if open.contact == target.contact && Arc::ptr_eq(&open.account, &target.account) =>
                    {
                        messages.push(message);
                    }
                    _ => {
                        flush(run.take(), &mut parts).await;
                        run = Some((target, vec![message]));
                    }
                },
                Err(error) => {
                    flush(run.take(), &mut parts).await;
                    parts.push(Part::Failed(error));
                }
            }
        }
        flush(run, &mut parts).await;
        Sending { parts }
    }

    async fn target(&self, caller: &Caller, account: Option<&str>, to: &str) -> Result<Target, ServiceError> {
        let account = self.account(caller, account)?;
        if !account.is_running() {
            let row = account.row();
            return Err(match row.standing {
                Standing::Superseded => ServiceError::Superseded(SUPERSEDED),
                _ => ServiceError::LoggedOut(row.name),
            });
        }
        if to.starts_with('#') {
            return Err(ServiceError::InvalidParams("groups are not supported by this version yet".into()));
        }
        let row = self.known_or_found(&account, to).await?;
        let ask = must_ask(&row, to)?;
        let lifetime = account.store.read_blocking(account::settings)?.lifetime.unwrap_or(0);
        let agreed = account.agreed();
        Ok(Target { account, contact: row.id, ask, lifetime, agreed })
    }

    /// `message.wait`.
    ///
    /// # Errors
    /// No such message.
    pub async fn message_wait(&self, caller: &Caller, params: WaitParams) -> Result<SendResult, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let mut news = account.store.hub().listen();
        let deadline = tokio::time::Instant::now() + Duration::from_millis(params.timeout_ms).min(MAX_WAIT);
        let (id, wanted) = (params.id, MessageState::from(params.state));
        loop {
            let (state, reason) =
                account.store.read(move |conn| trace::own_state(conn, &id)).await.map_err(no_message)?;
            let ended = state >= MessageState::Rejected;
            if state >= wanted || ended {
                return Ok(SendResult { id, state: state.into(), reason });
            }
            let over = tokio::select! {
                changed = tokio::time::timeout_at(deadline, news.recv()) => changed.is_err(),
                () = account.gone.cancelled() => true,
            };
            if over {
                // Why it waits may have changed without an event.
                let (state, reason) =
                    account.store.read(move |conn| trace::own_state(conn, &id)).await.map_err(no_message)?;
                return Ok(SendResult { id, state: state.into(), reason });
            }
        }
    }

    /// `message.history`.
    ///
    /// # Errors
    /// Nobody of that name, no such message.
    pub async fn message_history(
        &self,
        caller: &Caller,
        params: HistoryParams,
    ) -> Result<MessagesResult, ServiceError> {
        let account = self.account_to_read(caller, params.account.as_deref())?;
        let contact = self.known(&account, &params.who).await?.id;
        let limit = params.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE) as usize;
        let (before, after, tag) = (params.before, params.after, params.tag);
        let (intact_tag, salvaged_tag) = (tag.clone(), tag);
        storage::read_around_damage(
            &account,
            move |conn| {
                let row = |id: Option<MessageId>| id.map(|id| history::row_of(conn, contact, &id)).transpose();
                let (before, after) = (row(before)?, row(after)?);
                let page = history::page(conn, contact, limit, before, after, intact_tag.as_deref())?;
                Ok((page.messages, page.more))
            },
            move |conn| salvage::page(conn, contact, limit, before, after, salvaged_tag.as_deref()),
        )
        .await
        .map_err(no_message)
    }

    /// `message.search`.
    ///
    /// # Errors
    /// Nobody of that name, no such message; nothing to search for.
    pub async fn message_search(&self, caller: &Caller, params: SearchParams) -> Result<MessagesResult, ServiceError> {
        let account = self.account_to_read(caller, params.account.as_deref())?;
        let contact = match &params.who {
            Some(who) => Some(self.known(&account, who).await?.id),
            None => None,
        };
        let limit = params.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE) as usize;
        let search = account.store.search().clone();
        let (words, again, before) = (params.query.clone(), params.query, params.before);
        let result = storage::read_around_damage(
            &account,
            move |conn| {
                let before = before.map(|id| history::row_of(conn, contact, &id)).transpose()?;
                let within = contact.map(|contact| peers::direct(conn, contact)).transpose()?;
                let rows = search.query(&words, within, limit + 1, before)?;
                let page = history::hits(conn, &rows, limit)?;
                Ok((page.messages, page.more))
            },
            move |conn| salvage::search(conn, &again, contact, limit, before),
        );
        result.await.map_err(no_message)
    }

    /// `message.unread`.
    ///
    /// # Errors
    /// When no account is selected.
    pub async fn message_unread(&self, caller: &Caller, params: PageParams) -> Result<UnreadResult, ServiceError> {
        let account = self.account_to_read(caller, params.account.as_deref())?;
        let (after, limit) = super::people::place(&params)?;
        let home = account.row().origin;
        let read = account.store.read(move |conn| list::unread(conn, &home, after, limit));
        let (conversations, more, total) = read.await?;
        let next = conversations.last().filter(|_| more).map(|unread| unread.account.to_string());
        Ok(UnreadResult { conversations: conversations.into_iter().map(Into::into).collect(), total, next })
    }

    /// `message.read`.
    ///
    /// # Errors
    /// Nobody of that name, no such message.
    pub async fn message_read(&self, caller: &Caller, params: ReadParams) -> Result<ReadResult, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let contact = self.known(&account, &params.who).await?.id;
        let marked = account
            .store
            .write(move |tx| conversations::mark_read(tx, contact, params.up_to))
            .await
            .map_err(no_message)?;
        Ok(ReadResult { marked })
    }

    /// `message.trace`.
    ///
    /// # Errors
    /// No such message.
    pub async fn message_trace(&self, caller: &Caller, params: TraceParams) -> Result<TraceResult, ServiceError> {
        let account = self.account_to_read(caller, params.account.as_deref())?;
        let id = params.id;
        let home = account.row().origin;
        let (trace, called) = account
            .store
            .read(move |conn| {
                let trace = trace::trace(conn, &id)?;
                let row = peers::load(conn, trace.contact)?;
                let called = names::called(conn, &row, &home)?;
                Ok((trace, called))
            })
            .await
            .map_err(no_message)?;
        let (who, peer) = (called.form().to_owned(), called.account);
        let steps = trace.steps.into_iter().map(Into::into).collect();
        Ok(TraceResult { id, who, peer, state: trace.state.into(), reason: trace.reason, steps, own: trace.own })
    }
}

/// Whether sending to somebody begins with a request; an error where it cannot begin at all.
fn must_ask(row: &ContactRow, who: &str) -> Result<bool, ServiceError> {
    if row.state.blocked {
        return Err(ServiceError::Refused(format!("{who} is blocked")).advise(Step::Unblock.of(who)));
    }
    if row.trust == Trust::Changed {
        let text = format!(
            "the key of {who} changed, and neither the old key nor the recovery key vouches for the new one: it may be \
             somebody else's. Nothing is sent to {who} before you decide. Ask {who}, in person or by phone, for the safety \
             number"
        );
        return Err(ServiceError::KeyNotTrusted(text).advise(Step::Verify.of(who)));
    }
    match row.state.relation {
        Relation::Accepted | Relation::Apart { outgoing: Outgoing::Requested, .. } => Ok(false),
        Relation::Apart { incoming: Incoming::Pending, .. } => {
            Err(ServiceError::NotAContact(format!("{who} has asked you")).advise(Step::AnswerRequest.of(who)))
        }
        Relation::Apart { .. } => Ok(true),
    }
}

fn new_message(params: SendParams, target: &Target) -> Result<NewMessage, ServiceError> {
    super::settings::check_lifetime(params.lifetime)?;
    let size = params.body.len();
    if size > MAX_TEXT_BYTES {
        return Err(ServiceError::InvalidText(format!(
            "the text has {size} bytes; {MAX_TEXT_BYTES} is the most: send it in parts"
        )));
    }
    let bad = |tag: &String| tag.is_empty() || tag.len() > Text::MAX_TAG_BYTES || tag.contains('\n');
    if params.tags.len() > Text::MAX_TAGS || params.tags.iter().any(bad) {
        return Err(ServiceError::InvalidParams(format!(
            "a message has {} tags at most, of 1 to {} bytes, without line feeds",
            Text::MAX_TAGS,
            Text::MAX_TAG_BYTES
        )));
    }
    Ok(NewMessage {
        id: params.id.unwrap_or_else(MessageId::now),
        body: params.body,
        format: params.format.into(),
        priority: params.priority.into(),
        tags: params.tags,
        reply_to: params.reply_to,
        expires: match params.lifetime.unwrap_or(target.lifetime) {
            0 => None,
            seconds => Some(expiry::expiry(seconds, target.agreed)),
        },
    })
}

async fn flush(run: Option<(Target, Vec<NewMessage>)>, parts: &mut Vec<Part>) {
    let Some((target, messages)) = run else { return };
    let (contact, ask, count) = (target.contact, target.ask, messages.len());
    let queued = target
        .account
        .store
        .enqueue(move |tx| {
            if ask {
                // Another call may have asked since the look-up; that is as good.
                match requests::contact_wish(tx, contact, Event::UserAdds, "") {
                    Ok(_) | Err(StoreError::Contact(ContactError::AlreadyContact)) => {}
                    Err(error) => return Err(error),
                }
            }
            outgoing::send(tx, contact, &messages)
        })
        .await;
    parts.push(match queued {
        Ok(outcome) => Part::Queued { count, outcome },
        Err(error) => Part::Failed(error.into()),
    });
}

fn no_message(error: StoreError) -> ServiceError {
    match error {
        StoreError::NotFound(what) => ServiceError::NotFound(format!("{what} is not there")),
        error => error.into(),
    }
}
