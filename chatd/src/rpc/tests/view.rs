//! What clients see of each word of the domain, to the letter: programs outside of this repository read it.
#![allow(clippy::unwrap_used)]

use proto::ids::{AccountId, ConversationId, MessageId};
use proto::reason::Reason;
use proto::rpc::event::{Event, EventType};
use proto::rpc::types;
use proto::time::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::{self, ContactChange, EventBody, EventKind, Outcome, Step};

const ID: MessageId = MessageId([1; 16]);
const BOB: AccountId = AccountId([2; 16]);
const CONVERSATION: ConversationId = ConversationId([3; 16]);

fn json_of(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn called() -> model::Called {
    model::Called { account: BOB, who: "bob".into(), label: Some("Bobby".into()) }
}

fn message() -> model::Message {
    model::Message {
        id: ID,
        conversation: CONVERSATION,
        from: "bob".into(),
        to: "alice".into(),
        peer: BOB,
        label: Some("Bobby".into()),
        body: "hello".into(),
        format: model::Format::Markdown,
        tags: vec!["a".into()],
        priority: model::Priority::High,
        sent_at: Timestamp(1_000),
        received_at: Some(Timestamp(2_000)),
        state: model::MessageState::Delivered,
        reason: Some("blocked".into()),
        state_at: Some(Timestamp(3_000)),
        reply_to: Some(ID),
        late: true,
        missing: 7,
    }
}

fn told_message() -> Value {
    json!({
        "id": "01010101-0101-0101-0101-010101010101", "conversation": "03".repeat(16), "from": "bob", "to": "alice",
        "peer": "02".repeat(16), "label": "Bobby", "body": "hello", "format": "markdown", "tags": ["a"], "priority": "high",
        "sent_at": "1970-01-01T00:00:01.000Z", "received_at": "1970-01-01T00:00:02.000Z", "state": "delivered",
        "reason": "blocked", "state_at": "1970-01-01T00:00:03.000Z", "reply_to": "01010101-0101-0101-0101-010101010101",
        "late": true, "missing": 7,
    })
}

fn contact() -> model::Contact {
    model::Contact {
        who: "Bobby".into(),
        name: "bob".into(),
        address: "bob@example.org".into(),
        label: Some("Bobby".into()),
        handle: Some(7),
        account: BOB,
        conversation: CONVERSATION,
        stage: model::ContactStage::GivenUp,
        reason: Some("request_expired".into()),
        trust: model::Trust::Changed,
        fingerprint: "1234".into(),
        new_fingerprint: Some("5678".into()),
        suite: Some(model::Suite::Hybrid),
        confirmed: true,
        blocked: true,
        muted_until: Some(Timestamp(1_000)),
        unread: 3,
        profile: Some(model::ProfileRow {
            version: 9,
            display_name: "Bob".into(),
            status: "away".into(),
            bio: "b".into(),
        }),
        request_text: Some("hi".into()),
        request_at: Some(Timestamp(2_000)),
    }
}

fn told_contact() -> Value {
    json!({
        "who": "Bobby", "name": "bob", "address": "bob@example.org", "label": "Bobby", "handle": "%7",
        "account": "02".repeat(16), "conversation": "03".repeat(16), "state": "given_up", "reason": "request_expired",
        "trust": "changed", "fingerprint": "1234", "new_fingerprint": "5678", "confirmed": true, "blocked": true,
        "encryption": {
            "suite": 2, "sealed": "mlkem768x25519", "signed": "ed25519",
            "post_quantum_confidentiality": true, "post_quantum_authentication": false,
        },
        "muted_until": "1970-01-01T00:00:01.000Z", "unread": 3,
        "profile": {"display_name": "Bob", "status": "away", "bio": "b"}, "message": "hi",
        "since": "1970-01-01T00:00:02.000Z",
    })
}

#[test]
fn events_of_each_kind() {
    let reason = || Some("why".to_owned());
    let changed = |change, contact| EventBody::Contact { change, contact, reason: None };
    let bodies = [
        (
            EventBody::Received { message: Box::new(message()), muted: true },
            json!({"type": "message.received", "message": told_message(), "muted": true}),
        ),
        (
            EventBody::State { id: ID, state: model::MessageState::Rejected, reason: reason() },
            json!({
                "type": "message.state", "id": "01010101-0101-0101-0101-010101010101", "state": "rejected", "reason": "why",
            }),
        ),
        (EventBody::Gap { count: 2, reason: None }, json!({"type": "message.gap", "count": 2})),
        (EventBody::Gap { count: 0, reason: reason() }, json!({"type": "message.gap", "count": 0, "reason": "why"})),
        (
            EventBody::Contact { change: ContactChange::GivenUp, contact: Some(Box::new(contact())), reason: reason() },
            json!({"type": "contact.given_up", "contact": told_contact(), "reason": "why"}),
        ),
        (changed(ContactChange::Requested, None), json!({"type": "contact.request"})),
        (changed(ContactChange::Accepted, None), json!({"type": "contact.accepted"})),
        (changed(ContactChange::Rejected, None), json!({"type": "contact.rejected"})),
        (changed(ContactChange::Removed, None), json!({"type": "contact.removed"})),
        (changed(ContactChange::KeyChanged, None), json!({"type": "contact.key_changed"})),
        (changed(ContactChange::Profile, None), json!({"type": "contact.profile"})),
        (EventBody::Presence { online: false }, json!({"type": "presence", "online": false})),
    ];
    for (body, mut expected) in bodies {
        let fields = expected.as_object_mut().unwrap();
        let about = json!({
            "seq": 5, "at": "1970-01-01T00:00:04.000Z", "account": "alice", "who": "bob", "peer": "02".repeat(16),
            "label": "Bobby",
        });
        fields.extend(about.as_object().unwrap().clone());
        let event = model::Event { seq: 5, at: Timestamp(4_000), account: "alice".into(), about: Some(called()), body };
        assert_eq!(json_of(Event::from(event)), expected);
    }
    let lagged = EventBody::Lagged { upto: 5 };
    let event = model::Event { seq: 5, at: Timestamp(4_000), account: "alice".into(), about: None, body: lagged };
    let expected =
        json!({"seq": 5, "type": "feed.lagged", "at": "1970-01-01T00:00:04.000Z", "account": "alice", "upto": 5});
    assert_eq!(json_of(Event::from(event)), expected);
}

#[test]
fn words_that_clients_say_mean_the_same_on_the_way_back() {
    for kind in EventType::ALL {
        assert_eq!(EventType::from(EventKind::from(kind)), kind);
    }
    for state in model::MessageState::ALL {
        assert_eq!(model::MessageState::from(types::MessageState::from(state)), state);
    }
    for format in [model::Format::Plain, model::Format::Markdown] {
        assert_eq!(model::Format::from(types::Format::from(format)), format);
    }
    for priority in [model::Priority::Low, model::Priority::Normal, model::Priority::High] {
        assert_eq!(model::Priority::from(types::Priority::from(priority)), priority);
    }
    // `message.wait` compares them: further is greater on both sides.
    let states = model::MessageState::ALL.map(types::MessageState::from);
    assert!(states.is_sorted() && model::MessageState::ALL.is_sorted());
}

#[test]
fn steps_of_a_trace() {
    let step = |step| json_of(types::TraceStep::from(model::TraceStep { at: Timestamp(1_000), step }));
    let at = "1970-01-01T00:00:01.000Z";
    let attempt = |outcome, others| step(Step::Attempt { path: "direct".into(), outcome, others });
    let state = |state, reason: Option<&str>| step(Step::State { state, reason: reason.map(str::to_owned) });
    assert_eq!(state(model::MessageState::Queued, None), json!({"at": at, "what": "queued"}));
    let rejected = json!({"at": at, "what": "rejected", "reason": "blocked_copy_may_arrive"});
    assert_eq!(state(model::MessageState::Rejected, Some("blocked_copy_may_arrive")), rejected);
    assert_eq!(step(Step::Received), json!({"at": at, "what": "received"}));
    let alone = json!({"at": at, "what": "attempt", "path": "direct", "outcome": "sent"});
    assert_eq!(attempt(Outcome::Sent, 0), alone);
    let shared = json!({"at": at, "what": "attempt", "path": "direct", "outcome": "deposited", "others": 2});
    assert_eq!(attempt(Outcome::Deposited, 2), shared);
    let failed =
        json!({"at": at, "what": "attempt", "path": "direct", "outcome": "failed", "reason": "mailbox_full: a b"});
    assert_eq!(attempt(Outcome::failed_with(Reason::MailboxFull, "a b"), 0), failed);
}

#[test]
fn a_dead_letter_holds_its_event() {
    let body = EventBody::Presence { online: true };
    let event = model::Event { seq: 5, at: Timestamp(4_000), account: "alice".into(), about: None, body };
    let letter =
        model::DeadLetter { seq: 5, at: Timestamp(1_000), attempts: 2, reason: "why".into(), event: Some(event) };
    let told = types::DeadLetter::from(letter);
    assert_eq!((told.seq, told.attempts, told.reason.as_str()), (5, 2, "why"));
    assert_eq!(told.event.map(|event| (event.kind, event.online)), Some((EventType::Presence, Some(true))));
}
