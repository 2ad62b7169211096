//! Whether strangers are who their requests say: the directory of each one's domain is asked.
//!
//! Apart from the session, for anybody may name a domain whose directory takes its time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use proto::name::Name;

use crate::model::ids::PeerId;
use crate::service::account::Account;
use crate::service::error::ServiceError;
use crate::service::resolve::look_up;
use crate::store::peers::names::{self, Confirmation};
use crate::store::peers::{self, trust};

/// Names confirmed in one go at most: a flood of requests must not become a flood of look-ups.
const CONFIRMATIONS: usize = 4;
/// This often at most while contacts change.
const PAUSE: Duration = Duration::from_millis(200);
/// Whoever's directory did not answer is asked for again after this. Others have their turn before: a domain that never answers holds
/// up nobody else's name.
const AGAIN: Duration = Duration::from_secs(60);

/// Who was asked for in this session: once and for all, or until a time.
type Asked = HashMap<PeerId, Option<Instant>>;

/// Confirms names until the account is offline, each once in a session.
pub(in crate::service) async fn run(account: Arc<Account>) {
    let (mut changes, mut state) = (account.store.outbox_watch(), account.state.subscribe());
    let (mut asked, mut bearer) = (Asked::new(), None);
    loop {
        let session = account.session();
        if session.bearer != bearer {
            asked.clear();
            bearer.clone_from(&session.bearer);
        }
        let mut more = false;
        if session.up {
            match confirm(&account, &mut asked).await {
                Ok(left) => more = left,
                Err(error) => tracing::warn!(%error, "names are not confirmed"),
            }
        }
        // Not a wait for something to happen: a bound on how often the same question is asked.
        tokio::time::sleep(PAUSE).await;
        if more {
            continue;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            changed = state.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(AGAIN), if asked.values().any(Option::is_some) => {}
        }
    }
}

/// Asks for some of those who were not asked for yet; the slowest decides how long it takes. Whether there are more.
async fn confirm(account: &Arc<Account>, asked: &mut Asked) -> Result<bool, ServiceError> {
    let everybody = account.store.read(peers::all).await?;
    let unknown = everybody.into_iter().filter(|row| !row.confirmed && account.directories.of(&row.origin).is_some());
    let (unknown, more) = turn(unknown, |row| row.id, asked, Instant::now());
    let answers = join_all(unknown.iter().map(|row| async move {
        let name = Name::parse(&row.name).ok()?;
        Some(look_up(account, &name, &row.origin).await)
    }));
    for (row, answer) in unknown.iter().zip(answers.await) {
        asked.insert(row.id, None);
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
                asked.insert(row.id, Some(Instant::now() + AGAIN));
            }
        }
    }
    Ok(more)
}

/// Whose turn it is at `now`; whether others wait for theirs.
fn turn<T>(all: impl Iterator<Item = T>, id: impl Fn(&T) -> PeerId, asked: &Asked, now: Instant) -> (Vec<T>, bool) {
    let is_due = |one: &T| asked.get(&id(one)).is_none_or(|until| until.is_some_and(|until| until <= now));
    let mut due: Vec<T> = all.filter(is_due).collect();
    let more = due.len() > CONFIRMATIONS;
    due.truncate(CONFIRMATIONS);
    (due, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_never_answers_holds_up_nobody_elses_name() {
        let (mut asked, begun) = (Asked::new(), Instant::now());
        let turn_at = |asked: &Asked, now| turn((1..=6).map(PeerId), |id| *id, asked, now);
        let (first, more) = turn_at(&asked, begun);
        assert_eq!((first.clone(), more), ((1..=4).map(PeerId).collect(), true));
        // None of these is answered for; the others have their turn, and are.
        asked.extend(first.iter().map(|id| (*id, Some(begun + AGAIN))));
        assert_eq!(turn_at(&asked, begun), (vec![PeerId(5), PeerId(6)], false));
        asked.extend([5, 6].map(|id| (PeerId(id), None)));
        assert_eq!(turn_at(&asked, begun), (Vec::new(), false));
        assert_eq!(turn_at(&asked, begun + AGAIN), (first, false), "and those again, in a while");
    }
}
