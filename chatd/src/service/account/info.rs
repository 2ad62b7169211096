//! What an account is for its owner: how it is called, how it stands, and whether it is the default.

use proto::advice::Step;

use super::Account;
use super::state::State;
use crate::crypto::safety::fingerprint;
use crate::model::{AccountInfo, Caller, Standing, Trouble};
use crate::service::context::{Service, run_detached};
use crate::service::error::{SUPERSEDED, ServiceError};
use crate::store::account;

/// What is told when a second process has this device's key.
const CLONED: &str = "cloned: another machine or process ran a copy of this data directory. It was stopped for good, and this one goes on; delete the \
     copy";

/// The account as its owner sees it.
pub(in crate::service) fn info(account: &Account) -> AccountInfo {
    let state = account.state.now();
    let row = &state.row;
    // Of keys that only stand in for missing ones, nothing is shown.
    let own = account.keys.device_id() == account.device;
    AccountInfo {
        id: account.id,
        name: row.name.clone(),
        address: row.address(),
        fingerprint: if own { fingerprint(&account.keys.identity().public()) } else { String::new() },
        directory: row.directory.clone(),
        directory_key: account.directory.as_ref().and_then(|client| client.pin().key()),
        logged_in: row.logged_in,
        online: state.session.up,
        is_default: row.preferred > 0,
        damage: account.damage(),
    }
}

/// What is wrong with the session, or with what the directory says of it.
pub(in crate::service) fn trouble(state: &State) -> Option<Trouble> {
    let said = |text: &str, step: Step| Trouble { text: text.to_owned(), advice: Some(step.alone()) };
    if state.row.standing == Standing::Superseded {
        return Some(said(SUPERSEDED, Step::GoOnHere));
    }
    if state.cloned {
        return Some(said(CLONED, Step::OwnCopy));
    }
    let error = state.session.error.as_ref()?;
    Some(Trouble { text: error.text.clone(), advice: error.advice.clone() })
}

/// `account.list`.
pub(crate) fn list(service: &Service, caller: &Caller) -> Vec<AccountInfo> {
    let mut accounts: Vec<AccountInfo> =
        service.inner.accounts.owned(caller).iter().map(|account| info(account)).collect();
    accounts.sort_by(|a, b| a.address.cmp(&b.address));
    accounts
}

/// `account.whoami`.
pub(crate) fn whoami(account: &Account) -> AccountInfo {
    info(account)
}

/// `account.use`. The daemon keeps the choice, with the account itself: an account's name means something on its own daemon
/// only, and every client of the user is to mean the same one.
///
/// # Errors
/// No account of that name, or several.
pub(crate) async fn make_default(
    service: &Service,
    caller: &Caller,
    name: Option<&str>,
) -> Result<AccountInfo, ServiceError> {
    let chosen = service.account(caller, name)?;
    let own = service.inner.accounts.owned(caller);
    let next = own.iter().map(|account| account.row().preferred).max().unwrap_or(0).saturating_add(1);
    run_detached(async move {
        // One write decides, for the highest counts; that the others are none any more is tidiness: when this one is deleted,
        // no other must take its place unasked.
        prefer(&chosen, next).await?;
        for other in own.iter().filter(|other| other.id != chosen.id && other.row().preferred > 0) {
            prefer(other, 0).await?;
        }
        Ok(info(&chosen))
    })
    .await
}

async fn prefer(account: &Account, preferred: i64) -> Result<(), ServiceError> {
    account.store.write(move |tx| account::set_preferred(tx, preferred)).await?;
    account.state.change(|state| state.row.preferred = preferred);
    Ok(())
}
