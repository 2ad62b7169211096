//! Accounts, and their keys.

use proto::rpc::types::{
    AccountInfo, AccountListResult, AccountParams, Empty, KeyRecoverParams, KeyResult, RegisterParams, RegisterResult,
    SettingsParams, SettingsResult, UnregisterParams, UnregisterResult,
};
use zeroize::Zeroizing;

use crate::model::Caller;
use crate::service::account::keys::rotation;
use crate::service::account::register::Registration;
use crate::service::account::{info, lifecycle, register, settings};
use crate::service::{Service, ServiceError};

pub(in crate::rpc) async fn account_register(
    service: &Service,
    caller: &Caller,
    params: RegisterParams,
) -> Result<RegisterResult, ServiceError> {
    let wanted = Registration {
        name: params.name,
        directory: params.directory,
        display_name: params.display_name.unwrap_or_default(),
        recovery_key: params.recovery_key.map(|key| Zeroizing::new(key.to_string())),
    };
    Ok(register::register(service, caller, wanted).await?.into())
}

pub(in crate::rpc) async fn account_login(
    service: &Service,
    caller: &Caller,
    params: AccountParams,
) -> Result<AccountInfo, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(lifecycle::log_in(account).await?.into())
}

pub(in crate::rpc) async fn account_logout(
    service: &Service,
    caller: &Caller,
    params: AccountParams,
) -> Result<AccountInfo, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(lifecycle::log_out(account).await?.into())
}

pub(in crate::rpc) async fn account_unregister(
    service: &Service,
    caller: &Caller,
    params: UnregisterParams,
) -> Result<UnregisterResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(UnregisterResult { reserved_until: lifecycle::unregister(service, account, &params.confirm).await? })
}

pub(in crate::rpc) async fn account_list(
    service: &Service,
    caller: &Caller,
    _: Empty,
) -> Result<AccountListResult, ServiceError> {
    Ok(AccountListResult { accounts: info::list(service, caller).into_iter().map(Into::into).collect() })
}

pub(in crate::rpc) async fn account_whoami(
    service: &Service,
    caller: &Caller,
    params: AccountParams,
) -> Result<AccountInfo, ServiceError> {
    Ok(info::whoami(&*service.account_to_read(caller, params.account.as_deref())?).into())
}

pub(in crate::rpc) async fn account_use(
    service: &Service,
    caller: &Caller,
    params: AccountParams,
) -> Result<AccountInfo, ServiceError> {
    Ok(info::make_default(service, caller, params.account.as_deref()).await?.into())
}

pub(in crate::rpc) async fn account_settings(
    service: &Service,
    caller: &Caller,
    params: SettingsParams,
) -> Result<SettingsResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(settings::change(&account, params.read_receipts, params.lifetime).await?.into())
}

pub(in crate::rpc) async fn key_rotate(
    service: &Service,
    caller: &Caller,
    params: AccountParams,
) -> Result<KeyResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(rotation::rotate(service, account).await?.into())
}

pub(in crate::rpc) async fn key_recover(
    service: &Service,
    caller: &Caller,
    params: KeyRecoverParams,
) -> Result<KeyResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(rotation::recover(service, account, &params.recovery_key).await?.into())
}
