//! Names, and what devices tell.

use super::Engine;
use super::house::{House, ask, person};
use crate::store::command::{Commands, Queries};
use crate::store::error::StoreError;
use crate::store::request::{Counted, MAX_TOKENS, RESERVED_SECONDS, Request, StoreReach};

const REST: u64 = RESERVED_SECONDS as u64;

pub fn a_name_is_taken_once_and_records_only_go_forward(mut house: House<impl Engine>) {
    let alice = person("alice");
    assert!(house.publish(&alice, 5).unwrap().created);
    assert!(!house.publish(&alice, 5).unwrap().created, "the same once more");
    assert_eq!(house.publish(&alice, 6).unwrap().seq, 6);
    assert!(matches!(house.publish(&alice, 4), Err(StoreError::Conflict { stored: Some(_), .. })));
    assert!(matches!(house.publish(&person("bob").named("alice"), 1), Err(StoreError::NameTaken)));
    let alike = house.publish(&person("bob").named("a1ice"), 1);
    assert!(matches!(alike, Err(StoreError::LooksLike(name)) if name.as_str() == "alice"));
    let renamed = house.publish(&alice.named("alicia"), 7);
    assert!(matches!(renamed, Err(StoreError::OtherName(name)) if name.as_str() == "alice"));
    assert_eq!(house.look(|db| db.record(alice.account()).unwrap()), Some(alice.publish(6).bytes));
    // Two who want one name at one time: the first has it.
    let (carol, dave) = (person("carol").named("eve"), person("dave").named("eve"));
    let (first, one) = ask(|reply| Request::Publish(Box::new(carol.publish(1)), reply));
    let (second, two) = ask(|reply| Request::Publish(Box::new(dave.publish(1)), reply));
    house.serve(vec![first, second]);
    assert!(one.answer().unwrap().created && matches!(two.answer(), Err(StoreError::NameTaken)));
    assert_eq!(house.sums().accounts, 2);
}

pub fn a_name_that_was_given_up_rests_for_others(mut house: House<impl Engine>) {
    let (alice, bob) = (person("alice"), person("bob").named("alice"));
    house.publish(&alice, 5).unwrap();
    assert_eq!(house.release(&alice).unwrap().as_str(), "alice");
    assert!(matches!(house.release(&alice), Err(StoreError::NotFound)));
    house.now += 7;
    let left = RESERVED_SECONDS - 7;
    assert!(matches!(house.publish(&bob, 1), Err(StoreError::Resting(until)) if until == left));
    assert!(matches!(house.publish(&bob.named("a1ice"), 1), Err(StoreError::LooksLike(_))));
    // Her own name, and her own numbers.
    assert!(matches!(house.publish(&alice, 5), Err(StoreError::Conflict { stored: None, .. })));
    assert!(matches!(house.publish(&alice, 5 + (1 << 33)), Err(StoreError::Conflict { stored: None, .. })));
    assert!(house.publish(&alice, 6).unwrap().created);
    house.release(&alice).unwrap();
    assert_eq!((house.sums().accounts, house.sums().resting), (0, 1));
    house.now += REST - 1;
    house.sweep();
    assert!(matches!(house.publish(&bob, 1), Err(StoreError::Resting(1))));
    house.now += 1;
    assert!(house.publish(&bob, 1).unwrap().created, "rested, swept or not");
    house.sweep();
    assert_eq!((house.sums().accounts, house.sums().resting), (1, 0));
}

pub fn the_recovery_key_takes_a_resting_name_at_once(mut house: House<impl Engine>) {
    let alice = person("alice");
    house.publish(&alice, 1 << 40).unwrap();
    house.release(&alice).unwrap();
    let mut new = person("another key").named("alice");
    new.shows = Some([9; 32]);
    assert!(matches!(house.publish(&new, 1), Err(StoreError::Resting(_))), "a key that it did not have");
    new.shows = Some(alice.recovery);
    assert!(house.publish(&new, 1).unwrap().created);
    // And the same account begins its numbers anew.
    house.release(&new).unwrap();
    let mut again = alice.clone();
    assert!(matches!(house.publish(&again, 1), Err(StoreError::Resting(_))));
    again.shows = Some(alice.recovery);
    assert!(house.publish(&again, 1).unwrap().created);
}

pub fn accounts_and_resting_names_share_the_room(mut house: House<impl Engine>) {
    house.bounds.max_accounts = 3;
    let people = ["ann", "ben", "cat", "dan"].map(person);
    for someone in &people[..3] {
        house.publish(someone, 1).unwrap();
    }
    assert!(matches!(house.publish(&people[3], 1), Err(StoreError::Full(_))));
    house.release(&people[0]).unwrap();
    assert!(matches!(house.publish(&people[3], 1), Err(StoreError::Full(_))), "its name rests");
    assert!(house.publish(&people[0], 2).unwrap().created, "its own name takes its own room");
    house.release(&people[0]).unwrap();
    house.now += REST;
    house.sweep();
    assert!(house.publish(&people[3], 1).unwrap().created);
    // In one transaction the second sees the first.
    house.bounds.max_accounts = 4;
    let more = ["eli", "fay"].map(|name| ask(|reply| Request::Publish(Box::new(person(name).publish(1)), reply)));
    let [(first, one), (second, two)] = more;
    house.serve(vec![first, second]);
    assert!(one.answer().is_ok() && matches!(two.answer(), Err(StoreError::Full(_))));
}

pub fn what_a_device_told_goes_with_it(mut house: House<impl Engine>) {
    let mut bob = person("bob");
    bob.devices.push(person("bobs tablet").devices.remove(0));
    house.member(&bob, &[[1; 32]]);
    let (account, device, other) = (bob.account(), bob.device(), person("bobs tablet").device());
    let reach = |house: &mut House<_>, device, seq, bytes: &[u8]| {
        let reach = StoreReach { account, device, node: proto::ids::NodeId([7; 32]), seq, bytes: bytes.to_vec() };
        house.one(|reply| Request::Reach(reach, reply))
    };
    assert_eq!(reach(&mut house, device, 2, b"two").unwrap(), 2);
    assert_eq!(reach(&mut house, device, 1, b"one").unwrap(), 2, "an older one changes nothing");
    assert_eq!(reach(&mut house, other, 7, b"tablet").unwrap(), 7);
    assert!(matches!(reach(&mut house, person("eve").device(), 1, b"x"), Err(StoreError::NotFound)));
    let all = house.look(|db| db.reach(account).unwrap());
    assert!(all.len() == 2 && all.contains(&b"two".to_vec()) && all.contains(&b"tablet".to_vec()));
    let session =
        |house: &mut House<_>, number| house.one(|reply| Request::Session { account, device: other, number, reply });
    for begun in 1..=3 {
        assert_eq!(session(&mut house, None).unwrap(), Counted { number: begun, before: begun - 1 });
    }
    assert_eq!(session(&mut house, Some(7)).unwrap(), Counted { number: 7, before: 3 }, "numbers may be skipped");
    for said in [Some(7), Some(1), None] {
        let told = session(&mut house, said).unwrap();
        assert_eq!(told.number, told.before + 1, "and none is given twice: {said:?}");
    }
    let mut letter = bob.by_contact([1; 32], b"for the tablet");
    letter.device = other;
    house.deposit(letter).unwrap();
    house.deposit(bob.by_contact([1; 32], b"for the phone")).unwrap();
    bob.devices.pop();
    house.publish(&bob, 2).unwrap();
    assert_eq!(house.look(|db| db.reach(account).unwrap()), [b"two".to_vec()]);
    assert!(matches!(session(&mut house, None), Err(StoreError::NotFound)));
    assert_eq!(house.sums().mail.envelopes, 1);
    bob.devices.push(person("bobs tablet").devices.remove(0));
    house.publish(&bob, 3).unwrap();
    assert_eq!(session(&mut house, None).unwrap(), Counted { number: 1, before: 0 }, "counted anew");
    house.release(&bob).unwrap();
    let left = house.look(|db| (db.reach(account).unwrap().len(), db.tokens(account).unwrap()));
    assert_eq!((left, house.sums().mail.envelopes), ((0, 0), 0));
}

pub fn tokens_have_a_bound_and_are_refused_as_a_whole(mut house: House<impl Engine>) {
    let bob = person("bob");
    assert!(matches!(house.tokens(&bob, &[[1; 32]], &[]), Err(StoreError::NotFound)));
    house.member(&bob, &[]);
    let many: Vec<[u8; 32]> = (0..MAX_TOKENS as u32).map(|n| proto::ids::sha256(&[&n.to_be_bytes()])).collect();
    assert_eq!(house.tokens(&bob, &many[1..], &[]).unwrap(), MAX_TOKENS as u64 - 1);
    assert_eq!(house.tokens(&bob, &many[1..2], &[]).unwrap(), MAX_TOKENS as u64 - 1, "the same once more");
    assert!(matches!(house.tokens(&bob, &[[1; 32], [2; 32]], &[]), Err(StoreError::Full(_))));
    assert_eq!(house.look(|db| db.counted(bob.account(), &[1; 32]).unwrap()), None, "nothing of it");
    assert_eq!(house.tokens(&bob, &[[1; 32]], &many[1..3]).unwrap(), MAX_TOKENS as u64 - 2);
    assert_eq!(house.look(|db| db.counted(bob.account(), &many[1]).unwrap()), None);
    assert_eq!(house.look(|db| db.counted(bob.account(), &[1; 32]).unwrap()), Some(0));
}
