//! Messages to others: sent, many at once.

use std::collections::HashMap;
use std::sync::Arc;

use proto::advice::Step;
use proto::ids::{AccountId, MessageId};
use proto::wire::MAX_TEXT_BYTES;
use proto::wire::payload::Text;

use crate::model::ids::PeerId;
use crate::model::{Caller, Draft, Progress, Standing, Trust};
use crate::policy::contact::{ContactError, Event, Incoming, Outgoing, Relation};
use crate::service::account::Account;
use crate::service::account::settings::check_lifetime;
use crate::service::context::Service;
use crate::service::error::ServiceError;
use crate::service::resolve::{known, known_or_found};
use crate::service::tokens::admit;
use crate::store::contacts::requests;
use crate::store::log::expiry;
use crate::store::log::outgoing::{self, NewMessage, Stored};
use crate::store::{ContactRow, Pending, StoreError, account};

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
    pub async fn outcome(self) -> Vec<Result<Progress, ServiceError>> {
        let mut results = Vec::new();
        for part in self.parts {
            match part {
                Part::Failed(error) => results.push(Err(error)),
                Part::Queued { count, outcome } => match outcome.outcome().await {
                    Ok(stored) => results.extend(
                        stored
                            .into_iter()
                            .map(|stored| Ok(Progress { id: stored.id, state: stored.state, reason: stored.reason })),
                    ),
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
    peer: AccountId,
    /// Ask them first.
    ask: bool,
    /// Seconds that messages live unless they say otherwise; 0 for ever.
    lifetime: u64,
    /// The time by which they are counted.
    agreed: Option<i64>,
}

/// `message.send`, many at once: returns when all have their place in the store's queue.
pub(crate) async fn send(service: &Service, caller: &Caller, batch: Vec<Draft>) -> Sending {
    let mut targets: HashMap<(Option<String>, String), Target> = HashMap::new();
    let mut parts = Vec::new();
    let mut run: Option<(Target, Vec<NewMessage>)> = None;
    for draft in batch {
        let key = (draft.account.clone(), draft.to.clone());
        let target = match targets.get(&key) {
            Some(target) => admit::take(service, caller, "message.send").await.map(|()| target.clone()),
            None => target(service, caller, draft.account.as_deref(), &draft.to).await,
        };
        let message = target.and_then(|target| {
            targets.insert(key, target.clone());
            let message = new_message(draft, &target)?;
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
                    flush(caller, run.take(), &mut parts).await;
                    run = Some((target, vec![message]));
                }
            },
            Err(error) => {
                flush(caller, run.take(), &mut parts).await;
                parts.push(Part::Failed(error));
            }
        }
    }
    flush(caller, run, &mut parts).await;
    Sending { parts }
}

async fn target(service: &Service, caller: &Caller, account: Option<&str>, to: &str) -> Result<Target, ServiceError> {
    let account = service.account(caller, account)?;
    if !account.is_running() {
        let row = account.row();
        return Err(match row.standing {
            Standing::Superseded => ServiceError::Superseded,
            _ => ServiceError::LoggedOut(row.name),
        });
    }
    if to.starts_with('#') {
        return Err(ServiceError::InvalidParams("groups are not supported by this version yet".into()));
    }
    admit::take(service, caller, "message.send").await?;
    let row = match &caller.grant {
        None => known_or_found(&account, to).await?,
        Some(grant) => {
            let meant = admit::to_send(&account, caller, to).await?;
            match known(&account, &meant).await {
                Err(error) if error.is_not_found() => return Err(admit::not_a_contact(grant, to)),
                found => found?,
            }
        }
    };
    let ask = must_ask(&row, to)?;
    if ask {
        admit::may_ask(caller, to)?;
    }
    let lifetime = account.store.read_blocking(account::settings)?.lifetime.unwrap_or(0);
    let agreed = account.clock.trusted_now();
    Ok(Target { account, contact: row.id, peer: row.account, ask, lifetime, agreed })
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

fn new_message(draft: Draft, target: &Target) -> Result<NewMessage, ServiceError> {
    check_lifetime(draft.lifetime)?;
    let size = draft.body.len();
    if size > MAX_TEXT_BYTES {
        return Err(ServiceError::InvalidText(format!(
            "the text has {size} bytes; {MAX_TEXT_BYTES} is the most: send it in parts"
        )));
    }
    let bad = |tag: &String| tag.is_empty() || tag.len() > Text::MAX_TAG_BYTES || tag.contains('\n');
    if draft.tags.len() > Text::MAX_TAGS || draft.tags.iter().any(bad) {
        return Err(ServiceError::InvalidParams(format!(
            "a message has {} tags at most, of 1 to {} bytes, without line feeds",
            Text::MAX_TAGS,
            Text::MAX_TAG_BYTES
        )));
    }
    Ok(NewMessage {
        id: draft.id.unwrap_or_else(MessageId::now),
        body: draft.body,
        format: draft.format,
        priority: draft.priority,
        tags: draft.tags,
        reply_to: draft.reply_to,
        expires: match draft.lifetime.unwrap_or(target.lifetime) {
            0 => None,
            seconds => Some(expiry::expiry(seconds, target.agreed)),
        },
    })
}

async fn flush(caller: &Caller, run: Option<(Target, Vec<NewMessage>)>, parts: &mut Vec<Part>) {
    let Some((target, messages)) = run else { return };
    let (contact, ask, count) = (target.contact, target.ask, messages.len());
    admit::sent(&target.account, caller, target.peer, count as u64).await;
    let queued = target
        .account
        .store
        .enqueue(move |tx| {
            if ask {
                // Another call may have asked since the look-up; that is as good.
                match requests::apply_user_event(tx, contact, Event::UserAdds, "") {
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
