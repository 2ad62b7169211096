//! A peer of our own making who claims any name, breaks the rules of consent, and speaks the protocol otherwise.

use std::net::SocketAddr;

use chatd::crypto::envelope::{SealTo, Sender, seal};
use chatd::crypto::keys::SigningKey;
use chatd::crypto::prekey::PrekeyPublic;
use chatd::directory::DirectoryClient;
use chatd::link::{Link, LinkConfig, Node};
use proto::directory::SignedRecord;
use proto::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId, NodeId, sha256};
use proto::name::Name;
use proto::time::Timestamp;
use proto::wire::envelope::Core;
use proto::wire::frame::Frame;
use proto::wire::payload::ContactCard;
use tests::registry::Registrant;
use tests::{Daemon, Directory};

use crate::peer_abuse::node_of;

/// Somebody with keys and without manners.
pub struct Impostor {
    pub registrant: Registrant,
    device: SigningKey,
    /// As the newest record that it shows.
    record: Vec<u8>,
    seq: u64,
    node: Node,
}

impl Impostor {
    /// An account that no directory knows, under a name of its own choice.
    pub async fn new(name: &str, salt: &str) -> Self {
        let registrant = Registrant::new(name, salt, "example.org").unwrap();
        let mut config = LinkConfig::new(sha256(&[b"node", salt.as_bytes()]));
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let (node, _incoming) = Node::bind(config).await.unwrap();
        let device = SigningKey::from_bytes(&registrant.device.to_bytes());
        // Without prekeys: whoever has something to tell this account has to look for a newer record.
        let mut bare = registrant.record(1);
        bare.prekeys.clear();
        let record = SignedRecord::sign(&bare, &registrant.identity).unwrap().encode();
        Self { registrant, device, record, seq: 1, node }
    }

    pub fn account(&self) -> AccountId {
        self.registrant.account()
    }

    /// The same account takes another name in the directory, as its newest record says.
    pub async fn register_as(&mut self, directory: &Directory, name: &str) {
        let mut other = self.registrant.clone();
        other.name = Name::parse(name).unwrap();
        let record = other.signed(self.seq + 1).unwrap();
        let client = DirectoryClient::new(directory.url()).unwrap();
        let identity = SigningKey::from_bytes(&other.identity.to_bytes());
        client.publish(&other.name, &record, &|message: &[u8]| identity.sign(&[message])).await.unwrap();
        self.seq += 1;
    }

    /// Sends one core of the contact protocol to somebody on a daemon; the link, so that it stays open.
    pub async fn say(&self, directory: &Directory, daemon: &Daemon, to: &str, kind: &str, text: &str) -> Link {
        let client = DirectoryClient::new(directory.url()).unwrap();
        let found = client.lookup(&Name::parse(to).unwrap(), None).await.unwrap();
        let record = SignedRecord::decode(&found.record).unwrap().verify().unwrap();
        let prekey = record.prekeys.first().unwrap();
        let target =
            SealTo { device: prekey.device, prekey: PrekeyPublic::new(prekey.suite, &prekey.recipient).unwrap() };
        let card = ContactCard {
            record: &self.record,
            reach: &[],
            deposit_token: [7; 32],
            invite_token: None,
            text,
            membership: &[],
        }
        .encode();
        let core = Core {
            from: self.account(),
            from_device: DeviceId::of_key(&self.device.public()),
            conversation: ConversationId::direct(self.account(), found.account),
            to: found.account,
            id: MessageId::now(),
            epoch: Epoch([0; 8]),
            seq: 0,
            prev: [0; 32],
            time: Timestamp::now().0,
            kind,
            payload: &card,
        }
        .encode();
        let sender = Sender {
            account: self.account(),
            device: DeviceId::of_key(&self.device.public()),
            key: &self.device,
            record_seq: 1,
            record_hash: sha256(&[&self.record]),
        };
        let outer = seal(&sender, &target, Vec::new(), &[&core], 60).unwrap();
        let (node, addresses): (NodeId, Vec<SocketAddr>) = node_of(daemon);
        let link = self.node.dial(node, &addresses).await.unwrap();
        link.sender.send(Frame::Envelope { number: 1, outer }).await.unwrap();
        link
    }
}
