//! Opening accounts, logging them in and out, deleting them.

use std::path::Path;
use std::sync::Arc;

use proto::name::Address;
use proto::time::Timestamp;

use super::info::info;
use super::state::Order;
use super::{Account, storage, supervisor};
use crate::directory::DirectoryError;
use crate::model::{AccountInfo, AccountRow, Standing};
use crate::service::context::{Service, run_detached};
use crate::service::error::ServiceError;
use crate::store::{Tx, account};

pub(in crate::service) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ServiceError + '_ {
    move |source| ServiceError::Io { path: path.to_owned(), source }
}

pub(in crate::service) fn private_dir(path: &Path) -> Result<(), ServiceError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io(path))
}

/// Opens every account in the data directory and brings those online that want to be.
///
/// # Errors
/// A folder that cannot be read, a store of a newer version.
pub(in crate::service) async fn open_accounts(service: &Service) -> Result<(), ServiceError> {
    let dir = service.accounts_dir();
    private_dir(&dir)?;
    for entry in std::fs::read_dir(&dir).map_err(io(&dir))? {
        let path = entry.map_err(io(&dir))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') {
            // Half made or half deleted when the daemon was killed; nobody was told that it exists.
            tracing::info!(%name, "an unfinished account is removed");
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(%name, %error, "it was not removed");
            }
            continue;
        }
        let Some(account) = storage::open_or_salvage(service, &path)? else { continue };
        tracing::info!(name = %account.row().name, account = %account.id, "account opened");
        register(service, &account);
        start(&account).await;
    }
    Ok(())
}

/// Lets an account be found, and has its supervisor look after it. Before it goes online, so that it misses no link that comes or
/// goes meanwhile.
pub(in crate::service) fn register(service: &Service, account: &Arc<Account>) {
    service.inner.accounts.insert(account);
    supervisor::spawn(service, account);
}

/// Brings an account online that wants to be.
pub(in crate::service) async fn start(account: &Account) {
    if account.row().logged_in && account.store.damage().is_none() {
        account.go_online().await;
    }
}

/// When a full disk has room again, accounts come online anew: who was refused meanwhile then tries again at once.
pub(in crate::service) async fn watch_disk(service: Service) {
    let mut low = service.inner.space.watch();
    while low.wait_for(|low| *low).await.is_ok() && low.wait_for(|low| !*low).await.is_ok() {
        for account in service.accounts() {
            account.state.order(Order::Restart).await;
        }
    }
}

/// `account.login`.
///
/// # Errors
/// [`ServiceError::AlreadyLoggedIn`].
pub(crate) async fn log_in(account: Arc<Account>) -> Result<AccountInfo, ServiceError> {
    if account.is_running() {
        return Err(ServiceError::AlreadyLoggedIn(account.row().name));
    }
    run_detached(async move {
        // Of two copies, this is the one that its owner wants.
        let standing = match account.row().standing {
            Standing::Superseded => Standing::TakesOver,
            standing => standing,
        };
        let stored = move |tx: &mut Tx<'_>| {
            account::set_standing(tx, standing)?;
            account::set_logged_in(tx, true)
        };
        account.store.write(stored).await?;
        account.state.change(|state| {
            state.row.standing = standing;
            state.row.logged_in = true;
        });
        account.go_online().await;
        account.settled().await;
        Ok(info(&account))
    })
    .await
}

/// `account.logout`.
///
/// # Errors
/// [`ServiceError::AlreadyLoggedOut`].
pub(crate) async fn log_out(account: Arc<Account>) -> Result<AccountInfo, ServiceError> {
    if !account.is_running() {
        return Err(ServiceError::AlreadyLoggedOut(account.row().name));
    }
    run_detached(async move {
        account.store.write(|tx| account::set_logged_in(tx, false)).await?;
        account.state.change(|state| state.row.logged_in = false);
        account.go_offline().await;
        Ok(info(&account))
    })
    .await
}

/// `account.unregister`: gives the name up and deletes everything of the account here. Answers until when the directory keeps the
/// name for whoever has the keys.
///
/// # Errors
/// When the confirmation differs, or the directory does not release the name; then nothing is deleted.
pub(crate) async fn unregister(
    service: &Service,
    account: Arc<Account>,
    confirm: &str,
) -> Result<Option<Timestamp>, ServiceError> {
    let row = account.row();
    if confirm != row.name {
        return Err(ServiceError::InvalidParams(format!(
            "to delete it, confirm with the account's name: {}",
            row.name
        )));
    }
    let service = service.clone();
    run_detached(async move { delete(&service, &account, &row).await }).await
}

async fn delete(service: &Service, account: &Account, row: &AccountRow) -> Result<Option<Timestamp>, ServiceError> {
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
    if !service.inner.accounts.remove(account.id) {
        return Err(ServiceError::NoAccount(format!("{} is deleted already", row.name)));
    }
    let folder = service.folder_of(account.id);
    let doomed = service.accounts_dir().join(format!(".deleted-{}", account.id));
    // At once: a daemon that is killed now must not take the name again when it starts.
    let renamed = std::fs::rename(&folder, &doomed).map_err(io(&folder));
    account.gone.cancel();
    account.state.closed().await;
    account.store.close().await;
    renamed?;
    std::fs::remove_dir_all(&doomed).map_err(io(&doomed))?;
    tracing::info!(name = %row.address(), account = %account.id, "account deleted");
    Ok(reserved_until)
}
