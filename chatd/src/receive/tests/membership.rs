//! Who may ask under the policy `members`, whose budget a request uses, and what work buys.

use ed25519_dalek::SigningKey as DalekKey;
use proto::directory::membership::{CLOCK_SKEW_SECONDS, MEMBERSHIP_SECONDS};
use proto::directory::{ContactPolicy, Membership, SignedMembership};
use proto::ids::AccountId;
use proto::time::Timestamp;
use proto::wire::work::{shown, solve};

use super::*;
use crate::store::account;
use crate::store::peers::trust;
use crate::store::tests::fixture::{HOME, HOME_KEY, sign_record};

fn now() -> i64 {
    Timestamp::now().unix_seconds()
}

fn statement(origin: &str, account: AccountId, issued: i64, key: &DalekKey) -> Vec<u8> {
    SignedMembership::issue(origin, account, issued, key).encode()
}

fn request(from: &Person, to: &Person, membership: &[u8]) -> Vec<u8> {
    sealed(from, to, &[from.core(to, "contact.request", 0, &from.card_with(1, membership))])
}

fn pending(person: &Person) -> u32 {
    person.write(|tx| tx.read(trust::pending_requests)).unwrap()
}

/// Somebody who takes requests from anyone.
fn open_person(name: &str) -> Person {
    let person = Person::new(name);
    let record = sign_record(&person.identity, name, 2, &[&person.device], Some(&person.prekey), ContactPolicy::Open);
    person.write(move |tx| account::set_own_record(tx, &record, 2)).unwrap();
    person
}

#[test]
fn only_a_statement_of_the_own_directory_about_this_account_lets_a_member_in() {
    let (alice, bob, carol) = (Person::new("alice"), Person::new("bob"), Person::new("carol"));
    let other = DalekKey::from_bytes(&[9; 32]);
    let before = fingerprint(&bob);
    let mut forged = SignedMembership::issue(HOME, alice.account, now(), &HOME_KEY);
    forged.signature[5] ^= 1;
    // The key inside is the right one, and another one signed.
    let said = Membership {
        origin: HOME.into(),
        key: HOME_KEY.verifying_key().to_bytes(),
        account: alice.account,
        issued: now(),
        expires: now() + 60,
    };
    let long = Membership { expires: now() + 10 * MEMBERSHIP_SECONDS, ..said.clone() };
    for (what, membership) in [
        ("none: the record's own origin proves nothing", Vec::new()),
        ("of another key", statement(HOME, alice.account, now(), &other)),
        ("signed by another key", SignedMembership::sign(&said, &other).encode()),
        ("forged", forged.encode()),
        ("of another domain", statement("other.example", alice.account, now(), &HOME_KEY)),
        ("about somebody else, taken from her request", carol.membership()),
        ("expired", statement(HOME, alice.account, now() - MEMBERSHIP_SECONDS - CLOCK_SKEW_SECONDS - 1, &HOME_KEY)),
        ("of tomorrow", statement(HOME, alice.account, now() + CLOCK_SKEW_SECONDS + 60, &HOME_KEY)),
        ("for longer than any", SignedMembership::sign(&long, &HOME_KEY).encode()),
        ("no statement at all", vec![0x92, 0xc4]),
    ] {
        assert!(take(&inbox(&bob), request(&alice, &bob, &membership)).is_ignored(), "{what}");
        assert_eq!(fingerprint(&bob), before, "{what}");
    }
    // A clock that is a little off is no reason.
    let held = statement(HOME, alice.account, now() - MEMBERSHIP_SECONDS + 5, &HOME_KEY);
    assert!(take(&inbox(&bob), request(&alice, &bob, &held)).is_silent());
    assert_eq!(pending(&bob), 1);
}

#[test]
fn a_known_account_is_asked_for_its_statement_again() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    assert!(take(&inbox(&bob), request(&alice, &bob, &alice.membership())).is_silent());
    bob.wish(&alice, crate::policy::contact::Event::UserRejects);
    // She is known now, and a member no more.
    assert!(take(&inbox(&bob), request(&alice, &bob, &[])).is_silent());
    assert_eq!(pending(&bob), 0);
    assert!(take(&inbox(&bob), request(&alice, &bob, &alice.membership())).is_silent());
    assert_eq!(pending(&bob), 1);
    // Whom bob has asked himself needs no leave.
    let carol = Person::new("carol");
    bob.wish(&carol, crate::policy::contact::Event::UserAdds);
    carol.meet(&bob);
    assert!(take(&inbox(&bob), request(&carol, &bob, &[])).is_silent());
    assert!(bob.row(&carol).state.may_talk() || pending(&bob) == 2, "{:?}", bob.row(&carol).state);
}

#[test]
fn a_domain_of_ones_own_choice_buys_no_budget_and_a_proved_one_has_its_own() {
    let bob = open_person("bob");
    let inbox = inbox_with(&bob, &Limits { request_work_bits: NonZeroU32::new(24).unwrap(), ..Limits::default() });
    let mut taken = 0;
    for n in 0..40 {
        let mallory = Person::new(&format!("mallory{n}"));
        taken += u32::from(take(&inbox, request(&mallory, &bob, &[])).is_silent());
    }
    assert_eq!(taken, 10, "strangers share one budget, whatever their records say");
    let alice = Person::new("alice");
    assert!(take(&inbox, request(&alice, &bob, &alice.membership())).is_silent(), "a member is not in it");
    println!("figure: 40 throw-away identities: {taken} requests taken, a proved member's passes");
    assert_eq!(pending(&bob), 11);
}

/// The same envelope with work.
fn stamped(envelope: &[u8], bits: u8, window: u64) -> Vec<u8> {
    let outer = Outer::decode(envelope).unwrap();
    let work = solve(&outer, bits, window, || true);
    Outer { work, ..outer }.encode()
}

#[test]
fn junk_identities_close_the_ordinary_lane_and_an_honest_stranger_gets_in_with_work() {
    let bob = open_person("bob");
    let limits = Limits { request_work_bits: NonZeroU32::new(6).unwrap(), ..Limits::default() };
    let inbox = inbox_with(&bob, &limits);
    let people: Vec<Person> = (0..20).map(|n| Person::new(&format!("mallory{n}"))).collect();
    let outcomes: Vec<Outcome> = people.iter().map(|m| take(&inbox, request(m, &bob, &[]))).collect();
    let taken = outcomes.iter().filter(|outcome| outcome.is_silent()).count();
    let alice = Person::new("alice");
    let asks = request(&alice, &bob, &[]);
    let Outcome::Work { bits, window } = take(&inbox, asks.clone()) else { panic!("no way past") };
    // Not for what it was done for, not of its time, too little.
    let good = stamped(&asks, bits, window);
    let work = Outer::decode(&good).unwrap().work;
    let other = (0..100).map(|_| request(&alice, &bob, &[])).find(|other| {
        let outer = Outer { work, ..Outer::decode(other).unwrap() };
        shown(&outer, 0, u64::MAX) < bits
    });
    let other = other.unwrap();
    let moved = Outer { work, ..Outer::decode(&other).unwrap() }.encode();
    for (what, bad) in [
        ("of another envelope", moved),
        ("made in store", stamped(&asks, bits, window + 2)),
        ("stale", stamped(&asks, bits, window - 2)),
    ] {
        assert!(matches!(take(&inbox, bad), Outcome::Work { .. }), "{what}");
    }
    assert!(take(&inbox, good).is_silent());
    println!("figure: 20 junk identities: {taken} taken; an honest stranger: refused, then taken with {bits} bits");
    assert_eq!((taken, pending(&bob)), (10, 11));
}

#[test]
fn the_places_that_wait_are_opened_by_work_as_often_again_and_no_more() {
    let bob = open_person("bob");
    let three = NonZeroU32::new(3).unwrap();
    let bits = NonZeroU32::new(2).unwrap();
    let inbox = inbox_with(&bob, &Limits { pending_requests: three, request_work_bits: bits, ..generous() });
    let mut worked = 0;
    for n in 0..12 {
        let person = Person::new(&format!("person{n}"));
        let asks = request(&person, &bob, &[]);
        if let Outcome::Work { bits, window } = take(&inbox, asks.clone()) {
            worked += 1;
            assert!(take(&inbox, stamped(&asks, bits, window)).is_silent());
        }
    }
    assert_eq!((worked, pending(&bob)), (9, 6));
}
