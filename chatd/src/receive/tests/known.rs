//! Envelopes of people whose key is known.

use proto::ids::{ConversationId, DeviceId};
use proto::wire::envelope::{AckEntry, Core, Wrap};
use proto::wire::payload::{Kind, Profile, Receipt};

use super::*;
use crate::model::MessageState;
use crate::model::ids::OutStreamRow;
use crate::policy::contact::Event;
use crate::store::contacts::requests;
use crate::store::delivery::attempts::{self, AttemptNote};
use crate::store::delivery::outbox;
use crate::store::log::told::resume_entries;
use crate::store::tests::fixture::text_payload;
use crate::store::tests::streams::{Link, stream};

fn friends() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

fn text(from: &Person, to: &Person, seq: u64) -> Vec<u8> {
    from.core(to, "text", seq, &text_payload("hello"))
}

#[test]
fn a_contacts_messages_are_shown_and_acknowledged() {
    let (alice, bob) = friends();
    alice.send(&bob, &["one", "two"]);
    let envelope = sealed(&alice, &bob, &alice.outbox(&bob));
    let inbox = inbox(&bob);
    let receipt = take(&inbox, envelope.clone()).receipt();
    assert_eq!(bob.shown(&alice), ["one", "two"]);
    let contact = bob.id(&alice);
    assert_eq!(receipt.entries, bob.read(|conn| resume_entries(conn, contact, alice.device_id())));
    assert!(!receipt.silent);
    // A replay changes nothing, and says again what is there.
    let again = take(&inbox, envelope).receipt();
    assert_eq!(again.entries, receipt.entries);
    assert_eq!(bob.row(&alice).unread, 2);
    alice.acknowledged(&bob, receipt.entries);
    assert!(alice.outbox(&bob).is_empty());
}

#[test]
fn messages_in_the_envelope_of_the_acceptance_are_shown() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.wish(&bob, Event::UserAdds);
    alice.tell(&bob);
    bob.wish(&alice, Event::UserAccepts);
    bob.send(&alice, &["welcome"]);
    let accept = bob.signals(&alice).into_iter().find(|signal| signal.kind == Kind::ContactAccept).unwrap();
    let mut cores = bob.outbox(&alice);
    // Whatever its place in the envelope.
    cores.push(accept.core);
    let receipt = take(&inbox(&alice), sealed(&bob, &alice, &cores)).receipt();
    assert_eq!(alice.shown(&bob), ["welcome"]);
    assert!(alice.row(&bob).state.may_talk());
    assert_eq!((receipt.entries.len(), receipt.ids), (1, vec![accept.msgid]));
}

#[test]
fn nothing_of_a_non_contact_is_stored_or_acknowledged() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    bob.meet(&alice);
    let taken = |bob: &Person| {
        let before = fingerprint(bob);
        let ack = AckEntry {
            from_device: bob.device_id(),
            conversation: ConversationId::direct(bob.account, alice.account),
            epoch: bob
                .outbox(&alice)
                .first()
                .map_or(proto::ids::Epoch([0; 8]), |core| Core::decode(core).unwrap().epoch),
            contiguous: 100,
            ranges: Vec::new(),
            head: None,
        };
        let profile = Profile { version: 9, display_name: "A", status: "", bio: "" }.encode();
        let cores = [text(&alice, bob, 1), alice.core(bob, "profile", 0, &profile)];
        let outcome = take(&inbox(bob), sealed_with(&alice, bob, vec![ack], &cores));
        let same = before == fingerprint(bob) && bob.row(&alice).profile.version == 0;
        (outcome, same)
    };
    for state in ["seen only", "asked by us", "asks us", "removed"] {
        match state {
            "asked by us" => {
                bob.wish(&alice, Event::UserAdds);
                bob.send(&alice, &["waits"]);
            }
            "asks us" => {
                bob.wish(&alice, Event::UserRemoves);
                alice.wish(&bob, Event::UserAdds);
                alice.tell(&bob);
            }
            "removed" => {
                bob.wish(&alice, Event::UserAccepts);
                bob.wish(&alice, Event::UserRemoves);
            }
            _ => {}
        }
        let (outcome, same) = taken(&bob);
        assert!(outcome.is_silent() && same, "{state}");
    }
    bob.wish(&alice, Event::UserBlocks);
    let (outcome, same) = taken(&bob);
    assert!(outcome.is_ignored() && same, "blocked");
}

#[test]
fn what_was_refused_before_the_acceptance_is_shown_after_it() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.wish(&bob, Event::UserAdds);
    alice.tell(&bob);
    alice.send(&bob, &["early"]);
    let (inbox, envelope) = (inbox(&bob), sealed(&alice, &bob, &alice.outbox(&bob)));
    assert!(take(&inbox, envelope.clone()).is_silent());
    bob.wish(&alice, Event::UserAccepts);
    assert_eq!(take(&inbox, envelope).receipt().entries[0].contiguous, 1);
    assert_eq!(bob.shown(&alice), ["early"]);
}

#[test]
fn a_block_that_comes_first_counts() {
    let (alice, bob) = friends();
    let (contact, inbox) = (bob.id(&alice), inbox(&bob));
    let envelope = sealed(&alice, &bob, &[text(&alice, &bob, 1)]);
    let receipt = run(async {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let first = bob.store.enqueue(move |_| Ok(wait.recv().is_ok())).await.unwrap();
        let block = bob
            .store
            .enqueue(move |tx| requests::apply_user_event(tx, contact, Event::UserBlocks, "").map(drop))
            .await
            .unwrap();
        // Opened while the block is not committed yet.
        let Verdict::Taken(taken) = inbox.take(envelope, Way::Link).await else { panic!("not taken") };
        go.send(()).unwrap();
        let _ = (first.outcome().await, block.outcome().await);
        taken.outcome.outcome().await.unwrap()
    });
    assert!(receipt.silent && receipt.entries.is_empty());
    assert!(bob.shown(&alice).is_empty());
}

#[test]
fn acknowledgements_ride_along() {
    let (alice, bob) = friends();
    let ids = alice.send(&bob, &["one"]);
    let contact = alice.id(&bob);
    let stream =
        alice.read(|conn| outbox::outbox_after(conn, bob.as_device(contact), (OutStreamRow(0), 0), 1))[0].stream;
    alice
        .write(move |tx| {
            let at = proto::time::Timestamp::now();
            let outcome = crate::model::Outcome::Sent;
            attempts::attempt(tx, contact, &AttemptNote { stream, low: 1, high: 1, path: "direct", outcome, at })
        })
        .unwrap();
    let received = bob.receive(&alice, &alice.outbox(&bob));
    let receipt = take(&inbox(&alice), sealed_with(&bob, &alice, received.entries, &[])).receipt();
    assert!(
        receipt.entries.is_empty() && receipt.ids.is_empty(),
        "an envelope that only acknowledges is not acknowledged"
    );
    assert_eq!(alice.state(ids[0]).0, MessageState::Delivered);
}

#[test]
fn cores_that_do_not_belong_here_are_dropped_and_not_acknowledged() {
    let (alice, bob) = friends();
    let carol = Person::new("carol");
    let before = fingerprint(&bob);
    let good = text(&alice, &bob, 1);
    let core = Core::decode(&good).unwrap();
    let wrong = [
        Core { conversation: ConversationId([1; 16]), ..core.clone() }.encode(),
        Core { conversation: ConversationId::direct(bob.account, carol.account), ..core.clone() }.encode(),
        Core { to: carol.account, ..core.clone() }.encode(),
        Core { seq: 0, ..core.clone() }.encode(),
        Core { kind: "receipt", ..core.clone() }.encode(),
        Core { kind: "contact.remove", ..core.clone() }.encode(),
    ];
    let receipt = take(&inbox(&bob), sealed(&alice, &bob, &wrong)).receipt();
    assert!(receipt.entries.is_empty() && receipt.ids.is_empty());
    assert_eq!(fingerprint(&bob), before);
    assert!(bob.row(&alice).state.may_talk());
    // Beside them, what fits is taken.
    let mixed: Vec<Vec<u8>> = wrong.into_iter().chain([good]).collect();
    assert_eq!(take(&inbox(&bob), sealed(&alice, &bob, &mixed)).receipt().entries.len(), 1);
    assert_eq!(bob.shown(&alice), ["hello"]);
}

#[test]
fn a_core_of_another_sender_refuses_the_whole_envelope() {
    let (alice, bob) = friends();
    let carol = Person::new("carol");
    carol.befriend(&bob);
    let before = fingerprint(&bob);
    let own = text(&alice, &bob, 1);
    for foreign in [
        text(&carol, &bob, 1),
        Core { from: carol.account, ..Core::decode(&own).unwrap() }.encode(),
        Core { from_device: carol.device_id(), ..Core::decode(&own).unwrap() }.encode(),
        b"no core".to_vec(),
    ] {
        assert!(take(&inbox(&bob), sealed(&alice, &bob, &[own.clone(), foreign])).is_blamed());
    }
    assert_eq!(fingerprint(&bob), before);
}

#[test]
fn nobody_writes_in_anothers_name() {
    let (alice, bob) = friends();
    let (carol, mallory) = (Person::new("carol"), Person::new("mallory"));
    alice.befriend(&carol);
    mallory.befriend(&carol);
    let envelope = sealed(&alice, &bob, &[text(&alice, &bob, 1)]);
    let (signature, wrap, body) = parts(&plaintext(&envelope, &bob));
    // Bob passes alice's message on to carol, as if it were for her.
    let target = |wrap: &[u8]| Wrap {
        to_device: carol.device_id(),
        prekey_id: carol.prekey.id(),
        recipient_hash: *carol.prekey.public().recipient_hash(),
        ..Wrap::decode(wrap).unwrap()
    };
    let as_it_is = put_together(&signature, &wrap, &body);
    let addressed = put_together(&signature, &target(&wrap).encode(), &body);
    // Mallory signs for alice; and bob, whose keys are all stolen, signs for alice.
    let sign = |wrap: &Wrap, key: &crate::crypto::keys::SigningKey| {
        let bytes = wrap.encode();
        put_together(&key.sign(&[b"chatd/wrap/1\0", &bytes]), &bytes, &body)
    };
    let by_mallory = sign(&target(&wrap), &mallory.device);
    let by_bob = sign(&target(&wrap), &bob.device);
    // Mallory's own device in alice's account, and alice's device in mallory's.
    let mixed = sign(&Wrap { from_device: mallory.device_id(), ..target(&wrap) }, &mallory.device);
    let crossed = sign(&Wrap { from: mallory.account, ..target(&wrap) }, &mallory.device);
    let before = fingerprint(&carol);
    for (n, forged) in [as_it_is, addressed, by_mallory, by_bob, mixed, crossed].iter().enumerate() {
        assert!(take(&inbox(&carol), wrapped_up(forged, &carol)).is_blamed(), "{n}");
    }
    // To bob himself, with bob's prekey and device key stolen.
    let own = Wrap::decode(&wrap).unwrap();
    for key in [&mallory.device, &bob.device, &bob.identity] {
        assert!(take(&inbox(&bob), wrapped_up(&sign(&own, key), &bob)).is_blamed());
    }
    assert_eq!(fingerprint(&carol), before);
    assert!(bob.shown(&alice).is_empty() && carol.shown(&alice).is_empty());
}

#[test]
fn what_is_not_for_this_device_is_refused() {
    let (alice, bob) = friends();
    let envelope = sealed(&alice, &bob, &[text(&alice, &bob, 1)]);
    let outer = Outer::decode(&envelope).unwrap();
    let inbox = inbox(&bob);
    let code = |outer: &Outer<'_>| match take(&inbox, outer.encode()) {
        Outcome::Refused(code) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(&Outer { to_device: DeviceId([1; 16]), ..outer.clone() }), RefuseCode::Offline);
    assert_eq!(code(&Outer { prekey_id: proto::ids::PrekeyId([1; 8]), ..outer.clone() }), RefuseCode::PrekeyGone);
    assert!(matches!(take(&inbox, b"noise".to_vec()), Outcome::Refused(RefuseCode::Malformed)));
    for other in [0, 1, 3, 255] {
        assert!(take(&inbox, Outer { suite: other, ..outer.clone() }.encode()).is_blamed(), "suite {other}");
    }
    let mut broken = outer.ciphertext.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert!(take(&inbox, Outer { ciphertext: &broken, ..outer.clone() }.encode()).is_blamed());
    assert!(bob.shown(&alice).is_empty());
    // The right one still is.
    assert_eq!(take(&inbox, envelope).receipt().entries.len(), 1);
}

#[test]
fn receipts_and_profiles_of_a_contact_count() {
    let (alice, bob) = friends();
    let ids = alice.send(&bob, &["one"]);
    alice.deliver(&bob);
    let receipt = Receipt { epoch: [0; 8], seq: 1, id: ids[0] }.encode();
    let profile = Profile { version: 1, display_name: "Bob", status: "", bio: "" }.encode();
    let cores = [
        bob.core(&alice, "receipt", 0, &receipt),
        bob.core(&alice, "profile", 0, &profile),
        bob.core(&alice, "receipt", 0, b"broken"),
        bob.core(&alice, "typing", 0, b"of a later version"),
    ];
    let taken = take(&inbox(&alice), sealed(&bob, &alice, &cores)).receipt();
    assert_eq!(taken.ids.len(), 4, "all that come again for nothing are acknowledged");
    assert_eq!(alice.state(ids[0]).0, MessageState::Read);
    assert_eq!(alice.row(&bob).profile.display_name, "Bob");
}

#[test]
fn a_full_envelope_is_one_transaction() {
    let (alice, bob) = friends();
    let cores: Vec<Vec<u8>> = stream(&alice, &bob, 1, &[Link::Text; 200]).into_iter().map(|(_, core)| core).collect();
    let head = bob.store.hub().head();
    let mut hub = bob.store.hub().listen();
    let receipt = take(&inbox(&bob), sealed(&alice, &bob, &cores)).receipt();
    assert_eq!((receipt.entries[0].contiguous, bob.store.hub().head()), (200, head + 200));
    assert_eq!(hub.try_recv().unwrap().events.unwrap().len(), 200);
    assert!(hub.try_recv().is_err());
}

#[test]
fn reserved_kinds_take_their_place_unseen_and_hold_nothing_up() {
    let (alice, bob) = friends();
    let inbox = inbox(&bob);
    let mut prev = [0; 32];
    let mut cores = Vec::new();
    for (n, kind) in Kind::RESERVED.into_iter().chain(["text"]).enumerate() {
        assert!(kind == "text" || Kind::parse(kind).is_none());
        let core = alice.core(&bob, kind, n as u64 + 1, &text_payload("hello"));
        let bytes = Core { prev, ..Core::decode(&core).unwrap() }.encode();
        prev = sha256(&[&bytes]);
        cores.push(bytes);
    }
    let receipt = take(&inbox, sealed(&alice, &bob, &cores)).receipt();
    assert_eq!(receipt.entries[0].contiguous, 4);
    assert_eq!(bob.shown(&alice), ["hello"]);
    assert_eq!(bob.count("SELECT count(*) FROM events WHERE type = 2"), 0, "no gap is told");
}
