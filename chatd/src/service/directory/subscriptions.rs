//! What the directory was told in a session, and what it has to be told: deposit tokens, and whom to watch.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proto::directory::api::token_hash;
use proto::ids::AccountId;
use proto::time::Timestamp;

use crate::directory::session::SessionCommand;
use crate::policy::contact::Relation;
use crate::service::account::Account;
use crate::service::error::ServiceError;
use crate::store::contacts::invites;
use crate::store::peers;

/// What the directory knows of us.
#[derive(Default)]
pub(in crate::service) struct Told {
    pub tokens: HashSet<[u8; 32]>,
    pub watched: HashMap<AccountId, [u8; 32]>,
    /// Watches that may have come before their token did: accounts of which nothing is known, and how many pauses ago it was asked
    /// first.
    pub unsure: HashMap<AccountId, u32>,
    /// The record was published after the last refusal: if that did not help, the next attempt takes its time.
    pub republished: bool,
}

/// What the directory has to be told of deposit tokens; from then on it counts as told.
pub(in crate::service) async fn changed_tokens(
    account: &Account,
    told: &mut Told,
) -> Result<Option<SessionCommand>, ServiceError> {
    let read = account.store.read(|conn| Ok((peers::all(conn)?, invites::open(conn, Timestamp::now())?)));
    let (everybody, invites) = read.await?;
    let tokens: HashSet<[u8; 32]> =
        everybody.iter().filter_map(|row| row.token_given.as_ref().map(token_hash)).chain(invites).collect();
    let add: Vec<[u8; 32]> = tokens.difference(&told.tokens).copied().collect();
    let remove: Vec<[u8; 32]> = told.tokens.difference(&tokens).copied().collect();
    told.tokens = tokens;
    Ok((!add.is_empty() || !remove.is_empty()).then_some(SessionCommand::Tokens { add, remove }))
}

/// Brings tokens and watches at the directory in line with the contacts, and confirms names.
pub(in crate::service) async fn sync(account: &Arc<Account>, told: &mut Told) -> Result<(), ServiceError> {
    let everybody = account.store.read(peers::all).await?;
    if let Some(tokens) = changed_tokens(account, told).await? {
        account.command(tokens).await;
    }
    let own = account.row();
    let watched: HashMap<AccountId, [u8; 32]> = everybody
        .iter()
        .filter(|row| row.state.relation == Relation::Accepted && !row.state.blocked && row.origin == own.origin)
        .filter_map(|row| Some((row.account, row.token_held?)))
        .collect();
    let new: Vec<(AccountId, [u8; 32])> = watched
        .iter()
        .filter(|(who, token)| told.watched.get(*who) != Some(*token))
        .map(|(who, token)| (*who, *token))
        .collect();
    let gone: Vec<AccountId> = told.watched.keys().filter(|who| !watched.contains_key(*who)).copied().collect();
    if !new.is_empty() {
        account.command(SessionCommand::Watch(new)).await;
    }
    if !gone.is_empty() {
        for who in &gone {
            account.forget_presence(*who);
        }
        account.command(SessionCommand::Unwatch(gone)).await;
    }
    told.watched = watched;
    Ok(())
}
