//! What the fuzz targets share: people with fixed keys, and the time that a call took of the processor.
//!
//! Each target is a file in `fuzz_targets`; its seeds lie in `seeds/<target>` and come from the `seeds` program.

#[cfg(feature = "daemon")]
pub mod envelope;

use std::time::Duration;

use ed25519_dalek::SigningKey;
use nix::time::{ClockId, clock_gettime};
use proto::directory::{ContactPolicy, Device, Prekey, Record, Rotation, recovery_hash};
use proto::name::Name;

/// The key of a seed.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// The public half of [`key`].
pub fn public(seed: u8) -> [u8; 32] {
    key(seed).verifying_key().to_bytes()
}

/// Alice's record: identity key 1, recovery key 100, device key 10.
///
/// # Panics
/// Never: the name is allowed.
pub fn record(seq: u64) -> Record {
    const NOW: i64 = 1_760_000_000;
    const WEEK: i64 = 604_800;
    let device = Device::of_key(public(10));
    let prekey = Prekey { device: device.id, suite: 2, recipient: vec![5; 1_216], created: NOW, not_after: NOW + WEEK };
    Record {
        origin: "example.org".into(),
        name: Name::parse("alice").expect("an allowed name"),
        first_key: public(1),
        rotations: vec![Rotation::genesis(&key(1), recovery_hash(&public(100)))],
        identity_key: public(1),
        recovery_hash: recovery_hash(&public(100)),
        seq,
        prev: [0; 32],
        issued: NOW,
        expires: NOW + WEEK,
        devices: vec![device],
        prekeys: vec![prekey],
        mailbox: Some("https://example.org/mbox".into()),
        policy: ContactPolicy::Members,
        min_suite: 2,
        list_address: false,
        show_online: true,
    }
}

/// What `work` gives, and the processor time of this thread that it took: other programs on the machine do not count.
///
/// # Panics
/// When the system has no such clock.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the clock of a thread"));
    let start = now();
    let result = work();
    (result, now().saturating_sub(start))
}
