//! Where an own message stands, and how it came there.

use std::sync::Arc;
use std::time::Duration;

use proto::ids::MessageId;
use rusqlite::Connection;

use super::no_message;
use crate::model::{Grant, MessageState, Progress, Way};
use crate::service::account::Account;
use crate::service::error::ServiceError;
use crate::store::StoreError;
use crate::store::delivery::trace;
use crate::store::peers::{self, names};

/// Waiting for a state lasts an hour at most.
const MAX_WAIT: Duration = Duration::from_secs(3_600);

/// What a token is not for is not there.
fn visible(conn: &Connection, id: &MessageId, grant: Option<&Grant>) -> Result<(), StoreError> {
    let Some(grant) = grant else { return Ok(()) };
    let trace::Place { contact, own, .. } = trace::place(conn, id)?;
    match grant.follows(peers::load(conn, contact)?.account, own) {
        true => Ok(()),
        false => Err(trace::not_there()),
    }
}

/// `message.wait`.
///
/// # Errors
/// No such message.
pub(crate) async fn wait(
    account: &Account,
    grant: Option<Arc<Grant>>,
    id: MessageId,
    wanted: MessageState,
    timeout: Duration,
) -> Result<Progress, ServiceError> {
    account.store.read(move |conn| visible(conn, &id, grant.as_deref())).await.map_err(no_message)?;
    let mut news = account.store.hub().listen();
    let deadline = tokio::time::Instant::now() + timeout.min(MAX_WAIT);
    loop {
        let (state, reason) = account.store.read(move |conn| trace::own_state(conn, &id)).await.map_err(no_message)?;
        let ended = state >= MessageState::Rejected;
        if state >= wanted || ended {
            return Ok(Progress { id, state, reason });
        }
        let over = tokio::select! {
            changed = tokio::time::timeout_at(deadline, news.recv()) => changed.is_err(),
            () = account.gone.cancelled() => true,
        };
        if over {
            // Why it waits may have changed without an event.
            let (state, reason) =
                account.store.read(move |conn| trace::own_state(conn, &id)).await.map_err(no_message)?;
            return Ok(Progress { id, state, reason });
        }
    }
}

/// `message.trace`.
///
/// # Errors
/// No such message.
pub(crate) async fn trace(account: &Account, grant: Option<Arc<Grant>>, id: MessageId) -> Result<Way, ServiceError> {
    let home = account.row().origin;
    let (trace, called) = account
        .store
        .read(move |conn| {
            visible(conn, &id, grant.as_deref())?;
            let trace = trace::trace(conn, &id)?;
            let row = peers::load(conn, trace.contact)?;
            let called = names::called(conn, &row, &home)?;
            Ok((trace, called))
        })
        .await
        .map_err(no_message)?;
    let (who, peer) = (called.form().to_owned(), called.account);
    let trace::Trace { state, reason, steps, own, .. } = trace;
    Ok(Way { id, own, who, peer, state, reason, steps })
}
