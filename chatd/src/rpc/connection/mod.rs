//! One client's connection, as one task.
//!
//! Requests are taken from the read buffer as long as there are whole ones, answers are collected in the write buffer,
//! and each turn of the loop reads once or writes once: a burst costs a few system calls, and no task is ever spawned for
//! a request. Consecutive `message.send` become one batch. One *lane* runs the ordered requests; while it is busy,
//! nothing further is taken from the read buffer, and everything else of the connection goes on.

mod ending;

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use proto::rpc::codec::{self, FrameReader, Incoming};
use proto::rpc::methods::carries_secrets;
use proto::rpc::types::{Done as Nothing, SendParams, SendResult};
use proto::rpc::{ErrorCode, RpcError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroize;

use super::api::Api;
use super::client_limiter::Permit;
use super::dispatch::{BoxFuture, Dispatcher, Done, Job, answer, over};
use super::feeds::{Feeds, MAX_SUBSCRIPTIONS, Ready};
use super::limits::Limits;

/// Messages in one batch at most: the store's transaction holds some hundred anyway.
pub(super) const MAX_BATCH: usize = 512;
/// Messages in the store's queue and not yet answered, at most.
const MAX_SENDS: usize = 4_096;
/// Bytes of them at most, about.
const MAX_SENDING_BYTES: usize = 4 << 20;
/// Reads of one connection under way at most. Each answer may be 1 MiB; what a client that asks without reading makes wait
/// is weighed by the limiter.
const MAX_READS: usize = 4;
/// `message.wait` at most; the next one is refused, because pausing for up to an hour would look like a hang.
pub(super) const MAX_WAITS: usize = 1_024;
/// Unwritten answers and events, in bytes, above which nothing that makes more of them is begun.
const OUT_HIGH_BYTES: usize = 512 * 1024;
/// A write buffer that grew beyond this is given back when it is empty.
const KEEP_BUFFER_BYTES: usize = 2 * OUT_HIGH_BYTES;

type Sent = (Vec<u32>, Vec<Result<SendResult, RpcError>>);

/// See the module.
pub(super) struct Connection<'a, A: Api, R, W> {
    permit: &'a Permit,
    dispatcher: Dispatcher<A>,
    limits: Limits,
    reader: R,
    writer: W,
    frames: FrameReader,
    out: Vec<u8>,
    /// How much of `out` the socket took.
    written: usize,
    lane: Option<BoxFuture<Done<A>>>,
    /// Taken from the read buffer, and waits for the lane.
    held: Option<Job<A>>,
    batch_ids: Vec<u32>,
    batch: Vec<SendParams>,
    sends: FuturesUnordered<BoxFuture<Sent>>,
    /// Messages in `sends`.
    sending: usize,
    /// Bytes of their requests, about: what is in `sends` goes all at once or is weighed too high for a moment.
    sending_bytes: usize,
    /// Something else than who it is was asked: it presents no token any more.
    asked: bool,
    /// Since when it is connected, as long as it has said nothing.
    silent_since: Option<Instant>,
    /// A request held secrets, and so may answers: what held either is overwritten from then on.
    secret: bool,
    reads: FuturesUnordered<BoxFuture<Vec<u8>>>,
    waits: FuturesUnordered<BoxFuture<Vec<u8>>>,
    feeds: Feeds<A::Feed>,
    subscriptions: u64,
    /// Since when half a message lies in the read buffer.
    partial_since: Option<Instant>,
    /// Since when the socket took nothing of `out`.
    stalled_since: Option<Instant>,
    /// Nothing is read any more; when to give up on what is still open.
    close_by: Option<Instant>,
}

/// What a turn of the loop was woken by.
enum Wake<A: Api> {
    Written(io::Result<usize>),
    Read(io::Result<usize>),
    Lane(Done<A>),
    Sent(Sent),
    Answer(Vec<u8>),
    Feed(Ready),
    Deadline,
    Closing,
    Ended,
}

impl<'a, A: Api, R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<'a, A, R, W> {
    pub(super) fn new(dispatcher: Dispatcher<A>, limits: Limits, permit: &'a Permit, reader: R, writer: W) -> Self {
        Self {
            permit,
            dispatcher,
            limits,
            reader,
            writer,
            frames: FrameReader::default(),
            out: Vec::new(),
            written: 0,
            lane: None,
            held: None,
            batch_ids: Vec::new(),
            batch: Vec::new(),
            sends: FuturesUnordered::new(),
            sending: 0,
            sending_bytes: 0,
            asked: false,
            silent_since: Some(Instant::now()),
            secret: false,
            reads: FuturesUnordered::new(),
            waits: FuturesUnordered::new(),
            feeds: Feeds::new(),
            subscriptions: 0,
            partial_since: None,
            stalled_since: None,
            close_by: None,
        }
    }

    /// Serves until the client goes, breaks a rule, or the dispatcher's token is cancelled.
    pub(super) async fn run(mut self) -> io::Result<()> {
        loop {
            if self.close_by.is_none() {
                self.pump().await;
            }
            let idle = self.lane.is_none() && self.sends.is_empty() && self.reads.is_empty() && self.waits.is_empty();
            if self.close_by.is_some() && idle && self.out.is_empty() {
                return Ok(());
            }
            self.weigh();
            match self.wait().await {
                Wake::Written(bytes) => self.wrote(bytes?)?,
                Wake::Read(bytes) => {
                    if bytes? == 0 {
                        self.close();
                    }
                    // Half a message has a limit of its own.
                    self.silent_since = None;
                    self.permit.touch();
                }
                Wake::Lane(done) => {
                    self.lane = None;
                    self.finish(done);
                }
                Wake::Sent(sent) => self.answer_sends(sent),
                Wake::Answer(bytes) => self.take_answer(bytes),
                Wake::Feed(Ready::Events) => self.feeds.encode(&mut self.out, self.written + OUT_HIGH_BYTES),
                // A client that waits for events must notice that none will come.
                Wake::Feed(Ready::Ended) | Wake::Closing => self.close(),
                Wake::Deadline => self.deadline_passed()?,
                // Not even a word more: it may be the one who does not read, or who may not any more.
                Wake::Ended => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
    }

    async fn wait(&mut self) -> Wake<A> {
        let open = self.close_by.is_none();
        let roomy = self.out.len() - self.written < OUT_HIGH_BYTES;
        let readable = open && self.may_take();
        if self.written < self.out.len() {
            self.stalled_since.get_or_insert_with(Instant::now);
        }
        let deadline = [
            self.partial_since.map(|since| since + self.limits.frame_timeout),
            self.stalled_since.map(|since| since + self.limits.stall_timeout),
            self.silent_since.map(|since| since + self.limits.frame_timeout),
            self.close_by,
        ];
        let deadline = deadline.into_iter().flatten().min();
        let (ended, grant) = (self.permit.end(), self.dispatcher.caller.grant.clone());
        let Self { dispatcher, reader, writer, frames, out, written, lane, sends, reads, waits, feeds, .. } = self;
        let unwritten = out.get(*written..).unwrap_or_default();
        // Not `biased`: a feed with a million events to replay must not keep requests from being read.
        tokio::select! {
            bytes = writer.write(unwritten), if !unwritten.is_empty() => Wake::Written(bytes),
            done = poll_fn(|cx| lane.as_mut().map_or(Poll::Pending, |lane| lane.as_mut().poll(cx))), if roomy => Wake::Lane(done),
            Some(sent) = sends.next(), if !sends.is_empty() => Wake::Sent(sent),
            Some(bytes) = reads.next(), if !reads.is_empty() => Wake::Answer(bytes),
            Some(bytes) = waits.next(), if roomy && !waits.is_empty() => Wake::Answer(bytes),
            ready = poll_fn(|cx| feeds.poll_ready(cx)), if open && roomy && feeds.len() > 0 => Wake::Feed(ready),
            bytes = async { reader.read_buf(frames.buffer()).await }, if readable => Wake::Read(bytes),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Wake::Deadline,
            () = dispatcher.closing.cancelled(), if open => Wake::Closing,
            () = ended.cancelled() => Wake::Ended,
            () = over(grant) => Wake::Ended,
        }
    }

    /// Whether another request may be taken from the read buffer.
    fn may_take(&self) -> bool {
        self.lane.is_none()
            && self.held.is_none()
            && self.out.len() - self.written < OUT_HIGH_BYTES
            && self.sending <= MAX_SENDS - MAX_BATCH
            && self.sending_bytes < MAX_SENDING_BYTES
            && self.reads.len() < MAX_READS
    }

    /// Takes up whole requests until there are none, the lane is busy, or enough is under way.
    async fn pump(&mut self) {
        self.partial_since = self.partial_since.take().filter(|_| self.may_take());
        while self.lane.is_none() && self.close_by.is_none() {
            if let Some(job) = self.held.take() {
                self.start(job).await;
                continue;
            }
            let job = if self.may_take() && self.batch.len() < MAX_BATCH { self.take_job() } else { None };
            match job {
                Some(Job::Send(id, params)) => {
                    self.batch_ids.push(id);
                    self.batch.push(params);
                }
                Some(job) if self.batch.is_empty() => self.start(job).await,
                // The batch goes first.
                None if self.batch.is_empty() => return,
                job => {
                    self.held = job;
                    let ids = std::mem::take(&mut self.batch_ids);
                    let batch = std::mem::take(&mut self.batch);
                    self.sending += batch.len();
                    let enqueue = self.dispatcher.send(ids, batch);
                    self.run_in_lane(enqueue).await;
                }
            }
        }
    }

    /// The next request of the read buffer. Notifications and answers of clients mean nothing and are passed over.
    fn take_job(&mut self) -> Option<Job<A>> {
        loop {
            let frame = match self.frames.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    if self.frames.rest().is_empty() {
                        self.partial_since = None;
                    } else {
                        self.partial_since.get_or_insert_with(Instant::now);
                    }
                    return None;
                }
                Err(error) => {
                    let id = codec::salvage_id(self.frames.rest());
                    return Some(Job::Close(id, RpcError::new(ErrorCode::Malformed, error.to_string())));
                }
            };
            self.partial_since = None;
            let bytes = frame.len();
            match codec::decode(frame) {
                Ok(Incoming::Request { id, method, params }) => {
                    self.permit.asks(method);
                    let job = self.dispatcher.dispatch(id, method, params);
                    let nameless = matches!(&job, Job::Hello(_, params) if params.token.is_none());
                    self.asked |= !matches!(job, Job::Hello(..));
                    if carries_secrets(method) && !nameless {
                        self.secret = true;
                        self.frames.overwrite();
                    }
                    if matches!(job, Job::Send(..)) {
                        self.sending_bytes += bytes;
                    }
                    return Some(job);
                }
                Ok(Incoming::Notification { .. } | Incoming::Response { .. }) => {}
                Err(error) => {
                    let id = codec::salvage_id(frame);
                    return Some(Job::Close(id, RpcError::new(ErrorCode::Malformed, error.to_string())));
                }
            }
        }
    }

    async fn start(&mut self, job: Job<A>) {
        match job {
            Job::Send(id, params) => {
                self.batch_ids.push(id);
                self.batch.push(params);
            }
            Job::Hello(id, params) if params.token.is_some() && self.asked => self.too_late(id),
            Job::Hello(id, params) => self.run_in_lane(self.dispatcher.greet(id, params)).await,
            Job::Ordered(future) => self.run_in_lane(future).await,
            Job::Concurrent(mut future) => match poll_once(&mut future).await {
                Some(bytes) => self.take_answer(bytes),
                None => self.reads.push(future),
            },
            Job::Wait(id, _) if self.waits.len() >= MAX_WAITS => {
                let text = format!("{MAX_WAITS} calls of message.wait run on this connection already");
                self.refuse(id, ErrorCode::LimitReached, text);
            }
            Job::Wait(_, mut future) => match poll_once(&mut future).await {
                Some(bytes) => self.take_answer(bytes),
                None => self.waits.push(future),
            },
            Job::Subscribe(id, _) if self.feeds.len() >= MAX_SUBSCRIPTIONS => {
                let text = format!("{MAX_SUBSCRIPTIONS} subscriptions are the most that a connection may have");
                self.refuse(id, ErrorCode::LimitReached, text);
            }
            Job::Subscribe(id, params) => {
                if let Err(error) = self.permit.follow(&self.limits) {
                    return codec::encode_error(&mut self.out, Some(id), &error);
                }
                self.subscriptions += 1;
                let subscribe = self.dispatcher.subscribe(id, self.subscriptions, params);
                self.run_in_lane(subscribe).await;
            }
            Job::Unsubscribe(id, number) if self.feeds.remove(number) => {
                answer(&mut self.out, id, &Ok(Nothing {}));
            }
            Job::Unsubscribe(id, number) => {
                self.refuse(id, ErrorCode::NotFound, format!("this connection has no subscription {number}"));
            }
            Job::Refused(id, error) => codec::encode_error(&mut self.out, Some(id), &error),
            Job::Close(id, error) => {
                tracing::info!(often = "closed", caller = ?self.dispatcher.caller, %error, "closing an RPC connection");
                codec::encode_error(&mut self.out, id, &error);
                self.close();
            }
        }
    }

    fn refuse(&mut self, id: u32, code: ErrorCode, text: String) {
        codec::encode_error(&mut self.out, Some(id), &RpcError::new(code, text));
    }

    /// What is ready at once never costs a turn of the loop.
    async fn run_in_lane(&mut self, mut future: BoxFuture<Done<A>>) {
        match poll_once(&mut future).await {
            Some(done) => self.finish(done),
            None => self.lane = Some(future),
        }
    }

    fn finish(&mut self, done: Done<A>) {
        match done {
            Done::Answer(bytes) => self.take_answer(bytes),
            Done::Greeted(id, presented, outcome) => self.greeted(id, presented, outcome),
            Done::Enqueued(ids, sending) => self.sends.push(Box::pin(async move { (ids, sending.await) })),
            Done::Subscribed(id, method, result, feed) => {
                let number = result.subscription;
                answer(&mut self.out, id, &Ok(result));
                self.feeds.add(number, method, feed);
            }
        }
    }

    fn take_answer(&mut self, mut bytes: Vec<u8>) {
        self.out.extend_from_slice(&bytes);
        if self.secret {
            bytes.zeroize();
        }
    }

    fn answer_sends(&mut self, (ids, results): Sent) {
        self.sending -= ids.len();
        let mut results = results.into_iter();
        for id in ids {
            let missing = || Err(RpcError::new(ErrorCode::Internal, "the store gave no answer for this message"));
            answer(&mut self.out, id, &results.next().unwrap_or_else(missing));
        }
    }
}

async fn poll_once<T>(future: &mut BoxFuture<T>) -> Option<T> {
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}
