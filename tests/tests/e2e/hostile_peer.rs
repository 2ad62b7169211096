//! A peer made of the protocol's own code with every rule breakable. It has the keys of a contact of its victim: whatever a
//! contact's daemon could say on a link, and whatever it never would.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chatd::crypto::claim::{Session, sign_claim};
use chatd::crypto::envelope::{SealTo, Sender, seal};
use chatd::crypto::keyfile;
use chatd::crypto::keys::SigningKey;
use chatd::crypto::prekey::PrekeyPublic;
use chatd::link::{LinkConfig, LinkSender, Node};
use proto::directory::SignedRecord;
use proto::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId, NodeId, sha256};
use proto::wire::envelope::{AckEntry, Core};
use proto::wire::frame::Frame;
use proto::wire::payload::Text;
use tests::Daemon;
use tokio::sync::watch;

use crate::peer_abuse::node_of;

static NODES: AtomicU64 = AtomicU64::new(1);

/// Somebody's contact, gone bad.
#[derive(Clone)]
pub struct Mallory {
    pub account: AccountId,
    pub device: DeviceId,
    key: Arc<SigningKey>,
    bob: NodeId,
    addresses: Vec<SocketAddr>,
    /// The victim's device.
    pub bobs: DeviceId,
}

/// Where the only account of a data directory lies.
fn account_folder(data: &Path) -> PathBuf {
    std::fs::read_dir(data.join("accounts")).unwrap().next().unwrap().unwrap().path()
}

fn key_in(data: &Path, file: &str) -> SigningKey {
    SigningKey::from_bytes(&keyfile::load(&account_folder(data).join(file)).unwrap())
}

impl Mallory {
    /// With the keys of the only account in a data directory, whose daemon should not run meanwhile.
    pub fn with_keys_of(data: &Path, victim: &Daemon) -> Self {
        let key = key_in(data, "device.key");
        let (bob, addresses) = node_of(victim);
        Self {
            account: AccountId::of_first_key(&key_in(data, "identity.key").public()),
            device: DeviceId::of_key(&key.public()),
            key: Arc::new(key),
            bob,
            addresses,
            bobs: DeviceId::of_key(&key_in(&victim.data_dir(), "device.key").public()),
        }
    }

    /// A link from a node that nobody has seen before, its claim proved; `None` if it is turned away.
    pub async fn link(&self) -> Option<Hostile> {
        self.link_as(NODES.fetch_add(1, Ordering::Relaxed)).await
    }

    /// The same from the node of that number, whatever it did before.
    pub async fn link_as(&self, number: u64) -> Option<Hostile> {
        let mut config = LinkConfig::new(sha256(&[b"hostile", &number.to_be_bytes()]));
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let (node, _incoming) = Node::bind(config).await.unwrap();
        let dialing = tokio::time::timeout(Duration::from_secs(5), node.dial(self.bob, &self.addresses));
        let mut link = dialing.await.ok()?.ok()?;
        let session = Session { exporter: &link.exporter, dialer: node.node_id(), acceptor: self.bob };
        let signature = sign_claim(&self.key, &session, self.bobs);
        let claim = Frame::Claim { from_device: self.device, to_device: self.bobs, signature };
        link.sender.send(claim.clone()).await.ok()?;
        let record = loop {
            match tokio::time::timeout(Duration::from_secs(5), link.receiver.recv()).await.ok()?.ok()?? {
                Frame::Record { record, .. } => break record,
                _ => continue,
            }
        };
        let record = SignedRecord::decode(&record).unwrap().peek().unwrap();
        let prekey = record.prekeys_of(self.bobs).max_by_key(|prekey| prekey.created).unwrap();
        let to = SealTo { device: self.bobs, prekey: PrekeyPublic::new(prekey.suite, &prekey.recipient).unwrap() };
        let (heard, ended) = (Arc::new(AtomicU64::new(0)), watch::Sender::new(None));
        let (sender, end) = (link.sender.clone(), ended.subscribe());
        let answered = Arc::new(AtomicU64::new(0));
        let (count, pong, mut receiver) = (Arc::clone(&heard), Arc::clone(&answered), link.receiver);
        let acked = Arc::new(Mutex::new(HashSet::new()));
        let acknowledged = Arc::clone(&acked);
        tokio::spawn(async move {
            while let Ok(Some(frame)) = receiver.recv().await {
                match &frame {
                    Frame::Ping { nonce, reply: true } => pong.store(*nonce, Ordering::Relaxed),
                    Frame::Ack { entries, .. } => {
                        acknowledged.lock().unwrap().extend(entries.iter().map(|entry| entry.epoch));
                    }
                    _ => {}
                }
                count.fetch_add(frame.encode().len() as u64, Ordering::Relaxed);
            }
            let _ = ended.send(Some(Instant::now()));
        });
        let victim = record.account();
        Some(Hostile { me: self.clone(), node, sender, claim, to, victim, sent: 0, heard, answered, acked, end })
    }
}

/// One link of it.
pub struct Hostile {
    me: Mallory,
    node: Node,
    sender: LinkSender,
    /// The claim that was made on it.
    pub claim: Frame,
    to: SealTo,
    pub victim: AccountId,
    /// Bytes.
    pub sent: u64,
    heard: Arc<AtomicU64>,
    /// The last ping that was answered.
    answered: Arc<AtomicU64>,
    acked: Arc<Mutex<HashSet<Epoch>>>,
    end: watch::Receiver<Option<Instant>>,
}

impl Hostile {
    /// Sends one frame; `false` if the link is over.
    pub async fn send(&mut self, frame: Frame) -> bool {
        let bytes = frame.encode().len() as u64;
        let sent = !self.is_over()
            && matches!(tokio::time::timeout(Duration::from_secs(2), self.sender.send(frame)).await, Ok(Ok(())));
        self.sent += if sent { bytes } else { 0 };
        sent
    }

    pub fn is_over(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Bytes that the victim has sent.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Waits until everything that was sent is read, or the link is over.
    pub async fn settled(&mut self) {
        const LAST: u64 = u64::MAX;
        self.send(Frame::Ping { nonce: LAST, reply: false }).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.is_over() && self.answered.load(Ordering::Relaxed) != LAST && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether the victim has acknowledged something of an epoch here, by itself: not with a claim.
    pub fn is_acknowledged(&self, epoch: u64) -> bool {
        self.acked.lock().unwrap().contains(&Epoch(epoch.to_be_bytes()))
    }

    /// When the victim ended it.
    pub fn ended_at(&self) -> Option<Instant> {
        *self.end.borrow()
    }

    pub async fn close(self) {
        self.node.close().await;
    }

    /// A message to the victim.
    pub fn core(&self, kind: &str, epoch: u64, seq: u64, payload: &[u8]) -> Vec<u8> {
        Core {
            from: self.me.account,
            from_device: self.me.device,
            conversation: ConversationId::direct(self.me.account, self.victim),
            to: self.victim,
            id: MessageId::now(),
            epoch: Epoch(epoch.to_be_bytes()),
            seq,
            prev: [0; 32],
            time: 0,
            kind,
            payload,
        }
        .encode()
    }

    pub fn text(&self, epoch: u64, seq: u64, body: &str) -> Vec<u8> {
        let text = Text { body, format: 0, priority: 1, tags: Vec::new(), reply_to: None };
        self.core("text", epoch, seq, &text.encode())
    }

    pub fn envelope(&self, number: u64, cores: &[Vec<u8>]) -> Frame {
        let sender = Sender {
            account: self.me.account,
            device: self.me.device,
            key: &self.me.key,
            record_seq: 0,
            record_hash: [0; 32],
        };
        let cores: Vec<&[u8]> = cores.iter().map(Vec::as_slice).collect();
        Frame::Envelope { number, outer: seal(&sender, &self.to, Vec::new(), &cores, 60).unwrap() }
    }

    /// An acknowledgement of an epoch of the victim's that it never had.
    pub fn invented(&self, epoch: u64) -> AckEntry {
        AckEntry {
            from_device: self.me.bobs,
            conversation: ConversationId::direct(self.me.account, self.victim),
            epoch: Epoch(epoch.to_be_bytes()),
            contiguous: 1,
            ranges: Vec::new(),
            head: None,
        }
    }

    pub fn ack(&self, entries: Vec<AckEntry>, ids: Vec<MessageId>) -> Frame {
        Frame::Ack { from_device: self.me.device, to_device: self.me.bobs, entries, ids }
    }

    pub fn resume(&self) -> Frame {
        Frame::Resume { from_device: self.me.device, to_device: self.me.bobs, entries: Vec::new() }
    }

    pub fn record(&self, record: Vec<u8>) -> Frame {
        Frame::Record { from_device: self.me.device, to_device: self.me.bobs, record }
    }

    pub fn reach(&self, reach: Vec<u8>) -> Frame {
        Frame::Reach { from_device: self.me.device, to_device: self.me.bobs, reach }
    }
}
