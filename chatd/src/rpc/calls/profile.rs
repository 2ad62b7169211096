//! Profiles.

use proto::rpc::types::{Profile, ProfileSetParams, ProfileShowParams};

use crate::model::Caller;
use crate::service::{Service, ServiceError, profiles};

pub(in crate::rpc) async fn profile_show(
    service: &Service,
    caller: &Caller,
    params: ProfileShowParams,
) -> Result<Profile, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(profiles::show(&account, params.who.as_deref()).await?.into())
}

pub(in crate::rpc) async fn profile_set(
    service: &Service,
    caller: &Caller,
    params: ProfileSetParams,
) -> Result<Profile, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(profiles::set(&account, params.display_name, params.status, params.bio).await?.into())
}
