//! Logs of groups, against both engines.

use proto::directory::groups::{Append, EntryKind, Running};
use proto::ids::LogId;

use super::Engine;
use super::house::{House, person};
use super::team::{Team, account, key, team};
use crate::store::command::GroupQueries;
use crate::store::error::StoreError;
use crate::store::groups::{GroupRequest, Statements};
use crate::store::request::Request;
use crate::store::rules;

/// Alice is registered, and has made the log of a team.
pub fn founded<E: Engine>(house: &mut House<E>) -> Team {
    let (alice, team) = (person("alice"), team("team"));
    house.member(&alice, &[]);
    assert!(house.create(&alice, &team).unwrap());
    team
}

pub fn full<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::GroupFull(_)))
}

pub fn lost<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> Vec<u64> {
    match answer {
        Err(StoreError::LostRace { newer, wait: None }) => newer.into_iter().map(|entry| entry.number).collect(),
        other => panic!("{other:?}"),
    }
}

fn waits<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::LostRace { wait: Some(_), .. }))
}

pub fn a_log_is_named_by_its_root_key_and_made_once<E: Engine>(mut house: House<E>) {
    let (alice, bob) = (person("alice"), person("bob"));
    let team = founded(&mut house);
    assert!(!house.create(&alice, &team).unwrap(), "the answer was lost");
    house.member(&bob, &[]);
    assert!(matches!(house.create(&bob, &team), Err(StoreError::Conflict { .. })), "it is alice's");
    let mut other = super::team::team("other");
    other.log = LogId([7; 16]);
    assert!(matches!(house.create(&bob, &other), Err(StoreError::BadSignature(_))), "not named by its key");
    assert!(matches!(house.create(&person("carol"), &super::team::team("carol's")), Err(StoreError::NotFound)));
    assert!(house.create(&alice, &super::team::team("second")).unwrap());
    assert!(matches!(house.create(&alice, &super::team::team("third")), Err(StoreError::Full(_))), "two are the most");
    assert_eq!(house.sums().groups, 2);
    let remove = |account, log| move |reply| Request::Group(GroupRequest::Remove { account, log, reply });
    assert!(matches!(house.one(remove(bob.account(), team.log)), Err(StoreError::NoSuchGroup)));
    house.append(team.message(account(1), b"hello")).unwrap();
    house.one(remove(alice.account(), team.log)).unwrap();
    assert!(house.group(&team).is_none());
    let second = house.group(&super::team::team("second")).unwrap();
    let sums = house.sums();
    assert_eq!((sums.groups, sums.entries, sums.group_bytes), (1, 0, second.room.bytes));
}

pub fn entries_are_numbered_and_each_lies_there_once<E: Engine>(mut house: House<E>) {
    let team = founded(&mut house);
    let first = house.append(team.event(account(1), 0, b"genesis")).unwrap();
    let second = house.append(team.message(account(2), b"hello")).unwrap();
    assert_eq!((first.place.number, second.place.number), (1, 2));
    let again = house.append(team.message(account(3), b"hello")).unwrap();
    assert!(!again.created && again.place == second.place, "whoever repeats it");
    assert!(house.append(team.keys(account(2), b"hello")).unwrap().created, "what it is taken for counts");
    let read = house.read_all(&team);
    let kinds: Vec<_> = read.iter().map(|(number, kind, _)| (*number, *kind)).collect();
    assert_eq!(kinds, [(1, EntryKind::Event), (2, EntryKind::Message), (3, EntryKind::Keys)]);
    assert_eq!(house.read_by(&team, &team.read(), 2).unwrap().before, Some(second.place.hash));
    assert_eq!(house.read_by(&team, &team.read(), 9).unwrap().before, None);
}

pub fn of_several_events_one_is_the_next<E: Engine>(mut house: House<E>) {
    let team = founded(&mut house);
    assert!(house.append(team.event(account(1), 0, b"genesis")).is_ok());
    house.append(team.message(account(1), b"between")).unwrap();
    let events = (0..3u8).map(|n| team.event(account(n), 1, &[n]));
    let asked: Vec<_> = events
        .map(|event| super::house::ask(|reply| Request::Group(GroupRequest::Append(Box::new(event), reply))))
        .collect();
    let (requests, asked): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    house.serve(requests);
    let mut answers = asked.into_iter().map(super::house::Asked::answer);
    assert_eq!(answers.next().unwrap().unwrap().place.number, 3);
    assert!(answers.all(|answer| lost(answer) == [3]), "they are told what came first");
    assert_eq!(house.group(&team).unwrap().event, 3);
    assert!(!house.append(team.event(account(0), 1, &[0])).unwrap().created, "its answer was lost, not the race");
}

pub fn whoever_loses_three_races_has_a_turn<E: Engine>(mut house: House<E>) {
    let team = founded(&mut house);
    house.append(team.event(account(1), 0, b"genesis")).unwrap();
    for n in 0..3u8 {
        lost(house.append(team.event(account(2), 0, &[n, 2])));
    }
    assert!(waits(house.append(team.event(account(1), 1, b"first"))));
    assert!(house.append(team.message(account(1), b"messages go on")).is_ok());
    assert_eq!(lost(house.append(team.event(account(2), 0, b"too early"))), [1], "a turn is no right");
    let urgent = team.proved(team.event(account(1), 1, b"removed"), 0);
    assert_eq!(house.append(urgent).unwrap().place.number, 3, "the log key waits for nobody");
    assert!(house.append(team.event(account(1), 3, b"next")).is_ok(), "and ends it");
    // Whoever loses on purpose has no second turn at once, and neither has anybody else.
    for writer in [2, 3] {
        (0..4u8).for_each(|n| drop(lost(house.append(team.event(account(writer), 0, &[n, writer, 9])))));
    }
    assert!(house.append(team.event(account(1), 4, b"not held up")).is_ok());
    house.now += 10;
    lost(house.append(team.event(account(3), 0, b"late")));
    assert!(waits(house.append(team.event(account(1), 5, b"waits"))), "it is the third's turn");
    house.now += 3;
    assert!(house.append(team.event(account(1), 5, b"waits")).is_ok(), "a turn ends");
}

pub fn staged_keys_come_with_their_event_or_not_at_all<E: Engine>(mut house: House<E>) {
    let mut team = founded(&mut house);
    house.append(team.event(account(1), 0, b"genesis")).unwrap();
    let (one, two) = (team.keys(account(1), b"seeds 1"), team.keys(account(1), b"seeds 2"));
    let staged = vec![one.hash, two.hash];
    let (again, old) = (team.keys(account(2), b"seeds 1"), team.clone());
    assert!(house.stage(one).unwrap().created && house.stage(two).unwrap().created);
    assert!(!house.stage(again).unwrap().created);
    assert_eq!(house.read_all(&team).len(), 1, "nobody reads what is staged");
    let event =
        |after, text: &[u8]| Append { after, staged: staged.clone(), ..Append::new(EntryKind::Event, text.to_vec()) };
    lost(house.append(team.append(account(1), event(0, b"behind the wrong one"))));
    let missing = Append { staged: vec![[9; 32]], ..event(1, b"never staged") };
    assert!(matches!(house.append(team.append(account(1), missing)), Err(StoreError::Conflict { .. })));
    let mut remove = team.append(account(1), event(1, b"remove"));
    remove.statements = Some(team.turn(7));
    assert_eq!(house.append(remove).unwrap().place.number, 4);
    let kinds: Vec<_> = house.read_all(&team).into_iter().map(|(_, kind, _)| kind).collect();
    assert_eq!(kinds, [EntryKind::Event, EntryKind::Keys, EntryKind::Keys, EntryKind::Event]);
    assert!(!house.read_by(&old, &old.read(), 0).unwrap().current, "the tokens changed with the event");
    // What waits in vain goes.
    let bytes = house.group(&team).unwrap().room.bytes;
    house.stage(team.keys(account(1), b"in vain")).unwrap();
    house.now += 601;
    house.sweep();
    assert_eq!(house.group(&team).unwrap().room.bytes, bytes);
}

pub fn tokens_that_were_in_force_read_events_and_keys_and_write_their_slot<E: Engine>(mut house: House<E>) {
    let mut team = founded(&mut house);
    let old = team.clone();
    let (device, stranger) = (key("device"), key("another device"));
    house.append(team.event(account(1), 0, b"genesis")).unwrap();
    house.append(team.message(account(1), b"before")).unwrap();
    house.put_slot(team.slot(account(2), &device, 1, b"marks")).unwrap();
    let change = team.turn(8);
    house.state(&team, change).unwrap();
    house.append(team.keys(account(1), b"seeds")).unwrap();
    house.append(team.message(account(1), b"after")).unwrap();
    house.append(team.event(account(1), 1, b"removed")).unwrap();
    let read = house.read_by(&old, &old.read(), 0).unwrap();
    let numbers: Vec<_> = read.entries.entries.iter().map(|entry| entry.number).collect();
    assert_eq!((read.current, numbers, read.before), (false, vec![1, 3, 5], None));
    assert_eq!(house.read_all(&team).len(), 5);
    assert!(matches!(house.append(old.message(account(2), b"hello?")), Err(StoreError::OldToken)));
    assert!(matches!(house.stage(old.keys(account(2), b"seeds?")), Err(StoreError::OldToken)));
    assert_eq!(house.put_slot(old.slot(account(2), &device, 2, b"what did I miss?")).unwrap(), 2);
    assert!(matches!(house.put_slot(old.slot(account(2), &stranger, 1, b"")), Err(StoreError::OldToken)));
    let slots = |house: &mut House<E>, token: [u8; 32]| {
        house.look(|db| {
            rules::read_slots(db, (old.log, &token), (None, None), (9, 9_999)).map(|found| found.slots.len()).ok()
        })
    };
    assert_eq!((slots(&mut house, old.read()), slots(&mut house, team.read())), (None, Some(1)));
    // Tokens for the one are none for the other, and a guess is none for anything.
    for token in [team.write(), old.write(), [0; 32]] {
        assert!(house.read_by(&team, &token, 0).is_none());
    }
    for token in [team.read(), old.read(), [0; 32]] {
        let mut guess = team.message(account(2), b"guess");
        guess.token = token;
        assert!(matches!(house.append(guess), Err(StoreError::NoSuchGroup)));
    }
}

pub fn only_the_last_tokens_are_remembered<E: Engine>(mut house: House<E>) {
    let mut team = founded(&mut house);
    let first = team.clone();
    let mut second = None;
    for n in 0..1_026u64 {
        team.number = n + 1;
        team.seed = proto::ids::sha256(&[&n.to_be_bytes()]);
        house.state(&team, Statements { root: None, header: Some(team.header()) }).unwrap();
        second.get_or_insert_with(|| team.clone());
    }
    let second = second.unwrap();
    assert!(house.read_by(&first, &first.read(), 0).is_none() && house.read_by(&second, &second.read(), 0).is_none());
    assert!(house.read_by(&team, &team.read(), 0).unwrap().current);
    assert_eq!(house.look(|db| db.old_token(team.log, &second.write()).unwrap()), None);
}

pub fn statements_only_go_forward_by_the_keys_in_force<E: Engine>(mut house: House<E>) {
    let mut team = founded(&mut house);
    let first = team.clone();
    let change = team.turn(2);
    house.state(&team, change).unwrap();
    // Put back by somebody who kept the old header.
    let back = Statements { root: None, header: Some(first.header()) };
    assert!(matches!(house.state(&team, back), Err(StoreError::Conflict { .. })));
    let again = Statements { root: None, header: Some(team.header()) };
    house.state(&team, again).unwrap();
    // The owner takes the log key from a hostile admin, and hands over.
    let (owner, admin) = (team.root.clone(), team.clone());
    (team.root, team.log_key, team.root_number, team.number) = (key("heir"), key("other log key"), 1, 0);
    let forged = Statements { root: Some(team.root_by(&key("mallory"))), header: None };
    assert!(matches!(house.state(&team, forged), Err(StoreError::BadSignature(_))));
    let handover = Statements { root: Some(team.root_by(&owner)), header: Some(team.header()) };
    house.state(&team, handover).unwrap();
    let stays = Statements { root: None, header: Some(Team { number: 9, ..admin.clone() }.header()) };
    assert!(matches!(house.state(&team, stays), Err(StoreError::BadSignature(_))), "the old log key says nothing more");
    assert!(matches!(house.keep(admin.keep(true, &[1], &[])), Err(StoreError::BadSignature(_))));
    let before = Statements { root: Some(Team { root_number: 2, ..admin }.root_by(&owner)), header: None };
    assert!(matches!(house.state(&team, before), Err(StoreError::BadSignature(_))), "nor does the old owner");
    let far = Team { number: (1 << 32) + 1, ..team.clone() };
    let far = Statements { root: None, header: Some(far.header()) };
    assert!(matches!(house.state(&team, far), Err(StoreError::Conflict { .. })), "numbers are not used up at once");
}

pub fn what_was_lost_is_brought_back_to_its_place<E: Engine>(mut house: House<E>) {
    let (alice, team) = (person("alice"), team("team"));
    let texts: Vec<Vec<u8>> = (0..5u8).map(|n| vec![n]).collect();
    let mut known = Vec::new();
    house.member(&alice, &[]);
    house.create(&alice, &team).unwrap();
    for text in &texts {
        known.push(house.append(team.message(account(1), text)).unwrap().place);
    }
    // The directory is put back: it knows two.
    let remove = |reply| Request::Group(GroupRequest::Remove { account: alice.account(), log: team.log, reply });
    house.one(remove).unwrap();
    house.create(&alice, &team).unwrap();
    for text in &texts[..2] {
        house.append(team.message(account(1), text)).unwrap();
    }
    assert_eq!(house.group(&team).unwrap().head, known[1]);
    let back = |n: usize, text: &[u8]| Append { at: Some(known[n]), ..Append::new(EntryKind::Message, text.to_vec()) };
    let conflicts = |answer| matches!(answer, Err(StoreError::Conflict { .. }));
    assert!(conflicts(house.append(team.append(account(2), back(3, &texts[3])))), "not the next");
    assert!(conflicts(house.append(team.append(account(2), back(2, b"another")))), "not what was there");
    for n in 2..5 {
        assert_eq!(house.append(team.append(account(2), back(n, &texts[n]))).unwrap().place, known[n]);
    }
    assert_eq!(house.group(&team).unwrap().head, known[4]);
    // Two bring the same.
    let again = house.append(team.append(account(3), back(4, &texts[4]))).unwrap();
    assert!(!again.created && again.place == known[4]);
}

pub fn a_proof_for_what_was_forgotten_is_none<E: Engine>(mut house: House<E>) {
    let team = founded(&mut house);
    let old = team.proved(team.message(account(1), b"old"), 0);
    let place = house.append(old).unwrap().place;
    assert_eq!(place, Running::start(team.log).with(&team.message(account(1), b"old").hash));
    // As if the log had forgotten it.
    house.forget(&team, place.number);
    let again = house.append(team.proved(team.message(account(1), b"old"), 0));
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
    let mut other = team.proved(team.message(account(1), b"new"), 1);
    other.proved_by = None;
    assert!(matches!(house.append(other), Err(StoreError::BadSignature(_))));
    assert!(house.append(team.proved(team.message(account(1), b"new"), 1)).is_ok());
}

impl<E: Engine> House<E> {
    /// Drops an entry and forgets its hash.
    fn forget(&mut self, team: &Team, number: u64) {
        use crate::store::command::GroupCommands;
        let mut transaction = self.engine.begin();
        transaction.drop_entry(team.log, number).unwrap();
        let floor = transaction.forget_entries(team.log, 10).unwrap().unwrap();
        let group = transaction.group(team.log).unwrap().unwrap();
        transaction.set_group(&crate::store::command::Group { floor, ..group }).unwrap();
        E::end(transaction, true);
    }
}
