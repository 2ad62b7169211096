#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proto::ids::MessageId;

use super::super::contact_ids::{ContactIds, ContactMessage};
use super::Effect::*;
use super::Event::*;
use super::*;

fn apart(outgoing: Outgoing, incoming: Incoming) -> ContactState {
    ContactState { relation: Relation::Apart { outgoing, incoming }, blocked: false }
}

const ACCEPTED: ContactState = ContactState { relation: Relation::Accepted, blocked: false };

fn run(events: &[Event]) -> (ContactState, Vec<Effect>) {
    let mut state = ContactState::default();
    let mut last = vec![];
    for event in events {
        (state, last) = step(state, *event).unwrap();
    }
    (state, last)
}

const ASKED: Event = RequestArrives { repeated: false };
const ASKED_AGAIN: Event = RequestArrives { repeated: true };
const YES: Event = AcceptArrives { current: true };
const NO: Event = RejectArrives { current: true };

#[test]
fn asking_and_being_answered() {
    let requested = apart(Outgoing::Requested, Incoming::None);
    assert_eq!(run(&[UserAdds]), (requested, vec![SendRequest]));
    assert_eq!(run(&[UserAdds, UserAdds]), (requested, vec![]), "asking twice is asking once");
    assert_eq!(run(&[UserAdds, YES]), (ACCEPTED, vec![AnnounceAccepted, ReleaseQueued]));
    assert_eq!(run(&[UserAdds, YES, YES]), (ACCEPTED, vec![]));
    let rejected = apart(Outgoing::RejectedByThem, Incoming::None);
    assert_eq!(run(&[UserAdds, NO]), (rejected, vec![AnnounceRejected, RejectQueued]));
    assert_eq!(run(&[UserAdds, NO, UserAdds]), (requested, vec![SendRequest]));
    assert_eq!(run(&[UserAdds, NO, YES]), (rejected, vec![SendRemove]));
    for old in [AcceptArrives { current: false }, RejectArrives { current: false }] {
        assert_eq!(run(&[UserAdds, old]), (requested, vec![]), "{old:?}");
    }
    assert_eq!(step(ACCEPTED, UserAdds), Err(ContactError::AlreadyContact));
}

#[test]
fn being_asked_and_answering() {
    let pending = apart(Outgoing::None, Incoming::Pending);
    assert_eq!(run(&[ASKED]), (pending, vec![AnnounceRequest]));
    assert_eq!(run(&[ASKED, ASKED_AGAIN]), (pending, vec![]), "announced once");
    assert_eq!(run(&[ASKED, UserAccepts]), (ACCEPTED, vec![SendAccept, AnnounceAccepted, ReleaseQueued]));
    assert_eq!(run(&[ASKED, UserAccepts, ASKED_AGAIN]), (ACCEPTED, vec![SendAccept]), "a lost accept heals");
    let rejected = apart(Outgoing::None, Incoming::RejectedByMe);
    assert_eq!(run(&[ASKED, UserRejects]), (rejected, vec![SendReject]));
    assert_eq!(run(&[ASKED, UserRejects, ASKED_AGAIN]), (rejected, vec![SendReject]), "a lost reject heals");
    assert_eq!(run(&[ASKED, UserRejects, ASKED]), (pending, vec![AnnounceRequest]), "another request is another one");
    assert_eq!(run(&[ASKED, UserAdds]).0, ACCEPTED, "adding who has asked is accepting");
    for wish in [UserAccepts, UserRejects] {
        assert_eq!(step(ContactState::default(), wish), Err(ContactError::NoRequest));
    }
    assert_eq!(step(rejected, UserAccepts), Err(ContactError::NoRequest));
}

#[test]
fn both_ask_at_once() {
    let both = apart(Outgoing::Requested, Incoming::Pending);
    assert_eq!(run(&[UserAdds, ASKED]), (both, vec![AnnounceRequest]));
    assert_eq!(run(&[UserAdds, ASKED, UserAccepts]).0, ACCEPTED);
    assert_eq!(run(&[UserAdds, ASKED, YES]).0, ACCEPTED);
    assert_eq!(run(&[UserAdds, ASKED, UserRejects]).0, apart(Outgoing::Requested, Incoming::RejectedByMe));
    assert_eq!(run(&[UserAdds, ASKED, UserRejects, YES]).0, ACCEPTED, "asking was consent");
    assert_eq!(run(&[UserAdds, ASKED, NO, UserAccepts]).0, ACCEPTED);
}

#[test]
fn either_ends_it() {
    assert_eq!(
        run(&[UserAdds, YES, UserRemoves]),
        (ContactState::default(), vec![SendRemove, RejectQueued, RevokeToken])
    );
    let (state, effects) = run(&[UserAdds, YES, RemoveArrives]);
    assert_eq!((state, effects), (ContactState::default(), vec![AnnounceRejected, RejectQueued, RevokeToken]));
    assert_eq!(run(&[UserAdds, YES, RemoveArrives, UserAdds]).1, [SendRequest], "adding again is possible");
    assert_eq!(run(&[ASKED, RemoveArrives]), (ContactState::default(), vec![]), "a request taken back");
    assert_eq!(run(&[ASKED, RemoveArrives, ASKED_AGAIN]), (ContactState::default(), vec![]));
    assert_eq!(step(ContactState::default(), UserRemoves), Err(ContactError::NotAContact));
}

#[test]
fn a_request_that_nobody_answers_ends() {
    let ended = apart(Outgoing::GivenUp, Incoming::None);
    for end in [RequestEnds { gone: true }, RequestEnds { gone: false }] {
        assert_eq!(run(&[UserAdds, end]), (ended, vec![AnnounceGivenUp, RejectQueued, RevokeToken]));
        assert_eq!(run(&[UserAdds, end, end]), (ended, vec![]), "once");
        assert_eq!(run(&[UserAdds, end, UserAdds]), (apart(Outgoing::Requested, Incoming::None), vec![SendRequest]));
        assert_eq!(run(&[UserAdds, end, UserRemoves]).0, ContactState::default());
        assert_eq!(run(&[UserAdds, end, YES]), (ACCEPTED, vec![SendAccept, AnnounceAccepted, ReleaseQueued]), "late");
        assert_eq!(run(&[UserAdds, YES, end]), (ACCEPTED, vec![]), "an answered one does not end");
        assert_eq!(run(&[end]), (ContactState::default(), vec![]));
    }
}

#[test]
fn a_stranger_cannot_accept_himself_in() {
    for event in [YES, AcceptArrives { current: false }] {
        assert_eq!(step(ContactState::default(), event).unwrap().0, ContactState::default());
    }
}

#[test]
fn blocked_is_silent() {
    for state in all_states() {
        let (blocked, effects) = step(state, UserBlocks).unwrap();
        assert_eq!((blocked.relation, blocked.blocked), (state.relation, true));
        assert_eq!(effects, if state.blocked { vec![] } else { vec![RejectQueued, RevokeToken] });
        for event in [ASKED, ASKED_AGAIN, YES, NO, RemoveArrives] {
            assert_eq!(step(blocked, event).unwrap(), (blocked, vec![]), "{state:?} {event:?}");
        }
        for event in [UserAdds, UserAccepts, UserRejects] {
            assert_eq!(step(blocked, event), Err(ContactError::Blocked));
        }
        if let Ok((removed, effects)) = step(blocked, UserRemoves) {
            assert_eq!((removed, effects), (ContactState { relation: Relation::NONE, blocked: true }, vec![]));
        }
        let (unblocked, effects) = step(blocked, UserUnblocks).unwrap();
        assert_eq!(unblocked, ContactState { blocked: false, ..state });
        assert_eq!(effects.contains(&SendAccept), state.relation == Relation::Accepted);
    }
}

fn all_states() -> Vec<ContactState> {
    let mut relations = vec![Relation::Accepted];
    for outgoing in [Outgoing::None, Outgoing::Requested, Outgoing::RejectedByThem, Outgoing::GivenUp] {
        for incoming in [Incoming::None, Incoming::Pending, Incoming::RejectedByMe] {
            relations.push(Relation::Apart { outgoing, incoming });
        }
    }
    relations.into_iter().flat_map(|relation| [false, true].map(|blocked| ContactState { relation, blocked })).collect()
}

#[test]
fn only_own_consent_makes_a_contact() {
    for state in all_states().into_iter().filter(|state| state.relation != Relation::Accepted) {
        for event in [ASKED, ASKED_AGAIN, YES, NO, RemoveArrives, AcceptArrives { current: false }] {
            let accepted = step(state, event).unwrap().0.relation == Relation::Accepted;
            let asked =
                matches!(state.relation, Relation::Apart { outgoing: Outgoing::Requested | Outgoing::GivenUp, .. });
            assert_eq!(accepted, asked && !state.blocked && event == YES, "{state:?} {event:?}");
        }
    }
}

// Two sides and a channel between them that loses, repeats and reorders; what is lost is sent again until it is
// acknowledged, which a blocked side does not do.

#[derive(Debug, Clone, Copy, PartialEq)]
enum Message {
    Contact(ContactMessage),
    Text,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    message: Message,
    id: MessageId,
}

#[derive(Default)]
struct Side {
    state: ContactState,
    ids: ContactIds,
    /// The user has asked or accepted, and not taken it back.
    consents: bool,
    ever_consented: bool,
    /// Sent and not acknowledged.
    under_way: Vec<Sent>,
    texts_let_in: u32,
}

#[derive(Default)]
struct World {
    sides: [Side; 2],
}

impl World {
    fn user(&mut self, who: usize, event: Event) {
        let Ok((state, effects)) = step(self.sides[who].state, event) else { return };
        let side = &mut self.sides[who];
        match event {
            UserAdds | UserAccepts => (side.consents, side.ever_consented) = (true, true),
            UserRemoves => side.consents = false,
            _ => {}
        }
        self.apply(who, state, effects);
    }

    fn apply(&mut self, who: usize, state: ContactState, effects: Vec<Effect>) {
        let side = &mut self.sides[who];
        let was_blocked = side.state.blocked;
        side.state = state;
        for effect in effects {
            let message = match effect {
                SendRequest => ContactMessage::Request,
                SendAccept => ContactMessage::Accept,
                SendReject => ContactMessage::Reject,
                SendRemove => ContactMessage::Remove,
                RejectQueued => {
                    side.under_way.retain(|sent| sent.message != Message::Text);
                    continue;
                }
                _ => continue,
            };
            assert!(!(was_blocked && state.blocked), "a blocked side sends nothing");
            let id = side.ids.send(message, MessageId::now());
            side.under_way.push(Sent { message: Message::Contact(message), id });
        }
    }

    fn text(&mut self, who: usize) {
        if self.sides[who].state.may_talk() {
            assert!(self.sides[who].consents && self.sides[1 - who].ever_consented);
            self.sides[who].under_way.push(Sent { message: Message::Text, id: MessageId::now() });
        }
    }

    /// One of the messages of `from` arrives; unless it is acknowledged, it will arrive again.
    fn deliver(&mut self, from: usize, which: usize, acknowledged: bool) {
        let to = 1 - from;
        if self.sides[from].under_way.is_empty() || self.sides[to].state.blocked {
            return;
        }
        let which = which % self.sides[from].under_way.len();
        let Sent { message, id } = self.sides[from].under_way[which];
        let side = &mut self.sides[to];
        let Message::Contact(message) = message else {
            if side.state.may_talk() {
                assert!(side.consents && side.ever_consented && self.sides[from].ever_consented);
                self.sides[to].texts_let_in += 1;
                self.sides[from].under_way.swap_remove(which);
            }
            return;
        };
        let event = side.ids.hear(message, id);
        if acknowledged {
            self.sides[from].under_way.swap_remove(which);
        }
        if let Some(event) = event {
            let (state, effects) = step(self.sides[to].state, event).unwrap();
            self.apply(to, state, effects);
        }
    }

    /// The users rest, blocks are lifted, and everything gets through in the end.
    fn settle(&mut self, mut random: usize) {
        for who in [0, 1] {
            self.user(who, UserUnblocks);
        }
        for round in 0.. {
            assert!(round < 10_000, "the two never come to rest");
            let texts_wait = |side: &Side| side.under_way.iter().all(|sent| sent.message == Message::Text);
            if self.sides.iter().all(texts_wait) {
                break;
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.deliver(random >> 60 & 1, random >> 33, random >> 50 & 1 == 0);
        }
        for who in [0, 1] {
            for _ in 0..self.sides[who].under_way.len() {
                self.deliver(who, 0, true);
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    User(usize, Event),
    Text(usize),
    Deliver(usize, usize, bool),
}

fn act() -> impl Strategy<Value = Act> {
    let event = prop_oneof![
        4 => Just(UserAdds), 4 => Just(UserAccepts), 2 => Just(UserRejects), 2 => Just(UserRemoves),
        1 => Just(UserBlocks), 1 => Just(UserUnblocks),
    ];
    prop_oneof![
        2 => (0usize..2, event).prop_map(|(who, event)| Act::User(who, event)),
        1 => (0usize..2).prop_map(Act::Text),
        4 => (0usize..2, any::<usize>(), any::<bool>()).prop_map(|(from, which, ack)| Act::Deliver(from, which, ack)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn both_sides_come_to_one_view(acts in prop::collection::vec(act(), 0..60), random: usize) {
        let mut world = World::default();
        for act in acts {
            match act {
                Act::User(who, event) => world.user(who, event),
                Act::Text(who) => world.text(who),
                Act::Deliver(from, which, acknowledged) => world.deliver(from, which, acknowledged),
            }
        }
        world.settle(random);
        let [alice, bob] = &world.sides;
        prop_assert_eq!(
            alice.state.may_talk(), bob.state.may_talk(), "{:?} and {:?}", alice.state, bob.state
        );
        if alice.state.may_talk() {
            prop_assert!(alice.consents && bob.consents);
        }
        // Text is let in on mutual consent only.
        if !(alice.ever_consented && bob.ever_consented) {
            prop_assert_eq!(alice.texts_let_in + bob.texts_let_in, 0);
        }
        // Nobody waits in vain: who has asked is asked about on the other side, or has the other's own request before him.
        for (one, other) in [(alice, bob), (bob, alice)] {
            if let Relation::Apart { outgoing: Outgoing::Requested, incoming } = one.state.relation {
                let asked_about = matches!(other.state.relation, Relation::Apart { incoming: Incoming::Pending, .. });
                prop_assert!(
                    asked_about || incoming == Incoming::Pending,
                    "{:?} waits, but the other is {:?}", one.state, other.state
                );
            }
        }
    }

    #[test]
    fn the_plain_course_ends_in_talk(random: usize, first in 0usize..2, losses in prop::collection::vec(any::<bool>(), 20)) {
        let mut world = World::default();
        world.user(first, UserAdds);
        for ack in losses {
            world.deliver(first, 0, ack);
        }
        world.settle(random);
        world.user(1 - first, UserAccepts);
        world.settle(random);
        world.text(first);
        world.text(1 - first);
        world.settle(random);
        prop_assert_eq!(world.sides.each_ref().map(|side| side.texts_let_in), [1, 1]);
    }
}
