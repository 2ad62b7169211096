//! Whom a call is about: which account of the caller's, which person behind a word.

use std::sync::Arc;

use proto::directory::SignedRecord;
use proto::name::Address;
use proto::nearest::nearest;

use super::account::Account;
use super::{Service, ServiceError};
use crate::directory::DirectoryError;
use crate::model::Caller;
use crate::store::ContactRow;
use crate::store::contacts::{self, NewContact};

/// Nobody's uid (overflow): accounts are never given to it.
pub(super) const OVERFLOW_UID: u32 = 65_534;

impl Service {
    /// The caller's accounts.
    pub(super) fn owned(&self, caller: &Caller) -> Vec<Arc<Account>> {
        if caller.uid == OVERFLOW_UID {
            return Vec::new();
        }
        let user = caller.user.clone().unwrap_or_default();
        self.accounts()
            .into_iter()
            .filter(|account| {
                let row = account.row();
                // A uid that was given to somebody else since takes no account along.
                row.uid == caller.uid && (row.user == user || row.user.is_empty())
            })
            .collect()
    }

    /// The account that a call names, or the caller's only one; damaged or not.
    pub(super) fn account_of(&self, caller: &Caller, name: Option<&str>) -> Result<Arc<Account>, ServiceError> {
        let mut own = self.owned(caller);
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            own.retain(|account| {
                let row = account.row();
                row.name == name || row.address() == name
            });
            if own.is_empty() {
                return Err(ServiceError::NoAccount(format!(
                    "{name} is no account of yours here; chatctl status shows yours, chatctl register {name} makes it"
                )));
            }
        }
        match own.len() {
            0 => Err(ServiceError::NoAccount("you have no account here: chatctl register NAME makes one".into())),
            1 => Ok(own.swap_remove(0)),
            _ => {
                let mut names: Vec<String> = own.iter().map(|account| account.row().address()).collect();
                names.sort();
                Err(ServiceError::AmbiguousAccount(names.join(", ")))
            }
        }
    }

    /// Somebody this account knows already.
    pub(super) async fn known(&self, account: &Account, who: &str) -> Result<ContactRow, ServiceError> {
        let home = account.row().origin;
        // Two indexed rows, and on the way of every message: not worth a thread of its own.
        if let Some(row) = account.store.read_blocking(|conn| contacts::find(conn, who, &home))? {
            return Ok(row);
        }
        let everybody = account.store.read(contacts::all).await?;
        let names: Vec<String> =
            everybody.iter().map(|row| row.label.clone().unwrap_or_else(|| row.who(&home))).collect();
        let hint = match nearest(who, names.iter().map(String::as_str)) {
            Some(name) => format!("; did you mean {name}?"),
            None => format!("; to ask somebody of that name in the directory: chatctl add {who}"),
        };
        Err(ServiceError::NotFound(format!("you know nobody called {who}{hint}")))
    }

    /// Somebody this account knows, or whom its directory knows; the latter is remembered as a stranger.
    pub(super) async fn known_or_found(&self, account: &Account, who: &str) -> Result<ContactRow, ServiceError> {
        let unknown = match self.known(account, who).await {
            Err(error @ ServiceError::NotFound(_)) => error,
            found => return found,
        };
        if who.starts_with("chat:") {
            return Err(ServiceError::NotFound(
                "invites are not supported by this version yet; ask for the name instead".into(),
            ));
        }
        let address: Address = who.parse()?;
        let own = account.row();
        let origin = address.domain.clone().unwrap_or_else(|| own.origin.clone());
        let at_home = origin == own.origin;
        if !at_home && account.directories.of(&origin).is_none() {
            return Err(ServiceError::NotFound(format!(
                "the directory of {origin} is not known here: name its URL under [directories] in the configuration of chatd"
            )));
        }
        if at_home && address.name.as_str() == own.name {
            return Err(ServiceError::InvalidParams(format!("{who} is yourself: name somebody else")));
        }
        // The name in its normal form may be known.
        if at_home
            && address.name.as_str() != who
            && let Ok(row) = self.known(account, address.name.as_str()).await
        {
            return Ok(row);
        }
        let Some(client) = account.directories.of(&origin) else { return Err(unknown) };
        let bearer = account.bearer().filter(|_| at_home);
        let found = match client.lookup(&address.name, bearer.as_deref()).await {
            Ok(found) => found,
            Err(DirectoryError::NotFound) => {
                let hint = match unknown {
                    ServiceError::NotFound(text) if text.contains("did you mean") => {
                        let hint = text.split("; ").nth(1).unwrap_or_default();
                        format!("; {hint} To ask somebody else to be a contact: chatctl add NAME")
                    }
                    _ => format!("; chatctl users {} lists who is there", address.name),
                };
                return Err(ServiceError::NotFound(format!("nobody is called {who} in {origin}{hint}")));
            }
            Err(error) => return Err(error.into()),
        };
        let record = SignedRecord::decode(&found.record)?.verify()?;
        if record.name != address.name || record.origin != origin || record.account() != found.account {
            return Err(ServiceError::KeyNotTrusted(format!(
                "the directory answered with a record that is not {who}'s; tell its operator"
            )));
        }
        let new = NewContact {
            account: found.account,
            name: record.name.as_str().to_owned(),
            origin: record.origin.clone(),
            record_seq: record.seq,
            identity_key: record.identity_key,
            record: found.record,
            reach: Vec::new(),
            reach_seq: 0,
            confirmed: true,
        };
        let contact = account.store.write(move |tx| tx.upsert_contact(&new)).await?;
        Ok(account.store.read(move |conn| contacts::load(conn, contact)).await?)
    }
}
