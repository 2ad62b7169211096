//! A throwaway directory in this process, and people who use it.
#![allow(dead_code, clippy::unwrap_used)]

pub mod mail;

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
    task: tokio::task::JoinHandle<Result<(), directoryd::RunError>>,
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
        let task = tokio::spawn(directoryd::run(config.clone(), listener, stop.clone()));
        Self {
            url,
            http: reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap(),
            config,
            stop,
            task,
            data,
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
        timeout(PATIENCE, &mut self.task).await.unwrap().unwrap().unwrap();
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

    pub async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
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
        let request = PublishRequest { record: Base64(bytes), nonce, signature: Base64(signature) };
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

    pub async fn session(&self, person: &Person) -> Session {
        self.session_after(person, None).await
    }

    pub async fn session_after(&self, person: &Person, previous: Option<String>) -> Session {
        let nonce = self.nonce().await;
        let signature = Base64(person.device.sign(&session_message(ORIGIN, &nonce)).to_bytes().to_vec());
        let hello = SessionHello { account: person.account(), device: person.device_id(), nonce, signature, previous };
        let mut session = self.open().await;
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
        let stream = TcpStream::connect(self.url.trim_start_matches("http://")).await.unwrap();
        let url = format!("{}/v1/session", self.url.replacen("http", "ws", 1));
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        Session { socket, token: String::new(), counter: 0, record_seq: 0 }
    }
}

pub struct Session {
    pub socket: WebSocketStream<TcpStream>,
    pub token: String,
    pub counter: u64,
    pub record_seq: u64,
}

impl Session {
    pub async fn send(&mut self, frame: &impl serde::Serialize) {
        self.socket.send(Message::Text(serde_json::to_string(frame).unwrap().into())).await.unwrap();
    }

    /// The next frame that is no ping.
    pub async fn frame(&mut self) -> ServerFrame {
        self.frame_or_end().await.expect("the session ended")
    }

    /// The next frame, or `None` when the directory closed the session.
    pub async fn frame_or_end(&mut self) -> Option<ServerFrame> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.socket.next()).await.expect("no frame came") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(_) | Err(_)) | None => return None,
            }
        }
    }

    /// The next frame or mail that is no ping.
    pub async fn said(&mut self) -> Option<Said> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.socket.next()).await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => return Some(Said::Frame(serde_json::from_str(&text).unwrap())),
                Some(Ok(Message::Binary(bytes))) => {
                    let (number, envelope) = decode_push(&bytes).unwrap();
                    return Some(Said::Mail(number, envelope.to_vec()));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(_) | Err(_)) | None => return None,
            }
        }
    }

    /// The next thing said, which is mail.
    pub async fn mail(&mut self) -> (u64, Vec<u8>) {
        match self.said().await {
            Some(Said::Mail(number, envelope)) => (number, envelope),
            other => panic!("{other:?}"),
        }
    }

    /// Asks for the mailbox, and takes what comes until `drained`.
    pub async fn drain(&mut self) -> (Vec<(u64, Vec<u8>)>, u64) {
        self.send(&ClientFrame::Mailbox).await;
        let mut mail = Vec::new();
        loop {
            match self.said().await {
                Some(Said::Mail(number, envelope)) => mail.push((number, envelope)),
                Some(Said::Frame(ServerFrame::Drained { upto })) => return (mail, upto),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Sends a deletion signed by `who`.
    pub async fn send_delete(&mut self, who: &Person, numbers: &[u64]) {
        let signature = Base64(who.device.sign(&delete_message(ORIGIN, numbers)).to_bytes().to_vec());
        self.send(&ClientFrame::Delete { numbers: numbers.to_vec(), signature }).await;
    }

    /// Deletes, and waits until it is durable; nothing else may be said meanwhile.
    pub async fn delete(&mut self, who: &Person, numbers: &[u64]) {
        self.send_delete(who, numbers).await;
        assert_eq!(self.frame().await, ServerFrame::Deleted { numbers: numbers.to_vec() });
    }

    /// Deletes, and takes what the room brings: these numbers, in this order, and the answer somewhere among them.
    pub async fn delete_and_take(&mut self, who: &Person, numbers: &[u64], expected: &[u64]) {
        self.send_delete(who, numbers).await;
        let (mut mail, mut deleted) = (Vec::new(), false);
        while mail.len() < expected.len() || !deleted {
            match self.said().await {
                Some(Said::Mail(number, _)) => mail.push(number),
                Some(Said::Frame(ServerFrame::Deleted { .. })) => deleted = true,
                Some(Said::Frame(ServerFrame::Drained { .. })) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(mail, expected);
    }

    pub async fn presence(&mut self) -> (AccountId, bool) {
        match self.frame().await {
            ServerFrame::Presence { account, online, .. } => (account, online),
            other => panic!("{other:?}"),
        }
    }

    pub async fn give_token(&mut self, token: &[u8; 32]) {
        let add = vec![proto::ids::hex(&token_hash(token))];
        self.send(&ClientFrame::Tokens { add, remove: vec![] }).await;
        assert!(matches!(self.frame().await, ServerFrame::TokensStored { .. }));
    }

    pub async fn revoke_token(&mut self, token: &[u8; 32]) {
        let remove = vec![proto::ids::hex(&token_hash(token))];
        self.send(&ClientFrame::Tokens { add: vec![], remove }).await;
        assert!(matches!(self.frame().await, ServerFrame::TokensStored { .. }));
    }

    pub async fn watch(&mut self, account: AccountId, token: &[u8; 32]) {
        let watch = Watch { account, token: Base64(token.to_vec()) };
        self.send(&ClientFrame::Watch { accounts: vec![watch] }).await;
    }
}

/// What a session says to a client that fetches its mail.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Mail(u64, Vec<u8>),
    Frame(ServerFrame),
}

/// The outside of an envelope is all that a directory looks at.
pub fn envelope(to_device: DeviceId, ttl: u32, ciphertext: &[u8]) -> Vec<u8> {
    Outer { suite: 1, to_device, prekey_id: PrekeyId([7; 8]), ttl, ciphertext }.encode()
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
        let prekey = Prekey { device: device.id, suite: 1, recipient: vec![7; 32], created, not_after };
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
            min_suite: 1,
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
