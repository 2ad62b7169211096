//! Profiles.

use proto::rpc::methods::{self as m, Method};
use proto::rpc::types::{Profile, ProfileSetParams, ProfileShowParams};

use crate::model::Caller;
use crate::service::tokens::admit;
use crate::service::{Service, ServiceError, profiles};

pub(in crate::rpc) async fn profile_show(
    service: &Service,
    caller: &Caller,
    params: ProfileShowParams,
) -> Result<Profile, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    let who = match params.who.as_deref() {
        Some(who) => Some(admit::to_show(&account, caller, m::ProfileShow::NAME, who).await?),
        None => None,
    };
    Ok(profiles::show(&account, who.as_deref()).await?.into())
}

pub(in crate::rpc) async fn profile_set(
    service: &Service,
    caller: &Caller,
    params: ProfileSetParams,
) -> Result<Profile, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(profiles::set(&account, params.display_name, params.status, params.bio).await?.into())
}
