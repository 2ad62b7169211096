#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::record::{ContactPolicy, Device, MAX_LIFETIME_SECONDS, Prekey};
use super::super::rotation::{RotationError, Statement, recovery_hash};
use super::*;
use crate::name::Name;

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> [u8; 32] {
    key(seed).verifying_key().to_bytes()
}

/// Alice: identity key 1, recovery key 100, device key 10.
pub(crate) fn record(seq: u64) -> Record {
    let device = Device::of_key(public(10));
    let prekey = Prekey {
        device: device.id,
        suite: 2,
        recipient: vec![5; 1_216],
        created: 1_760_000_000,
        not_after: 1_760_000_000 + MAX_LIFETIME_SECONDS,
    };
    Record {
        origin: "example.org".into(),
        name: Name::parse("alice").unwrap(),
        first_key: public(1),
        rotations: vec![Rotation::genesis(&key(1), recovery_hash(&public(100)))],
        identity_key: public(1),
        recovery_hash: recovery_hash(&public(100)),
        seq,
        prev: [0; 32],
        issued: 1_760_000_000,
        expires: 1_760_000_000 + MAX_LIFETIME_SECONDS,
        devices: vec![device],
        prekeys: vec![prekey],
        mailbox: Some("https://example.org/mbox".into()),
        policy: ContactPolicy::Members,
        min_suite: 2,
        list_address: false,
        show_online: true,
    }
}

fn rotated(seq: u64, links: Vec<Rotation>, identity: u8, recovery: u8) -> Record {
    let mut new = record(seq);
    new.rotations = links;
    new.identity_key = public(identity);
    new.recovery_hash = recovery_hash(&public(recovery));
    SignedRecord::sign(&new, &key(identity)).unwrap().verify().unwrap()
}

fn statement(number: u32, identity: u8, recovery: u8) -> Statement {
    let account = record(1).account();
    Statement { account, number, identity_key: public(identity), recovery_hash: recovery_hash(&public(recovery)) }
}

#[test]
fn a_record_reads_back_as_it_was_signed() {
    let mut bare = record(1);
    (bare.mailbox, bare.prekeys, bare.devices, bare.rotations) = (None, vec![], vec![], vec![]);
    bare.origin = String::new();
    for record in [record(1), bare] {
        let signed = SignedRecord::sign(&record, &key(1)).unwrap();
        let read = SignedRecord::decode(&signed.encode()).unwrap();
        assert_eq!(read.verify(), Ok(record));
        assert_eq!(read.hash(), sha256(&[&signed.encode()]));
    }
}

#[test]
fn the_bytes_are_what_docs_wire_says() {
    let signed = SignedRecord::sign(&record(1), &key(1)).unwrap();
    assert_eq!(&signed.body[..13], b"\xdc\x00\x12\xabchatd/rec", "array16 of 18, then the domain string");
    assert_eq!(crate::ids::hex(&sha256(&[&signed.body])), BODY_SHA256);
}

/// Changes only with the format: then it is another version.
const BODY_SHA256: &str = "fe546002fbfe1079602615ec989da48d4dd924834ad180fe76bafb3b5ad34d6b";

#[test]
fn every_broken_rule_is_refused() {
    type Break = fn(&mut Record);
    let breaks: &[(&str, Break)] = &[
        ("origin", |r| r.origin = "Example.org".into()),
        ("origin", |r| r.origin = "a b".into()),
        ("seq", |r| r.seq = 0),
        ("seq", |r| r.seq = u64::MAX),
        ("expires", |r| r.expires = r.issued + MAX_LIFETIME_SECONDS + 1),
        ("expires", |r| r.expires = r.issued),
        ("expires", |r| (r.issued, r.expires) = (i64::MIN, i64::MAX)),
        ("device id", |r| r.devices[0].id.0[0] ^= 1),
        ("devices", |r| r.devices.push(r.devices[0].clone())),
        ("devices", |r| r.devices = (20..25).map(|k| Device::of_key(public(k))).collect()),
        ("prekey", |r| r.prekeys[0].device.0[0] ^= 1),
        ("prekeys", |r| r.prekeys.push(r.prekeys[0].clone())),
        ("prekeys", |r| r.prekeys = vec![r.prekeys[0].clone(); 9]),
        ("prekey recipient", |r| r.prekeys[0].recipient = vec![]),
        ("prekey recipient", |r| r.prekeys[0].recipient = vec![0; 2_049]),
        ("prekey not_after", |r| r.prekeys[0].not_after += 1),
        ("mailbox", |r| r.mailbox = Some("x".repeat(513))),
    ];
    for (name, change) in breaks {
        let mut bad = record(1);
        change(&mut bad);
        match SignedRecord::sign(&bad, &key(1)) {
            Err(RecordError::Field { field, .. }) => assert_eq!(field, *name),
            Err(RecordError::TooMany { what, most }) => {
                assert!(what == *name && bad.devices.len().max(bad.prekeys.len()) > most)
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let mut other_first = record(1);
    other_first.rotations.clear();
    other_first.first_key = public(2);
    let error = SignedRecord::sign(&other_first, &key(1)).unwrap_err();
    assert_eq!(error, RecordError::Rotation(RotationError::End), "eve cannot claim bob's first key");
    assert_eq!(SignedRecord::sign(&record(1), &key(2)).unwrap_err(), RecordError::Signature);
}

#[test]
fn too_large_and_malformed_bytes() {
    assert!(SignedRecord::decode(&vec![0x92; MAX_RECORD_BYTES + 1]).is_err());
    let signed = SignedRecord::sign(&record(1), &key(1)).unwrap().encode();
    for cut in 0..signed.len() {
        assert!(SignedRecord::decode(&signed[..cut]).is_err(), "{cut}");
    }
    // A longer form of the same array header must not give the record a second hash.
    let mut long_form = vec![0xdc, 0, 2];
    long_form.extend_from_slice(&signed[1..]);
    assert!(SignedRecord::decode(&long_form).is_err());
}

#[test]
fn keys_go_on_by_rotation_only() {
    let genesis = || Rotation::genesis(&key(1), recovery_hash(&public(100)));
    let by_identity = || Rotation::by_identity(&statement(1, 2, 100), &key(1));
    let old = record(5);
    let handed_over = rotated(6, vec![genesis(), by_identity()], 2, 100);
    assert_eq!(supersedes(&old, &handed_over), Ok(()));
    // Back to the old key, with the chain cut: refused.
    assert_eq!(supersedes(&handed_over, &record(7)), Err(Conflict::Keys));
    // Eve stole key 1 and rotates to her own as well: the first one wins.
    let eve = rotated(7, vec![genesis(), Rotation::by_identity(&statement(1, 66, 66), &key(1))], 66, 66);
    assert_eq!(supersedes(&handed_over, &eve), Err(Conflict::Keys));
    // Had hers come first, the recovery key still wins, and then stays.
    let recovered = rotated(8, vec![genesis(), Rotation::by_recovery(&statement(1, 3, 101), &key(100))], 3, 101);
    assert_eq!(supersedes(&eve, &recovered), Ok(()));
    assert_eq!(supersedes(&old, &recovered), Ok(()));
    let again = rotated(9, vec![genesis(), Rotation::by_identity(&statement(1, 66, 66), &key(1))], 66, 66);
    assert_eq!(supersedes(&recovered, &again), Err(Conflict::Keys));
    // The thief of the identity key cannot swap the recovery hash quietly.
    let mut quiet = record(6);
    quiet.rotations.clear();
    quiet.recovery_hash = recovery_hash(&public(66));
    assert_eq!(supersedes(&old, &quiet), Err(Conflict::Keys));
    // Nor bring a genesis of his own, once one recovery hash is pinned.
    let own = Rotation::genesis(&key(1), recovery_hash(&public(66)));
    let forged = rotated(6, vec![own, Rotation::by_recovery(&statement(1, 66, 66), &key(66))], 66, 66);
    assert_eq!(supersedes(&old, &forged), Err(Conflict::Keys));
}

#[test]
fn nobody_uses_the_numbers_up_in_one_step() {
    let known = record(7);
    assert_eq!(supersedes(&known, &record(7 + MAX_SEQ_STEP)), Ok(()));
    for far in [8 + MAX_SEQ_STEP, i64::MAX as u64] {
        assert_eq!(supersedes(&known, &record(far)), Err(Conflict::Jump { stored: 7, offered: far }));
    }
}

/// A thief of the identity key has shown the highest number there is, to somebody who met the account by that.
#[test]
fn the_recovery_key_resets_a_number_that_nobody_can_go_above() {
    let genesis = || Rotation::genesis(&key(1), recovery_hash(&public(100)));
    let mut burnt = record(i64::MAX as u64);
    let recovered =
        |seq| rotated(seq, vec![genesis(), Rotation::by_recovery(&statement(1, 3, 101), &key(100))], 3, 101);
    assert_eq!(supersedes(&burnt, &recovered(8)), Ok(()));
    // Without the recovery key, nothing does; and what it ended does not come back.
    let by_identity = || Rotation::by_identity(&statement(1, 2, 100), &key(1));
    let handed_over = rotated(8, vec![genesis(), by_identity()], 2, 100);
    let seq = |stored, offered| Err(Conflict::Seq { stored, offered });
    assert_eq!(supersedes(&burnt, &handed_over), seq(i64::MAX as u64, 8));
    assert_eq!(supersedes(&burnt, &record(8)), seq(i64::MAX as u64, 8));
    assert!(supersedes(&recovered(8), &burnt).is_err());
    assert_eq!(supersedes(&recovered(8), &record(9)), Err(Conflict::Keys));
    // The same word of the recovery key resets once: a record of it from before is old.
    assert_eq!(supersedes(&recovered(2 * MAX_SEQ_STEP), &recovered(8)), seq(2 * MAX_SEQ_STEP, 8));
    // Numbers as they come to be only grow, whoever signs.
    burnt.seq = 9;
    assert_eq!(supersedes(&burnt, &recovered(8)), seq(9, 8));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A store that asks `supersedes` against the obvious model: the highest seq seen so far.
    #[test]
    fn a_lower_seq_is_never_accepted(seqs in proptest::collection::vec(1u64..40, 1..60)) {
        let mut held: Option<Record> = None;
        let mut model = 0u64;
        for seq in seqs {
            let offered = record(seq);
            let taken = match &held {
                None => true,
                Some(old) => match supersedes(old, &offered) {
                    Ok(()) => true,
                    Err(error) => {
                        prop_assert_eq!(error, Conflict::Seq { stored: model, offered: seq });
                        false
                    }
                },
            };
            prop_assert_eq!(taken, seq > model);
            if taken {
                model = seq;
                held = Some(offered);
            }
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed(bit in 0usize..8 * 600) {
        let good = SignedRecord::sign(&record(1), &key(1)).unwrap().encode();
        let mut bytes = good.clone();
        let at = (bit / 8) % bytes.len();
        bytes[at] ^= 1 << (bit % 8);
        prop_assert!(SignedRecord::decode(&bytes).and_then(|signed| signed.verify()).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(SignedRecord::decode(&bytes).and_then(|signed| signed.verify()).is_err());
    }
}
