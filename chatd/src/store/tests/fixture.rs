//! Alice, bob and others with keys, records and stores of their own, and cores that go from one store to another by hand.

mod dump;

pub(crate) use dump::{dump, rows, tables};

use std::future::Future;
use std::sync::{Arc, LazyLock};

use proto::directory::{
    ContactPolicy, Device, Prekey, Reach, Record, SignedMembership, SignedReach, SignedRecord, recovery_hash,
};
use proto::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId, NodeId};
use proto::name::Name;
use proto::time::Timestamp;
use proto::wire::SUITE_HYBRID;
use proto::wire::envelope::{AckEntry, Core};
use proto::wire::payload::{ContactCard, Kind, Text};
use rusqlite::Connection;

use crate::crypto::keys::SigningKey;
use crate::crypto::prekey::PrekeySecret;
use crate::model::ids::{OutStreamRow, PeerDevice, PeerId};
use crate::model::{AccountRow, Format, MessageState, Priority};
use crate::policy::contact::Event;
use crate::store::Store;
use crate::store::account::NewAccount;
use crate::store::contacts::requests;
use crate::store::delivery::{control, outbox, trace};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::history::search::Indexer;
use crate::store::log::outgoing::{self, NewMessage};
use crate::store::log::taking::Received;
use crate::store::log::{acks, incoming};
use crate::store::peers::row::ContactRow;
use crate::store::peers::{self, NewContact, names, trust};

static INDEXER: LazyLock<Indexer> = LazyLock::new(Indexer::start);

/// The origin of everybody.
pub(crate) const HOME: &str = "example.org";

/// The key of its directory.
pub(crate) static HOME_KEY: LazyLock<ed25519_dalek::SigningKey> =
    LazyLock::new(|| ed25519_dalek::SigningKey::from_bytes(&[0x0d; 32]));

/// Runs a future to its end.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// An account with everything that it has on a node, but for the node.
pub(crate) struct Person {
    pub name: String,
    pub account: AccountId,
    pub identity: SigningKey,
    pub device: SigningKey,
    pub prekey: PrekeySecret,
    pub record: Vec<u8>,
    pub store: Store,
    pub folder: Arc<tempfile::TempDir>,
}

impl Person {
    pub fn new(name: &str) -> Self {
        let (identity, device) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let prekey = PrekeySecret::generate(Timestamp::now().unix_seconds()).unwrap();
        let record = sign_record(&identity, name, 1, &[&device], Some(&prekey), ContactPolicy::Members);
        Self::with(name, (identity, device), prekey, record)
    }

    /// The process ends and another one opens the store.
    pub fn reopen(&mut self) {
        run(self.store.close());
        self.store = Store::open(self.folder.path(), &INDEXER).unwrap();
    }

    /// Another device of the same account, with a store of its own; its record is still that of the first.
    pub fn another(&self) -> Self {
        let device = SigningKey::generate().unwrap();
        let prekey = PrekeySecret::generate(Timestamp::now().unix_seconds()).unwrap();
        Self::with(&self.name, (self.identity.clone(), device), prekey, self.record.clone())
    }

    fn with(name: &str, (identity, device): (SigningKey, SigningKey), prekey: PrekeySecret, record: Vec<u8>) -> Self {
        let account = AccountId::of_first_key(&identity.public());
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let row = account_row(name, account, DeviceId::of_key(&device.public()));
        let new = NewAccount {
            row,
            recovery_hash: recovery_hash(&[7; 32]),
            record: record.clone(),
            record_seq: 1,
            display_name: String::new(),
            directory_key: Some(HOME_KEY.verifying_key().to_bytes()),
        };
        Store::create(folder.path(), &new).unwrap();
        let store = Store::open(folder.path(), &INDEXER).unwrap();
        // Conversations have other numbers than peers, so that none is taken for the other.
        let other = "INSERT INTO conversations (id, conversation, kind) VALUES (100, zeroblob(16), 9)";
        run(store.write(move |tx| Ok(tx.conn.execute(other, [])?))).unwrap();
        Self { name: name.to_owned(), account, identity, device, prekey, record, store, folder }
    }

    pub fn device_id(&self) -> DeviceId {
        DeviceId::of_key(&self.device.public())
    }

    /// This one's device, as somebody knows it who calls this one `peer`.
    pub fn as_device(&self, peer: PeerId) -> PeerDevice {
        PeerDevice { peer, device: self.device_id() }
    }

    pub fn write<T: Send + 'static>(
        &self,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(self.store.write(op))
    }

    pub fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, StoreError>) -> T {
        self.store.read_blocking(query).unwrap()
    }

    /// A number out of the database.
    pub fn count(&self, sql: &str) -> i64 {
        self.read(|conn| Ok(conn.query_row(sql, [], |row| row.get(0))?))
    }

    /// What a directory tells of this person.
    pub fn as_contact(&self) -> NewContact {
        NewContact {
            account: self.account,
            name: self.name.clone(),
            origin: HOME.to_owned(),
            record: self.record.clone(),
            record_seq: SignedRecord::decode(&self.record).unwrap().peek().unwrap().seq,
            identity_key: self.identity.public(),
            reach: Vec::new(),
            reach_seq: 0,
        }
    }

    /// Remembers somebody, if it is somebody new; the local number.
    pub fn meet(&self, other: &Self) -> PeerId {
        if let Some(row) = self.read(|conn| peers::by_account(conn, other.account)) {
            return row.id;
        }
        let new = other.as_contact();
        self.write(move |tx| {
            let contact = trust::upsert_contact(tx, &new)?;
            names::confirm_name(tx, contact, &new.name, &new.origin)?;
            Ok(contact)
        })
        .unwrap()
    }

    pub fn row(&self, other: &Self) -> ContactRow {
        self.read(|conn| peers::by_account(conn, other.account)).unwrap()
    }

    pub fn id(&self, other: &Self) -> PeerId {
        if other.account == self.account { PeerId::SELF } else { self.row(other).id }
    }

    pub fn wish(&self, other: &Self, event: Event) {
        let contact = self.meet(other);
        self.write(move |tx| requests::apply_user_event(tx, contact, event, "").map(drop)).unwrap();
    }

    /// Cores of the contact protocol that wait for somebody.
    pub fn signals(&self, other: &Self) -> Vec<control::SignalRow> {
        let contact = self.meet(other);
        self.read(|conn| control::waiting(conn, contact, 0))
    }

    /// Takes a core of the contact protocol as the inbox does.
    pub fn hear(&self, other: &Self, core: &[u8]) {
        let (contact, core) = (self.meet(other), core.to_vec());
        self.write(move |tx| {
            let core = Core::decode(&core).unwrap();
            let kind = Kind::parse(core.kind).unwrap();
            let card = ContactCard::decode(core.payload).ok();
            let text = card.as_ref().map_or("", |card| card.text);
            requests::contact_signal(tx, contact, kind, core.id, text, card.as_ref().map(|card| &card.deposit_token))
                .map(drop)
        })
        .unwrap();
    }

    /// Carries what waits of the contact protocol to the other side, acknowledged.
    pub fn tell(&self, other: &Self) {
        for signal in self.signals(other) {
            if matches!(signal.kind, Kind::Receipt | Kind::Profile) {
                continue;
            }
            other.hear(self, &signal.core);
            let contact = self.id(other);
            if signal.kind != Kind::ContactRequest {
                self.write(move |tx| control::signals_done(tx, contact, &[signal.msgid])).unwrap();
            }
        }
    }

    /// Both ask and accept.
    pub fn befriend(&self, other: &Self) {
        self.wish(other, Event::UserAdds);
        self.tell(other);
        other.wish(self, Event::UserAccepts);
        other.tell(self);
        assert!(self.row(other).state.may_talk() && other.row(self).state.may_talk());
    }

    pub fn send(&self, other: &Self, texts: &[&str]) -> Vec<MessageId> {
        let contact = self.id(other);
        let messages: Vec<NewMessage> = texts.iter().map(|text| message(text)).collect();
        self.write(move |tx| outgoing::send(tx, contact, &messages))
            .unwrap()
            .into_iter()
            .map(|stored| stored.id)
            .collect()
    }

    /// The cores that wait for somebody, as they are.
    pub fn outbox(&self, other: &Self) -> Vec<Vec<u8>> {
        let contact = self.id(other);
        let rows =
            self.read(|conn| outbox::outbox_after(conn, other.as_device(contact), (OutStreamRow(0), 0), usize::MAX));
        rows.into_iter().map(|row| row.core).collect()
    }

    pub fn receive(&self, from: &Self, cores: &[Vec<u8>]) -> Received {
        let (contact, cores) = (self.id(from), cores.to_vec());
        self.write(move |tx| {
            let list: Vec<(&[u8], Core<'_>)> =
                cores.iter().map(|bytes| (bytes.as_slice(), Core::decode(bytes).unwrap())).collect();
            let refs: Vec<(&[u8], &Core<'_>)> = list.iter().map(|(bytes, core)| (*bytes, core)).collect();
            incoming::receive(tx, contact, &refs, &Default::default())
        })
        .unwrap()
    }

    pub fn acknowledged(&self, by: &Self, entries: Vec<AckEntry>) {
        let contact = self.id(by);
        let from = by.as_device(contact);
        self.write(move |tx| acks::acknowledged(tx, from, &entries)).unwrap();
    }

    /// Everything that waits is received and acknowledged.
    pub fn deliver(&self, other: &Self) {
        let received = other.receive(self, &self.outbox(other));
        self.acknowledged(other, received.entries);
    }

    /// Texts of the other that are shown, in their order.
    pub fn shown(&self, from: &Self) -> Vec<String> {
        let contact = self.id(from);
        self.read(|conn| {
            let mut select = conn.prepare("SELECT body FROM messages WHERE sender = ?1 ORDER BY id")?;
            Ok(select.query_map([contact], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
    }

    pub fn state(&self, id: MessageId) -> (MessageState, Option<String>) {
        self.read(|conn| trace::own_state(conn, &id))
    }

    /// A reach of this person's device.
    pub fn reach(&self, seq: u64) -> Vec<u8> {
        let node = SigningKey::generate().unwrap();
        let reach = Reach {
            account: self.account,
            device: self.device_id(),
            node: NodeId(node.public()),
            relay: None,
            addresses: vec!["127.0.0.1:7000".parse().unwrap()],
            seq,
            issued: Timestamp::now().unix_seconds(),
        };
        SignedReach::sign(&reach, self.device.inner(), node.inner()).unwrap().encode()
    }

    /// A card as this person could make it.
    pub fn card(&self, token: u8) -> Vec<u8> {
        self.card_with(token, &self.membership())
    }

    /// The directory's word that this person is a member, of now.
    pub fn membership(&self) -> Vec<u8> {
        SignedMembership::issue(HOME, self.account, Timestamp::now().unix_seconds(), &HOME_KEY).encode()
    }

    /// The same card with any statement of membership.
    pub fn card_with(&self, token: u8, membership: &[u8]) -> Vec<u8> {
        let record = &self.record;
        ContactCard { record, reach: &[], deposit_token: [token; 32], invite_token: None, text: "hello", membership }
            .encode()
    }

    /// A core of this person's making to somebody, outside of the chain unless `seq` says otherwise.
    pub fn core(&self, to: &Self, kind: &str, seq: u64, payload: &[u8]) -> Vec<u8> {
        Core {
            from: self.account,
            from_device: self.device_id(),
            conversation: ConversationId::direct(self.account, to.account),
            to: to.account,
            id: MessageId::now(),
            epoch: Epoch([u8::from(seq > 0); 8]),
            seq,
            prev: [0; 32],
            time: 0,
            kind,
            payload,
        }
        .encode()
    }
}

/// A local account that is logged in.
pub(crate) fn account_row(name: &str, account: AccountId, device: DeviceId) -> AccountRow {
    AccountRow {
        id: account,
        device,
        name: name.to_owned(),
        origin: HOME.to_owned(),
        directory: "http://127.0.0.1:7470".to_owned(),
        uid: 1_000,
        user: name.to_owned(),
        logged_in: true,
        preferred: 0,
        standing: Default::default(),
    }
}

/// A record signed by `identity`.
pub(crate) fn sign_record(
    identity: &SigningKey,
    name: &str,
    seq: u64,
    devices: &[&SigningKey],
    prekey: Option<&PrekeySecret>,
    policy: ContactPolicy,
) -> Vec<u8> {
    let now = Timestamp::now().unix_seconds();
    let devices: Vec<Device> = devices.iter().map(|key| Device::of_key(key.public())).collect();
    let record = Record {
        origin: HOME.to_owned(),
        name: Name::parse(name).unwrap(),
        first_key: identity.public(),
        rotations: Vec::new(),
        identity_key: identity.public(),
        recovery_hash: recovery_hash(&[7; 32]),
        seq,
        prev: [0; 32],
        issued: now,
        expires: now + 86_400,
        prekeys: prekey
            .map(|prekey| Prekey {
                device: devices[0].id,
                suite: SUITE_HYBRID,
                recipient: prekey.public().recipient().to_vec(),
                created: prekey.created(),
                not_after: prekey.not_after(),
            })
            .into_iter()
            .collect(),
        devices,
        mailbox: None,
        policy,
        min_suite: SUITE_HYBRID,
        list_address: false,
        show_online: true,
    };
    SignedRecord::sign(&record, identity.inner()).unwrap().encode()
}

pub(crate) fn message(text: &str) -> NewMessage {
    NewMessage {
        id: MessageId::now(),
        body: text.to_owned(),
        format: Format::Plain,
        priority: Priority::Normal,
        tags: Vec::new(),
        reply_to: None,
        expires: None,
    }
}

pub(crate) fn text_payload(body: &str) -> Vec<u8> {
    Text { body, format: 0, priority: 1, tags: Vec::new(), reply_to: None }.encode()
}
