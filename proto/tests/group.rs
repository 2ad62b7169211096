//! Events of groups: every kind goes there and back, limits hold, and no bytes make a decoder panic. The bytes are held by
//! `the_bytes_of_events`; docs/wire.md is the prose.
#![allow(clippy::unwrap_used)]

mod common;

use common::shown;
use proptest::collection::vec;
use proptest::prelude::*;
use proto::directory::Device;
use proto::group::vote::Question;
use proto::group::{
    Act, Add, Consent, DeviceList, Event, EventError, Genesis, GroupId, GroupType, Join, KeyOffer, Link, MAX_ADDS,
    MAX_ELECTORS, MAX_EVENT_BYTES, MAX_EVENTS, MAX_UNOPENED, Move, Set, Signatures, SignedDevices, SignedEvent, Vote,
};
use proto::ids::{AccountId, ConversationId, sha256};

const GROUP: GroupId = GroupId { id: ConversationId([0x66; 16]), nonce: [0x77; 32] };

const EXPECTED: &str = include_str!("data/group_events.txt");

/// A signature that only [`Anything`] takes.
fn sign(_: &[u8]) -> [u8; 64] {
    [0x5a; 64]
}

struct Anything;

impl Signatures for Anything {
    fn hold(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}

struct Nothing;

impl Signatures for Nothing {
    fn hold(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        false
    }
}

fn list(devices: u8) -> DeviceList {
    let devices = (0..devices).map(|n| Device::of_key([0xd1 + n; 32])).collect();
    DeviceList { first_key: [0xf1; 32], rotations: Vec::new(), number: 3, devices }
}

fn account(n: u8) -> AccountId {
    AccountId([n; 16])
}

fn acts() -> Vec<Act> {
    let owner_event = [0xee; 32];
    let question = Question::Elect { owner_event, candidate: account(0xa2) };
    let votes = vec![Vote::sign(&GROUP, &question, account(0xa3), [0xd3; 32], sign)];
    let genesis = Genesis {
        kind: GroupType::Room,
        name: "team".into(),
        topic: "work".into(),
        settings: vec![1],
        nonce: GROUP.nonce,
        logs: vec!["https://a".into(), "https://b".into()],
        founder: SignedDevices::sign(list(1), sign),
    };
    let join = Join::sign(&GROUP, [0x11; 32], account(0xa1), &[0xbb; 32], sign);
    let consents = vec![Consent::sign(&GROUP, list(2), [0; 32], sign)];
    vec![
        Act::Genesis(Box::new(genesis)),
        Act::Add(Add { consents: consents.clone(), join: None }),
        Act::Add(Add { consents, join: Some(join) }),
        Act::Devices(SignedDevices::sign(list(1), sign)),
        Act::Leave { added: [0xad; 32], successor: Some(account(0xa2)) },
        Act::Leave { added: [0xad; 32], successor: None },
        Act::Remove(account(0xa2)),
        Act::Ban(account(0xa2)),
        Act::Unban(account(0xa2)),
        Act::Promote(account(0xa2)),
        Act::Demote(account(0xa2)),
        Act::Handover(account(0xa2)),
        Act::Key,
        Act::Link(Link { key: [0x11; 32], limit: 300, expiry: -1 }),
        Act::Unlink([0x11; 32]),
        Act::Set(Box::new(Set { name: Some("n".into()), topic: None, settings: Some(vec![2]), logs: None })),
        Act::Set(Box::new(Set { logs: Some(vec!["l".into()]), ..Set::default() })),
        Act::Move(Box::new(Move { logs: vec!["l".into()], entries: 70_000, running: [0x99; 32] })),
        Act::Close,
        Act::Elect { owner_event, candidate: account(0xa2), votes: votes.clone() },
        Act::Confirm { elect: [0xec; 32], votes },
        Act::Reclaim,
    ]
}

fn event(act: Act) -> Event {
    let genesis = matches!(act, Act::Genesis(_));
    Event {
        group: if genesis { ConversationId([0; 16]) } else { GROUP.id },
        prev: if genesis { [0; 32] } else { [0xbb; 32] },
        number: if genesis { 0 } else { 300 },
        author: if genesis { list(1).account() } else { account(0xa1) },
        device_key: [0xd1; 32],
        time: 1_760_000_000_123,
        unopened: if genesis { vec![] } else { vec![2, 299] },
        act,
        key: genesis.then(|| KeyOffer { suite: 2, previous: vec![7; 60], recipient: vec![8; 1_216] }),
    }
}

#[test]
fn the_bytes_of_events() {
    let line = |act: Act| format!("{}: {}\n", act.kind(), shown(&event(act).encode()));
    let got: String = acts().into_iter().map(line).collect();
    assert_eq!(got, EXPECTED, "these bytes changed; groups of other versions will not understand them");
}

#[test]
fn every_kind_goes_there_and_back() {
    for act in acts() {
        let event = event(act);
        assert_eq!(Event::decode(&event.encode()), Ok(event.clone()));
        let signed = SignedEvent::sign(&event, sign).unwrap();
        let bytes = signed.encode();
        assert_eq!(SignedEvent::decode(&bytes).as_ref(), Ok(&signed));
        let is_genesis = matches!(event.act, Act::Genesis(_));
        if is_genesis {
            let (group, verified) = signed.verify_genesis(&Anything).unwrap();
            assert_eq!((group.nonce, verified.event()), (GROUP.nonce, &event));
            assert_eq!(signed.verify(&GROUP, &Anything), Err(EventError::Genesis));
        } else {
            assert_eq!(signed.verify(&GROUP, &Anything).unwrap().event(), &event);
            assert_eq!(signed.verify_genesis(&Anything).unwrap_err(), EventError::Genesis);
            let other = GroupId { id: ConversationId([1; 16]), ..GROUP };
            assert_eq!(signed.verify(&other, &Anything), Err(EventError::Group));
            assert_eq!(signed.verify(&GROUP, &Nothing), Err(EventError::Signature));
        }
    }
}

/// The recipient is the only thing that the context of a key does not cover.
#[test]
fn a_key_is_bound_to_all_but_its_recipient() {
    let offer = |recipient: u8, previous: u8| {
        let mut event = event(Act::Key);
        event.key = Some(KeyOffer { suite: 2, previous: vec![previous; 60], recipient: vec![recipient; 1_216] });
        let context = event.key_context();
        let signed = SignedEvent::sign(&event, sign).unwrap();
        assert_eq!(signed.verify(&GROUP, &Anything).unwrap().key_context(), &context);
        context
    };
    assert_eq!(offer(1, 1), offer(2, 1));
    assert_ne!(offer(1, 1), offer(1, 2));
}

#[test]
fn limits_hold_at_the_decoder() {
    let consent = Consent::sign(&GROUP, list(4), [0; 32], sign);
    let add = |n: usize| event(Act::Add(Add { consents: vec![consent.clone(); n], join: None }));
    assert!(SignedEvent::sign(&add(MAX_ADDS), sign).is_ok(), "as many as may be fit an entry");
    assert!(Event::decode(&add(MAX_ADDS + 1).encode()).is_err());
    assert!(Event::decode(&add(0).encode()).is_err());
    let vote = |n: usize| Vote::sign(&GROUP, &Question::Confirm { elect: [1; 32] }, account(n as u8), [1; 32], sign);
    let confirm = |n: usize| event(Act::Confirm { elect: [1; 32], votes: (0..n).map(vote).collect() });
    assert!(Event::decode(&confirm(MAX_ELECTORS).encode()).is_ok());
    assert!(Event::decode(&confirm(MAX_ELECTORS + 1).encode()).is_err());
    let mut twice = confirm(2);
    if let Act::Confirm { votes, .. } = &mut twice.act {
        votes[1] = votes[0].clone();
    }
    assert!(Event::decode(&twice.encode()).is_err(), "one vote each");
    let mut many = event(Act::Key);
    many.number = MAX_EVENTS - 1;
    many.unopened = (0..MAX_UNOPENED as u32).collect();
    assert!(Event::decode(&many.encode()).is_ok());
    many.unopened.push(MAX_UNOPENED as u32);
    assert!(Event::decode(&many.encode()).is_err());
    for unopened in [vec![3, 3], vec![4, 3], vec![300]] {
        assert!(Event::decode(&Event { unopened, ..event(Act::Key) }.encode()).is_err());
    }
    many = event(Act::Key);
    many.number = MAX_EVENTS;
    assert!(Event::decode(&many.encode()).is_err());
    for size in [0, 2_049] {
        let key = Some(KeyOffer { suite: 2, previous: vec![], recipient: vec![1; size] });
        assert!(Event::decode(&Event { key, ..event(Act::Key) }.encode()).is_err());
    }
    let long = Set { name: Some("n".repeat(257)), ..Set::default() };
    assert!(Event::decode(&event(Act::Set(Box::new(long))).encode()).is_err());
    let no_logs = Set { logs: Some(vec![]), ..Set::default() };
    assert!(Event::decode(&event(Act::Set(Box::new(no_logs))).encode()).is_err());
    for devices in [0, 5] {
        assert!(DeviceList::decode(&list(devices).encode()).is_err());
    }
    let mut same = list(2);
    same.devices[1] = same.devices[0].clone();
    assert!(DeviceList::decode(&same.encode()).is_err());
    assert!(SignedEvent::decode(&vec![0; MAX_EVENT_BYTES + 1]).is_err());
    // Bytes that claim more than they have.
    assert!(DeviceList::decode(&[0x94, 0xc4, 0]).is_err());
    assert!(Event::decode(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..600)) {
        let _ = Event::decode(&bytes);
        let _ = DeviceList::decode(&bytes);
        let _ = SignedEvent::decode(&bytes);
        let signed = SignedEvent { body: bytes, signature: [0; 64] };
        let _ = signed.verify(&GROUP, &Anything);
        let _ = signed.verify_genesis(&Anything);
    }

    #[test]
    fn almost_right_bytes_never_panic(which in 0usize..22, at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = event(acts()[which].clone()).encode();
        let spot = at.index(bytes.len());
        bytes[spot] = byte;
        let signed = SignedEvent { body: bytes.clone(), signature: [0; 64] };
        let _ = signed.verify(&GROUP, &Anything);
        let _ = signed.verify_genesis(&Anything);
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(Event::decode(&bytes).is_err());
    }

    #[test]
    fn a_group_is_named_by_all_bytes_of_its_genesis(at: prop::sample::Index) {
        let signed = SignedEvent::sign(&event(acts()[0].clone()), sign).unwrap();
        let mut bytes = signed.encode();
        let id = proto::group::group_of_genesis(&bytes);
        let spot = at.index(bytes.len());
        bytes[spot] ^= 1;
        prop_assert_ne!(proto::group::group_of_genesis(&bytes), id);
        prop_assert_ne!(sha256(&[&bytes]), sha256(&[&signed.encode()]));
    }
}
