//! Packing: reads what waits for one contact, seals it into as few envelopes as possible, and puts them on the link.
//!
//! One job at a time per contact runs off the delivery task: reading and sealing on a blocking thread, sending under the
//! link's own backpressure.

use crate::model::Outcome;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use proto::directory::{SignedReach, SignedRecord};
use proto::ids::{DeviceId, MessageId};
use proto::reason::Reason;
use proto::time::Timestamp;
use proto::wire::MAX_TTL_SECONDS;
use proto::wire::envelope::body_cost;
use proto::wire::frame::Frame;
use proto::wire::payload::Kind;
use rusqlite::Connection;

use super::route::InFlight;
use super::{Context, OpenLink};
use crate::crypto::CryptoError;
use crate::crypto::envelope::{SealTo, Sender, capacity, seal};
use crate::crypto::prekey::PrekeyPublic;
use crate::link::PathKind;
use crate::model::Trust;
use crate::model::ids::{OutStreamRow, PeerDevice, PeerId};
use crate::policy::suite::{self, NoSuite, Rules};
use crate::store::account::{self, OwnCard};
use crate::store::delivery::attempts::{self, AttemptNote};
use crate::store::delivery::control::{self, SignalRow};
use crate::store::delivery::outbox::{self, OutboxRow};
use crate::store::{ContactRow, Store, StoreError, peers};

/// Envelopes sealed in one go at most: half a millisecond of one core.
const MAX_ENVELOPES: usize = 4;
/// Cores up to this many bytes are sealed on the runtime's thread: a fifth of a millisecond.
const INLINE_BYTES: usize = 4_096;
/// Numbers envelopes; unique in the process, and so on every link.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// What a job starts from.
pub(super) struct Job {
    pub context: Context,
    pub contact: PeerId,
    pub link: OpenLink,
    /// The route's life that it works for.
    pub life: u64,
    /// The device that the route leads to, as far as is known.
    pub device: Option<DeviceId>,
    pub cursor: (OutStreamRow, u64),
    pub room: usize,
    /// Both claims stand: chain cores may go.
    pub ready: bool,
    pub signalled: HashSet<MessageId>,
}

/// What a job did.
#[derive(Debug)]
pub(super) struct Done {
    pub contact: PeerId,
    /// See [`Job::life`].
    pub life: u64,
    pub cursor: (OutStreamRow, u64),
    pub in_flight: Vec<InFlight>,
    pub signalled: Vec<MessageId>,
    /// Signals that are done when the ping of this number is answered.
    pub pinged: Vec<(u64, MessageId)>,
    /// More waits than was sent.
    pub more: bool,
    /// Our acceptance went out.
    pub accepted: bool,
    /// The number of our request's envelope.
    pub requested: Option<u64>,
    /// Something waits that only a repeat can bring further, because nothing acknowledges it.
    pub unacknowledged: bool,
    pub problem: Option<Problem>,
}

/// Why a job could not send.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error(transparent)]
    NoPrekey(#[from] NoSuite),
    #[error("the link ended")]
    Link,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    #[error(transparent)]
    NoStamp(#[from] super::work::NoStamp),
}

impl Problem {
    /// What is noted of the attempt.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NoPrekey(why) => Outcome::failed(why.reason()),
            Self::Link => Outcome::failed_with(Reason::PeerUnreachable, self),
            Self::Store(_) | Self::Crypto(_) => Outcome::failed_with(Reason::Failed, self),
            Self::NoStamp(refusal) => Outcome::failed_with(Reason::WorkRefused, refusal),
        }
    }
}

/// What was read, to be sealed.
struct Waiting {
    to: Result<SealTo, NoSuite>,
    card: OwnCard,
    signals: Vec<SignalRow>,
    rows: Vec<OutboxRow>,
    room: usize,
}

/// Sealed, not yet sent.
struct Sealed {
    number: u64,
    outer: Vec<u8>,
    chain: Option<(OutStreamRow, u64, u64)>,
    signals: Vec<(MessageId, Kind)>,
}

/// The device of a contact that is reached first, and its prekey that is sealed to at `now` (Unix seconds).
pub(super) fn target(row: &ContactRow, now: i64) -> Result<SealTo, NoSuite> {
    targets(row, now)?.into_iter().next().ok_or(NoSuite::Expired)
}

/// All devices of a contact that can be sealed to at `now` (Unix seconds), one at least; the one that its reach names first.
pub(super) fn targets(row: &ContactRow, now: i64) -> Result<Vec<SealTo>, NoSuite> {
    let record = SignedRecord::decode(&row.record).and_then(|signed| signed.peek()).map_err(|_| NoSuite::Expired)?;
    let rules = Rules { known: suite::KNOWN, min: record.min_suite, floor: row.suite_floor };
    let preferred = SignedReach::decode(&row.reach).and_then(|signed| signed.peek()).ok().map(|reach| reach.device);
    let mut devices: Vec<DeviceId> = record.devices.iter().map(|device| device.id).collect();
    devices.sort_by_key(|device| Some(*device) != preferred);
    let (mut found, mut refused) = (Vec::new(), NoSuite::Expired);
    for device in devices {
        match suite::choose(record.prekeys_of(device), rules, now) {
            Ok(best) => {
                let prekey = PrekeyPublic::new(best.suite, &best.recipient).ok();
                found.extend(prekey.map(|prekey| SealTo { device, prekey }));
            }
            Err(NoSuite::Expired) => {}
            Err(why) => refused = why,
        }
    }
    if found.is_empty() { Err(refused) } else { Ok(found) }
}

impl Job {
    pub(super) async fn run(self) -> Done {
        let (contact, link) = (self.contact, self.link.clone());
        let mut done = Done {
            contact,
            life: self.life,
            cursor: self.cursor,
            in_flight: Vec::new(),
            signalled: Vec::new(),
            pinged: Vec::new(),
            more: false,
            accepted: false,
            requested: None,
            unacknowledged: false,
            problem: None,
        };
        let store = self.context.store.clone();
        let (sealed, more) = match self.pack(&store).await {
            Ok(packed) => packed,
            Err(problem) => {
                done.problem = Some(problem);
                return done;
            }
        };
        done.more = more;
        let path = match link.sender.path().kind {
            PathKind::InProcess => "local",
            PathKind::Relay(_) => "relay",
            _ => "direct",
        };
        for envelope in sealed {
            let bytes = envelope.outer.len();
            let frame = Frame::Envelope { number: envelope.number, outer: envelope.outer };
            if link.sender.send(frame).await.is_err() {
                done.problem = Some(Problem::Link);
                break;
            }
            if let Some((stream, low, high)) = envelope.chain {
                done.cursor = (stream, high);
                done.in_flight.push(InFlight { number: envelope.number, stream, high, bytes });
                let note = AttemptNote { stream, low, high, path, outcome: Outcome::Sent, at: Timestamp::now() };
                store.note(move |tx| attempts::attempt(tx, contact, &note));
            }
            for (id, kind) in envelope.signals {
                done.signalled.push(id);
                match kind {
                    // Nobody acknowledges these: the peer is no contact (any more). That it answers a ping that comes
                    // behind them says that it has read them.
                    Kind::ContactReject | Kind::ContactRemove => {
                        let ping = Frame::Ping { nonce: envelope.number, reply: false };
                        if link.sender.send(ping).await.is_ok() {
                            done.pinged.push((envelope.number, id));
                        }
                    }
                    Kind::ContactRequest => (done.unacknowledged, done.requested) = (true, Some(envelope.number)),
                    Kind::ContactAccept => done.accepted = true,
                    _ => {}
                }
            }
        }
        done
    }

    /// Reads and seals. A lone message is sealed where it is; a batch on a blocking thread, which costs two hops and keeps
    /// the runtime free.
    async fn pack(self, store: &Store) -> Result<(Vec<Sealed>, bool), Problem> {
        let Some(waiting) = store.read_blocking(|conn| self.read(conn))? else { return Ok((Vec::new(), false)) };
        if waiting.rows.iter().map(|row| row.core.len()).sum::<usize>() <= INLINE_BYTES {
            return self.seal(&waiting);
        }
        tokio::task::spawn_blocking(move || self.seal(&waiting))
            .await
            .map_err(|_| Problem::Store(StoreError::Closed))?
    }

    /// What waits and may go now.
    fn read(&self, conn: &Connection) -> Result<Option<Waiting>, StoreError> {
        let now = Timestamp::now();
        let row = peers::load(conn, self.contact)?;
        let signals: Vec<SignalRow> = control::waiting(conn, self.contact, now.0)?
            .into_iter()
            .filter(|signal| !self.signalled.contains(&signal.msgid))
            .filter(|signal| self.ready || is_contact_kind(signal.kind))
            .filter(|_| !row.state.blocked)
            .collect();
        let may_talk = self.ready && row.state.may_talk() && row.trust != Trust::Changed;
        let room = self.room.min(MAX_ENVELOPES);
        // The device at the other end of the link, if it is one of the contact's.
        let to = targets(&row, self.context.clock.trusted_or_local_now()).and_then(|mut to| {
            to.sort_by_key(|to| Some(to.device) != self.device);
            to.into_iter().next().ok_or(NoSuite::Expired)
        });
        let rows = match &to {
            Ok(to) if may_talk && room > 0 => {
                let to = PeerDevice { peer: self.contact, device: to.device };
                outbox::outbox_after(conn, to, self.cursor, room * capacity(0))?
            }
            // Nobody to seal to: what waits is looked for, so that this is noticed.
            Err(_) if may_talk && room > 0 && outbox::anything_waits(conn, self.contact)? => {
                return Ok(Some(Waiting { to, card: account::own_card(conn)?, signals, rows: Vec::new(), room }));
            }
            _ => Vec::new(),
        };
        if signals.is_empty() && rows.is_empty() {
            return Ok(None);
        }
        let card = account::own_card(conn)?;
        Ok(Some(Waiting { to, card, signals, rows, room }))
    }

    /// Also says whether more waits.
    fn seal(&self, waiting: &Waiting) -> Result<(Vec<Sealed>, bool), Problem> {
        let to = waiting.to.as_ref().map_err(|why| Problem::NoPrekey(*why))?;
        let sender = sender(&self.context, &waiting.card);
        let mut out = Vec::new();
        for signal in &waiting.signals {
            let outer = seal(&sender, to, Vec::new(), &[&signal.core], MAX_TTL_SECONDS)?;
            let signals = vec![(signal.msgid, signal.kind)];
            out.push(Sealed { number: next_number(), outer, chain: None, signals });
        }
        let mut rest = waiting.rows.as_slice();
        let mut packed = 0;
        while !rest.is_empty() && packed < waiting.room {
            let count = fit(rest, 0);
            let (head, tail) = rest.split_at(count);
            let cores: Vec<&[u8]> = head.iter().map(|row| row.core.as_slice()).collect();
            let outer = seal(&sender, to, Vec::new(), &cores, MAX_TTL_SECONDS)?;
            let chain = Some((head[0].stream, head[0].seq, head[count - 1].seq));
            out.push(Sealed { number: next_number(), outer, chain, signals: Vec::new() });
            rest = tail;
            packed += 1;
        }
        // The read stops when the room is used up; what it stopped at is looked for again.
        Ok((out, packed == waiting.room || !rest.is_empty()))
    }
}

pub(super) fn next_number() -> u64 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// Who seals.
pub(super) fn sender<'c>(context: &'c Context, card: &OwnCard) -> Sender<'c> {
    Sender {
        account: context.account,
        device: context.device,
        key: &context.device_key,
        record_seq: card.record_seq,
        record_hash: proto::ids::sha256(&[&card.record]),
    }
}

pub(super) fn is_contact_kind(kind: Kind) -> bool {
    matches!(kind, Kind::ContactRequest | Kind::ContactAccept | Kind::ContactReject | Kind::ContactRemove)
}

/// How many rows of one stream fit one envelope beside acknowledgements; one at least, if there is one.
pub(super) fn fit(rows: &[OutboxRow], acks: usize) -> usize {
    let mut room = capacity(acks);
    let mut count = 0;
    for row in rows {
        let cost = body_cost(row.core.len());
        if count > 0 && (cost > room || row.stream != rows[0].stream) {
            break;
        }
        room = room.saturating_sub(cost);
        count += 1;
    }
    count
}
