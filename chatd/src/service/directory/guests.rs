//! Who of other domains is online: a session as a guest with the directory of each domain that a contact is of.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proto::ids::{AccountId, NodeId};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};

use super::session::heard;
use crate::directory::session::{GuestEvent, Watched, run_guest};
use crate::policy::contact::Relation;
use crate::service::account::Account;
use crate::store::{StoreError, peers};

/// Domains that are listened to at once: each is a connection. Of contacts beyond that it is not known whether they are there.
const MAX_DOMAINS: usize = 64;
/// Events of all of them that wait at most.
const EVENTS: usize = 64;
/// Contacts are looked at so often at most while they change.
const SYNC_PAUSE: Duration = Duration::from_millis(200);

/// The sessions that there are.
#[derive(Default)]
struct Guests {
    watched: HashMap<String, watch::Sender<Watched>>,
    tasks: JoinSet<()>,
    origins: HashMap<Id, String>,
}

/// Follows the contacts of other domains until the account is offline.
pub(in crate::service) async fn run(account: Arc<Account>, node: NodeId) {
    let (news_in, mut news) = mpsc::channel(EVENTS);
    let (mut guests, mut changes) = (Guests::default(), account.store.outbox_watch());
    changes.mark_changed();
    loop {
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                match wanted(&account).await {
                    Ok(wanted) => sync((&account, node), &mut guests, wanted, &news_in),
                    Err(error) => tracing::warn!(%error, "contacts of other domains are not watched"),
                }
                // Not a wait for something to happen: a bound on how often the same question is asked.
                tokio::time::sleep(SYNC_PAUSE).await;
            }
            Some((origin, event)) = news.recv() => match event {
                GuestEvent::Presence { account: who, online } => heard(&account, who, online).await,
                GuestEvent::Down => {
                    let gone = guests.watched.get(&origin).map(|watched| watched.borrow().keys().copied().collect::<Vec<_>>());
                    for who in gone.unwrap_or_default() {
                        account.forget_presence(who);
                    }
                }
            },
            Some(ended) = guests.tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                if let Some(origin) = guests.origins.remove(&id) {
                    guests.watched.remove(&origin);
                }
            }
        }
    }
}

/// Whom to watch in which domain: those who have given a token.
async fn wanted(account: &Account) -> Result<HashMap<String, Watched>, StoreError> {
    let own = account.row().origin;
    let mut wanted: HashMap<String, HashMap<AccountId, [u8; 32]>> = HashMap::new();
    for row in account.store.read(peers::all).await? {
        let accepted = row.state.relation == Relation::Accepted && !row.state.blocked;
        if let Some(token) = row.token_held.filter(|_| accepted && row.origin != own) {
            wanted.entry(row.origin).or_default().insert(row.account, token);
        }
    }
    Ok(wanted)
}

fn sync(
    (account, node): (&Account, NodeId),
    guests: &mut Guests,
    mut wanted: HashMap<String, Watched>,
    news: &mpsc::Sender<(String, GuestEvent)>,
) {
    for (origin, watched) in &guests.watched {
        let new = wanted.remove(origin).unwrap_or_default();
        watched.send_if_modified(|old| {
            for who in old.keys().filter(|who| !new.contains_key(*who)) {
                account.forget_presence(*who);
            }
            let changed = *old != new;
            *old = new;
            changed
        });
    }
    for (origin, new) in wanted {
        let Some(client) = account.directories.of(&origin).filter(|_| guests.watched.len() < MAX_DOMAINS) else {
            continue;
        };
        let (sender, watched) = watch::channel(new);
        let (events_in, mut events) = mpsc::channel(EVENTS);
        let (news, of) = (news.clone(), origin.clone());
        let task = guests.tasks.spawn(async move {
            let told = async {
                while let Some(event) = events.recv().await {
                    if news.send((of.clone(), event)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(run_guest(client, node, watched, events_in), told);
        });
        guests.origins.insert(task.id(), origin.clone());
        guests.watched.insert(origin, sender);
    }
}
