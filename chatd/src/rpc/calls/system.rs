//! The daemon.

use proto::rpc::API_VERSION;
use proto::rpc::types::{AccountParams, HelloParams, HelloResult, StatusResult};

use crate::model::{Caller, DaemonStatus};
use crate::service::{Service, ServiceError, status};

const SERVER: &str = concat!("chatd ", env!("CARGO_PKG_VERSION"));

pub(in crate::rpc) async fn system_hello(
    service: &Service,
    caller: &Caller,
    params: HelloParams,
) -> Result<HelloResult, ServiceError> {
    if !params.client.is_empty() {
        tracing::debug!(client = ?params.client, uid = caller.uid, "client says hello");
    }
    let accounts = status::addresses_of_accounts(service, caller);
    Ok(HelloResult { server: SERVER.into(), api: API_VERSION, uid: caller.uid, accounts })
}

pub(in crate::rpc) async fn system_status(
    service: &Service,
    caller: &Caller,
    params: AccountParams,
) -> Result<StatusResult, ServiceError> {
    let status = status::status(service, caller, params.account.as_deref()).await?;
    let DaemonStatus { node, addresses, relay, uptime, links, relayed, clients, own_clients, user_clients, accounts } =
        status;
    Ok(StatusResult {
        server: SERVER.into(),
        api: API_VERSION,
        node,
        addresses: addresses.iter().map(ToString::to_string).collect(),
        relay,
        uptime,
        links,
        relayed,
        clients,
        own_clients: own_clients.into_iter().map(Into::into).collect(),
        user_clients: user_clients.into_iter().map(Into::into).collect(),
        accounts: accounts.into_iter().map(Into::into).collect(),
    })
}
