//! How the daemon and its accounts are.

use std::sync::Arc;

use futures_util::future::join_all;

use super::account::state::State;
use super::account::{Account, clock, info};
use super::context::Service;
use super::error::ServiceError;
use crate::delivery::OpenLink;
use crate::link::PathKind;
use crate::model::{AccountStatus, Caller, DaemonStatus, Suite};
use crate::store::history;

/// What `system.hello` tells of the caller's accounts: how each is called.
pub(crate) fn addresses_of_accounts(service: &Service, caller: &Caller) -> Vec<String> {
    service.inner.accounts.owned(caller).iter().map(|account| account.row().address()).collect()
}

/// Asks the stores of all open accounts for an answer, and waits for it.
pub(crate) async fn every_store_answers(service: &Service) {
    stores_answer(&service.accounts()).await;
}

/// What the answer says (the disk is full, the store is damaged) is for others to tell: here it counts that there is one.
pub(super) async fn stores_answer(accounts: &[Arc<Account>]) {
    join_all(accounts.iter().map(|account| account.store.write(|_| Ok(())))).await;
}

/// `system.status`, of one account or of all that the caller has.
///
/// # Errors
/// No account of the given name.
pub(crate) async fn status(
    service: &Service,
    caller: &Caller,
    account: Option<&str>,
) -> Result<DaemonStatus, ServiceError> {
    let mut chosen = match account {
        Some(name) => vec![service.account_to_read(caller, Some(name))?],
        None => service.inner.accounts.owned(caller),
    };
    chosen.sort_by_key(|account| account.row().address());
    let mut accounts = Vec::with_capacity(chosen.len());
    for account in chosen {
        accounts.push(account_status(&account).await?);
    }
    let is_relayed = |link: &OpenLink| matches!(link.sender.path().kind, PathKind::Relay(_));
    let relayed = service.open_links().iter().filter(|link| is_relayed(link)).count() as u64;
    // Whoever presents a token is told of one account, and of nobody's programs.
    let (clients, by_token) = (service.clients(), caller.grant.is_some());
    Ok(DaemonStatus {
        node: service.node_id(),
        addresses: service.addresses(),
        relay: service.inner.node.whereabouts().borrow().relay.clone(),
        uptime: service.inner.started.elapsed().as_secs(),
        links: service.inner.table.open_links(),
        relayed,
        stored: (!by_token).then(|| service.inner.shares.of(caller.uid).used()).map(|used| (used.bytes, used.most)),
        clients: clients.count(),
        own_clients: clients.who().filter(|_| !by_token).map(|who| who.of_user(caller.uid)).unwrap_or_default(),
        user_clients: clients
            .who()
            .filter(|_| caller.uid == 0 && !by_token)
            .map(|who| who.by_user())
            .unwrap_or_default(),
        accounts,
    })
}

async fn account_status(account: &Account) -> Result<AccountStatus, ServiceError> {
    let counts = account.store.read(history::counts).await;
    // Of a damaged account, what can be told is told.
    let (queued, unread, requests, contacts) =
        if account.store.damage().is_some() { counts.unwrap_or_default() } else { counts? };
    let state: State = account.state.now().clone();
    Ok(AccountStatus {
        trouble: info::trouble(&state),
        info: info::info(account),
        queued,
        unread,
        requests,
        contacts,
        seq: account.store.hub().head(),
        store_error: account.store.write_error(),
        suite: Suite::Hybrid,
        clock: clock::status(&account.clock),
    })
}
