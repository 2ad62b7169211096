//! Mail: numbers, lanes, room, lifetimes.

use std::collections::HashSet;

use super::Engine;
use super::house::{House, ask, person};
use crate::store::command::{Commands, Fetch, Queries};
use crate::store::error::StoreError;
use crate::store::request::{Deposited, Request};
use crate::store::rules;

const ALICES: [u8; 32] = [1; 32];
const CAROLS: [u8; 32] = [2; 32];

pub fn numbers_are_counted_for_the_account_and_for_each_token(mut house: House<impl Engine>) {
    let (bob, dave) = (person("bob"), person("dave"));
    house.member(&bob, &[ALICES, CAROLS]);
    house.member(&dave, &[ALICES]);
    let told = |house: &mut House<_>, to: &super::house::Person, token, text: &[u8]| {
        house.deposit(to.by_contact(token, text)).unwrap().number
    };
    let answers = [
        told(&mut house, &bob, ALICES, b"1"),
        told(&mut house, &bob, CAROLS, b"2"),
        told(&mut house, &bob, CAROLS, b"3"),
        told(&mut house, &dave, ALICES, b"4"),
        told(&mut house, &bob, ALICES, b"5"),
    ];
    assert_eq!(answers, [1, 1, 2, 1, 2], "nobody learns what others leave");
    assert_eq!(house.numbers(&bob), [1, 2, 3, 4], "bob has one count for all of them");
    assert_eq!(house.numbers(&dave), [1]);
    let again = house.deposit(bob.by_contact(CAROLS, b"2")).unwrap();
    assert_eq!(again, Deposited { created: false, number: 1, expires_in: 101 });
    // A token that was taken back counts from the beginning when it is given again.
    house.tokens(&bob, &[], &[CAROLS]).unwrap();
    assert!(matches!(house.deposit(bob.by_contact(CAROLS, b"6")), Err(StoreError::TokenRevoked)));
    house.tokens(&bob, &[CAROLS], &[]).unwrap();
    assert_eq!(told(&mut house, &bob, CAROLS, b"6"), 1);
    // Given twice is no reason to.
    house.tokens(&bob, &[CAROLS], &[]).unwrap();
    assert_eq!(told(&mut house, &bob, CAROLS, b"7"), 2);
}

pub fn a_stranger_is_told_no_number_and_lies_there_once(mut house: House<impl Engine>) {
    let bob = person("bob");
    house.member(&bob, &[ALICES]);
    let first = house.deposit(bob.by_stranger(1, 0, b"hello")).unwrap();
    assert_eq!(first, Deposited { created: true, number: 0, expires_in: 100 });
    house.deposit(bob.by_contact(ALICES, b"hello")).unwrap();
    assert_eq!(house.deposit(bob.by_stranger(1, 0, b"hello")).unwrap(), first, "it lies there");
    assert_eq!(house.numbers(&bob), [2, 3], "once, as the newest");
    assert_eq!(house.delete(&bob, &[3]), 1);
    assert_eq!(house.deposit(bob.by_stranger(1, 0, b"hello")).unwrap(), first, "it was fetched");
}

pub fn numbers_go_on_after_the_mail_and_the_name_are_gone(mut house: House<impl Engine>) {
    let bob = person("bob");
    house.member(&bob, &[ALICES]);
    for n in 0..3u8 {
        house.deposit(bob.by_contact(ALICES, &[n])).unwrap();
    }
    assert_eq!(house.delete(&bob, &[1, 2, 3, 9]), 3);
    assert_eq!(house.delete(&bob, &[1, 2, 3]), 0);
    assert_eq!(house.deposit(bob.by_contact(ALICES, b"x")).unwrap().number, 4);
    assert_eq!(house.numbers(&bob), [4]);
    house.release(&bob).unwrap();
    assert_eq!(house.sums().mail.envelopes, 0);
    assert!(matches!(house.deposit(bob.by_contact(ALICES, b"y")), Err(StoreError::NotFound)));
    assert!(house.publish(&bob, 2).unwrap().created);
    house.tokens(&bob, &[ALICES], &[]).unwrap();
    // Whoever signed deletions for the old mailbox cannot mean the new one's.
    assert_eq!(house.deposit(bob.by_contact(ALICES, b"y")).unwrap().number, 1);
    assert_eq!(house.numbers(&bob), [5]);
}

pub fn the_same_bytes_of_another_token_are_others(mut house: House<impl Engine>) {
    let bob = person("bob");
    house.member(&bob, &[ALICES, CAROLS]);
    for token in [ALICES, CAROLS, ALICES] {
        assert_eq!(house.deposit(bob.by_contact(token, b"the same")).unwrap().number, 1);
    }
    assert_eq!(house.numbers(&bob), [1, 2]);
}

pub fn lanes_are_apart_and_work_opens_the_second(mut house: House<impl Engine>) {
    let bob = person("bob");
    house.member(&bob, &[ALICES]);
    house.bounds.quotas.envelopes = 2;
    let mut taken = 0;
    for n in 0..20u8 {
        taken += usize::from(house.deposit(bob.by_stranger(1, 0, &[1, n])).is_ok());
    }
    assert_eq!(taken, 3, "one host may have less than half of what is left");
    for n in 0..20u8 {
        taken += usize::from(house.deposit(bob.by_stranger(2 + n, 0, &[2, n])).is_ok());
    }
    assert_eq!(taken, 8, "each that is new finds a place while there is one");
    let refused = house.deposit(bob.by_stranger(1, 3, b"lazy"));
    assert!(matches!(refused, Err(StoreError::StrangersFull { bits: 4 })));
    for n in 0..8u8 {
        assert!(house.deposit(bob.by_stranger(1, 4, &[3, n])).unwrap().created);
    }
    assert!(matches!(house.deposit(bob.by_stranger(1, 30, b"more")), Err(StoreError::MailboxFull(_))));
    // In the place of one that lies there, in whichever lane.
    assert!(house.deposit(bob.by_stranger(1, 0, &[3, 0])).unwrap().created);
    // Contacts have their own room.
    for n in 0..2u8 {
        house.deposit(bob.by_contact(ALICES, &[n])).unwrap();
    }
    assert!(matches!(house.deposit(bob.by_contact(ALICES, b"3")), Err(StoreError::MailboxFull(_))));
    assert!(!house.deposit(bob.by_contact(ALICES, &[0])).unwrap().created, "a repetition needs no room");
    let mailbox = house.look(|db| db.mailbox(bob.account()).unwrap());
    assert_eq!((mailbox.contacts, mailbox.strangers, mailbox.worked), (2, taken as u64, 8));
    house.bounds.quotas = crate::store::Quotas { envelopes: 10, bytes: 10, ..house.bounds.quotas };
    house.deposit(bob.by_contact(ALICES, &[9; 8])).unwrap();
    assert!(matches!(house.deposit(bob.by_contact(ALICES, b"3")), Err(StoreError::MailboxFull(_))), "in bytes");
}

pub fn the_room_for_all_holds_within_one_transaction(mut house: House<impl Engine>) {
    house.bounds.quotas.total_bytes = 10_000;
    let people: Vec<_> = (0..20).map(|n| person(&format!("user{n}"))).collect();
    people.iter().for_each(|someone| house.member(someone, &[ALICES]));
    let round = |house: &mut House<_>, round: u8| {
        let (requests, asked): (Vec<_>, Vec<_>) = people
            .iter()
            .map(|someone| {
                let letter = someone.by_contact(ALICES, &[round; 900]);
                ask(|reply| Request::Deposit(Box::new(letter), reply))
            })
            .unzip();
        house.serve(requests);
        asked.into_iter().map(|asked| asked.answer()).filter(Result::is_ok).count()
    };
    assert_eq!(round(&mut house, 1), 11);
    assert_eq!(house.sums().mail.bytes, 9_900);
    assert_eq!(round(&mut house, 2), 0);
    // What goes in the same transaction makes room in it, and only once.
    let who = &people[0];
    let (account, device) = (who.account(), who.device());
    let (delete, deleted) = ask(|reply| Request::Delete { account, device, numbers: vec![1, 1], reply });
    let letters = [3, 4].map(|n| {
        let letter = people[1].by_contact(ALICES, &[n; 900]);
        ask(|reply| Request::Deposit(Box::new(letter), reply))
    });
    let [(first, one), (second, two)] = letters;
    house.serve(vec![first, delete, second]);
    assert!(matches!(one.answer(), Err(StoreError::MailboxFull(_))));
    assert_eq!(deleted.answer().unwrap(), 1);
    // 1,000 bytes are left, and 900 of them lie there already for the same one: others must have as much.
    assert!(matches!(two.answer(), Err(StoreError::MailboxFull(_))));
    let (delete, _deleted) = ask(|reply| Request::Delete {
        account: people[1].account(),
        device: people[1].device(),
        numbers: vec![1],
        reply,
    });
    let (third, three) = ask(|reply| Request::Deposit(Box::new(people[15].by_contact(ALICES, &[5; 900])), reply));
    house.serve(vec![delete, third]);
    assert!(three.answer().is_ok());
    assert!(house.sums().mail.bytes <= 10_000);
    house.release(&people[2]).unwrap();
    assert_eq!(house.sums().mail.bytes, 8 * 900 + 900);
}

pub fn nobody_has_more_than_is_left_for_others(mut house: House<impl Engine>) {
    house.bounds.quotas.total_bytes = 10_000;
    let (loud, quiet) = (person("loud"), person("quiet"));
    house.member(&loud, &[ALICES]);
    house.member(&quiet, &[ALICES]);
    let taken = (0..20u8).filter(|n| house.deposit(loud.by_contact(ALICES, &[*n; 1_000])).is_ok()).count();
    assert_eq!(taken, 5);
    assert!(house.deposit(quiet.by_contact(ALICES, &[1; 1_000])).is_ok());
}

pub fn what_has_expired_is_not_there_and_in_nobodys_way(mut house: House<impl Engine>) {
    let bob = person("bob");
    house.member(&bob, &[ALICES]);
    house.bounds.quotas.envelopes = 2;
    for n in 0..2u8 {
        house.deposit(bob.by_contact(ALICES, &[n])).unwrap();
    }
    house.now += 100;
    assert_eq!(house.numbers(&bob), [1, 2], "what is left of a second that has begun is its own");
    assert!(house.deposit(bob.by_contact(ALICES, b"3")).is_err());
    house.now += 1;
    assert_eq!(house.numbers(&bob), [0u64; 0]);
    assert_eq!(house.look(|db| db.last_mail(bob.account(), bob.device(), 1_101).unwrap()), None);
    assert_eq!(house.sums().mail.envelopes, 2);
    // The same bytes again are new ones.
    let again = house.deposit(bob.by_contact(ALICES, &[0])).unwrap();
    assert_eq!(again, Deposited { created: true, number: 3, expires_in: 100 });
    assert_eq!(house.numbers(&bob), [3]);
    house.deposit(bob.by_contact(ALICES, b"4")).unwrap();
    house.now += 101;
    house.sweep();
    assert_eq!(house.sums().mail.envelopes, 0);
}

pub fn mail_is_given_in_order_and_in_parts(mut house: House<impl Engine>) {
    let mut bob = person("bob");
    bob.devices.push(person("bobs tablet").devices.remove(0));
    house.member(&bob, &[ALICES]);
    for n in 1..=6u8 {
        let mut letter = bob.by_contact(ALICES, &[n; 10]);
        if n == 3 {
            letter.device = person("bobs tablet").device();
        }
        house.deposit(letter).unwrap();
    }
    let mut fetch = |change: &dyn Fn(&mut Fetch)| {
        let mut fetch = bob.fetch(house.now);
        change(&mut fetch);
        let mail = house.look(|db| db.mail(&fetch).unwrap());
        (mail.envelopes.iter().map(|(number, _)| *number).collect::<Vec<_>>(), mail.more)
    };
    assert_eq!(fetch(&|_| {}), (vec![1, 2, 4, 5, 6], false));
    assert_eq!(fetch(&|fetch| fetch.after = 2), (vec![4, 5, 6], false));
    assert_eq!(fetch(&|fetch| fetch.except = HashSet::from([4, 6])), (vec![1, 2, 5], false));
    assert_eq!(fetch(&|fetch| fetch.count = 2), (vec![1, 2], true));
    assert_eq!(fetch(&|fetch| fetch.count = 5), (vec![1, 2, 4, 5, 6], false));
    assert_eq!(fetch(&|fetch| fetch.bytes = 29), (vec![1, 2], true));
    assert_eq!(fetch(&|fetch| fetch.bytes = 1), (vec![1], true), "one however large");
    let last = house.look(|db| db.last_mail(bob.account(), bob.device(), 0).unwrap());
    assert_eq!(last, Some(6));
    // Nobody's but the device's own.
    let tablet = person("bobs tablet").device();
    let (account, numbers) = (bob.account(), vec![1, 2, 3]);
    assert_eq!(house.one(|reply| Request::Delete { account, device: tablet, numbers, reply }).unwrap(), 1);
    assert_eq!(house.numbers(&bob), [1, 2, 4, 5, 6]);
}

pub fn what_is_rolled_back_was_never_there<E: Engine>(mut house: House<E>) {
    let (bob, eve) = (person("bob"), person("eve"));
    house.member(&bob, &[ALICES]);
    house.deposit(bob.by_contact(ALICES, b"kept")).unwrap();
    let before = (house.sums(), house.numbers(&bob));
    let mut batch = rules::Batch::new(house.bounds, house.now, false);
    let mut transaction = house.engine.begin();
    let (request, _asked) = ask(|reply| Request::Publish(Box::new(eve.publish(1)), reply));
    rules::apply(Some(&mut transaction), request, &mut batch).0.unwrap();
    let (request, _asked) = ask(|reply| Request::Deposit(Box::new(bob.by_contact(ALICES, b"lost")), reply));
    rules::apply(Some(&mut transaction), request, &mut batch).0.unwrap();
    let (request, _asked) = ask(|reply| Request::Release { account: bob.account(), reply });
    rules::apply(Some(&mut transaction), request, &mut batch).0.unwrap();
    assert_eq!(transaction.sums().unwrap().mail.envelopes, 0, "who writes sees it");
    E::end(transaction, false);
    assert_eq!((house.sums(), house.numbers(&bob)), before);
    assert_eq!(house.deposit(bob.by_contact(ALICES, b"next")).unwrap().number, 2);
}

pub fn uptime_never_goes_back(mut house: House<impl Engine>) {
    let bob = person("bob");
    house.member(&bob, &[ALICES]);
    house.sweep();
    assert_eq!(house.look(|db| db.saved_uptime().unwrap()), 0, "nothing is there whose time would count");
    house.deposit(bob.by_contact(ALICES, b"x")).unwrap();
    assert_eq!(house.look(|db| db.saved_uptime().unwrap()), 1_000);
    house.now = 5;
    house.sweep();
    assert_eq!(house.look(|db| db.saved_uptime().unwrap()), 1_000);
    house.now = 1_050;
    house.sweep();
    assert_eq!(house.look(|db| db.saved_uptime().unwrap()), 1_050);
}
