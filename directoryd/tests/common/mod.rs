//! A throwaway directory in this process, and people who use it.
#![allow(dead_code, clippy::unwrap_used)]

pub mod mail;
pub mod process;
mod session;
pub mod team;

pub use session::*;

use std::time::Duration;

use directoryd::Config;
use ed25519_dalek::{Signer, SigningKey};
use futures_util::{SinkExt, StreamExt};
use proto::directory::api::*;
use proto::directory::{
    ContactPolicy, Device, Prekey, Reach, Record, Rotation, SignedReach, SignedRecord, recovery_hash,
};
use proto::ids::{AccountId, DeviceId, NodeId, PrekeyId};
use proto::name::Name;
use proto::time::Timestamp;
use proto::wire::envelope::Outer;
use reqwest::{Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

pub const ORIGIN: &str = "example.org";
/// Nothing here takes so long; it is there so that a failing test ends.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Directory {
    pub url: String,
    pub http: reqwest::Client,
    pub config: Config,
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<Result<(), directoryd::RunError>>>,
    data: Option<tempfile::TempDir>,
}

impl Directory {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config { origin: ORIGIN.into(), data_dir: data.path().to_owned(), ..Config::default() };
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, config, Some(data))
    }

    fn on(listener: TcpListener, config: Config, data: Option<tempfile::TempDir>) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let task = Some(tokio::spawn(directoryd::run(config.clone(), listener, stop.clone())));
        Self { config, stop, task, data, ..Self::at(&url) }
    }

    /// One that is a process of its own.
    pub fn at(url: &str) -> Self {
        Self {
            url: url.into(),
            http: reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap(),
            config: Config::default(),
            stop: CancellationToken::new(),
            task: None,
            data: None,
        }
    }

    /// Stops, and starts again on the same address and data.
    pub async fn restart(&mut self) {
        self.halt().await;
        self.resume().await;
    }

    /// Stops, and stays so until it is told to go on.
    pub async fn halt(&mut self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task.take().unwrap()).await.unwrap().unwrap().unwrap();
    }

    /// Goes on after [`Directory::halt`].
    pub async fn resume(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(address).await.unwrap();
        *self = Self::on(listener, self.config.clone(), self.data.take());
    }

    /// Asks for the metrics until they say this.
    pub async fn until(&self, line: &str) {
        let begun = std::time::Instant::now();
        loop {
            let text = self.get("/metrics").await.text().await.unwrap();
            if text.contains(line) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{line}: {text}");
            tokio::task::yield_now().await;
        }
    }

    pub async fn stop(mut self) {
        self.halt().await;
    }

    pub async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    pub async fn get_as(&self, path: &str, bearer: &str) -> Response {
        self.http.get(format!("{}{path}", self.url)).bearer_auth(bearer).send().await.unwrap()
    }

    pub async fn nonce(&self) -> Base64 {
        self.get("/v1/nonce").await.json::<NonceAnswer>().await.unwrap().nonce
    }

    pub async fn put(&self, path: &str, body: &impl serde::Serialize) -> Response {
        self.http.put(format!("{}{path}", self.url)).json(body).send().await.unwrap()
    }

    pub async fn publish(&self, person: &Person, seq: u64) -> Response {
        self.publish_record(person, &person.record(seq)).await
    }

    pub async fn publish_record(&self, person: &Person, record: &Record) -> Response {
        let bytes = SignedRecord::sign(record, &person.identity).unwrap().encode();
        let nonce = self.nonce().await;
        let signature = person.identity.sign(&publish_message(ORIGIN, &nonce, &bytes)).to_bytes().to_vec();
        let request = PublishRequest { record: Base64(bytes), nonce, signature: Base64(signature), recovery: None };
        self.put(&format!("/v1/records/{}", record.name), &request).await
    }

    pub async fn unregister(&self, person: &Person) -> Response {
        let nonce = self.nonce().await;
        let signature = Base64(person.identity.sign(&unregister_message(ORIGIN, &nonce)).to_bytes().to_vec());
        let url = format!("{}/v1/records/{}", self.url, person.name);
        self.http.delete(url).json(&UnregisterRequest { nonce, signature }).send().await.unwrap()
    }

    /// Leaves an envelope; with a contact's token, or as a stranger.
    pub async fn deposit(&self, to: &Person, token: Option<&[u8; 32]>, envelope: Vec<u8>) -> Response {
        let url = format!("{}/v1/mailbox/{}", self.url, to.account());
        let mut request = self.http.post(url).header("content-type", "application/octet-stream").body(envelope);
        if let Some(token) = token {
            request = request.header(DEPOSIT_TOKEN_HEADER, Base64::text(token));
        }
        request.send().await.unwrap()
    }

    /// Leaves an envelope with a directory that may be dead, which then gives no answer.
    pub async fn try_deposit(&self, to: &Person, token: &[u8; 32], envelope: Vec<u8>) -> Option<Response> {
        let url = format!("{}/v1/mailbox/{}", self.url, to.account());
        let request = self.http.post(url).header(DEPOSIT_TOKEN_HEADER, Base64::text(token)).body(envelope);
        request.send().await.ok()
    }

    pub async fn session(&self, person: &Person) -> Session {
        self.session_after(person, None).await
    }

    pub async fn session_after(&self, person: &Person, previous: Option<String>) -> Session {
        let stream = TcpStream::connect(self.url.trim_start_matches("http://")).await.unwrap();
        self.session_over(stream, person, previous).await
    }

    /// A session of somebody who asks and asks and reads none of the answers, until this connection is full in both
    /// directions: what the system itself takes is little on the side of the answers, and millions of bytes on the other.
    pub async fn session_that_never_reads(&self, person: &Person) -> Session {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(self.url.trim_start_matches("http://").parse().unwrap()).await.unwrap();
        let mut session = self.session_over(stream, person, None).await;
        session.ask_until_nothing_is_taken().await;
        session
    }

    async fn session_over(&self, stream: TcpStream, person: &Person, previous: Option<String>) -> Session {
        let nonce = self.nonce().await;
        let signature = Base64(person.device.sign(&session_message(ORIGIN, &nonce)).to_bytes().to_vec());
        let hello = SessionHello {
            account: person.account(),
            device: person.device_id(),
            nonce,
            signature,
            previous,
            number: None,
        };
        let mut session = self.over(stream).await;
        session.send(&hello).await;
        match session.frame().await {
            ServerFrame::Ready { token, session_counter, record_seq, .. } => {
                (session.token, session.counter, session.record_seq) = (token, session_counter, record_seq);
            }
            other => panic!("{other:?}"),
        }
        session
    }

    /// A WebSocket that has said nothing yet.
    pub async fn open(&self) -> Session {
        self.over(TcpStream::connect(self.url.trim_start_matches("http://")).await.unwrap()).await
    }

    async fn over(&self, stream: TcpStream) -> Session {
        let url = format!("{}/v1/session", self.url.replacen("http", "ws", 1));
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        Session { socket, token: String::new(), counter: 0, record_seq: 0 }
    }
}

/// The outside of an envelope is all that a directory looks at.
pub fn envelope(to_device: DeviceId, ttl: u32, ciphertext: &[u8]) -> Vec<u8> {
    Outer { suite: 2, to_device, prekey_id: PrekeyId([7; 8]), ttl, ciphertext, work: None }.encode()
}

pub struct Person {
    pub name: String,
    pub identity: SigningKey,
    pub device: SigningKey,
    pub node: SigningKey,
    pub policy: ContactPolicy,
    pub list_address: bool,
    pub show_online: bool,
}

/// Somebody with keys that follow from the name.
pub fn person(name: &str) -> Person {
    let key = |what: &str| SigningKey::from_bytes(&proto::ids::sha256(&[what.as_bytes(), name.as_bytes()]));
    Person {
        name: name.into(),
        identity: key("identity"),
        device: key("device"),
        node: key("node"),
        policy: ContactPolicy::Members,
        list_address: false,
        show_online: true,
    }
}

impl Person {
    pub fn account(&self) -> AccountId {
        AccountId::of_first_key(&self.identity.verifying_key().to_bytes())
    }

    pub fn device_id(&self) -> DeviceId {
        DeviceId::of_key(&self.device.verifying_key().to_bytes())
    }

    pub fn record(&self, seq: u64) -> Record {
        let now = Timestamp::now().unix_seconds();
        let key = self.identity.verifying_key().to_bytes();
        let recovery = recovery_hash(&[7; 32]);
        let device = Device::of_key(self.device.verifying_key().to_bytes());
        let (created, not_after) = (now, now + 604_800);
        let prekey = Prekey { device: device.id, suite: 2, recipient: vec![7; 1_216], created, not_after };
        Record {
            origin: ORIGIN.into(),
            name: Name::parse(&self.name).unwrap(),
            first_key: key,
            rotations: vec![Rotation::genesis(&self.identity, recovery)],
            identity_key: key,
            recovery_hash: recovery,
            seq,
            prev: [0; 32],
            issued: now,
            expires: now + 604_800,
            devices: vec![device],
            prekeys: vec![prekey],
            mailbox: None,
            policy: self.policy,
            min_suite: 2,
            list_address: self.list_address,
            show_online: self.show_online,
        }
    }

    pub fn reach(&self, seq: u64, address: &str) -> PublishReachRequest {
        let reach = Reach {
            account: self.account(),
            device: self.device_id(),
            node: NodeId(self.node.verifying_key().to_bytes()),
            relay: None,
            addresses: vec![address.parse().unwrap()],
            seq,
            issued: Timestamp::now().unix_seconds(),
        };
        PublishReachRequest { reach: SignedReach::sign(&reach, &self.device, &self.node).unwrap().encode().into() }
    }
}

/// The error of an answer, with its status.
pub async fn refused(response: Response) -> (StatusCode, ErrorCode) {
    let status = response.status();
    let answer: ErrorAnswer = response.json().await.unwrap();
    assert!(answer.time > 0 && !answer.error.message.is_empty());
    (status, answer.error.code)
}
