//! Takes connections in, counts them, and turns away whom it must, with a reason.

use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::tokio::prelude::*;
use proto::rpc::RpcError;
use proto::rpc::codec::{self, FrameReader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{Access, Identities};
use super::api::Api;
use super::client_limiter::{ClientLimiter, Permit};
use super::connection::Connection;
use super::dispatch::Dispatcher;
use super::limits::Limits;
use super::pace::{Pace, Turn};
use super::socket::BoundSocket;
use crate::model::{Caller, Clients};

/// Connections that are being turned away, at most; beyond, they are dropped without a word.
const MAX_REFUSALS: usize = 32;
/// `accept` fails when file descriptors run out. It is tried again after this, doubled each time up to the second.
const ACCEPT_BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// After so many connections that came too fast, all others of the daemon get a turn before the next are taken in.
const DROPPED_AT_ONCE: u32 = 4;
const AFTER_DROPPED: Duration = Duration::from_millis(1);

/// How often the socket's file is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Serves clients until `stop` is cancelled. Then the socket is removed, connections get the answers that are ready and
/// are closed, and this returns.
pub async fn serve<A: Api>(
    mut socket: BoundSocket,
    api: Arc<A>,
    access: Access,
    figures: watch::Receiver<Limits>,
    stop: CancellationToken,
) {
    let counted = Arc::clone(&api);
    let limiter = Arc::new(ClientLimiter::new(move |clients| counted.client_count(clients)));
    api.told_clients(Arc::clone(&limiter) as Arc<dyn Clients>);
    let door = Arc::new(Door {
        api,
        identities: Identities::new(access),
        limiter,
        refusals: Semaphore::new(MAX_REFUSALS),
        figures,
    });
    let (pace, mut dropped) = (Pace::new(), 0);
    let tasks = TaskTracker::new();
    let mut backoff = ACCEPT_BACKOFF.0;
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Whose file was gone: those who had come by then are still taken in.
    let mut before: Option<BoundSocket> = None;
    loop {
        let left = before.as_ref().and_then(BoundSocket::accept_now);
        let accepted = match left {
            Some(stream) => Ok(stream),
            None => {
                before = None;
                tokio::select! {
                    () = stop.cancelled() => break,
                    accepted = socket.accept() => accepted,
                    _ = look.tick() => {
                        before = replace_if_gone(&mut socket).await;
                        continue;
                    }
                }
            }
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(often = "accept", %error, "cannot accept an RPC connection");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(ACCEPT_BACKOFF.1);
                continue;
            }
        };
        backoff = ACCEPT_BACKOFF.0;
        let credentials = match stream.peer_creds() {
            Ok(credentials) => credentials,
            Err(error) => {
                tracing::warn!(often = "no user", %error, "an RPC client whose user the system does not tell; dropped");
                continue;
            }
        };
        let Some(uid) = credentials.euid() else { continue };
        let pid = credentials.pid();
        let turn = pace.turn(uid);
        if matches!(turn, Turn::Never) {
            tracing::info!(often = "pace", uid, ?pid, "a user connects too fast; dropped");
            drop(stream);
            dropped = (dropped + 1) % DROPPED_AT_ONCE;
            if dropped == 0 {
                tokio::time::sleep(AFTER_DROPPED).await;
            }
            continue;
        }
        let (door, stop) = (Arc::clone(&door), stop.child_token());
        tasks.spawn(async move {
            if let Turn::Later(parked) = turn {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = parked.wait() => {}
                }
            }
            door.attend(stream, uid, pid, stop).await;
        });
    }
    drop(socket);
    tasks.close();
    tasks.wait().await;
}

/// Makes the socket again if its file is gone; the one before, whose queue may not be empty.
async fn replace_if_gone(socket: &mut BoundSocket) -> Option<BoundSocket> {
    if socket.is_there() {
        return None;
    }
    match socket.again().await {
        Ok(new) => {
            tracing::warn!(path = %new.path().display(), "the socket's file was gone: made again");
            Some(std::mem::replace(socket, new))
        }
        Err(error) => {
            tracing::error!(often = "socket", %error, "the socket's file is gone, and clients cannot come");
            None
        }
    }
}

/// What every connection meets.
struct Door<A> {
    api: Arc<A>,
    identities: Identities,
    limiter: Arc<ClientLimiter>,
    refusals: Semaphore,
    figures: watch::Receiver<Limits>,
}

impl<A: Api> Door<A> {
    /// Serves one client to its end, or tells it why not.
    async fn attend(&self, stream: Stream, uid: u32, pid: Option<i32>, stop: CancellationToken) {
        let limits = *self.figures.borrow();
        match self.admit(uid, pid, &limits).await {
            Ok((permit, caller)) => {
                tracing::debug!(?caller, "an RPC client connected");
                let api = Arc::clone(&self.api);
                let dispatcher = Dispatcher { api, caller: Arc::new(caller), closing: stop };
                let (reader, writer) = proto::rpc::socket::split(stream);
                let ended = Connection::new(dispatcher, limits, &permit, reader, writer).run().await;
                tracing::debug!(uid, ?pid, ?ended, "an RPC client went");
            }
            Err(error) => {
                tracing::info!(often = error.code.as_str(), uid, ?pid, %error, "an RPC client is turned away");
                let Ok(_permit) = self.refusals.try_acquire() else { return };
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = tokio::time::timeout(limits.frame_timeout, refuse(&stream, &error)) => {}
                }
            }
        }
    }

    async fn admit(&self, uid: u32, pid: Option<i32>, limits: &Limits) -> Result<(Permit, Caller), RpcError> {
        let permit = self.limiter.admit(uid, pid, self.api.has_account(uid), limits)?;
        let identity = self.identities.admit(uid).await?;
        Ok((permit, Caller { uid, user: identity.name, pid, grant: None }))
    }
}

/// Tells the reason in answer to the first request: before it, nobody listens.
async fn refuse(stream: &Stream, error: &RpcError) -> std::io::Result<()> {
    let mut stream = stream;
    let mut frames = FrameReader::default();
    let id = loop {
        match frames.next_frame() {
            Ok(Some(frame)) => break codec::salvage_id(frame),
            Ok(None) => {}
            Err(_) => break None,
        }
        if stream.read_buf(frames.buffer()).await? == 0 {
            return Ok(());
        }
    };
    let mut out = Vec::new();
    codec::encode_error(&mut out, id, error);
    stream.write_all(&out).await
}
