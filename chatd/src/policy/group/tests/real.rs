//! The same with real signatures, and what they stop.

use ed25519_dalek::{Signer, SigningKey};
use proto::directory::rotation::Statement;
use proto::directory::{Device, Rotation, recovery_hash};
use proto::group::{
    Act, Add, Consent, DeviceList, Ed25519, Event, EventError, Genesis, GroupId, GroupType, KeyOffer, SignedDevices,
    SignedEvent, Verified,
};
use proto::ids::{AccountId, ConversationId, sha256};

use super::super::{Chain, Place, Refused, Rules};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> [u8; 32] {
    key(seed).verifying_key().to_bytes()
}

fn sign(seed: u8) -> impl Fn(&[u8]) -> [u8; 64] {
    move |message| key(seed).sign(message).to_bytes()
}

fn account(seed: u8) -> AccountId {
    AccountId::of_first_key(&public(seed))
}

/// The account of identity key `seed` has device key `seed + 100`.
fn list(seed: u8) -> DeviceList {
    let devices = vec![Device::of_key(public(seed + 100))];
    DeviceList { first_key: public(seed), rotations: Vec::new(), number: 1, devices }
}

fn event(chain: &Chain, by: u8, act: Act) -> Event {
    let state = chain.state();
    let needs = matches!(act, Act::Add(_) | Act::Remove(_) | Act::Ban(_) | Act::Key);
    let key = needs.then(|| KeyOffer { suite: 2, previous: vec![1; 60], recipient: vec![by; 1_216] });
    let (author, device_key) = (account(by), public(by + 100));
    let (group, prev, number) = (state.group.id, state.head, state.next);
    Event { group, prev, number, author, device_key, time: 0, unopened: vec![], act, key }
}

/// As it goes into the log and comes out of it.
fn through_the_log(event: &Event, by: u8, group: &GroupId) -> (Place, Result<Verified, EventError>) {
    let bytes = SignedEvent::sign(event, sign(by + 100)).unwrap().encode();
    let place = Place { entry: event.number.into(), hash: sha256(&[&bytes]) };
    (place, SignedEvent::decode(&bytes).unwrap().verify(group, &Ed25519))
}

fn append(chain: &mut Chain, by: u8, act: Act) -> Result<(), Refused> {
    let event = event(chain, by, act);
    let (place, verified) = through_the_log(&event, by, &chain.state().group.clone());
    chain.append(place, Some(verified.unwrap()))
}

fn team() -> Chain {
    let genesis = Genesis {
        kind: GroupType::Group,
        name: "team".into(),
        topic: "work".into(),
        settings: Vec::new(),
        nonce: [7; 32],
        logs: vec!["https://example.org/g".into()],
        founder: SignedDevices::sign(list(1), sign(1)),
    };
    let key = Some(KeyOffer { suite: 2, previous: Vec::new(), recipient: vec![1; 1_216] });
    let (author, device_key, act) = (account(1), public(101), Act::Genesis(Box::new(genesis)));
    let group = ConversationId([0; 16]);
    let event = Event { group, prev: [0; 32], number: 0, author, device_key, time: 0, unopened: vec![], act, key };
    let signed = SignedEvent::sign(&event, sign(101)).unwrap();
    let (group, verified) = signed.verify_genesis(&Ed25519).unwrap();
    assert_eq!(group.id, proto::group::group_of_genesis(&signed.encode()));
    let by_another = SignedEvent::sign(&event, sign(102)).unwrap();
    assert_eq!(by_another.verify_genesis(&Ed25519).unwrap_err(), EventError::Signature);
    let place = Place { entry: 0, hash: sha256(&[&signed.encode()]) };
    Chain::begin(Rules::ALL, group, verified, place).unwrap()
}

fn consent(chain: &Chain, who: u8) -> Consent {
    let after = chain.state().ended.get(&account(who)).map_or([0; 32], |end| end.by);
    Consent::sign(&chain.state().group, list(who), after, sign(who))
}

fn add(consents: Vec<Consent>) -> Act {
    Act::Add(Add { consents, join: None })
}

#[test]
fn a_group_with_real_signatures() {
    let mut chain = team();
    let consents = vec![consent(&chain, 2), consent(&chain, 3)];
    assert_eq!(append(&mut chain, 1, add(consents.clone())), Ok(()));
    assert_eq!(append(&mut chain, 1, Act::Promote(account(2))), Ok(()));
    assert_eq!(append(&mut chain, 2, Act::Remove(account(3))), Ok(()));
    // The consent from before was for that time.
    assert_eq!(append(&mut chain, 2, add(vec![consents[1].clone()])), Err(Refused::Consent));
    let again = consent(&chain, 3);
    assert_eq!(append(&mut chain, 2, add(vec![again])), Ok(()));
    assert_eq!(append(&mut chain, 3, Act::Key), Ok(()));
    assert_eq!(chain.state().by_seniority(), [account(1), account(2), account(3)]);
    assert_eq!(chain.state().keys.len(), 5);
}

#[test]
fn what_is_signed_by_another_is_nothing() {
    let mut chain = team();
    let group = chain.state().group;
    // Eve consents for bob, moves a consent into another group, and signs for alice's device.
    let forged = Consent::sign(&group, list(2), [0; 32], sign(66));
    let (_, verified) = through_the_log(&event(&chain, 1, add(vec![forged])), 1, &group);
    assert_eq!(verified.unwrap_err(), EventError::Signature);
    let other = GroupId { id: ConversationId([9; 16]), ..group };
    let moved = Consent::sign(&other, list(2), [0; 32], sign(2));
    let (_, verified) = through_the_log(&event(&chain, 1, add(vec![moved])), 1, &group);
    assert_eq!(verified.unwrap_err(), EventError::Signature);
    let mine = event(&chain, 1, Act::Promote(account(2)));
    let signed = SignedEvent::sign(&mine, sign(66)).unwrap();
    assert_eq!(signed.verify(&group, &Ed25519).unwrap_err(), EventError::Signature);
    // A changed body, and another group's event.
    let mut signed = SignedEvent::sign(&mine, sign(101)).unwrap();
    assert!(signed.verify(&group, &Ed25519).is_ok());
    assert_eq!(signed.verify(&other, &Ed25519).unwrap_err(), EventError::Group);
    let last = signed.body.len() - 30;
    signed.body[last] ^= 1;
    assert!(signed.verify(&group, &Ed25519).is_err());
    // A device that is eve's is none of alice's.
    let mut foreign = event(&chain, 1, Act::Close);
    foreign.device_key = public(166);
    let signed = SignedEvent::sign(&foreign, sign(166)).unwrap();
    let place = Place { entry: 1, hash: [1; 32] };
    let verified = signed.verify(&group, &Ed25519).unwrap();
    assert_eq!(chain.append(place, Some(verified)), Err(Refused::NotMember));
}

#[test]
fn devices_follow_the_identity_key() {
    let mut chain = team();
    let statement = |number, new: u8| Statement {
        account: account(1),
        number,
        identity_key: public(new),
        recovery_hash: recovery_hash(&public(200)),
    };
    let rotated = vec![Rotation::by_identity(&statement(1, 11), &key(1))];
    let lists = |number: u64, rotations: &[Rotation], by: u8, devices: &[u8]| {
        let devices = devices.iter().map(|seed| Device::of_key(public(*seed))).collect();
        let list = DeviceList { first_key: public(1), rotations: rotations.to_vec(), number, devices };
        Act::Devices(SignedDevices::sign(list, sign(by)))
    };
    // The new key's list counts, and brings its own device; the old one's no more.
    assert_eq!(append(&mut chain, 1, lists(2, &rotated, 11, &[101, 111])), Ok(()));
    assert_eq!(append(&mut chain, 1, lists(3, &[], 1, &[101, 166])), Err(Refused::Devices));
    assert_eq!(append(&mut chain, 1, lists(2, &rotated, 11, &[101])), Err(Refused::Devices), "no newer number");
    assert_eq!(
        append(&mut chain, 1, lists(u64::MAX, &rotated, 11, &[101])),
        Err(Refused::Devices),
        "none is left then"
    );
    let other = vec![Rotation::by_identity(&statement(1, 66), &key(1))];
    assert_eq!(append(&mut chain, 1, lists(4, &other, 66, &[166])), Err(Refused::Devices), "another chain of keys");
    assert_eq!(append(&mut chain, 1, lists(5, &rotated, 11, &[101])), Ok(()));
    assert_eq!(chain.state().floor, 6, "a device that ends needs a new key");
    // A list that its key has not signed is no event.
    let act = lists(6, &rotated, 1, &[101]);
    let (_, verified) = through_the_log(&event(&chain, 1, act), 1, &chain.state().group.clone());
    assert_eq!(verified.unwrap_err(), EventError::Signature);
}
