//! Whether strangers are who their requests say: the directory of each one's domain is asked.
//!
//! Apart from the session, for anybody may name a domain whose directory takes its time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use proto::name::Name;

use crate::model::ids::PeerId;
use crate::service::account::Account;
use crate::service::error::ServiceError;
use crate::service::resolve::look_up;
use crate::store::ContactRow;
use crate::store::peers::names::{self, Confirmation};
use crate::store::peers::{self, trust};

/// Names confirmed in one go at most: a flood of requests must not become a flood of look-ups.
const CONFIRMATIONS: usize = 4;
/// This often at most while contacts change.
const PAUSE: Duration = Duration::from_millis(200);

/// Confirms names until the account is offline, each once in a session.
pub(in crate::service) async fn run(account: Arc<Account>) {
    let (mut changes, mut state) = (account.store.outbox_watch(), account.state.subscribe());
    let (mut asked, mut bearer) = (HashSet::new(), None);
    loop {
        let session = account.session();
        if session.bearer != bearer {
            asked.clear();
            bearer.clone_from(&session.bearer);
        }
        if session.up
            && let Err(error) = confirm(&account, &mut asked).await
        {
            tracing::warn!(%error, "names are not confirmed");
        }
        // Not a wait for something to happen: a bound on how often the same question is asked.
        tokio::time::sleep(PAUSE).await;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

/// Asks for those who were not asked for yet; the slowest decides how long it takes.
async fn confirm(account: &Arc<Account>, asked: &mut HashSet<PeerId>) -> Result<(), ServiceError> {
    let everybody = account.store.read(peers::all).await?;
    let unknown = everybody.into_iter().filter(|row| !row.confirmed && !asked.contains(&row.id));
    let unknown: Vec<ContactRow> =
        unknown.filter(|row| account.directories.of(&row.origin).is_some()).take(CONFIRMATIONS).collect();
    let answers = join_all(unknown.iter().map(|row| async move {
        let name = Name::parse(&row.name).ok()?;
        Some(look_up(account, &name, &row.origin).await)
    }));
    for (row, answer) in unknown.iter().zip(answers.await) {
        asked.insert(row.id);
        match answer {
            None => {}
            Some(Ok(Some(found))) if found.record.account() == row.account => {
                let (contact, bytes) = (row.id, found.bytes);
                let (name, origin) = (row.name.clone(), row.origin.clone());
                let confirmed = account.store.write(move |tx| {
                    trust::take_record(tx, contact, &bytes)?;
                    names::confirm_name(tx, contact, &name, &origin)
                });
                if confirmed.await? != Confirmation::Given {
                    tracing::warn!(name = %row.name, account = %row.account, "the name belongs to another account now than \
                        the contact that is known by it");
                }
            }
            Some(Ok(_)) => {
                tracing::warn!(often = "name", name = %row.name, account = %row.account, "the directory does not confirm this name");
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a name was not confirmed");
                asked.remove(&row.id);
            }
        }
    }
    Ok(())
}
