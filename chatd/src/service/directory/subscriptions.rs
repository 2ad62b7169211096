//! What the directory was told in a session, and what it has to be told: deposit tokens, whom to watch, and which names to
//! confirm.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proto::directory::api::token_hash;
use proto::ids::AccountId;
use proto::name::Name;

use crate::directory::session::SessionCommand;
use crate::model::ids::PeerId;
use crate::policy::contact::Relation;
use crate::service::account::Account;
use crate::service::error::ServiceError;
use crate::service::resolve::look_up;
use crate::store::ContactRow;
use crate::store::peers::names::{self, Confirmation};
use crate::store::peers::{self, trust};

/// Names confirmed in one go at most: a flood of requests must not become a flood of look-ups.
const CONFIRMATIONS: usize = 4;

/// What the directory knows of us.
#[derive(Default)]
pub(in crate::service) struct Told {
    pub tokens: HashSet<[u8; 32]>,
    pub watched: HashMap<AccountId, [u8; 32]>,
    pub asked_names: HashSet<PeerId>,
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
    let everybody = account.store.read(peers::all).await?;
    let tokens: HashSet<[u8; 32]> =
        everybody.iter().filter_map(|row| row.token_given.as_ref().map(token_hash)).collect();
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
    confirm_names(account, told, &everybody).await
}

/// Asks the directory of its domain whether a stranger is who the request says.
async fn confirm_names(account: &Arc<Account>, told: &mut Told, everybody: &[ContactRow]) -> Result<(), ServiceError> {
    let unknown: Vec<&ContactRow> = everybody
        .iter()
        .filter(|row| !row.confirmed && !told.asked_names.contains(&row.id))
        .filter(|row| account.directories.of(&row.origin).is_some())
        .take(CONFIRMATIONS)
        .collect();
    for row in unknown {
        told.asked_names.insert(row.id);
        let Ok(name) = Name::parse(&row.name) else { continue };
        match look_up(account, &name, &row.origin).await {
            Ok(Some(found)) if found.record.account() == row.account => {
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
            Ok(_) => {
                tracing::warn!(often = "name", name = %row.name, account = %row.account, "the directory does not confirm this name");
            }
            Err(error) => {
                tracing::debug!(%error, "a name was not confirmed");
                told.asked_names.remove(&row.id);
            }
        }
    }
    Ok(())
}
