//! Invites.

use proto::rpc::types::{
    AccountParams, Done, InviteCreateParams, InviteCreateResult, InviteListResult, InviteRevokeParams,
};

use crate::model::Caller;
use crate::service::{Service, ServiceError, invites};

pub(in crate::rpc) async fn invite_create(
    service: &Service,
    caller: &Caller,
    params: InviteCreateParams,
) -> Result<InviteCreateResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    let (uri, invite) = invites::create(service, &account, params.label.as_deref(), params.expires_seconds).await?;
    Ok(InviteCreateResult { uri: uri.into(), invite: invite.into() })
}

pub(in crate::rpc) async fn invite_list(
    service: &Service,
    caller: &Caller,
    params: AccountParams,
) -> Result<InviteListResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    Ok(InviteListResult { invites: invites::list(&account).await?.into_iter().map(Into::into).collect() })
}

pub(in crate::rpc) async fn invite_revoke(
    service: &Service,
    caller: &Caller,
    params: InviteRevokeParams,
) -> Result<Done, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    invites::revoke(&account, &params.id).await.map(|()| Done {})
}
