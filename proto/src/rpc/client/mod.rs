//! A typed client of a daemon.
//!
//! One connection carries any number of calls at once: [`Client::submit`] hands a request over and returns, answers are
//! matched by id, and whatever was submitted while the socket was busy goes out in one write.
//!
//! Not its job: finding the socket ([`super::socket`]), reconnecting, and what to tell people.
//!
//! Invariants: at most [`MAX_IN_FLIGHT`] requests and [`MAX_QUEUED_BYTES`] of them wait, then `submit` waits; events
//! that nobody takes never hold up answers (see [`Events`]); the connection ends when the last [`Client`], [`Pending`]
//! and [`Events`] of it are dropped.

mod connection;
mod events;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use zeroize::Zeroize;

use self::connection::{Answer, Connection};
pub use self::connection::{MAX_IN_FLIGHT, MAX_QUEUED_BYTES};
pub use self::events::{Events, MAX_EVENT_BYTES};
use super::methods::{FeedSubscribe, Method, carries_secrets};
use super::types::{SubscribeParams, SubscribeResult};
use super::{RpcError, codec, socket};

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at this socket.
    #[error("cannot connect to the daemon at {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// `NotFound` and `ConnectionRefused`: no daemon. `PermissionDenied`: not for this user.
        source: io::Error,
    },
    /// The daemon refused, in its own words.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The connection ended before the answer came. Whether the daemon acted is not known.
    #[error("the daemon at {} closed the connection: {reason}", path.display())]
    Disconnected {
        /// The socket.
        path: PathBuf,
        /// What ended it.
        reason: String,
    },
    /// What was to be sent, or what came, breaks the protocol.
    #[error("{0}")]
    Protocol(String),
}

/// A connection to a daemon. Clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Arc<Connection>,
}

impl Client {
    /// Connects to the daemon whose socket is `path`.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream =
            socket::connect(path).await.map_err(|source| ClientError::Connect { path: path.to_owned(), source })?;
        let (reader, writer) = socket::split(stream);
        Ok(Self::over(path, reader, writer))
    }

    /// A client over any byte stream; `path` is for messages only. Must be called within a tokio runtime.
    pub fn over<R, W>(path: &Path, reader: R, writer: W) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        Self { connection: Arc::new(Connection::start(path, reader, writer)) }
    }

    /// Calls a method and waits for its result.
    ///
    /// # Errors
    /// [`ClientError`]; never `Connect`.
    pub async fn call<M: Method>(&self, params: &M::Params) -> Result<M::Result, ClientError> {
        self.submit::<M>(params).await?.await
    }

    /// Hands a request over and returns at once, or when there is room again. Requests go out in the order of the calls.
    /// Dropping the [`Pending`] does not take the request back.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] when the request is too large, [`ClientError::Disconnected`].
    pub async fn submit<M: Method>(&self, params: &M::Params) -> Result<Pending<M>, ClientError> {
        let answer = self.connection.submit(M::NAME, params).await?;
        Ok(Pending { answer, connection: Arc::clone(&self.connection), method: PhantomData })
    }

    /// Begins the event feed. Without `params.method`, the client chooses a name for the notification that no other
    /// subscription of this connection has.
    ///
    /// # Errors
    /// As [`Client::call`]; [`ClientError::Protocol`] also when `params.method` is in use on this connection.
    pub async fn subscribe(&self, params: &SubscribeParams) -> Result<(SubscribeResult, Events), ClientError> {
        let mut params = params.clone();
        let sink = self.connection.open_sink(&mut params.method)?;
        // The sink is there before the request: events may come with the same read as the answer.
        let mut events = Events::new(self.clone(), sink, params);
        let result = self.call::<FeedSubscribe>(events.params()).await?;
        events.begin(&result);
        Ok((result, events))
    }
}

/// An answer on its way.
#[derive(Debug)]
#[must_use = "the answer may be an error"]
pub struct Pending<M> {
    answer: oneshot::Receiver<Answer>,
    connection: Arc<Connection>,
    method: PhantomData<fn() -> M>,
}

impl<M: Method> Future for Pending<M> {
    type Output = Result<M::Result, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(Pin::new(&mut self.answer).poll(cx));
        Poll::Ready(match answer {
            Ok(Ok(mut bytes)) => {
                let result = codec::decode_value(&bytes).map_err(|error| {
                    ClientError::Protocol(format!("the result of {} is not as expected: {error}", M::NAME))
                });
                if carries_secrets(M::NAME) {
                    bytes.zeroize();
                }
                result
            }
            Ok(Err(error)) => Err(ClientError::Rpc(error)),
            Err(_) => Err(self.connection.disconnected()),
        })
    }
}
