//! The feed: subscriptions, and consumers.

use proto::rpc::event::EventType;
use proto::rpc::methods::{self as m, Method};
use proto::rpc::types::{
    Consumer, ConsumerParams, ConsumerResetParams, ConsumersResult, DeadLettersParams, DeadLettersResult, Done,
    FeedAckParams, FeedAttemptParams, FeedAttemptResult, FeedGiveUpParams, PageParams, SubscribeParams,
    SubscribeResult,
};

use crate::model::{Caller, EventKind, Wanted};
use crate::service::feed::{self, Feed, consumers};
use crate::service::tokens::admit;
use crate::service::{Service, ServiceError};

pub(in crate::rpc) async fn feed_subscribe(
    service: &Service,
    caller: &Caller,
    params: SubscribeParams,
) -> Result<(SubscribeResult, Feed), ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    let kinds = params.types.iter().map(|word| kind_of(word)).collect::<Result<_, _>>()?;
    let who = match params.who.as_deref() {
        Some(who) => Some(admit::to_read(&account, caller, m::FeedSubscribe::NAME, who).await?.into_owned()),
        None => None,
    };
    let wanted = Wanted { since: params.since, consumer: params.consumer, resume: params.resume, who, kinds };
    let feed = feed::subscribe(account, caller, wanted).await?;
    // The connection numbers its subscriptions.
    Ok((SubscribeResult { subscription: 0, seq: feed.cursor(), head: feed.head() }, feed))
}

fn kind_of(word: &str) -> Result<EventKind, ServiceError> {
    let kind = EventType::parse(word).ok_or_else(|| {
        let known: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
        ServiceError::InvalidParams(format!("{word} is no event type; there are {}", known.join(", ")))
    })?;
    Ok(kind.into())
}

pub(in crate::rpc) async fn feed_ack(
    service: &Service,
    caller: &Caller,
    params: FeedAckParams,
) -> Result<Done, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    consumers::ack(&account, caller, &params.consumer, params.seq).await.map(|()| Done {})
}

pub(in crate::rpc) async fn feed_attempt(
    service: &Service,
    caller: &Caller,
    params: FeedAttemptParams,
) -> Result<FeedAttemptResult, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(FeedAttemptResult { attempts: consumers::attempt(&account, caller, &params.consumer, params.seq).await? })
}

pub(in crate::rpc) async fn feed_give_up(
    service: &Service,
    caller: &Caller,
    params: FeedGiveUpParams,
) -> Result<Done, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    consumers::give_up(&account, caller, &params.consumer, params.seq, params.reason).await.map(|()| Done {})
}

pub(in crate::rpc) async fn consumer_list(
    service: &Service,
    caller: &Caller,
    params: PageParams,
) -> Result<ConsumersResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    Ok(consumers::list(&account, caller, params.into()).await?.into())
}

pub(in crate::rpc) async fn consumer_reset(
    service: &Service,
    caller: &Caller,
    params: ConsumerResetParams,
) -> Result<Consumer, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    Ok(consumers::reset(&account, caller, params.consumer, params.since).await?.into())
}

pub(in crate::rpc) async fn consumer_remove(
    service: &Service,
    caller: &Caller,
    params: ConsumerParams,
) -> Result<Done, ServiceError> {
    let account = service.account(caller, params.account.as_deref())?;
    consumers::remove(&account, caller, &params.consumer).await.map(|()| Done {})
}

pub(in crate::rpc) async fn consumer_dead_letters(
    service: &Service,
    caller: &Caller,
    params: DeadLettersParams,
) -> Result<DeadLettersResult, ServiceError> {
    let account = service.account_to_read(caller, params.account.as_deref())?;
    let (letters, next) =
        consumers::dead_letters(&account, caller, &params.consumer, params.after, params.limit).await?;
    Ok(DeadLettersResult { dead_letters: letters.into_iter().map(Into::into).collect(), next })
}
