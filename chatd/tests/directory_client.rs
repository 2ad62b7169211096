//! The directory client against a directory in this process.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use chatd::directory::session::{self, SessionCommand, SessionEvent};
use chatd::directory::{DirectoryClient, DirectoryError};
use ed25519_dalek::{Signer, SigningKey};
use proto::directory::api::{ErrorCode, UsersQuery, token_hash};
use proto::directory::{ContactPolicy, Device, Record, SignedRecord, recovery_hash};
use proto::ids::{AccountId, DeviceId};
use proto::name::Name;
use proto::time::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const ORIGIN: &str = "example.org";

struct Directory {
    address: std::net::SocketAddr,
    data: tempfile::TempDir,
    stop: CancellationToken,
    task: JoinHandle<Result<(), directoryd::RunError>>,
}

impl Directory {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, tempfile::tempdir().unwrap())
    }

    fn on(listener: TcpListener, data: tempfile::TempDir) -> Self {
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let config = directoryd::Config {
            origin: ORIGIN.into(),
            data_dir: data.path().to_owned(),
            ..directoryd::Config::default()
        };
        let task = tokio::spawn(directoryd::run(config, listener, stop.clone()));
        Self { address, data, stop, task }
    }

    async fn stop(self) -> (std::net::SocketAddr, tempfile::TempDir) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        (self.address, self.data)
    }

    fn client(&self) -> DirectoryClient {
        DirectoryClient::new(&format!("http://{}", self.address)).unwrap()
    }
}

struct Person {
    name: Name,
    identity: SigningKey,
    device: SigningKey,
}

fn person(name: &str) -> Person {
    let key = |what: &str| SigningKey::from_bytes(&proto::ids::sha256(&[what.as_bytes(), name.as_bytes()]));
    Person { name: Name::parse(name).unwrap(), identity: key("identity"), device: key("device") }
}

impl Person {
    fn account(&self) -> AccountId {
        AccountId::of_first_key(&self.identity.verifying_key().to_bytes())
    }

    fn device_id(&self) -> DeviceId {
        DeviceId::of_key(&self.device.verifying_key().to_bytes())
    }

    fn record(&self, seq: u64) -> Vec<u8> {
        let (now, key) = (Timestamp::now().unix_seconds(), self.identity.verifying_key().to_bytes());
        let record = Record {
            origin: ORIGIN.into(),
            name: self.name.clone(),
            first_key: key,
            rotations: vec![],
            identity_key: key,
            recovery_hash: recovery_hash(&[1; 32]),
            seq,
            prev: [0; 32],
            issued: now,
            expires: now + 60,
            devices: vec![Device::of_key(self.device.verifying_key().to_bytes())],
            prekeys: vec![],
            mailbox: None,
            policy: ContactPolicy::Members,
            min_suite: 2,
            list_address: false,
            show_online: true,
        };
        SignedRecord::sign(&record, &self.identity).unwrap().encode()
    }

    async fn publish(&self, client: &DirectoryClient, seq: u64) -> Result<u64, DirectoryError> {
        let sign = |bytes: &[u8]| self.identity.sign(bytes).to_bytes();
        client.publish(&self.name, &self.record(seq), &sign).await.map(|published| published.seq)
    }

    fn session(&self, client: &DirectoryClient) -> Session {
        let device = self.device.clone();
        let sign: session::SessionSign = Arc::new(move |bytes: &[u8]| device.sign(bytes).to_bytes());
        let (commands, receiver) = mpsc::channel(16);
        let (sender, events) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let (mail, queue) = mpsc::channel(session::MAIL_QUEUE);
        let member = session::Member { account: self.account(), device: self.device_id(), origin: ORIGIN.to_owned() };
        let outlets = session::Outlets { events: sender, mail };
        let number: session::SessionNumber = Arc::new(|| Box::pin(async { None }));
        let run = session::run(client.clone(), member, (sign, number), receiver, outlets, stop.clone());
        Session { commands, events, _mail: queue, stop, task: tokio::spawn(run) }
    }
}

struct Session {
    commands: mpsc::Sender<SessionCommand>,
    events: mpsc::Receiver<SessionEvent>,
    _mail: mpsc::Receiver<session::Mail>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Session {
    async fn event(&mut self) -> SessionEvent {
        timeout(Duration::from_secs(20), self.events.recv()).await.expect("no event came").unwrap()
    }

    async fn up(&mut self) -> (String, u64) {
        loop {
            if let SessionEvent::Up { token, counted, .. } = self.event().await {
                return (token, counted.number);
            }
        }
    }

    async fn presence(&mut self) -> (AccountId, bool) {
        match self.event().await {
            SessionEvent::Presence { account, online, .. } => (account, online),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn every_answer_has_its_own_error() {
    let directory = Directory::start().await;
    let client = directory.client();
    let (alice, bob) = (person("alice"), person("bob"));
    assert_eq!(client.info().await.unwrap().origin, ORIGIN);
    assert_eq!(alice.publish(&client, 2).await.unwrap(), 2);
    let mut thief = person("thief");
    thief.name = alice.name.clone();
    assert!(matches!(thief.publish(&client, 1).await, Err(DirectoryError::NameTaken)));
    match alice.publish(&client, 1).await {
        Err(DirectoryError::Conflict { stored: Some(stored), .. }) => {
            assert_eq!(SignedRecord::decode(&stored).unwrap().verify().unwrap().seq, 2);
        }
        other => panic!("{other:?}"),
    }
    let found = client.lookup(&alice.name, None).await.unwrap();
    assert_eq!((found.account, found.online), (alice.account(), None));
    assert_eq!(client.lookup_account(alice.account(), None).await.unwrap().record, found.record);
    assert!(matches!(client.lookup(&bob.name, None).await, Err(DirectoryError::NotFound)));
    let hidden = client.reach(alice.account(), None, Some(&[1; 32])).await;
    assert!(matches!(hidden, Err(DirectoryError::NotFound)));
    let users = client.users(&UsersQuery::default(), None).await;
    assert!(matches!(users, Err(DirectoryError::Refused { code: ErrorCode::NotAllowed, .. })));
    let sign = |bytes: &[u8]| alice.identity.sign(bytes).to_bytes();
    assert!(client.unregister(&alice.name, &sign).await.unwrap() > found.time);
    assert!(matches!(client.lookup(&alice.name, None).await, Err(DirectoryError::NotFound)));
    directory.stop().await;
    let error = client.lookup(&alice.name, None).await.unwrap_err();
    assert!(matches!(error, DirectoryError::Unreachable { .. }) && error.is_temporary(), "{error:?}");
}

#[tokio::test]
async fn a_session_makes_one_present_and_a_clean_end_shows_at_once() {
    let directory = Directory::start().await;
    let client = directory.client();
    let (alice, bob) = (person("alice"), person("bob"));
    for person in [&alice, &bob] {
        person.publish(&client, 1).await.unwrap();
    }
    let token = [5; 32];
    let mut his = bob.session(&client);
    assert_eq!(his.up().await.1, 1);
    let add = vec![token_hash(&token)];
    his.commands.send(SessionCommand::Tokens { add, remove: vec![] }).await.unwrap();
    assert_eq!(his.event().await, SessionEvent::TokensStored { count: 1 });
    let mut hers = alice.session(&client);
    let (bearer, _) = hers.up().await;
    hers.commands.send(SessionCommand::Watch(vec![(bob.account(), token)])).await.unwrap();
    assert_eq!(hers.presence().await, (bob.account(), true));
    assert_eq!(client.lookup(&bob.name, Some(&bearer)).await.unwrap().online, Some(true));
    assert_eq!(client.users(&UsersQuery::default(), Some(&bearer)).await.unwrap().users.len(), 2);
    assert!(client.reach(bob.account(), Some(&bearer), None).await.unwrap().is_empty());
    his.stop.cancel();
    his.task.await.unwrap();
    assert_eq!(hers.presence().await, (bob.account(), false));
    hers.stop.cancel();
    hers.task.await.unwrap();
    directory.stop().await;
}

#[tokio::test]
async fn b7_a_session_comes_back_after_a_restart_of_the_directory() {
    let directory = Directory::start().await;
    let client = directory.client();
    let alice = person("alice");
    // Before she is registered there is no session; the first attempt after it succeeds.
    let mut session = alice.session(&client);
    assert!(matches!(session.event().await, SessionEvent::Down { code: Some(ErrorCode::NotFound), .. }));
    alice.publish(&client, 1).await.unwrap();
    session.commands.send(SessionCommand::Retry).await.unwrap();
    assert_eq!(session.up().await.1, 1);
    let (address, data) = directory.stop().await;
    assert!(matches!(session.event().await, SessionEvent::Down { code: None, .. }));
    let directory = Directory::on(TcpListener::bind(address).await.unwrap(), data);
    assert_eq!(session.up().await.1, 2, "by itself");
    session.stop.cancel();
    session.task.await.unwrap();
    directory.stop().await;
}

#[tokio::test]
async fn a_second_process_with_the_same_key_is_told_to_both() {
    let directory = Directory::start().await;
    let client = directory.client();
    let alice = person("alice");
    alice.publish(&client, 1).await.unwrap();
    let mut first = alice.session(&client);
    first.up().await;
    let mut second = alice.session(&client);
    second.up().await;
    assert_eq!(first.event().await, SessionEvent::Cloned);
    assert_eq!(second.event().await, SessionEvent::Cloned);
    assert!(matches!(first.event().await, SessionEvent::Down { .. }));
    assert_eq!(first.event().await, SessionEvent::Replaced, "the older one gives way, for good");
    for session in [first, second] {
        session.stop.cancel();
        session.task.await.unwrap();
    }
    directory.stop().await;
}
