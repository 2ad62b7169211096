//! Contacts.

use proto::rpc::methods::{self as m, Method};
use proto::rpc::types::{
    Contact, ContactAddParams, ContactsResult, MuteParams, PageParams, PingResult, RenameParams, VerifyParams,
    VerifyResult, WhoParams,
};

use proto::invite::SCHEME;

use crate::model::Caller;
use crate::service::network::pings;
use crate::service::tokens::admit;
use crate::service::{Service, ServiceError, contacts, invites};

pub(in crate::rpc) async fn contact_add(
    service: &Service,
    caller: &Caller,
    params: ContactAddParams,
) -> Result<Contact, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    let text = params.message.unwrap_or_default();
    if params.who.trim_start().starts_with(SCHEME) {
        return Ok(invites::redeem(service, &account, &params.who, text).await?.into());
    }
    Ok(contacts::add(&account, &params.who, text).await?.into())
}

pub(in crate::rpc) async fn contact_show(
    service: &Service,
    caller: &Caller,
    params: WhoParams,
) -> Result<Contact, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    let who = admit::to_show(&account, caller, m::ContactShow::NAME, &params.who).await?;
    Ok(contacts::show(&account, &who).await?.into())
}

pub(in crate::rpc) async fn contact_ping(
    service: &Service,
    caller: &Caller,
    params: WhoParams,
) -> Result<PingResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(pings::ping(service, &account, &params.who).await?.into())
}

pub(in crate::rpc) async fn contact_accept(
    service: &Service,
    caller: &Caller,
    params: WhoParams,
) -> Result<Contact, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(contacts::accept(&account, &params.who).await?.into())
}

pub(in crate::rpc) async fn contact_reject(
    service: &Service,
    caller: &Caller,
    params: WhoParams,
) -> Result<Contact, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(contacts::reject(&account, &params.who).await?.into())
}

pub(in crate::rpc) async fn contact_remove(
    service: &Service,
    caller: &Caller,
    params: WhoParams,
) -> Result<Contact, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(contacts::remove(&account, &params.who).await?.into())
}

pub(in crate::rpc) async fn contact_block(
    service: &Service,
    caller: &Caller,
    params: WhoParams,
) -> Result<Contact, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(contacts::block(&account, &params.who).await?.into())
}

pub(in crate::rpc) async fn contact_unblock(
    service: &Service,
    caller: &Caller,
    params: WhoParams,
) -> Result<Contact, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(contacts::unblock(&account, &params.who).await?.into())
}

pub(in crate::rpc) async fn contact_unmute(
    service: &Service,
    caller: &Caller,
    params: WhoParams,
) -> Result<Contact, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(contacts::unmute(&account, &params.who).await?.into())
}

pub(in crate::rpc) async fn contact_rename(
    service: &Service,
    caller: &Caller,
    params: RenameParams,
) -> Result<Contact, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(contacts::rename(&account, &params.who, &params.label).await?.into())
}

pub(in crate::rpc) async fn contact_mute(
    service: &Service,
    caller: &Caller,
    params: MuteParams,
) -> Result<Contact, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(contacts::mute(&account, &params.who, params.seconds).await?.into())
}

pub(in crate::rpc) async fn contact_requests(
    service: &Service,
    caller: &Caller,
    params: PageParams,
) -> Result<ContactsResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    Ok(contacts::requests(&account, &params.into()).await?.into())
}

pub(in crate::rpc) async fn contact_list(
    service: &Service,
    caller: &Caller,
    params: PageParams,
) -> Result<ContactsResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    Ok(contacts::list(&account, caller.grant.as_deref(), &params.into()).await?.into())
}

pub(in crate::rpc) async fn contact_verify(
    service: &Service,
    caller: &Caller,
    params: VerifyParams,
) -> Result<VerifyResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    let typed = params.safety_number.as_deref();
    Ok(contacts::verify(&account, &params.who, typed, params.accept_unverified).await?.into())
}
