//! The daemon.

use std::sync::Arc;

use proto::rpc::API_VERSION;
use proto::rpc::types::{AccountParams, DoctorResult, HelloParams, HelloResult, NetcheckResult, StatusResult, Stored};

use crate::model::{Caller, DaemonStatus, Grant};
use crate::service::health::{doctor, netcheck};
use crate::service::tokens::{admit, manage};
use crate::service::{Service, ServiceError, status};

const SERVER: &str = concat!("chatd ", env!("CARGO_PKG_VERSION"));

pub(in crate::rpc) async fn system_hello(
    service: &Service,
    caller: &Caller,
    params: HelloParams,
) -> Result<(HelloResult, Option<Arc<Grant>>), ServiceError> {
    if !params.client.is_empty() {
        tracing::debug!(client = ?params.client, uid = caller.uid, "client says hello");
    }
    let grant = match &params.token {
        Some(token) => Some(admit::present(service, caller, token).await?),
        None => caller.grant.clone(),
    };
    let caller = Caller { grant: grant.clone(), ..caller.clone() };
    let token = match &grant {
        Some(grant) => manage::of_grant(&*service.account_to_read(&caller, None)?, grant).await?.map(Into::into),
        None => None,
    };
    let accounts = status::addresses_of_accounts(service, &caller);
    Ok((HelloResult { server: SERVER.into(), api: API_VERSION, uid: caller.uid, accounts, token }, grant))
}

pub(in crate::rpc) async fn system_status(
    service: &Service,
    caller: &Caller,
    params: AccountParams,
) -> Result<StatusResult, ServiceError> {
    let status = status::status(service, caller, params.account.as_deref()).await?;
    let DaemonStatus { node, addresses, relay, uptime, links, relayed, stored, .. } = status;
    let DaemonStatus { clients, own_clients, user_clients, accounts, .. } = status;
    Ok(StatusResult {
        server: SERVER.into(),
        api: API_VERSION,
        node,
        addresses: addresses.iter().map(ToString::to_string).collect(),
        relay,
        uptime,
        links,
        relayed,
        stored: stored.map(|(bytes, most)| Stored { bytes, most }),
        clients,
        own_clients: own_clients.into_iter().map(Into::into).collect(),
        user_clients: user_clients.into_iter().map(Into::into).collect(),
        accounts: accounts.into_iter().map(Into::into).collect(),
    })
}

pub(in crate::rpc) async fn system_doctor(
    service: &Service,
    caller: &Caller,
    params: AccountParams,
) -> Result<DoctorResult, ServiceError> {
    let found = doctor::examine(service, caller, params.account.as_deref()).await?;
    Ok(DoctorResult { checks: found.into_iter().map(Into::into).collect() })
}

pub(in crate::rpc) async fn system_netcheck(
    service: &Service,
    caller: &Caller,
    params: AccountParams,
) -> Result<NetcheckResult, ServiceError> {
    let found = netcheck::examine(service, caller, params.account.as_deref()).await?;
    Ok(NetcheckResult { checks: found.into_iter().map(Into::into).collect() })
}
