//! Cases by hand: hidden handovers, elections, limits at their real size, keys, acknowledgements, and how long the fold takes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proto::group::vote::Question;
use proto::group::{Act, Add, GroupType, MAX_EVENTS, MAX_ROOM_MEMBERS, Move, OWNER_EVENTS, Set};
use proto::ids::{AccountId, MessageId, sha256};

use super::super::messages::{Counts, Sent, counts, keep};
use super::super::{Chain, Refused, acks, election, keys};
use super::team::Team;

#[test]
fn an_owner_who_handed_over_does_not_take_it_back_by_what_he_hid() {
    let mut team = Team::new(GroupType::Group, 0);
    team.add(0, &[1, 2, 3]).unwrap();
    // In secret to 3, and then openly to 1, who says what he could not open.
    assert_eq!(team.append(0, Act::Handover(team.account(3)), vec![], true), Err(Refused::Unopened));
    let hidden = team.last.clone().unwrap();
    assert_eq!(team.say(0, Act::Handover(team.account(1))), Ok(()));
    let mut silent = team.chain.clone();
    assert_eq!(team.chain.unopened(team.account(1)), [2]);
    team.append(1, Act::Promote(team.account(2)), vec![2], false).unwrap();
    team.chain.open([hidden.clone()]);
    assert_eq!(team.chain.state().owner, team.account(1));
    assert_eq!(team.chain.entries()[2].verdict, Err(Refused::Hidden));
    // The control: who says nothing loses the group to it.
    silent.open([hidden]);
    assert_eq!(silent.state().owner, team.account(3));
}

#[test]
fn nobody_undoes_by_a_lie_what_is_not_his_to_undo() {
    let mut team = Team::new(GroupType::Group, 0);
    team.add(0, &[1, 2, 3, 4]).unwrap();
    team.say(0, Act::Promote(team.account(1))).unwrap();
    team.say(0, Act::Promote(team.account(2))).unwrap();
    team.say(0, Act::Demote(team.account(1))).unwrap();
    // 1 was demoted, and claims that it could not open that; then the owner hands over, and claims it of his own word.
    assert_eq!(team.append(1, Act::Remove(team.account(3)), vec![4], false), Err(Refused::NotAllowed));
    team.say(0, Act::Handover(team.account(4))).unwrap();
    let handover = team.chain.state().next - 1;
    assert_eq!(team.append(0, Act::Close, vec![handover], false), Err(Refused::NotAllowed));
    // The junior admin's word is below the owner's, and a member's below everybody's.
    assert!(team.append(2, Act::Set(Box::default()), vec![handover], false).is_ok());
    assert_eq!(team.chain.state().owner, team.account(4));
    team.say(3, Act::Key).unwrap();
    let key = team.chain.state().next - 1;
    assert!(team.append(0, Act::Key, vec![key], false).is_ok());
    assert!(team.chain.entries()[key as usize].verdict.is_ok());
    // An admin's is above a member's, and the owner's above the admin's; but not of what lies before their own last word.
    assert!(team.append(2, Act::Set(Box::default()), vec![key], false).is_ok());
    assert_eq!(team.chain.entries()[key as usize].verdict, Err(Refused::Hidden));
    team.say(2, Act::Remove(team.account(3))).unwrap();
    let removal = team.chain.state().next - 1;
    team.say(4, Act::Set(Box::default())).unwrap();
    team.append(4, Act::Set(Box::default()), vec![removal], false).unwrap();
    assert!(team.chain.entries()[removal as usize].verdict.is_ok(), "it was settled by the event between");
}

#[test]
fn a_silent_owner_is_replaced_and_may_come_back_until_it_is_confirmed() {
    let mut team = Team::new(GroupType::Group, 0);
    team.add(0, &[1, 2, 3, 4]).unwrap();
    team.say(0, Act::Promote(team.account(1))).unwrap();
    assert_eq!(team.elect(&[1, 2], 1), Err(Refused::Votes), "two of four");
    assert_eq!(team.elect(&[1, 2, 3], 0), Err(Refused::Target), "the owner himself");
    assert_eq!(team.elect(&[1, 2, 3], 5), Err(Refused::Target), "nobody's member");
    team.elect(&[1, 2, 3], 1).unwrap();
    assert_eq!(team.chain.state().owner, team.account(1));
    for act in [Act::Remove(team.account(0)), Act::Ban(team.account(0)), Act::Close, Act::Handover(team.account(2))] {
        assert_eq!(team.say(1, act), Err(Refused::Unconfirmed));
    }
    assert_eq!(team.say(2, Act::Reclaim), Err(Refused::NotAllowed));
    team.say(0, Act::Reclaim).unwrap();
    assert_eq!((team.chain.state().owner, &team.chain.state().provisional), (team.account(0), &None));
    // Votes from before are for an older word of the owner.
    team.elect(&[1, 2, 3], 2).unwrap();
    let elect = team.chain.state().head;
    let votes = team.votes(&[1, 3, 4], &Question::Confirm { elect });
    let few = votes[..2].to_vec();
    assert_eq!(team.say(4, Act::Confirm { elect, votes: few }), Err(Refused::Votes));
    team.say(4, Act::Confirm { elect, votes }).unwrap();
    assert_eq!(team.say(0, Act::Reclaim), Err(Refused::NotAllowed));
    assert_eq!(team.say(2, Act::Remove(team.account(0))), Ok(()));
}

#[test]
fn an_admin_does_not_choose_who_elects() {
    let mut team = Team::new(GroupType::Group, 0);
    team.add(0, &[1, 2, 3, 4, 5]).unwrap();
    team.say(0, Act::Promote(team.account(1))).unwrap();
    // Those who would vote against him go, and others come.
    for gone in [3, 4, 5] {
        team.say(1, Act::Remove(team.account(gone))).unwrap();
    }
    team.add(1, &[6, 7, 8]).unwrap();
    let electors: Vec<_> = election::electorate(team.chain.state()).iter().map(|elector| elector.account).collect();
    assert_eq!(electors, [1, 2, 3, 4, 5].map(|who| team.account(who)));
    assert_eq!(team.elect(&[1, 2, 6, 7, 8], 1), Err(Refused::Votes));
    assert_eq!(team.elect(&[2, 3, 4], 6), Err(Refused::Target), "it came after the owner's last word");
    // A member writes the event; those who were put out voted.
    assert_eq!(team.elect(&[2, 3, 4], 2), Ok(()));
}

#[test]
fn whoever_leaves_last_closes_and_an_owner_who_leaves_is_followed() {
    let mut team = Team::new(GroupType::Group, 0);
    team.add(0, &[1, 2, 3]).unwrap();
    team.say(0, Act::Promote(team.account(2))).unwrap();
    let added = team.chain.state().members[&team.account(0)].added;
    let nobody = Act::Leave { added, successor: Some(team.account(9)) };
    assert_eq!(team.say(0, nobody), Err(Refused::Target));
    team.leave(0).unwrap();
    assert_eq!(team.chain.state().owner, team.account(2), "the senior admin");
    assert_eq!(keys::to_seal(&team.chain, |_| true), Err(keys::NoKey::NotMade));
    team.say(3, Act::Key).unwrap();
    assert!(keys::to_seal(&team.chain, |_| true).is_ok());
    assert_eq!(keys::to_seal(&team.chain, |_| false), Err(keys::NoKey::NotHeld));
    team.leave(2).unwrap();
    assert_eq!(team.chain.state().owner, team.account(1), "the senior member");
    team.leave(1).unwrap();
    team.leave(3).unwrap();
    assert!(team.chain.state().closed && team.chain.state().members.is_empty());
    assert_eq!(team.say(3, Act::Key), Err(Refused::Closed));
}

#[test]
fn a_group_moves_to_a_log_that_was_named() {
    let mut team = Team::new(GroupType::Group, 0);
    let to = |logs: &[&str]| {
        let logs = logs.iter().map(|log| (*log).to_owned()).collect();
        Act::Move(Box::new(Move { logs, entries: 7, running: [7; 32] }))
    };
    assert_eq!(team.say(0, to(&["c"])), Err(Refused::Log));
    team.say(0, to(&["b", "c"])).unwrap();
    assert_eq!(team.chain.state().logs, ["b", "c"]);
    let set = |logs: &[&str]| {
        let logs = logs.iter().map(|log| (*log).to_owned()).collect();
        Act::Set(Box::new(Set { logs: Some(logs), ..Set::default() }))
    };
    assert_eq!(team.say(0, set(&["c", "d"])), Err(Refused::Log), "it moves by `move` only");
    assert_eq!(team.say(0, set(&["b", "d"])), Ok(()));
}

#[test]
fn messages_count_by_what_their_author_knew_and_where_they_lie() {
    let mut team = Team::new(GroupType::Group, 0);
    team.add(0, &[1, 2]).unwrap();
    let (author, device, knew) = (team.account(1), team.people[1].device(0), team.chain.state().head);
    let early = team.place().entry;
    team.say(0, Act::Remove(author)).unwrap();
    let removal = team.chain.state().head;
    let late = team.place().entry;
    let sent = |knew, entry| counts(&team.chain, &Sent { author, device, knew, entry });
    assert_eq!(sent(knew, Some(early)), Counts::Yes);
    assert_eq!(sent(knew, Some(late)), Counts::No);
    assert_eq!(sent(removal, Some(late)), Counts::No);
    assert_eq!(sent([9; 32], Some(early)), Counts::NotYet);
    assert_eq!(sent(knew, None), Counts::ByLinkOnly { ended: true });
    let other = counts(&team.chain, &Sent { author: team.account(2), device, knew, entry: Some(early) });
    assert_eq!(other, Counts::No, "another's device");
    let mut kept = Vec::new();
    assert!(
        keep(&mut kept, [5; 32]) && keep(&mut kept, [7; 32]) && !keep(&mut kept, [9; 32]) && keep(&mut kept, [6; 32])
    );
    assert_eq!(kept, [[5; 32], [6; 32]]);
}

#[test]
fn eight_of_a_large_group_are_asked_and_all_of_a_small_one() {
    let accounts = |n: u64| (0..n).map(|n| AccountId::of_first_key(&sha256(&[&n.to_be_bytes()]))).collect::<Vec<_>>();
    let (small, large) = (accounts(128), accounts(129));
    assert_eq!(acks::asked(small.clone(), small[0], MessageId([1; 16])).len(), 127);
    let asked = acks::asked(large.clone(), large[0], MessageId([1; 16]));
    let mut turned = large.clone();
    turned.reverse();
    assert_eq!((asked.len(), &asked), (8, &acks::asked(turned, large[0], MessageId([1; 16]))));
    assert_ne!(asked, acks::asked(large.clone(), large[0], MessageId([2; 16])));
    let have: BTreeSet<_> = asked[..3].iter().copied().collect();
    let gone = asked[7];
    let far = acks::delivered(&asked, false, |account| account != gone, &have, true);
    assert_eq!((far.have, far.of, far.done), (3, 7, true));
    assert!(!acks::delivered(&asked, false, |_| true, &have, false).done, "not in the log");
    assert!(!acks::delivered(&asked, true, |_| true, &have, true).done);
}

#[test]
fn each_makes_the_key_in_turn() {
    let mut team = Team::new(GroupType::Group, 0);
    team.people[3].now = vec![0, 1];
    team.add(0, &[1, 2, 3]).unwrap();
    team.say(0, Act::Promote(team.account(2))).unwrap();
    let turns = keys::turns(team.chain.state());
    assert_eq!(turns.len(), 5);
    let bosses: BTreeSet<_> = turns[..2].iter().map(|(account, _)| *account).collect();
    assert_eq!(bosses, BTreeSet::from([team.account(0), team.account(2)]));
    assert_eq!(keys::wait_when_missing(0), Duration::from_secs(10));
    assert_eq!(keys::wait_when_missing(3), Duration::from_secs(40));
    assert_eq!((keys::wait_when_daily(0), keys::wait_when_daily(2)), (Duration::ZERO, Duration::from_secs(120)));
    assert!(keys::wait_when_missing(u32::MAX) > Duration::from_secs(10));
}

/// Far beyond the states that are kept: words about what could not be opened go back and judge anew, and whoever opens all of it
/// at once comes to the same.
#[test]
fn a_long_chain_is_judged_alike_step_by_step_and_at_once() {
    let mut team = Team::new(GroupType::Group, 0);
    team.add(0, &[1, 2, 3, 4]).unwrap();
    team.say(0, Act::Promote(team.account(1))).unwrap();
    team.say(0, Act::Promote(team.account(2))).unwrap();
    let mut rng = crate::policy::seeded::Random(7);
    let mut made = 0;
    while team.chain.state().next < 2_600 {
        let number = team.chain.state().next;
        let (owner, admins) = (team.chain.state().owner, team.chain.state().admins.clone());
        let account = if admins.is_empty() || rng.chance(40) { owner } else { *rng.of(&admins) };
        let boss = team.people.iter().position(|person| person.account == account).unwrap();
        let who = if rng.chance(50) { boss } else { rng.below(5) };
        let list = rng.chance(40);
        let back = *rng.of(&[1, 5, 40, 400, 1_000, 1_100]) as u32;
        let unopened: Vec<u32> = (number.saturating_sub(back)..number)
            .filter(|at| list && rng.chance(if number - at > 40 { 1 } else { 25 }))
            .collect();
        let target = team.account(rng.below(5));
        let act = match rng.below(30) {
            0 => Act::Promote(target),
            1 => Act::Demote(target),
            2 => Act::Remove(target),
            3..=5 => {
                let (account, group) = (target, team.chain.state().group);
                let after = team.chain.state().ended.get(&account).map_or([0; 32], |end| end.by);
                let person = team.people.iter().find(|person| person.account == account).unwrap();
                Act::Add(Add { consents: vec![person.consent(&group, after, true)], join: None })
            }
            6 => Act::Handover(target),
            7 => Act::Key,
            _ => Act::Set(Box::new(Set { name: Some(format!("{number}")), ..Set::default() })),
        };
        let verified = team.made(who, act, unopened);
        let place = team.place();
        let _ = team.chain.append(place, Some(verified));
        made += 1;
    }
    let mut late = Team::new(GroupType::Group, 0).chain;
    for entry in &team.chain.entries()[1..] {
        let _ = late.append(entry.place, None);
    }
    let opened = team.chain.entries().iter().zip(0..).skip(1);
    late.open(opened.map(|(entry, number)| (number, entry.event.clone().unwrap())));
    let verdicts = |chain: &Chain| chain.entries().iter().map(|entry| entry.verdict).collect::<Vec<_>>();
    let hidden = verdicts(&late).iter().filter(|verdict| **verdict == Err(Refused::Hidden)).count();
    let counted = verdicts(&late).iter().filter(|verdict| verdict.is_ok()).count();
    println!("figure: {} events, {counted} count, {hidden} were hidden", made);
    assert!(hidden > 20 && counted > 300, "too little happens: {hidden} hidden, {counted} count");
    assert_eq!(verdicts(&team.chain), verdicts(&late));
    assert_eq!(team.chain.state(), late.state());
}

/// A room at its real size, events at their real number: who has how many, and how long it takes.
#[test]
fn the_last_events_are_the_owners_and_a_room_is_full_at_its_limit() {
    let mut room = Team::new(GroupType::Room, MAX_ROOM_MEMBERS + 1);
    let all: Vec<usize> = (1..MAX_ROOM_MEMBERS).collect();
    for some in all.chunks(64) {
        room.add(0, some).unwrap();
    }
    assert_eq!(room.chain.state().members.len(), MAX_ROOM_MEMBERS);
    assert_eq!(room.add(0, &[MAX_ROOM_MEMBERS]), Err(Refused::Full));
    room.append(9, Act::Key, vec![], true).unwrap_err();
    let hidden = room.last.clone();
    let limit = if cfg!(debug_assertions) { room.chain.state().next + 5_000 } else { MAX_EVENTS - OWNER_EVENTS };
    let begin = Instant::now();
    let (mut made, mut taken) = (Duration::ZERO, Duration::ZERO);
    let (mut worst, mut slow, mut count) = (Duration::ZERO, 0, 0u32);
    let mut verdicts = Vec::new();
    while room.chain.state().next < limit {
        let number = room.chain.state().next;
        let act = if number.is_multiple_of(2) { Act::Promote(room.account(5)) } else { Act::Demote(room.account(5)) };
        let since = Instant::now();
        let verified = room.made(0, act, vec![]);
        let place = room.place();
        made += since.elapsed();
        let since = Instant::now();
        verdicts.push(room.chain.append(place, Some(verified)).is_ok());
        let took = since.elapsed();
        (taken, worst, count) = (taken + took, worst.max(took), count + 1);
        slow += u32::from(took > Duration::from_millis(1));
    }
    println!(
        "figure: {count} events on {MAX_ROOM_MEMBERS} members folded in {:.1} ms, {:.4} ms for one, at most {:.3} ms, {slow} over 1 ms; made in {:.0} ms, \
         all in {:.0} ms",
        taken.as_secs_f64() * 1e3,
        taken.as_secs_f64() * 1e3 / f64::from(count),
        worst.as_secs_f64() * 1e3,
        made.as_secs_f64() * 1e3,
        begin.elapsed().as_secs_f64() * 1e3,
    );
    assert!(verdicts[1..].iter().all(|counts| *counts));
    if limit == MAX_EVENTS - OWNER_EVENTS {
        assert_eq!(room.say(7, Act::Key), Err(Refused::ChainFull));
        assert_eq!(room.leave(8), Ok(()), "nobody is held");
        assert_eq!(room.say(0, Act::Key), Ok(()));
        while room.chain.state().next < MAX_EVENTS - 1 {
            let place = room.place();
            let _ = room.chain.append(place, None);
        }
        assert_eq!(room.say(0, Act::Key), Ok(()));
        let place = room.place();
        assert_eq!(room.chain.append(place, None), Err(Refused::Unopened));
    }
    let number = room.chain.state().next;
    let since = Instant::now();
    room.chain.open(hidden);
    println!("figure: {number} events judged again in {:.1} ms", since.elapsed().as_secs_f64() * 1e3);
}
