//! What the store costs: a batch of 256 messages sent, and one received, each in a transaction that is on disk at its end.

use chatd::store::account::NewAccount;
use chatd::store::contacts::requests;
use chatd::store::history::search::Indexer;
use chatd::store::log::incoming;
use chatd::store::log::outgoing::{self, NewMessage};
use chatd::store::peers::NewContact;
use chatd::store::peers::trust;
use chatd::store::{Store, StoreError};
use std::cell::Cell;

use chatd::model::ids::PeerId;
use chatd::model::{AccountRow, Format, Priority};
use chatd::policy::contact::Event;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use proto::directory::{ContactPolicy, Device, Record, SignedRecord, recovery_hash};
use proto::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId, sha256};
use proto::name::Name;
use proto::wire::SUITE_HYBRID;
use proto::wire::envelope::Core;
use proto::wire::payload::{Kind, Text};

use chatd::crypto::keys::SigningKey;

/// Messages in one transaction.
const BATCH: u64 = 256;
/// Bytes of a message's text.
const TEXT_BYTES: usize = 100;

struct Person {
    key: SigningKey,
    name: &'static str,
}

impl Person {
    fn account(&self) -> AccountId {
        AccountId::of_first_key(&self.key.public())
    }

    fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.key.public())
    }

    fn record(&self) -> Option<Vec<u8>> {
        let record = Record {
            origin: "example.org".into(),
            name: Name::parse(self.name).ok()?,
            first_key: self.key.public(),
            rotations: Vec::new(),
            identity_key: self.key.public(),
            recovery_hash: recovery_hash(&[7; 32]),
            seq: 1,
            prev: [0; 32],
            issued: 0,
            expires: 1,
            devices: vec![Device::of_key(self.key.public())],
            prekeys: Vec::new(),
            mailbox: None,
            policy: ContactPolicy::Open,
            min_suite: SUITE_HYBRID,
            list_address: false,
            show_online: false,
        };
        Some(SignedRecord::sign(&record, self.key.inner()).ok()?.encode())
    }
}

/// Alice's store, in which bob is a contact, and his local number.
async fn store(alice: &Person, bob: &Person, folder: &std::path::Path, indexer: &Indexer) -> Option<(Store, PeerId)> {
    let row = AccountRow {
        id: alice.account(),
        device: alice.device(),
        name: alice.name.into(),
        origin: "example.org".into(),
        directory: String::new(),
        uid: 1_000,
        user: alice.name.into(),
        logged_in: true,
        preferred: 0,
        standing: Default::default(),
    };
    let (record, recovery_hash) = (alice.record()?, recovery_hash(&[7; 32]));
    Store::create(
        folder,
        &NewAccount { row, recovery_hash, record, record_seq: 1, display_name: String::new(), directory_key: None },
    )
    .ok()?;
    let store = Store::open(folder, indexer).ok()?;
    let new = NewContact {
        account: bob.account(),
        name: bob.name.into(),
        origin: "example.org".into(),
        record: bob.record()?,
        record_seq: 1,
        identity_key: bob.key.public(),
        reach: Vec::new(),
        reach_seq: 0,
    };
    let contact = store
        .write(move |tx| {
            let contact = trust::upsert_contact(tx, &new)?;
            requests::contact_signal(tx, contact, Kind::ContactRequest, MessageId::now(), "", None)?;
            requests::apply_user_event(tx, contact, Event::UserAccepts, "")?;
            Ok(contact)
        })
        .await
        .ok()?;
    Some((store, contact))
}

fn batch() -> Vec<NewMessage> {
    let make = |_| NewMessage {
        id: MessageId::now(),
        body: "x".repeat(TEXT_BYTES),
        format: Format::Plain,
        priority: Priority::Normal,
        tags: Vec::new(),
        reply_to: None,
        expires: None,
    };
    (0..BATCH).map(make).collect()
}

/// The next cores of bob's stream, whose last was `last` with this hash.
fn cores(alice: &Person, bob: &Person, last: &Cell<(u64, [u8; 32])>) -> Vec<Vec<u8>> {
    let body = "x".repeat(TEXT_BYTES);
    let payload = Text { body: &body, format: 0, priority: 1, tags: Vec::new(), reply_to: None }.encode();
    let next = |_| {
        let (seq, prev) = last.get();
        let core = Core {
            from: bob.account(),
            from_device: bob.device(),
            conversation: ConversationId::direct(alice.account(), bob.account()),
            to: alice.account(),
            id: MessageId::now(),
            epoch: Epoch([1; 8]),
            seq: seq + 1,
            prev,
            time: 0,
            kind: "text",
            payload: &payload,
        }
        .encode();
        last.set((seq + 1, sha256(&[&core])));
        core
    };
    (0..BATCH).map(next).collect()
}

async fn receive(store: &Store, contact: PeerId, cores: Vec<Vec<u8>>) -> Result<usize, StoreError> {
    store
        .write(move |tx| {
            let decoded: Vec<(&[u8], Core<'_>)> =
                cores.iter().filter_map(|bytes| Some((bytes.as_slice(), Core::decode(bytes).ok()?))).collect();
            let refs: Vec<(&[u8], &Core<'_>)> = decoded.iter().map(|(bytes, core)| (*bytes, core)).collect();
            Ok(incoming::receive(tx, contact, &refs, &Default::default())?.shown)
        })
        .await
}

fn benches(c: &mut Criterion) {
    let (Ok(runtime), Ok(folder)) = (tokio::runtime::Runtime::new(), tempfile::tempdir()) else { return };
    let indexer = Indexer::start();
    let alice = Person { key: SigningKey::from_bytes(&[1; 32]), name: "alice" };
    let bob = Person { key: SigningKey::from_bytes(&[2; 32]), name: "bob" };
    let Some((store, contact)) = runtime.block_on(store(&alice, &bob, folder.path(), &indexer)) else { return };
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(BATCH)).sample_size(30);
    group.bench_function("send 256", |b| {
        b.iter_batched(
            batch,
            |messages| assert!(runtime.block_on(store.write(move |tx| outgoing::send(tx, contact, &messages))).is_ok()),
            BatchSize::PerIteration,
        )
    });
    let last = Cell::new((0, [0; 32]));
    group.bench_function("receive 256", |b| {
        b.iter_batched(
            || cores(&alice, &bob, &last),
            |cores| assert_eq!(runtime.block_on(receive(&store, contact, cores)).ok(), Some(BATCH as usize)),
            BatchSize::PerIteration,
        )
    });
    group.finish();
    runtime.block_on(store.close());
}

criterion_group!(store_benches, benches);
criterion_main!(store_benches);
