//! What the daemon says of itself.

use std::sync::atomic::Ordering;

use proto::rpc::API_VERSION;
use proto::rpc::types::{AccountParams, AccountStatus, HelloParams, HelloResult, StatusResult};

use super::account::Account;
use super::{Service, ServiceError};
use crate::model::Caller;
use crate::store::history;

const SERVER: &str = concat!("chatd ", env!("CARGO_PKG_VERSION"));

impl Service {
    /// `system.hello`.
    ///
    /// # Errors
    /// None.
    pub async fn system_hello(&self, caller: &Caller, params: HelloParams) -> Result<HelloResult, ServiceError> {
        if !params.client.is_empty() {
            tracing::debug!(client = ?params.client, uid = caller.uid, "client says hello");
        }
        let accounts = self.owned(caller).iter().map(|account| account.row().address()).collect();
        Ok(HelloResult { server: SERVER.into(), api: API_VERSION, uid: caller.uid, accounts })
    }

    /// `system.status`.
    ///
    /// # Errors
    /// No account of the given name.
    pub async fn system_status(&self, caller: &Caller, params: AccountParams) -> Result<StatusResult, ServiceError> {
        let mut chosen = match &params.account {
            Some(name) => vec![self.account_to_read(caller, Some(name))?],
            None => self.owned(caller),
        };
        chosen.sort_by_key(|account| account.row().address());
        let mut accounts = Vec::with_capacity(chosen.len());
        for account in chosen {
            accounts.push(account_status(&account).await?);
        }
        let clients = self.inner.told_clients.get();
        let own_clients = clients.map(|clients| clients.of_user(caller.uid)).unwrap_or_default();
        let user_clients = clients.filter(|_| caller.uid == 0).map(|all| all.by_user()).unwrap_or_default();
        Ok(StatusResult {
            server: SERVER.into(),
            api: API_VERSION,
            node: self.node_id(),
            addresses: self.addresses().iter().map(ToString::to_string).collect(),
            uptime: self.inner.started.elapsed().as_secs(),
            links: self.inner.table.open_links(),
            clients: self.inner.clients.load(Ordering::Relaxed),
            own_clients: own_clients.into_iter().map(Into::into).collect(),
            user_clients: user_clients.into_iter().map(Into::into).collect(),
            accounts,
        })
    }
}

async fn account_status(account: &Account) -> Result<AccountStatus, ServiceError> {
    let counts = account.store.read(history::counts).await;
    // Of a damaged account, what can be told is told.
    let (queued, unread, requests, contacts) =
        if account.store.damage().is_some() { counts.unwrap_or_default() } else { counts? };
    let (row, session) = (account.row(), account.session());
    Ok(AccountStatus {
        address: row.address(),
        name: row.name,
        logged_in: row.logged_in,
        directory: (!row.directory.is_empty()).then_some(row.directory),
        online: session.up,
        default: row.preferred > 0,
        directory_error: account.session_error(),
        queued,
        unread,
        requests,
        contacts,
        seq: account.store.hub().head(),
        store_error: account.store.write_error(),
        damaged: account.store.damage(),
        clock: account.clock_status(),
    })
}
