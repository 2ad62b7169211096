//! From a request's name and bytes to what is to be done. Nothing runs here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use proto::nearest::nearest;
use proto::rpc::codec::{self, EncodeError, decode_params};
use proto::rpc::methods::{self as m, METHODS, Method};
use proto::rpc::types::{
    HelloParams, HelloResult, SendParams, SendResult, SubscribeParams, SubscribeResult, UnsubscribeParams,
};
use proto::rpc::{ErrorCode, RpcError};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::api::{Api, with_methods};
use crate::model::{Caller, Grant};

/// A future in a box.
pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What `system.hello` is answered, and what the token grants. Boxed: it is rare, and large.
pub(super) type Greeting = Box<Result<(HelloResult, Option<Arc<Grant>>), RpcError>>;

/// What comes out of a connection's ordered lane.
pub(super) enum Done<A: Api> {
    /// A complete answer, encoded.
    Answer(Vec<u8>),
    /// The messages with these ids are in the store's queue.
    Enqueued(Vec<u32>, A::Sending),
    /// Request id, name of the notification, result and feed.
    Subscribed(u32, String, SubscribeResult, A::Feed),
    /// Request id, whether a token was presented, and what is answered; with what the token grants.
    Greeted(u32, bool, Greeting),
}

/// A request, understood.
pub(super) enum Job<A: Api> {
    /// Says who it is, perhaps by a token.
    Hello(u32, HelloParams),
    /// Belongs to a batch.
    Send(u32, SendParams),
    /// Begins the feed.
    Subscribe(u32, SubscribeParams),
    /// Ends it.
    Unsubscribe(u32, u64),
    /// Runs alone, in its turn.
    Ordered(BoxFuture<Done<A>>),
    /// Runs beside others.
    Concurrent(BoxFuture<Vec<u8>>),
    /// Runs beside others, for as long as an hour.
    Wait(u32, BoxFuture<Vec<u8>>),
    /// Has an error for an answer.
    Refused(u32, RpcError),
    /// Was no request at all: the answer is the last one.
    Close(Option<u32>, RpcError),
}

/// What the requests of one connection are run with.
pub(super) struct Dispatcher<A> {
    pub(super) api: Arc<A>,
    pub(super) caller: Arc<Caller>,
    /// Ends waiting calls when the connection ends.
    pub(super) closing: CancellationToken,
}

/// Encodes a method's outcome as the answer to `id`.
pub(super) fn answer<R: Serialize>(out: &mut Vec<u8>, id: u32, outcome: &Result<R, RpcError>) {
    let error = match outcome {
        Ok(result) => match codec::encode_response(out, id, result) {
            Ok(()) => return,
            Err(EncodeError::TooLong(bytes)) => RpcError::new(
                ErrorCode::LimitReached,
                format!("the answer would have {bytes} bytes; ask for less, for instance with `limit`"),
            ),
            Err(error) => RpcError::new(ErrorCode::Internal, error.to_string()),
        },
        Err(error) => error.clone(),
    };
    codec::encode_error(out, Some(id), &error);
}

/// [`answer`] in a buffer of its own.
fn answer_alone<R: Serialize>(id: u32, outcome: &Result<R, RpcError>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    answer(&mut out, id, outcome);
    out
}

impl<A: Api> Dispatcher<A> {
    /// What a request asks for.
    pub(super) fn dispatch(&self, id: u32, method: &str, params: &[u8]) -> Job<A> {
        self.find(id, method, params).unwrap_or_else(|error| Job::Refused(id, error))
    }

    fn find(&self, id: u32, method: &str, params: &[u8]) -> Result<Job<A>, RpcError> {
        macro_rules! by_name {
            ($($kind:ident $marker:ident $function:ident;)*) => {
                match method {
                    m::SystemHello::NAME => Ok(Job::Hello(id, read::<m::SystemHello>(params)?)),
                    m::MessageSend::NAME => Ok(Job::Send(id, read::<m::MessageSend>(params)?)),
                    m::FeedSubscribe::NAME => subscribe_job(id, read::<m::FeedSubscribe>(params)?),
                    m::FeedUnsubscribe::NAME => {
                        let UnsubscribeParams { subscription } = read::<m::FeedUnsubscribe>(params)?;
                        Ok(Job::Unsubscribe(id, subscription))
                    }
                    $(m::$marker::NAME => {
                        let params = read::<m::$marker>(params)?;
                        let (api, caller) = (Arc::clone(&self.api), Arc::clone(&self.caller));
                        by_name!(@ $kind self id, async move { answer_alone(id, &api.$function(&caller, params).await) })
                    })*
                    _ => Err(unknown_method(method)),
                }
            };
            (@ ordered $self:ident $id:ident, $future:expr) => {{
                let future = $future;
                Ok(Job::Ordered(Box::pin(async move { Done::Answer(future.await) })))
            }};
            (@ concurrent $self:ident $id:ident, $future:expr) => { Ok(Job::Concurrent(Box::pin($future))) };
            (@ wait $self:ident $id:ident, $future:expr) => {{
                let (future, closing) = ($future, $self.closing.clone());
                Ok(Job::Wait($id, Box::pin(async move {
                    tokio::select! {
                        biased;
                        answer = future => answer,
                        () = closing.cancelled() => answer_alone::<SendResult>($id, &Err(shutting_down())),
                    }
                })))
            }};
        }
        with_methods!(by_name)
    }

    /// Asks who the caller is from now on.
    pub(super) fn greet(&self, id: u32, params: HelloParams) -> BoxFuture<Done<A>> {
        let (api, caller, presented) = (Arc::clone(&self.api), Arc::clone(&self.caller), params.token.is_some());
        Box::pin(async move { Done::Greeted(id, presented, Box::new(api.system_hello(&caller, params).await)) })
    }

    /// Puts a batch into the store's queue.
    pub(super) fn send(&self, ids: Vec<u32>, batch: Vec<SendParams>) -> BoxFuture<Done<A>> {
        let (api, caller) = (Arc::clone(&self.api), Arc::clone(&self.caller));
        Box::pin(async move {
            let sending = api.message_send(&caller, batch).await;
            Done::Enqueued(ids, sending)
        })
    }

    /// Begins a feed; `number` is the subscription's.
    pub(super) fn subscribe(&self, id: u32, number: u64, params: SubscribeParams) -> BoxFuture<Done<A>> {
        let (api, caller) = (Arc::clone(&self.api), Arc::clone(&self.caller));
        let name = params.method.clone().unwrap_or_else(|| proto::rpc::event::FEED_EVENT.to_owned());
        Box::pin(async move {
            match api.feed_subscribe(&caller, params).await {
                Ok((result, feed)) => {
                    Done::Subscribed(id, name, SubscribeResult { subscription: number, ..result }, feed)
                }
                Err(error) => Done::Answer(answer_alone::<SubscribeResult>(id, &Err(error))),
            }
        })
    }
}

/// Waits until a token has ended, by its owner's will or its time.
pub(super) async fn over(grant: Option<Arc<Grant>>) {
    let Some(grant) = grant else { return std::future::pending().await };
    match grant.deadline {
        Some(deadline) => {
            let _ = tokio::time::timeout_at(deadline.into(), grant.over.cancelled()).await;
        }
        None => grant.over.cancelled().await,
    }
}

/// The name goes out with every event.
fn subscribe_job<A: Api>(id: u32, params: SubscribeParams) -> Result<Job<A>, RpcError> {
    const MAX_NAME_BYTES: usize = 128;
    if params.method.as_ref().is_some_and(|name| name.len() > MAX_NAME_BYTES) {
        let text = format!("{}: parameter `method`: at most {MAX_NAME_BYTES} bytes", m::FeedSubscribe::NAME);
        return Err(RpcError::new(ErrorCode::InvalidParams, text));
    }
    Ok(Job::Subscribe(id, params))
}

/// What a call is told that the end of its connection cuts short.
pub(super) fn shutting_down() -> RpcError {
    RpcError::new(ErrorCode::ShuttingDown, "the connection is closing; connect again and repeat the call")
}

fn read<M: Method>(params: &[u8]) -> Result<M::Params, RpcError> {
    decode_params(params).map_err(|error| RpcError::new(ErrorCode::InvalidParams, format!("{}: {error}", M::NAME)))
}

fn unknown_method(method: &str) -> RpcError {
    const MAX_NAME_CHARS: usize = 64;
    let shown: String = method.chars().take(MAX_NAME_CHARS).collect();
    let text = match nearest(&shown, METHODS.iter().map(|known| known.name)) {
        Some(name) => format!("there is no method {shown:?}; did you mean {name}?"),
        None => format!("there is no method {shown:?}"),
    };
    RpcError::new(ErrorCode::UnknownMethod, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_served_once() {
        macro_rules! names {
            ($($kind:ident $marker:ident $function:ident;)*) => { vec![$((m::$marker::NAME, stringify!($function))),*] };
        }
        let mut served = with_methods!(names);
        for (name, function) in &served {
            assert_eq!(name.replace('.', "_"), *function);
        }
        served.extend([
            (m::SystemHello::NAME, ""),
            (m::MessageSend::NAME, ""),
            (m::FeedSubscribe::NAME, ""),
            (m::FeedUnsubscribe::NAME, ""),
        ]);
        let mut served: Vec<&str> = served.into_iter().map(|(name, _)| name).collect();
        let mut all: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
        served.sort_unstable();
        all.sort_unstable();
        assert_eq!(served, all);
    }

    #[test]
    fn a_slip_of_the_pen_is_understood() {
        for (wrong, right) in [
            ("message.sent", "did you mean message.send?"),
            ("send", "there is no method \"send\""),
            ("contacts.list", "did you mean contact.list?"),
            ("feed.subscribe ", "did you mean feed.subscribe?"),
            ("nvim_error_event", "there is no method \"nvim_error_event\""),
        ] {
            assert!(unknown_method(wrong).text.ends_with(right), "{}", unknown_method(wrong).text);
        }
        assert!(unknown_method(&"x".repeat(100_000)).text.len() < 200);
    }
}
