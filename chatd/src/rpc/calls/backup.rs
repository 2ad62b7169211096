//! Backups and restores, in parts.

use proto::rpc::types::{
    BackupBeginParams, BackupBeginResult, BackupReadParams, BackupReadResult, Done, Empty, RestoreBeginResult,
    RestoreFinishParams, RestoreResult, RestoreWriteParams, TransferParams,
};
use zeroize::Zeroizing;

use crate::crypto::archive::{Secrets, is_post_quantum};
use crate::model::Caller;
use crate::service::backup::{self, Keys};
use crate::service::{Service, ServiceError};

pub(in crate::rpc) async fn backup_begin(
    service: &Service,
    caller: &Caller,
    params: BackupBeginParams,
) -> Result<BackupBeginResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    let post_quantum = is_post_quantum(&params.recipients);
    let passphrase = params.passphrase.map(|text| Zeroizing::new(text.to_string()));
    let keys = Keys { recipients: params.recipients, passphrase };
    let made = backup::start(service, caller, account, keys).await?;
    Ok(BackupBeginResult { transfer: made.transfer, size: made.size, post_quantum, account: made.account.into() })
}

pub(in crate::rpc) async fn backup_read(
    service: &Service,
    caller: &Caller,
    params: BackupReadParams,
) -> Result<BackupReadResult, ServiceError> {
    Ok(BackupReadResult { data: backup::read(service, caller, &params.transfer, params.offset).await? })
}

pub(in crate::rpc) async fn backup_end(
    service: &Service,
    caller: &Caller,
    params: TransferParams,
) -> Result<Done, ServiceError> {
    backup::end(service, caller, &params.transfer).map(|()| Done {})
}

pub(in crate::rpc) async fn restore_begin(
    service: &Service,
    caller: &Caller,
    _: Empty,
) -> Result<RestoreBeginResult, ServiceError> {
    Ok(RestoreBeginResult { transfer: backup::start_restore(service, caller)? })
}

pub(in crate::rpc) async fn restore_write(
    service: &Service,
    caller: &Caller,
    params: RestoreWriteParams,
) -> Result<Done, ServiceError> {
    backup::write(service, caller, &params.transfer, params.data).await.map(|()| Done {})
}

pub(in crate::rpc) async fn restore_end(
    service: &Service,
    caller: &Caller,
    params: TransferParams,
) -> Result<Done, ServiceError> {
    backup::end_restore(service, caller, &params.transfer).map(|()| Done {})
}

pub(in crate::rpc) async fn restore_finish(
    service: &Service,
    caller: &Caller,
    params: RestoreFinishParams,
) -> Result<RestoreResult, ServiceError> {
    let secrets = Secrets::new(&params.identities, params.passphrase.as_deref())?;
    Ok(backup::finish_restore(service, caller, &params.transfer, secrets).await?.into())
}
