//! Real envelopes into real stores: what is taken, what is refused, and that nothing is left of the latter.

mod contexts;
mod devices;
mod invites;
mod known;
mod membership;
mod parked;
mod stranger;

use std::io::{Read, Write};
use std::num::NonZeroU32;

use hybrid::{Identity, Recipient};
use proto::ids::sha256;
use proto::wire::SUITE_HYBRID;
use proto::wire::envelope::{AckEntry, Outer};
use proto::wire::frame::RefuseCode;

use super::{Inbox, Receipt, Verdict, Way};
use crate::crypto::envelope::{SealTo, Sender, seal};
use crate::crypto::prekey::PrekeySecret;
use crate::policy::clock::timekeeper::AccountClock;
use crate::policy::limits::{Limits, SpaceLimits};
use crate::policy::rate::SharedLimits;
use crate::store::tests::fixture::{Person, run};

/// What the sender of an envelope notices of it.
#[derive(Debug)]
enum Outcome {
    Committed(Receipt),
    Refused(RefuseCode),
    Dropped { blame: bool },
    Parked { proved: bool },
    Work { bits: u8, window: u64 },
}

impl Outcome {
    fn receipt(self) -> Receipt {
        match self {
            Self::Committed(receipt) => receipt,
            other => panic!("not committed: {other:?}"),
        }
    }

    /// Neither refused nor acknowledged.
    fn is_silent(&self) -> bool {
        matches!(self, Self::Committed(receipt)
            if receipt.silent && receipt.entries.is_empty() && receipt.ids.is_empty())
    }

    fn is_blamed(&self) -> bool {
        matches!(self, Self::Dropped { blame: true })
    }

    /// Refused, unless it shows work.
    fn wants_work(&self) -> bool {
        matches!(self, Self::Work { .. })
    }

    fn is_ignored(&self) -> bool {
        matches!(self, Self::Dropped { blame: false })
    }
}

fn inbox_with(person: &Person, limits: &Limits) -> Inbox {
    let prekey = PrekeySecret::from_stored(
        SUITE_HYBRID,
        person.prekey.secret_bytes(),
        person.prekey.created(),
        person.prekey.not_after(),
    )
    .unwrap();
    let (store, rates) = (person.store.clone(), SharedLimits::new(limits, &SpaceLimits::default()));
    Inbox::new(person.account, person.device_id(), store, vec![prekey], rates, clock())
}

/// The machine's.
fn clock() -> std::sync::Arc<AccountClock> {
    let wall = || proto::time::Timestamp::now().unix_seconds();
    let read = move || crate::policy::clock::Reading { wall: wall(), uptime: 0, asleep: 0 };
    std::sync::Arc::new(AccountClock::new(wall(), read))
}

/// Limits that no test meets by accident.
fn generous() -> Limits {
    let many = NonZeroU32::new(10_000).unwrap();
    Limits {
        requests_per_identity_per_hour: many,
        requests_per_domain_per_hour: many,
        requests_per_hour: many,
        ..Limits::default()
    }
}

fn inbox(person: &Person) -> Inbox {
    inbox_with(person, &generous())
}

fn take(inbox: &Inbox, outer: Vec<u8>) -> Outcome {
    run(async {
        match inbox.take(outer, Way::Link).await {
            Verdict::Taken(taken) => Outcome::Committed(taken.outcome.outcome().await.unwrap()),
            Verdict::Refused(code) => Outcome::Refused(code),
            Verdict::Dropped { blame } => Outcome::Dropped { blame },
            Verdict::Parked { proved, .. } => Outcome::Parked { proved },
            Verdict::Work { bits, window } => Outcome::Work { bits, window },
        }
    })
}

fn sealed_with(from: &Person, to: &Person, acks: Vec<AckEntry>, cores: &[Vec<u8>]) -> Vec<u8> {
    sealed_naming(1, from, to, acks, cores)
}

/// An envelope that names a record of its sender.
fn sealed_naming(record_seq: u64, from: &Person, to: &Person, acks: Vec<AckEntry>, cores: &[Vec<u8>]) -> Vec<u8> {
    let sender = Sender {
        account: from.account,
        device: from.device_id(),
        key: &from.device,
        record_seq,
        record_hash: sha256(&[&from.record]),
    };
    let to = SealTo { device: to.device_id(), prekey: to.prekey.public().clone() };
    let cores: Vec<&[u8]> = cores.iter().map(Vec::as_slice).collect();
    seal(&sender, &to, acks, &cores, 60).unwrap()
}

fn sealed(from: &Person, to: &Person, cores: &[Vec<u8>]) -> Vec<u8> {
    sealed_with(from, to, Vec::new(), cores)
}

/// What is inside of an envelope to somebody whose prekey was stolen.
fn plaintext(envelope: &[u8], to: &Person) -> Vec<u8> {
    let identity = Identity::from_seed(to.prekey.secret_bytes());
    let outer = Outer::decode(envelope).unwrap();
    let decryptor = age::Decryptor::new_buffered(outer.ciphertext).unwrap();
    let mut out = Vec::new();
    decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).unwrap().read_to_end(&mut out).unwrap();
    out
}

/// An envelope of any content, as anybody can make it who knows the prekey.
fn wrapped_up(plaintext: &[u8], to: &Person) -> Vec<u8> {
    let recipient = Recipient::from_bytes(&to.prekey.public().recipient()).unwrap();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let mut ciphertext = Vec::new();
    let mut writer = encryptor.wrap_output(&mut ciphertext).unwrap();
    writer.write_all(plaintext).unwrap();
    writer.finish().unwrap();
    let (to_device, prekey_id) = (to.device_id(), to.prekey.id());
    Outer { suite: SUITE_HYBRID, to_device, prekey_id, ttl: 60, ciphertext: &ciphertext, work: None }.encode()
}

/// Signature, wrap and body of a plaintext.
fn parts(plaintext: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let length = |at: usize| u32::from_be_bytes(plaintext[at..at + 4].try_into().unwrap()) as usize;
    let wrap = 68..68 + length(64);
    let body = wrap.end + 4..wrap.end + 4 + length(wrap.end);
    (plaintext[..64].to_vec(), plaintext[wrap].to_vec(), plaintext[body].to_vec())
}

/// The reverse of [`parts`], padded as the format wants it.
fn put_together(signature: &[u8], wrap: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = signature.to_vec();
    for part in [wrap, body] {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
    let size = crate::crypto::envelope::PLAINTEXT_SIZES.into_iter().find(|size| *size >= out.len()).unwrap();
    out.resize(size, 0);
    out
}

/// Everything of a store that a peer could have changed.
fn fingerprint(person: &Person) -> Vec<i64> {
    [
        "contacts",
        "messages",
        "streams_in",
        "reorder_buffer",
        "events",
        "signals",
        "outbox",
        "peers",
        "peer_devices",
        "marks",
    ]
    .map(|table| person.count(&format!("SELECT count(*) FROM {table}")))
    .to_vec()
}
