//! How much there may be in a log, how often, and for how long, against both engines.

use proto::directory::groups::{Append, EntryKind};

use super::Engine;
use super::groups::{founded, full, lost};
use super::house::{House, person};
use super::team::{account, key, public};
use crate::store::command::{GroupQueries, Writer};
use crate::store::error::StoreError;
use crate::store::request::RESERVED_SECONDS;

const DAY: u64 = 86_400;

pub fn one_writer_has_an_eighth_and_the_log_key_the_last<E: Engine>(mut house: House<E>) {
    let team = founded(&mut house);
    // 80 entries: 10 of one, 70 without the log key.
    for writer in 0..7u8 {
        for n in 0..10u8 {
            house.append(team.message(account(writer), &[writer, n])).unwrap();
        }
        assert!(full(house.append(team.message(account(writer), &[writer, 99]))), "{writer}");
    }
    assert!(full(house.append(team.message(account(8), b"an honest one"))));
    assert!(full(house.stage(team.keys(account(8), b"seeds"))));
    for n in 0..10u8 {
        house.append(team.proved(team.message(account(9), &[n]), 0)).unwrap();
    }
    assert!(full(house.append(team.proved(team.message(account(9), b"one more"), 0))));
    // Whoever has the log key sees whose they are, and drops them; each leaves its hash.
    let flood: Vec<u64> = (1..=20).collect();
    let kept = house.keep(team.keep(false, &flood, &[])).unwrap();
    let of_two = |(number, writer): &(u64, Writer)| *writer == account(u8::from(*number > 10));
    assert!(kept.writers.iter().all(of_two) && kept.writers.len() == 20);
    assert_eq!(house.keep(team.keep(true, &flood, &[])).unwrap().dropped, 20);
    assert!(house.append(team.message(account(8), b"an honest one")).is_ok());
    let read = house.read_all(&team);
    assert!(read[..20].iter().all(|(_, _, entry)| entry.is_none()) && read.len() == 81);
    assert!(!house.append(team.message(account(0), &[0, 3])).unwrap().created, "what was dropped does not come again");
}

pub fn bytes_are_shared_as_entries_are<E: Engine>(mut house: House<E>) {
    let team = founded(&mut house);
    let large = vec![7; 24_000];
    let with = |n: u8| [&large[..], &[n]].concat();
    assert!(house.append(team.message(account(1), &with(0))).is_ok());
    assert!(house.append(team.message(account(1), &with(1))).is_ok());
    assert!(full(house.append(team.message(account(1), &with(2)))), "an eighth of 400,000");
    assert!(full(house.stage(team.keys(account(1), &with(3)))), "staged or not");
    assert!(full(house.put_slot(team.slot(account(1), &key("device"), 1, &large[..16_000]))));
    assert!(house.append(team.message(Writer::Place([1; 8]), &with(4))).is_ok());
    // The directory's room: those who have much are refused first.
    let other = super::team::team("other");
    house.create(&person("alice"), &other).unwrap();
    house.bounds.groups.total_bytes = 140_000;
    assert!(full(house.append(team.message(account(3), &with(5)))));
    assert!(house.append(other.message(account(3), &with(6))).is_ok());
}

pub fn appends_are_counted_by_the_minute_and_lost_races_are_not<E: Engine>(mut house: House<E>) {
    let team = founded(&mut house);
    house.bounds.groups.entries = 8_000;
    house.now = 6_000;
    house.append(team.event(account(1), 0, b"genesis")).unwrap();
    for n in 1..30u8 {
        lost(house.append(team.event(account(1), 0, &[n])));
        house.append(team.message(account(1), &[n])).unwrap();
    }
    assert!(matches!(house.append(team.message(account(1), b"31")), Err(StoreError::TooOften(60))));
    assert!(house.append(team.message(account(2), b"31")).is_ok(), "each by itself");
    assert!(house.append(team.proved(team.message(account(1), b"31 of an admin"), 0)).is_ok());
    let mut here = team.message(account(1), b"from this machine");
    here.exempt = true;
    assert!(house.append(here).is_ok());
    house.now += 60;
    assert!(house.append(team.message(account(1), b"in the next minute")).is_ok());
}

pub fn events_stay_and_the_rest_has_its_time<E: Engine>(mut house: House<E>) {
    let team = founded(&mut house);
    house.append(team.event(account(1), 0, b"genesis")).unwrap();
    let with_keys = |house: &mut House<E>, after, name: &str| {
        let keys = team.keys(account(1), name.as_bytes());
        let staged = vec![keys.hash];
        house.stage(keys).unwrap();
        let event = Append { after, staged, ..Append::new(EntryKind::Event, [name.as_bytes(), b"!"].concat()) };
        house.append(team.append(account(1), event)).unwrap().place.number
    };
    let second = with_keys(&mut house, 1, "first key");
    house.append(team.message(account(1), b"hello")).unwrap();
    house.append(team.keys(account(1), b"an answer to a laggard")).unwrap();
    house.now += 36 * DAY;
    // Before the sweep and after it.
    for _ in 0..2 {
        let left: Vec<u64> =
            house.read_all(&team).into_iter().filter_map(|(number, _, entry)| entry.map(|_| number)).collect();
        assert_eq!(left, [1, 2, 3], "the newest keys stay, however old");
        house.sweep();
    }
    assert_eq!(house.group(&team).unwrap().room.dropped, 2);
    let third = with_keys(&mut house, second, "second key");
    house.now += 34 * DAY;
    house.sweep();
    assert!(house.read_all(&team)[1].2.is_some(), "keys that were superseded stay for 35 days");
    house.now += 2 * DAY;
    house.sweep();
    let left = house.read_all(&team);
    assert!(left[1].2.is_none() && left[third as usize - 2].2.is_some());
}

pub fn slots_only_go_forward_and_are_bounded<E: Engine>(mut house: House<E>) {
    let team = founded(&mut house);
    let device = key("device");
    assert_eq!(house.put_slot(team.slot(account(1), &device, 5, b"five")).unwrap(), 5);
    assert_eq!(house.put_slot(team.slot(account(1), &device, 5, b"five")).unwrap(), 5, "the answer was lost");
    for counter in [5, 4, 0] {
        let old = house.put_slot(team.slot(account(1), &device, counter, b"replayed"));
        assert!(matches!(old, Err(StoreError::Conflict { .. })), "{counter}");
    }
    assert!(matches!(
        house.put_slot(team.slot(account(1), &device, 6 + (1 << 32), b"used up")),
        Err(StoreError::Conflict { .. })
    ));
    assert_eq!(house.put_slot(team.slot(account(2), &device, 6, b"six")).unwrap(), 6);
    let found = house.look(|db| db.slots(team.log, None, 9, 9_999).unwrap());
    assert_eq!((found.slots.len(), house.group(&team).unwrap().room.slots), (1, 1));
    house.bounds.groups.bytes = 40_000_000;
    for n in 0..511u32 {
        house.put_slot(team.slot(account(1), &key(&format!("device {n}")), 1, b"")).unwrap();
    }
    assert!(full(house.put_slot(team.slot(account(1), &key("one more"), 1, b""))));
    let mut pages = (0, None);
    loop {
        let found = house.look(|db| db.slots(team.log, pages.1.as_ref(), 100, usize::MAX).unwrap());
        pages.0 += found.slots.len();
        pages.1 = found.slots.last().map(|(key, _)| *key);
        if !found.more {
            break;
        }
    }
    assert_eq!(pages.0, 512);
    assert_eq!(house.keep(team.keep(true, &[], &[public(&device), [0; 32]])).unwrap().dropped, 1);
    assert_eq!(house.group(&team).unwrap().room.slots, 511);
}

pub fn logs_of_an_account_that_left_stay_while_its_name_rests<E: Engine>(mut house: House<E>) {
    let (alice, team) = (person("alice"), founded(&mut house));
    house.append(team.message(account(1), b"hello")).unwrap();
    house.release(&alice).unwrap();
    house.now += RESERVED_SECONDS as u64 - 1;
    house.sweep();
    assert!(house.append(team.message(account(1), b"we move elsewhere")).is_ok());
    house.publish(&alice, 2).unwrap();
    house.now += 2;
    house.sweep();
    assert!(house.group(&team).is_some(), "she is back");
    house.release(&alice).unwrap();
    house.now += RESERVED_SECONDS as u64 + 1;
    house.sweep();
    assert!(house.group(&team).is_none());
    assert_eq!((house.sums().groups, house.sums().entries, house.sums().group_bytes), (0, 0, 0));
}
