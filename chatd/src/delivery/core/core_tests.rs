use proto::ids::{ConversationId, Epoch};
use proto::reason::Reason;
use proto::wire::envelope::AckEntry;
use proto::wire::frame::RefuseCode;

use super::*;
use crate::delivery::core::effect::{self, Excess, Note};
use crate::delivery::core::event::{Deposited, Dialled, Facts, InFlight, Packed};
use crate::model::Outcome;
use crate::model::ids::OutStreamRow;

const OWN: DeviceId = DeviceId([9; 16]);
const BOB: PeerId = PeerId(1);
const PHONE: DeviceId = DeviceId([1; 16]);
const LAPTOP: DeviceId = DeviceId([2; 16]);

/// A core with a clock that stands, unless it is told.
struct Stand {
    core: Core,
    now: Instant,
}

impl Stand {
    fn new() -> Self {
        Self { core: Core::new(OWN, false), now: Instant::now() }
    }

    /// What an event leads to; looks are answered.
    fn tell(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.handle(event, self.now, &mut rand::rng(), &mut effects);
        let (looks, mut effects): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Look { .. }));
        for look in looks {
            let Effect::Look { key, .. } = look else { unreachable!() };
            let facts = Some(Facts { blocked: false, may_talk: true, accept_waits: false });
            effects.extend(self.tell(Event::Facts { key, facts }));
        }
        effects
    }

    /// A route whose link stands, both claims made: ready to send. What it packs first.
    fn ready(&mut self, device: DeviceId, link: u64) -> effect::Pack {
        let key = RouteKey::new(BOB, device);
        for early in self.tell(Event::LinkUp { link, peers: vec![BOB] }).into_iter().filter_map(pack) {
            assert!(!early.ready, "nothing but the contact protocol");
            self.packed(&early, Vec::new());
        }
        let greeted = self.tell(Event::Claimed { key, link });
        assert!(matches!(greeted[0], Effect::Greet { .. }), "{greeted:?}");
        let stored = self.tell(Event::Resume { key, link, entries: Vec::new() });
        assert!(matches!(stored[..], [Effect::StoreResume { .. }]), "on disk first: {stored:?}");
        let effects = self.tell(Event::Resumed { key, link, entries: Vec::new(), stored: true });
        effects.into_iter().find_map(pack).unwrap()
    }

    fn packed(&mut self, pack: &effect::Pack, in_flight: Vec<InFlight>) -> Vec<Effect> {
        let cursor = in_flight.last().map_or(pack.cursor, |last| (OutStreamRow(1), last.high));
        self.tell(Event::Packed(Packed { cursor, in_flight, ..pack.nothing() }))
    }

    fn sent(&mut self, pack: &effect::Pack, epoch: Epoch, high: u64) -> Vec<Effect> {
        self.packed(pack, vec![InFlight { number: high, epoch, high, bytes: 100 }])
    }
}

fn pack(effect: Effect) -> Option<effect::Pack> {
    if let Effect::Pack(pack) = effect { Some(pack) } else { None }
}

fn entry(epoch: Epoch, contiguous: u64) -> AckEntry {
    let conversation = ConversationId([3; 16]);
    AckEntry { from_device: OWN, conversation, epoch, contiguous, ranges: Vec::new(), head: None }
}

fn dials(effects: &[Effect]) -> Vec<Option<DeviceId>> {
    let dial = |effect: &Effect| if let Effect::Dial { key, .. } = effect { Some(key.device) } else { None };
    effects.iter().filter_map(dial).collect()
}

#[test]
fn each_device_of_a_peer_is_dialled_claimed_and_acknowledged_apart() {
    let (mut stand, epoch) = (Stand::new(), Epoch([1; 8]));
    assert_eq!(dials(&stand.tell(Event::Wanted(BOB))), [None], "which devices there are, the dial finds out");
    let effects = stand.tell(Event::Devices { peer: BOB, devices: vec![PHONE, LAPTOP] });
    assert_eq!(dials(&effects), [Some(LAPTOP)], "the phone's is under way");
    let (phone, laptop) = (stand.ready(PHONE, 7), stand.ready(LAPTOP, 8));
    assert_eq!((phone.key.device, laptop.key.device), (Some(PHONE), Some(LAPTOP)));
    assert!(phone.ready && laptop.ready && phone.link != laptop.link);
    stand.sent(&phone, epoch, 3);
    stand.sent(&laptop, epoch, 3);
    let (entries, ids) = (vec![entry(epoch, 3)], Vec::new());
    let effects = stand.tell(Event::Ack { key: phone.key, entries, ids });
    assert!(matches!(&effects[..], [Effect::StoreAcks { key, batch }] if *key == phone.key && batch.sure));
    let in_flight = |stand: &Stand, key| stand.core.routes.get(key).unwrap().in_flight.len();
    assert_eq!((in_flight(&stand, phone.key), in_flight(&stand, laptop.key)), (0, 1), "the laptop has not got it");
    // The laptop's link ends: its way alone is looked for again.
    let effects = stand.tell(Event::LinkDown { link: 8, too_much: false });
    assert_eq!(dials(&effects), [Some(LAPTOP)]);
    assert!(stand.core.routes.get(phone.key).unwrap().is_usable());
}

#[test]
fn a_device_that_is_gone_has_no_route_and_its_place_is_taken() {
    let mut stand = Stand::new();
    stand.tell(Event::Wanted(BOB));
    stand.tell(Event::Devices { peer: BOB, devices: vec![PHONE] });
    let effects = stand.tell(Event::Devices { peer: BOB, devices: vec![LAPTOP] });
    assert_eq!(dials(&effects), [Some(LAPTOP)]);
    assert_eq!(stand.core.routes.of_peer(BOB), [RouteKey::new(BOB, LAPTOP)]);
    // The end of a dial to the device before says nothing.
    let result = Dialled::Failed { wait: None, outcome: Outcome::failed(Reason::PeerUnreachable) };
    assert!(stand.tell(Event::Dialled { key: RouteKey::new(BOB, PHONE), attempt: 1, result }).is_empty());
    // Nor does one that lives lose its link because a record leaves it out.
    stand.ready(LAPTOP, 7);
    stand.tell(Event::Devices { peer: BOB, devices: vec![PHONE] });
    assert_eq!(stand.core.routes.of_peer(BOB).len(), 2);
}

#[test]
fn a_mailbox_is_asked_for_each_device_when_the_peer_is_not_there() {
    let mut stand = Stand::new();
    stand.tell(Event::Wanted(BOB));
    stand.tell(Event::Devices { peer: BOB, devices: vec![PHONE, LAPTOP] });
    let effects = stand.tell(Event::Offline(BOB));
    let left: Vec<_> = effects.iter().filter(|effect| matches!(effect, Effect::Deposit(_))).collect();
    assert_eq!(left.len(), 2, "{effects:?}");
    let key = RouteKey::new(BOB, PHONE);
    let result = Deposited::Failed { refusal: true, wait: None, outcome: Outcome::failed(Reason::MailboxFull) };
    let effects = stand.tell(Event::Deposited { key, result });
    assert!(matches!(&effects[..], [Effect::Note { note: Note::Failed("mailbox", _), .. }]), "{effects:?}");
    assert!(stand.core.next().is_some_and(|at| at >= stand.now + Duration::from_secs(60)), "and later again");
}

#[test]
fn a_claim_that_nobody_answers_is_reason_to_ask_whether_anybody_is_there() {
    let mut stand = Stand::new();
    stand.tell(Event::Wanted(BOB));
    stand.tell(Event::Devices { peer: BOB, devices: vec![PHONE] });
    stand.tell(Event::LinkUp { link: 7, peers: vec![BOB] });
    stand.now += Duration::from_secs(3);
    let effects = stand.tell(Event::Tick);
    assert!(matches!(effects[..], [Effect::Doubt { link: 7, is_strong: false, all: true }]), "{effects:?}");
}

#[test]
fn what_is_in_flight_and_unheard_of_is_asked_for_and_then_given_up() {
    let (mut stand, epoch) = (Stand::new(), Epoch([1; 8]));
    stand.tell(Event::Wanted(BOB));
    let pack = stand.ready(PHONE, 7);
    stand.sent(&pack, epoch, 1);
    stand.now += Duration::from_secs(3);
    let effects = stand.tell(Event::Tick);
    assert!(matches!(effects[..], [Effect::Doubt { link: 7, .. }]), "{effects:?}");
    stand.now += Duration::from_secs(27);
    let effects = stand.tell(Event::Tick);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Unclaim { link: 7, .. })), "{effects:?}");
    assert!(!stand.core.routes.get(pack.key).unwrap().is_usable());
}

#[test]
fn who_resumes_faster_than_that_can_be_written_down_loses_the_link() {
    let mut stand = Stand::new();
    stand.tell(Event::Wanted(BOB));
    let key = stand.ready(PHONE, 7).key;
    let resume = || Event::Resume { key, link: 7, entries: Vec::new() };
    let first = stand.tell(resume());
    assert!(matches!(first[..], [Effect::StoreResume { .. }]));
    for _ in 0..3 {
        assert!(stand.tell(resume()).is_empty(), "one at a time");
    }
    let effects = stand.tell(resume());
    assert!(matches!(effects[0], Effect::Close { link: 7, excess: Excess::Resumes }), "{effects:?}");
}

#[test]
fn a_refusal_waits_and_one_for_a_quota_leaves_nothing_at_the_mailbox() {
    let mut stand = Stand::new();
    stand.tell(Event::Wanted(BOB));
    let key = stand.ready(PHONE, 7).key;
    let refused = |code| Event::Refused { link: 7, code, envelope: Some(1), device: Some(PHONE) };
    let effects = stand.tell(refused(RefuseCode::Quota));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Note { note: Note::Failed("direct", _), .. })));
    let route = stand.core.routes.get(key).unwrap();
    assert!(route.rejected && route.retry_at.is_some() && !route.mailbox.wanted && route.link.is_none());
}

#[test]
fn after_a_change_of_the_network_many_are_tried_one_after_the_other() {
    let mut stand = Stand::new();
    for peer in 1..=1_000 {
        stand.tell(Event::Wanted(PeerId(peer)));
        let key = RouteKey { peer: PeerId(peer), device: None };
        let result =
            Dialled::Failed { wait: Some(Duration::from_secs(600)), outcome: Outcome::failed(Reason::PeerUnreachable) };
        stand.tell(Event::Dialled { key, attempt: 1, result });
    }
    let at_once = dials(&stand.tell(Event::RetryAll)).len();
    assert!(at_once < 10, "{at_once} at once");
    stand.now += Duration::from_secs(20);
    let rest = dials(&stand.tell(Event::Tick)).len();
    assert_eq!(at_once + rest, 1_000, "within 20 s");
}

#[test]
fn a_link_that_ends_by_our_own_move_is_followed_by_another_though_nothing_waits() {
    let (mut stand, down) = (Stand::new(), |link| Event::LinkDown { link, too_much: false });
    stand.tell(Event::Wanted(BOB));
    let pack = stand.ready(PHONE, 7);
    stand.packed(&pack, Vec::new());
    assert_eq!(dials(&stand.tell(Event::Moved)), [], "while the link may stand");
    assert_eq!(dials(&stand.tell(down(7))), [Some(PHONE)]);
    let pack = stand.ready(PHONE, 8);
    stand.packed(&pack, Vec::new());
    // Long after it, and for too much, is another matter.
    stand.tell(Event::Moved);
    stand.now += Duration::from_secs(11);
    assert_eq!(dials(&stand.tell(down(8))), []);
}

#[test]
fn a_dial_that_began_before_a_move_is_not_waited_for() {
    let mut stand = Stand::new();
    assert_eq!(dials(&stand.tell(Event::Wanted(BOB))), [None]);
    assert_eq!(dials(&stand.tell(Event::Wanted(BOB))), [], "one at a time");
    assert_eq!(dials(&stand.tell(Event::Moved)), [None]);
    // The end of the first says nothing.
    let result = Dialled::Failed { wait: None, outcome: Outcome::failed(Reason::PeerUnreachable) };
    assert!(stand.tell(Event::Dialled { key: RouteKey { peer: BOB, device: None }, attempt: 1, result }).is_empty());
}

#[test]
fn who_claims_on_a_second_link_is_asked_whether_the_first_stands() {
    let mut stand = Stand::new();
    stand.tell(Event::Wanted(BOB));
    let key = stand.ready(PHONE, 7).key;
    stand.tell(Event::LinkUp { link: 8, peers: vec![BOB] });
    let effects = stand.tell(Event::Claimed { key, link: 8 });
    assert!(matches!(effects[0], Effect::Doubt { link: 7, is_strong: true, all: false }), "{effects:?}");
    assert_eq!(stand.core.routes.get(key).unwrap().link, Some(7), "until it ends");
    let effects = stand.tell(Event::Claimed { key, link: 7 });
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Doubt { .. })), "{effects:?}");
}

#[test]
fn who_is_not_reached_is_dialled_all_the_time_and_asked_for_now_and_then() {
    let mut stand = Stand::new();
    stand.tell(Event::Wanted(BOB));
    let key = RouteKey::new(BOB, PHONE);
    stand.tell(Event::Devices { peer: BOB, devices: vec![PHONE] });
    let (begin, mut attempt, mut asked, mut longest) = (stand.now, 1, 0, Duration::ZERO);
    while stand.now < begin + Duration::from_secs(300) {
        let result = Dialled::Failed { wait: None, outcome: Outcome::failed(Reason::PeerUnreachable) };
        let failed = stand.now;
        stand.tell(Event::Dialled { key, attempt, result });
        let dial = loop {
            stand.now = stand.core.next().unwrap().max(stand.now);
            let effects = stand.tell(Event::Tick);
            if let Some(Effect::Dial { attempt, refresh, .. }) =
                effects.into_iter().find(|effect| matches!(effect, Effect::Dial { .. }))
            {
                break (attempt, refresh.reach);
            }
        };
        longest = longest.max(stand.now - failed);
        asked += usize::from(dial.1);
        attempt = dial.0;
    }
    assert!(longest <= Duration::from_millis(1_500), "{longest:?}");
    assert!((200..1_000).contains(&attempt), "{attempt} dials in five minutes");
    assert!((25..=31).contains(&asked), "its directory was asked {asked} times");
    // It says that they are there: then it is asked where.
    let effects = stand.tell(Event::Offline(BOB));
    assert!(dials(&effects).is_empty());
    let result = Dialled::Failed { wait: None, outcome: Outcome::failed(Reason::PeerUnreachable) };
    stand.tell(Event::Dialled { key, attempt, result });
    let effects = stand.tell(Event::Online(BOB));
    assert!(
        effects.iter().any(|effect| matches!(effect, Effect::Dial { refresh, .. } if refresh.reach)),
        "{effects:?}"
    );
}

#[test]
fn who_refuses_is_not_dialled_as_one_who_may_be_back() {
    let mut stand = Stand::new();
    let phone = stand.ready(PHONE, 7);
    let mut last = stand.now;
    for _ in 0..12 {
        let (link, device) = (7, Some(PHONE));
        stand.tell(Event::LinkUp { link, peers: vec![BOB] });
        stand.tell(Event::Refused { link, code: RefuseCode::RateLimited, envelope: None, device });
        last = stand.core.routes.get(phone.key).unwrap().retry_at.unwrap_or(last).max(last);
        stand.now = last;
        stand.tell(Event::Tick);
    }
    assert!(stand.core.routes.get(phone.key).unwrap().backoff.bound() >= Duration::from_secs(60));
}
