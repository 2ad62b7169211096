//! Messages.

use std::time::Duration;

use proto::rpc::methods::{self as m, Method};
use proto::rpc::types::{
    ForgetParams, ForgetResult, HistoryParams, MessageFindParams, MessageFindResult, MessagesResult, PageParams,
    ReadParams, ReadResult, SearchParams, SendResult, TraceParams, TraceResult, UnreadResult, WaitParams,
};

use crate::model::Caller;
use crate::service::messages::{read, trace};
use crate::service::tokens::admit;
use crate::service::{Service, ServiceError};

pub(in crate::rpc) async fn message_wait(
    service: &Service,
    caller: &Caller,
    params: WaitParams,
) -> Result<SendResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    let timeout = Duration::from_millis(params.timeout_ms);
    Ok(trace::wait(&account, caller.grant.clone(), params.id, params.state.into(), timeout).await?.into())
}

pub(in crate::rpc) async fn message_history(
    service: &Service,
    caller: &Caller,
    params: HistoryParams,
) -> Result<MessagesResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    let between = (params.before, params.after);
    let who = admit::to_read(&account, caller, m::MessageHistory::NAME, &params.who).await?;
    Ok(read::history(&account, &who, params.limit, between, params.tag).await?.into())
}

pub(in crate::rpc) async fn message_find(
    service: &Service,
    caller: &Caller,
    params: MessageFindParams,
) -> Result<MessageFindResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    let who = admit::to_search(&account, caller, m::MessageFind::NAME, params.who.as_deref()).await?;
    let found = read::find(&account, &params.id, who.as_deref(), params.own).await?;
    Ok(MessageFindResult { messages: found.into_iter().map(Into::into).collect() })
}

pub(in crate::rpc) async fn message_search(
    service: &Service,
    caller: &Caller,
    params: SearchParams,
) -> Result<MessagesResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    let who = admit::to_search(&account, caller, m::MessageSearch::NAME, params.who.as_deref()).await?;
    Ok(read::search(&account, params.query, who.as_deref(), params.limit, params.before).await?.into())
}

pub(in crate::rpc) async fn message_unread(
    service: &Service,
    caller: &Caller,
    params: PageParams,
) -> Result<UnreadResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    Ok(read::unread(&account, caller.grant.as_deref(), &params.into()).await?.into())
}

pub(in crate::rpc) async fn message_read(
    service: &Service,
    caller: &Caller,
    params: ReadParams,
) -> Result<ReadResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    let who = admit::to_read(&account, caller, m::MessageRead::NAME, &params.who).await?;
    Ok(ReadResult { marked: read::mark_read(&account, &who, params.up_to).await? })
}

pub(in crate::rpc) async fn message_forget(
    service: &Service,
    caller: &Caller,
    params: ForgetParams,
) -> Result<ForgetResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(ForgetResult { forgotten: read::forget(&account, &params.who, params.before).await? })
}

pub(in crate::rpc) async fn message_trace(
    service: &Service,
    caller: &Caller,
    params: TraceParams,
) -> Result<TraceResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    Ok(trace::trace(&account, caller.grant.clone(), params.id).await?.into())
}
