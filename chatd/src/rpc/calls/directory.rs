//! Directories, and who is in them.

use proto::directory::api::UsersQuery;
use proto::rpc::types::{DirectoryKeyParams, DirectoryKeyResult, UsersParams, UsersResult};

use crate::model::Caller;
use crate::service::directory::{membership, users};
use crate::service::{Service, ServiceError};

/// Entries in one answer at most, and if nothing is said.
const MAX_PAGE: u32 = 1_000;
const DEFAULT_PAGE: u32 = 200;

pub(in crate::rpc) async fn directory_key(
    service: &Service,
    caller: &Caller,
    params: DirectoryKeyParams,
) -> Result<DirectoryKeyResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(membership::key(&account, params.domain, params.accept.as_deref()).await?.into())
}

pub(in crate::rpc) async fn directory_users(
    service: &Service,
    caller: &Caller,
    params: UsersParams,
) -> Result<UsersResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    let query = UsersQuery {
        query: params.query,
        name: params.name,
        address: params.ip,
        online: params.online.then_some(true),
        after: params.after,
        limit: Some(params.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)),
    };
    Ok(users::users(&account, query).await?.into())
}
