//! Which accounts there are, which of them is the default, and how one ends.

use std::sync::PoisonError;

use proto::ids::hex;
use proto::name::Address;
use proto::rpc::types::{AccountInfo, AccountListResult, AccountParams, Empty, UnregisterParams, UnregisterResult};
use proto::time::Timestamp;

use super::account::Account;
use super::create::io;
use super::storage::mark;
use super::{Service, ServiceError};
use crate::crypto::safety::fingerprint;
use crate::directory::DirectoryError;
use crate::model::{AccountRow, Caller};
use crate::store::account;

impl Service {
    /// `account.use`. The daemon keeps the choice, with the account itself: an account's name means something on its own daemon
    /// only, and every client of the user is to mean the same one.
    ///
    /// # Errors
    /// No account of that name, or several.
    pub async fn account_use(&self, caller: &Caller, params: AccountParams) -> Result<AccountInfo, ServiceError> {
        let chosen = self.account(caller, params.account.as_deref())?;
        let own = self.owned(caller);
        let next = own.iter().map(|account| account.row().preferred).max().unwrap_or(0).saturating_add(1);
        let service = self.clone();
        Self::whole(async move {
            // One write decides, for the highest counts; that the others are none any more is tidiness: when this one is deleted,
            // no other must take its place unasked.
            chosen.store.write(move |tx| account::set_preferred(tx, next)).await?;
            chosen.set_preferred(next);
            for other in own.iter().filter(|other| other.id != chosen.id && other.row().preferred > 0) {
                other.store.write(|tx| account::set_preferred(tx, 0)).await?;
                other.set_preferred(0);
            }
            Ok(service.info(&chosen))
        })
        .await
    }

    /// `account.unregister`: gives the name up and deletes everything of the account here.
    ///
    /// # Errors
    /// When the confirmation differs, or the directory does not release the name; then nothing is deleted.
    pub async fn account_unregister(
        &self,
        caller: &Caller,
        params: UnregisterParams,
    ) -> Result<UnregisterResult, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let row = account.row();
        if params.confirm != row.name {
            return Err(ServiceError::InvalidParams(format!(
                "to delete it, confirm with the account's name: {}",
                row.name
            )));
        }
        let service = self.clone();
        Self::whole(async move { service.delete(&account, &row).await }).await
    }

    async fn delete(&self, account: &Account, row: &AccountRow) -> Result<UnregisterResult, ServiceError> {
        let mut reserved_until = None;
        if let Some(client) = &account.directory {
            let address: Address = row.name.parse()?;
            let identity = account.keys.identity();
            match client.unregister(&address.name, &move |message: &[u8]| identity.sign(&[message])).await {
                // Gone there already is gone.
                Ok(until) => reserved_until = Some(Timestamp(until.saturating_mul(1_000))),
                Err(DirectoryError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.inner.accounts.write().unwrap_or_else(PoisonError::into_inner).remove(&account.id).is_none() {
            return Err(ServiceError::NoAccount(format!("{} is deleted already", row.name)));
        }
        let folder = self.accounts_dir().join(account.id.to_string());
        let doomed = self.accounts_dir().join(format!(".deleted-{}", account.id));
        // At once: a daemon that is killed now must not take the name again when it starts.
        let renamed = std::fs::rename(&folder, &doomed).map_err(io(&folder));
        account.gone.cancel();
        account.go_offline().await;
        account.store.close().await;
        renamed?;
        std::fs::remove_dir_all(&doomed).map_err(io(&doomed))?;
        tracing::info!(name = %row.address(), account = %account.id, "account deleted");
        Ok(UnregisterResult { reserved_until })
    }

    /// `account.list`.
    ///
    /// # Errors
    /// None.
    pub async fn account_list(&self, caller: &Caller, _: Empty) -> Result<AccountListResult, ServiceError> {
        let mut accounts: Vec<AccountInfo> = self.owned(caller).iter().map(|account| self.info(account)).collect();
        accounts.sort_by(|a, b| a.address.cmp(&b.address));
        Ok(AccountListResult { accounts })
    }

    /// `account.whoami`.
    ///
    /// # Errors
    /// When no account is selected.
    pub async fn account_whoami(&self, caller: &Caller, params: AccountParams) -> Result<AccountInfo, ServiceError> {
        Ok(self.info(&*self.account_to_read(caller, params.account.as_deref())?))
    }

    pub(super) fn info(&self, account: &Account) -> AccountInfo {
        let row = account.row();
        let info = AccountInfo {
            address: row.address(),
            id: account.id,
            fingerprint: fingerprint(&account.keys.identity().public()),
            directory: (!row.directory.is_empty()).then_some(row.directory),
            directory_key: account.directory.as_ref().and_then(|client| client.pin().key()).map(|key| hex(&key)),
            logged_in: row.logged_in,
            online: account.session().up,
            default: row.preferred > 0,
            name: row.name,
            damaged: None,
        };
        mark(info, account)
    }
}
