//! The connection under a client: two tasks and what they share.
//!
//! The lock is held for the time of a copy or a map operation, never across an await.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::AbortHandle;
use zeroize::Zeroize;

use super::ClientError;
use super::events::Sink;
use crate::rpc::codec::{self, FrameReader, Incoming};
use crate::rpc::event::FEED_EVENT;
use crate::rpc::methods::carries_secrets;
use crate::rpc::{MAX_MESSAGE_BYTES, RpcError};

/// Requests without an answer at most; above what a daemon takes up at once, so that it never waits for the client.
pub const MAX_IN_FLIGHT: usize = 8_192;
/// Bytes of requests that wait for the socket at most (one message always fits).
pub const MAX_QUEUED_BYTES: usize = 2 * MAX_MESSAGE_BYTES;
/// A write buffer that grew beyond this is given back.
const KEEP_BUFFER_BYTES: usize = 256 * 1024;

/// The bytes of a result, or the daemon's error.
pub(super) type Answer = Result<Vec<u8>, RpcError>;

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Answer>,
    /// What comes may hold a secret.
    secret: bool,
    /// Makes room for another request when this one is answered.
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct State {
    next_id: u32,
    next_sink: u64,
    /// Encoded requests that wait for the writer.
    out: Vec<u8>,
    /// One of them holds a secret: they are overwritten when they have left.
    secret: bool,
    waiting: HashMap<u32, Waiting>,
    sinks: HashMap<String, Arc<Sink>>,
    /// Why the connection ended.
    ended: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// `out` is no longer empty.
    queued: Notify,
    /// `out` was taken by the writer.
    drained: Notify,
}

impl Shared {
    /// Nothing that holds this lock can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, reason: String) {
        let mut state = self.lock();
        state.ended.get_or_insert(reason);
        // Dropping the senders tells every Pending.
        state.waiting.clear();
        let sinks = std::mem::take(&mut state.sinks);
        drop(state);
        for sink in sinks.into_values() {
            sink.end();
        }
        self.drained.notify_waiters();
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    path: PathBuf,
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    tasks: [AbortHandle; 2],
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Connection {
    pub(super) fn start<R, W>(path: &Path, reader: R, writer: W) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared::default());
        let read = tokio::spawn(read_all(reader, Arc::clone(&shared))).abort_handle();
        let write = tokio::spawn(write_all(writer, Arc::clone(&shared))).abort_handle();
        Self { path: path.to_owned(), shared, room: Arc::new(Semaphore::new(MAX_IN_FLIGHT)), tasks: [read, write] }
    }

    pub(super) fn disconnected(&self) -> ClientError {
        let reason = self.shared.lock().ended.clone();
        let reason = reason.unwrap_or_else(|| "the runtime stopped".to_owned());
        ClientError::Disconnected { path: self.path.clone(), reason }
    }

    /// Encodes straight into the writer's buffer once there is room.
    pub(super) async fn submit<P: Serialize>(
        &self,
        method: &str,
        params: &P,
    ) -> Result<oneshot::Receiver<Answer>, ClientError> {
        let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else { return Err(self.disconnected()) };
        let (answer, receiver) = oneshot::channel();
        let mut waiting = Some(Waiting { answer, secret: carries_secrets(method), _permit: permit });
        loop {
            // Made before the look, so that a drain between the look and the wait is not missed.
            let drained = self.shared.drained.notified();
            self.try_submit(method, params, &mut waiting)?;
            if waiting.is_none() {
                return Ok(receiver);
            }
            drained.await;
        }
    }

    /// Sends a request whose answer nobody waits for, if there is room.
    pub(super) fn submit_unheard<P: Serialize>(&self, method: &str, params: &P) {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            let mut waiting = Some(Waiting { answer: oneshot::channel().0, secret: false, _permit: permit });
            if let Err(error) = self.try_submit(method, params, &mut waiting) {
                tracing::debug!(%error, method, "not sent");
            }
        }
    }

    /// Takes `waiting` if there was room.
    fn try_submit<P: Serialize>(
        &self,
        method: &str,
        params: &P,
        waiting: &mut Option<Waiting>,
    ) -> Result<(), ClientError> {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        if state.ended.is_some() {
            drop(guard);
            return Err(self.disconnected());
        }
        if state.out.len() > MAX_QUEUED_BYTES - MAX_MESSAGE_BYTES {
            return Ok(());
        }
        let mut id = state.next_id;
        while state.waiting.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        state.next_id = id.wrapping_add(1);
        let was_empty = state.out.is_empty();
        state.secret |= carries_secrets(method);
        codec::encode_request(&mut state.out, id, method, params)
            .map_err(|error| ClientError::Protocol(format!("{method}: {error}")))?;
        state.waiting.extend(waiting.take().map(|waiting| (id, waiting)));
        drop(guard);
        if was_empty {
            self.shared.queued.notify_one();
        }
        Ok(())
    }

    /// A place for the notifications of this name; chooses a name if there is none.
    pub(super) fn open_sink(&self, name: &mut Option<String>) -> Result<Arc<Sink>, ClientError> {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let name = name.get_or_insert_with(|| {
            state.next_sink += 1;
            match state.next_sink {
                1 => FEED_EVENT.to_owned(),
                number => format!("{FEED_EVENT}.{number}"),
            }
        });
        if state.ended.is_some() {
            drop(guard);
            return Err(self.disconnected());
        }
        if state.sinks.contains_key(name) {
            return Err(ClientError::Protocol(format!("another subscription of this connection is named {name}")));
        }
        let sink = Arc::new(Sink::default());
        state.sinks.insert(name.clone(), Arc::clone(&sink));
        Ok(sink)
    }

    pub(super) fn close_sink(&self, name: &str) {
        self.shared.lock().sinks.remove(name);
    }
}

/// Whatever was queued while the last write went on goes out in the next one.
async fn write_all<W: AsyncWrite + Unpin>(mut writer: W, shared: Arc<Shared>) {
    let mut batch = Vec::new();
    let mut broken = false;
    loop {
        shared.queued.notified().await;
        batch.clear();
        if batch.capacity() > KEEP_BUFFER_BYTES {
            batch = Vec::new();
        }
        let secret = {
            let mut state = shared.lock();
            std::mem::swap(&mut state.out, &mut batch);
            std::mem::take(&mut state.secret)
        };
        shared.drained.notify_waiters();
        if !broken && let Err(error) = writer.write_all(&batch).await {
            // What the daemon said before it closed is still to be read, and then the reader ends the connection. Until
            // then nobody may be left waiting for room.
            tracing::debug!(%error, "cannot write to the daemon");
            broken = true;
        }
        if secret {
            batch.zeroize();
        }
    }
}

async fn read_all<R: AsyncRead + Unpin>(mut reader: R, shared: Arc<Shared>) {
    let mut frames = FrameReader::default();
    let reason = loop {
        match reader.read_buf(frames.buffer()).await {
            Ok(0) => break "end of the stream".to_owned(),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
        if let Err(reason) = take_frames(&mut frames, &shared) {
            break reason;
        }
    };
    shared.end(reason);
}

fn take_frames(frames: &mut FrameReader, shared: &Shared) -> Result<(), String> {
    let mut state = shared.lock();
    while let Some(frame) = frames.next_frame().map_err(|error| error.to_string())? {
        if let Some(error) = refusal(frame) {
            return Err(error);
        }
        match codec::decode(frame).map_err(|error| error.to_string())? {
            Incoming::Response { id, outcome } => {
                if let Some(waiting) = state.waiting.remove(&id) {
                    // Nobody may wait any more.
                    let _ = waiting.answer.send(outcome.map(<[u8]>::to_vec));
                    if waiting.secret {
                        frames.overwrite();
                    }
                }
            }
            Incoming::Notification { method, params } => {
                if let Some(sink) = state.sinks.get(method) {
                    sink.push(params);
                }
            }
            Incoming::Request { method, .. } => tracing::debug!(method, "the daemon sent a request; ignored"),
        }
    }
    Ok(())
}

/// `[1, nil, error, nil]`: the daemon could not read what came and says goodbye.
fn refusal(frame: &[u8]) -> Option<String> {
    let rest = frame.strip_prefix(&[0x94, 0x01, 0xc0])?;
    let with_id = [&[0x94, 0x01, 0x00], rest].concat();
    match codec::decode(&with_id) {
        Ok(Incoming::Response { outcome: Err(error), .. }) => Some(error.text),
        _ => None,
    }
}
