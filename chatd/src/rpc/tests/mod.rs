//! A service that is played, behind a real socket.
#![allow(clippy::unwrap_used, clippy::panic)]

mod limits;
mod serving;
mod socket;
mod tokens;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::ids::{AccountId, MessageId};
use proto::rpc::client::Client;
use proto::rpc::codec::{self, FrameReader, Incoming};
use proto::rpc::methods as m;
use proto::rpc::methods::Method;
use proto::rpc::types::{
    HelloParams, HelloResult, MessageState, SendParams, SendResult, SubscribeParams, SubscribeResult,
};
use proto::rpc::{ErrorCode, RpcError};
use proto::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::api::with_methods;
use super::{Access, Api, Audience, FeedSource, Limits, bind, serve};
use crate::model::{Caller, Event, EventBody, Grant};

/// Closed until it is opened.
pub(super) struct Gate(watch::Sender<bool>);

impl Gate {
    fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    fn open(&self) {
        self.0.send_replace(true);
    }

    fn passed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut open = self.0.subscribe();
        async move {
            open.wait_for(|open| *open).await.unwrap();
        }
    }
}

/// `contact.add` waits for `add`, `message.wait` and `message.history` for `read`; batches wait for `enqueue`, then for
/// `commit`. Everything that is called is in `log`.
pub(super) struct Fake {
    log: Mutex<Vec<String>>,
    add: Gate,
    read: Gate,
    enqueue: Gate,
    commit: Gate,
    clients: watch::Sender<u64>,
    /// How many batches feeds gave out.
    pulled: watch::Sender<u64>,
    /// What the token `good` grants.
    grant: Arc<Grant>,
}

impl Fake {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            log: Mutex::default(),
            add: Gate::new(),
            read: Gate::new(),
            enqueue: Gate::new(),
            commit: Gate::new(),
            clients: watch::Sender::new(0),
            pulled: watch::Sender::new(0),
            grant: Arc::new(Grant {
                token: 1,
                name: "good".into(),
                account: AccountId([1; 16]),
                scopes: Vec::new(),
                within: None,
                send_to: None,
                deadline: None,
                over: CancellationToken::new(),
            }),
        })
    }

    fn open_all(&self) {
        for gate in [&self.add, &self.read, &self.enqueue, &self.commit] {
            gate.open();
        }
    }

    fn note(&self, line: impl Into<String>) {
        self.log.lock().unwrap().push(line.into());
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    async fn respond<P: Serialize + Sync, R: DeserializeOwned>(
        &self,
        function: &str,
        caller: &Caller,
        params: &P,
    ) -> Result<R, RpcError> {
        let params = serde_json::to_value(params).unwrap();
        let by = if caller.grant.is_some() { " by token" } else { "" };
        self.note(match params.get("who") {
            Some(who) => format!("{function} {}{by}", who.as_str().unwrap()),
            None => format!("{function}{by}"),
        });
        let result: Value = match function {
            "contact_add" => {
                self.add.passed().await;
                return Err(RpcError::new(ErrorCode::NotFound, "nobody"));
            }
            "feed_ack" => json!({}),
            "contact_reject" => json!({
                "who": "carol", "name": "carol", "address": "carol@example.org", "handle": "%1", "account": "3".repeat(32),
                "conversation": "1".repeat(32), "state": "removed", "trust": "unverified", "fingerprint": "1234 5678",
                "confirmed": true, "blocked": false, "unread": 0, "profile": {},
            }),
            "message_wait" => {
                self.read.passed().await;
                json!({"id": params["id"], "state": "delivered"})
            }
            "message_history" => {
                self.read.passed().await;
                json!({"messages": [], "more": false})
            }
            "message_unread" => json!({"conversations": [], "total": 0}),
            "profile_show" => json!({"display_name": "x".repeat(2_000_000)}),
            _ => return Err(RpcError::new(ErrorCode::Internal, "not played")),
        };
        Ok(serde_json::from_value(result).unwrap())
    }
}

/// Gives `left` batches of ten events and then waits, or ends if `ends`.
pub(super) struct FakeFeed {
    fake: Arc<watch::Sender<u64>>,
    seq: u64,
    left: u64,
    body: String,
    ends: bool,
}

impl FeedSource for FakeFeed {
    async fn next(&mut self) -> Option<Arc<Vec<Event>>> {
        if self.left == 0 {
            if self.ends {
                return None;
            }
            std::future::pending::<()>().await;
        }
        self.left -= 1;
        self.fake.send_modify(|pulled| *pulled += 1);
        let events = (0..10).map(|_| {
            self.seq += 1;
            let body = EventBody::Gap { count: 0, reason: Some(self.body.clone()) };
            Event { seq: self.seq, at: Timestamp(0), account: "alice".to_owned(), about: None, body }
        });
        Some(Arc::new(events.collect()))
    }
}

macro_rules! play {
    ($($kind:ident $marker:ident $function:ident;)*) => {
        impl Api for Fake {
            type Sending = Pin<Box<dyn Future<Output = Vec<Result<SendResult, RpcError>>> + Send>>;
            type Feed = FakeFeed;

            /// The token `good` grants something, until `over` is cancelled.
            async fn system_hello(
                &self,
                caller: &Caller,
                params: HelloParams,
            ) -> Result<(HelloResult, Option<Arc<Grant>>), RpcError> {
                let grant = match params.token.as_deref() {
                    None => caller.grant.clone(),
                    Some("good") => Some(Arc::clone(&self.grant)),
                    Some(_) => return Err(RpcError::new(ErrorCode::NotAllowed, "no token in force")),
                };
                let (server, accounts) = ("fake".to_owned(), vec!["alice".to_owned()]);
                Ok((HelloResult { server, api: 1, uid: caller.uid, accounts, token: None }, grant))
            }

            async fn message_send(&self, _: &Caller, batch: Vec<SendParams>) -> Self::Sending {
                self.enqueue.passed().await;
                self.note(format!("message_send x{}", batch.len()));
                let commit = self.commit.passed();
                Box::pin(async move {
                    commit.await;
                    batch.iter().map(play_send).collect()
                })
            }

            /// `who` is the number of batches, `endless` or `ending`; `consumer` makes the events large.
            async fn feed_subscribe(
                &self,
                _: &Caller,
                params: SubscribeParams,
            ) -> Result<(SubscribeResult, Self::Feed), RpcError> {
                let since = params.since.unwrap_or_default();
                let who = params.who.unwrap_or_default();
                let left = match who.as_str() {
                    "endless" => u64::MAX,
                    "ending" => 1,
                    number => number.parse().unwrap_or(1),
                };
                let body = params.consumer.map(|_| "x".repeat(10_000)).unwrap_or_default();
                let fake = Arc::new(self.pulled.clone());
                let feed = FakeFeed { fake, seq: since, left, body, ends: who == "ending" };
                Ok((SubscribeResult { subscription: 0, seq: since, head: since }, feed))
            }

            fn client_count(&self, clients: u64) {
                self.clients.send_replace(clients);
            }

            fn has_account(&self, _uid: u32) -> bool {
                true
            }

            $(async fn $function(
                &self,
                caller: &Caller,
                params: <m::$marker as Method>::Params,
            ) -> Result<<m::$marker as Method>::Result, RpcError> {
                self.respond(stringify!($function), caller, &params).await
            })*
        }
    };
}
with_methods!(play);

/// The body says what is to come of it.
fn play_send(params: &SendParams) -> Result<SendResult, RpcError> {
    match params.to.as_str() {
        "nobody" => Err(RpcError::new(ErrorCode::NotFound, "no nobody")),
        _ => Ok(SendResult { id: message_id(), state: MessageState::Queued, reason: Some(params.body.clone()) }),
    }
}

fn message_id() -> MessageId {
    "01920000-0000-7000-8000-000000000000".parse().unwrap()
}

/// A running server.
struct Server {
    fake: Arc<Fake>,
    path: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _directory: TempDir,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::start_with(limits, Access::owner()).await
    }

    async fn start_with(limits: Limits, access: Access) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chatd/chatd.sock");
        let socket = bind(&path, &Audience::Owner).await.unwrap();
        let (fake, stop) = (Fake::new(), CancellationToken::new());
        let task = tokio::spawn(serve(
            socket,
            Arc::clone(&fake),
            access,
            watch::Sender::new(limits).subscribe(),
            stop.clone(),
        ));
        Self { fake, path, stop, task, _directory: directory }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.path).await.unwrap()
    }

    async fn raw(&self) -> Raw {
        Raw::connect(&self.path).await
    }

    async fn until_clients(&self, expected: u64) {
        within(self.fake.clients.subscribe().wait_for(|clients| *clients == expected)).await.unwrap();
    }
}

/// A client without manners.
struct Raw {
    stream: UnixStream,
    frames: FrameReader,
}

impl Raw {
    async fn connect(path: &Path) -> Self {
        Self { stream: UnixStream::connect(path).await.unwrap(), frames: FrameReader::default() }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn request<P: Serialize>(&mut self, id: u32, method: &str, params: &P) {
        let mut out = Vec::new();
        codec::encode_request(&mut out, id, method, params).unwrap();
        self.write(&out).await;
    }

    /// The next message's bytes; `None` at the end of the stream.
    async fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = self.frames.next_frame().unwrap() {
                return Some(frame.to_vec());
            }
            match within(self.stream.read_buf(self.frames.buffer())).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next answer: its id, and the code and text of its error.
    async fn answer(&mut self) -> (u32, Result<(), RpcError>) {
        let frame = self.frame().await.unwrap();
        let Incoming::Response { id, outcome } = codec::decode(&frame).unwrap() else { panic!("{frame:02x?}") };
        (id, outcome.map(|_| ()))
    }
}

/// No test waits for ever.
async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("took too long")
}

fn to(who: &str, body: &str) -> SendParams {
    SendParams { to: who.to_owned(), body: body.to_owned(), ..SendParams::default() }
}
