//! Messages.

use std::time::Duration;

use proto::rpc::types::{
    ForgetParams, ForgetResult, HistoryParams, MessageFindParams, MessageFindResult, MessagesResult, PageParams,
    ReadParams, ReadResult, SearchParams, SendResult, TraceParams, TraceResult, UnreadResult, WaitParams,
};

use crate::model::Caller;
use crate::service::messages::{read, trace};
use crate::service::{Service, ServiceError};

pub(in crate::rpc) async fn message_wait(
    service: &Service,
    caller: &Caller,
    params: WaitParams,
) -> Result<SendResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    let timeout = Duration::from_millis(params.timeout_ms);
    Ok(trace::wait(&account, params.id, params.state.into(), timeout).await?.into())
}

pub(in crate::rpc) async fn message_history(
    service: &Service,
    caller: &Caller,
    params: HistoryParams,
) -> Result<MessagesResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    let between = (params.before, params.after);
    Ok(read::history(&account, &params.who, params.limit, between, params.tag).await?.into())
}

pub(in crate::rpc) async fn message_find(
    service: &Service,
    caller: &Caller,
    params: MessageFindParams,
) -> Result<MessageFindResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    let found = read::find(&account, &params.id, params.who.as_deref(), params.own).await?;
    Ok(MessageFindResult { messages: found.into_iter().map(Into::into).collect() })
}

pub(in crate::rpc) async fn message_search(
    service: &Service,
    caller: &Caller,
    params: SearchParams,
) -> Result<MessagesResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    Ok(read::search(&account, params.query, params.who.as_deref(), params.limit, params.before).await?.into())
}

pub(in crate::rpc) async fn message_unread(
    service: &Service,
    caller: &Caller,
    params: PageParams,
) -> Result<UnreadResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    Ok(read::unread(&account, &params.into()).await?.into())
}

pub(in crate::rpc) async fn message_read(
    service: &Service,
    caller: &Caller,
    params: ReadParams,
) -> Result<ReadResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(ReadResult { marked: read::mark_read(&account, &params.who, params.up_to).await? })
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
    Ok(trace::trace(&account, params.id).await?.into())
}
