//! Context confusion: every kind of core, from everybody whom it could come from, in every place that it could stand in.
//! The table says what may happen; all that it does not allow must leave no trace and get no answer.

use proto::ids::ConversationId;
use proto::wire::envelope::Core;
use proto::wire::payload::{Kind, Profile, Receipt as ReadReceipt, Skip};

use super::*;
use crate::policy::contact::Event;
use crate::store::tests::fixture::text_payload;

/// Who the sender is to the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Contact,
    SomebodySeen,
    SomebodyWeAsked,
    SomebodyWhoAsks,
    SomebodyRemoved,
    SomebodyBlocked,
    Stranger,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// It is acknowledged.
    Count,
    /// The contact's state may change, and nothing else.
    ChangeTheContact,
    /// No trace, no acknowledgement.
    Nothing,
}

const SENDERS: [Sent; 7] = [
    Sent::Contact,
    Sent::SomebodySeen,
    Sent::SomebodyWeAsked,
    Sent::SomebodyWhoAsks,
    Sent::SomebodyRemoved,
    Sent::SomebodyBlocked,
    Sent::Stranger,
];
const WORDS: [&str; 9] = [
    "text",
    "skip",
    "contact.request",
    "contact.accept",
    "contact.reject",
    "contact.remove",
    "receipt",
    "profile",
    "kind.of.a.later.version",
];

/// The table, for a core that stands where its kind belongs. A new kind needs a row here, and a word above.
fn table(kind: Option<Kind>, sender: Sent) -> May {
    use May::{ChangeTheContact, Count, Nothing};
    match (sender, kind) {
        // Who ends it is told nothing more.
        (Sent::Contact, Some(Kind::ContactRemove)) => ChangeTheContact,
        (Sent::Contact, _) => Count,
        (Sent::SomebodyBlocked, _) => Nothing,
        (Sent::Stranger, Some(Kind::ContactRequest)) => ChangeTheContact,
        (Sent::Stranger, _) => Nothing,
        (_, Some(Kind::ContactRequest | Kind::ContactAccept | Kind::ContactReject | Kind::ContactRemove)) => {
            ChangeTheContact
        }
        (_, Some(Kind::Text | Kind::Skip | Kind::Receipt | Kind::Profile) | None) => Nothing,
    }
}

/// Alice, who sends, and bob.
fn people(sender: Sent) -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    match sender {
        Sent::Stranger => {}
        Sent::Contact => alice.befriend(&bob),
        Sent::SomebodySeen => drop(bob.meet(&alice)),
        Sent::SomebodyWeAsked => bob.wish(&alice, Event::UserAdds),
        Sent::SomebodyWhoAsks => {
            alice.wish(&bob, Event::UserAdds);
            alice.tell(&bob);
        }
        Sent::SomebodyRemoved => {
            alice.befriend(&bob);
            bob.wish(&alice, Event::UserRemoves);
        }
        Sent::SomebodyBlocked => {
            alice.befriend(&bob);
            bob.wish(&alice, Event::UserBlocks);
        }
    }
    (alice, bob)
}

fn payload(alice: &Person, word: &str) -> Vec<u8> {
    match Kind::parse(word) {
        Some(Kind::Text) => text_payload("hello"),
        Some(Kind::Skip) => Skip { low: 1, high: 1, reason: "expired" }.encode(),
        Some(Kind::ContactRequest | Kind::ContactAccept) => alice.card(1),
        Some(Kind::Receipt) => ReadReceipt { epoch: [0; 8], seq: 1, id: proto::ids::MessageId::now() }.encode(),
        Some(Kind::Profile) => Profile { version: 9, display_name: "A", status: "", bio: "" }.encode(),
        Some(Kind::ContactReject | Kind::ContactRemove) | None => Vec::new(),
    }
}

/// All that a core could change of bob's, the contact's state included.
fn trace(alice: &Person, bob: &Person) -> (Vec<i64>, String) {
    let contact = bob.read(|conn| crate::store::peers::by_account(conn, alice.account));
    (fingerprint(bob), contact.map_or_else(String::new, |row| format!("{:?} {}", row.state, row.profile.version)))
}

#[test]
fn every_kind_counts_in_its_context_only() {
    let (mut cells, mut refused) = (0, 0);
    for sender in SENDERS {
        // What must leave no trace shares one pair of people: a trace would show at once.
        let (alice, bob) = people(sender);
        let elsewhere = ConversationId([1; 16]);
        let someone = proto::ids::AccountId([2; 16]);
        for word in WORDS {
            let kind = Kind::parse(word);
            let good = |alice: &Person, bob: &Person, seq: u64| alice.core(bob, word, seq, &payload(alice, word));
            for (seq, direct, own) in [0, 2].into_iter().flat_map(|seq| {
                [(true, true), (true, false), (false, true), (false, false)].map(|(direct, own)| (seq, direct, own))
            }) {
                cells += 1;
                let in_place = direct && own && kind.is_none_or(|kind| kind.in_chain() == (seq > 0));
                let may = if in_place { table(kind, sender) } else { May::Nothing };
                let case = format!("{word} with seq {seq}, sent {sender:?}, conversation {direct}, recipient {own}");
                if may != May::Nothing {
                    allowed(may, sender, &case, |alice, bob| good(alice, bob, seq));
                    continue;
                }
                refused += 1;
                let bytes = good(&alice, &bob, seq);
                let mut core = Core::decode(&bytes).unwrap();
                core.conversation = if direct { core.conversation } else { elsewhere };
                core.to = if own { core.to } else { someone };
                let before = trace(&alice, &bob);
                match take(&inbox(&bob), sealed(&alice, &bob, &[core.encode()])) {
                    Outcome::Committed(receipt) => {
                        assert!(receipt.entries.is_empty() && receipt.ids.is_empty(), "{case}: acknowledged");
                    }
                    Outcome::Dropped { .. } => {}
                    Outcome::Refused(code) => panic!("{case}: the sender learns {code:?}"),
                    Outcome::Parked { .. } => panic!("{case}: it waits for a record"),
                    Outcome::Work { .. } => panic!("{case}: the sender learns that it opened"),
                }
                assert_eq!(trace(&alice, &bob), before, "{case}: a trace is left");
            }
        }
    }
    assert_eq!((cells, refused), (504, 504 - 10 - 4 * 4 - 1), "pairs of kind and context, and those to be refused");
}

/// What the table allows, on people of its own.
fn allowed(may: May, sender: Sent, case: &str, core: impl Fn(&Person, &Person) -> Vec<u8>) {
    let (alice, bob) = people(sender);
    let messages = |bob: &Person| {
        ["messages", "streams_in", "reorder_buffer"].map(|table| bob.count(&format!("SELECT count(*) FROM {table}")))
    };
    let before = messages(&bob);
    let outcome = take(&inbox(&bob), sealed(&alice, &bob, &[core(&alice, &bob)]));
    let Outcome::Committed(receipt) = outcome else { panic!("{case}: {outcome:?}") };
    match may {
        May::Count => assert!(!(receipt.entries.is_empty() && receipt.ids.is_empty()), "{case}: not acknowledged"),
        May::ChangeTheContact => assert_eq!(messages(&bob), before, "{case}: more than the contact has changed"),
        May::Nothing => {}
    }
}
