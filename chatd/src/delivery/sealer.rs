//! Packing: reads what waits for one device, seals it into as few envelopes as possible, and puts them on the link.
//!
//! One job at a time per device runs off the delivery task: reading and sealing on a blocking thread, sending under the
//! link's own backpressure. What is read, how it is cut into envelopes and what is told of it are functions of their own, which
//! the simulation calls as well.

use std::sync::atomic::{AtomicU64, Ordering};

use proto::directory::{SignedReach, SignedRecord};
use proto::ids::{DeviceId, Epoch, MessageId};
use proto::reason::Reason;
use proto::time::Timestamp;
use proto::wire::MAX_TTL_SECONDS;
use proto::wire::envelope::{AckEntry, Core, body_cost};
use proto::wire::frame::Frame;
use proto::wire::payload::Kind;
use rusqlite::Connection;

use super::context::Context;
use super::core::effect::Pack;
use super::core::event::{InFlight, Packed, Problem, RouteKey};
use super::open_link::OpenLink;
use crate::crypto::CryptoError;
use crate::crypto::envelope::{SealTo, Sender, capacity, seal};
use crate::crypto::prekey::PrekeyPublic;
use crate::link::PathKind;
use crate::model::ids::{OutStreamRow, PeerDevice};
use crate::model::{Outcome, Trust};
use crate::policy::suite::{self, NoSuite, Rules};
use crate::store::account::{self, OwnCard};
use crate::store::delivery::attempts::{self, AttemptNote};
use crate::store::delivery::control::{self, SignalRow};
use crate::store::delivery::outbox::{self, OutboxRow};
use crate::store::{ContactRow, StoreError, peers};

/// Envelopes sealed in one go at most: half a millisecond of one core.
const MAX_ENVELOPES: usize = 4;
/// Cores up to this many bytes are sealed on the runtime's thread: a fifth of a millisecond.
const INLINE_BYTES: usize = 4_096;
/// Numbers envelopes; unique in the process, and so on every link.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Why a job could not send.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    #[error(transparent)]
    NoPrekey(#[from] NoSuite),
    #[error("the link ended")]
    Link,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    #[error(transparent)]
    NoStamp(#[from] super::stamp::NoStamp),
}

impl SealError {
    /// What the core is told.
    fn problem(&self) -> Problem {
        if let Self::NoPrekey(why) = self { Problem::NoPrekey(*why) } else { Problem::Other }
    }

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
pub(in crate::delivery) struct Waiting {
    to: Result<SealTo, NoSuite>,
    pub card: OwnCard,
    signals: Vec<SignalRow>,
    rows: Vec<OutboxRow>,
    room: usize,
}

/// Sealed, not yet sent.
pub(in crate::delivery) struct Sealed {
    pub number: u64,
    pub outer: Vec<u8>,
    /// Of chain cores: the stream with its epoch, the first and the last seq.
    pub chain: Option<(OutStreamRow, Epoch, u64, u64)>,
    signals: Vec<(MessageId, Kind)>,
    /// A ping went out behind it.
    is_pinged: bool,
}

/// Makes an envelope of acknowledgements and cores.
pub(in crate::delivery) type Seal<'s> = &'s dyn Fn(&SealTo, Vec<AckEntry>, &[&[u8]]) -> Result<Vec<u8>, CryptoError>;

/// The prekey to seal to at `now` (Unix seconds), of a device, or of any of a peer's.
pub(in crate::delivery) fn target(row: &ContactRow, device: Option<DeviceId>, now: i64) -> Result<SealTo, NoSuite> {
    let targets = targets(row, device, now)?;
    targets.into_iter().next().ok_or(NoSuite::Expired)
}

/// All devices of a peer, or the one alone, that can be sealed to at `now` (Unix seconds), one at least; the one that its reach
/// names first.
fn targets(row: &ContactRow, only: Option<DeviceId>, now: i64) -> Result<Vec<SealTo>, NoSuite> {
    let record = SignedRecord::decode(&row.record).and_then(|signed| signed.peek()).map_err(|_| NoSuite::Expired)?;
    let rules = Rules { known: suite::KNOWN, min: record.min_suite, floor: row.suite_floor };
    let preferred = reached(row);
    let mut devices: Vec<DeviceId> = record.devices.iter().map(|device| device.id).collect();
    devices.retain(|device| only.is_none_or(|only| only == *device));
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

/// The device whose reach is known.
fn reached(row: &ContactRow) -> Option<DeviceId> {
    SignedReach::decode(&row.reach).and_then(|signed| signed.peek()).ok().map(|reach| reach.device)
}

/// The devices that what waits for a peer is owed to, the one that is reached first of them first: those that may be sealed to at
/// `now` (Unix seconds); if none may, the one to ask for newer keys.
pub(in crate::delivery) fn devices_of(row: &ContactRow, now: i64) -> Vec<DeviceId> {
    if let Ok(live) = targets(row, None, now) {
        return live.into_iter().map(|to| to.device).collect();
    }
    reached(row).or_else(|| target(row, None, i64::MIN).ok().map(|to| to.device)).into_iter().collect()
}

/// What a route is called, once the devices are known that what waits is owed to.
pub(super) fn named(key: RouteKey, devices: &[DeviceId]) -> RouteKey {
    match (key.device, devices.first()) {
        (Some(device), _) if devices.contains(&device) => key,
        (_, Some(first)) => RouteKey::new(key.peer, *first),
        (_, None) => key,
    }
}

/// Reads, seals and sends.
pub(in crate::delivery) async fn run(context: Context, link: OpenLink, pack: Pack) -> Packed {
    let (store, key) = (context.store.clone(), pack.key);
    let mut done = pack.nothing();
    let (sealed, more) = match seal_waiting(context, pack).await {
        Ok(sealed) => sealed,
        Err(error) => {
            tracing::warn!(often = "send", contact = %key.peer, %error, "could not send");
            done.problem = Some(error.problem());
            return done;
        }
    };
    done.more = more;
    let path = match link.sender.path().kind {
        PathKind::InProcess => "local",
        PathKind::Relay(_) => "relay",
        _ => "direct",
    };
    for mut envelope in sealed {
        let outer = std::mem::take(&mut envelope.outer);
        let bytes = outer.len();
        let frame = Frame::Envelope { number: envelope.number, outer };
        if link.sender.send(frame).await.is_err() {
            tracing::warn!(often = "send", contact = %key.peer, "could not send: the link ended");
            done.problem = Some(Problem::Other);
            break;
        }
        if let Some(note) = attempt(&envelope, path, Timestamp::now()) {
            store.write_lazily(move |tx| attempts::attempt(tx, key.peer, &note));
        }
        if envelope.wants_ping() {
            // Nobody acknowledges these: the peer is no contact (any more). That it answers a ping that comes
            // behind them says that it has read them.
            let ping = Frame::Ping { nonce: envelope.number, reply: false };
            envelope.is_pinged = link.sender.send(ping).await.is_ok();
        }
        sent(&mut done, envelope, bytes);
    }
    done
}

/// Keeps what went out, in `bytes`.
pub(in crate::delivery) fn sent(done: &mut Packed, envelope: Sealed, bytes: usize) {
    let number = envelope.number;
    if let Some((stream, epoch, _, high)) = envelope.chain {
        done.cursor = (stream, high);
        done.in_flight.push(InFlight { number, epoch, high, bytes });
    }
    for (id, kind) in envelope.signals {
        done.signalled.push(id);
        match kind {
            Kind::ContactReject | Kind::ContactRemove if envelope.is_pinged => done.pinged.push((number, id)),
            Kind::ContactRequest => (done.unacknowledged, done.requested) = (true, Some(number)),
            Kind::ContactAccept => done.accepted = true,
            _ => {}
        }
    }
}

/// What is written down of an envelope that went out.
pub(in crate::delivery) fn attempt(envelope: &Sealed, path: &'static str, at: Timestamp) -> Option<AttemptNote> {
    let (stream, _, low, high) = envelope.chain?;
    Some(AttemptNote { stream, low, high, path, outcome: Outcome::Sent, at })
}

impl Sealed {
    fn wants_ping(&self) -> bool {
        self.signals.iter().any(|(_, kind)| matches!(kind, Kind::ContactReject | Kind::ContactRemove))
    }
}

/// A lone message is sealed where it is; a batch on a blocking thread, which costs two hops and keeps the runtime free.
async fn seal_waiting(context: Context, pack: Pack) -> Result<(Vec<Sealed>, bool), SealError> {
    let now = (Timestamp::now(), context.clock.trusted_or_local_now());
    let Some(waiting) = context.store.read_blocking(|conn| read(conn, &pack, now))? else {
        return Ok((Vec::new(), false));
    };
    let is_small = waiting.rows.iter().map(|row| row.core.len()).sum::<usize>() <= INLINE_BYTES;
    let work = move || {
        let sender = sender(&context, &waiting.card);
        seal_all(&waiting, &|to, acks, cores| seal(&sender, to, acks, cores, MAX_TTL_SECONDS))
    };
    if is_small {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| SealError::Store(StoreError::Closed))?
}

/// What waits and may go `now`: by the machine's clock, and (Unix seconds) by the one that judges keys.
pub(in crate::delivery) fn read(
    conn: &Connection,
    pack: &Pack,
    (now, judged): (Timestamp, i64),
) -> Result<Option<Waiting>, StoreError> {
    let peer = pack.key.peer;
    let row = peers::load(conn, peer)?;
    let signals: Vec<SignalRow> = control::waiting(conn, peer, now.0)?
        .into_iter()
        .filter(|signal| !pack.signalled.contains(&signal.msgid))
        .filter(|signal| pack.ready || is_contact_kind(signal.kind))
        .filter(|_| !row.state.blocked)
        .collect();
    let may_talk = pack.ready && row.state.may_talk() && row.trust != Trust::Changed;
    let room = pack.room.min(MAX_ENVELOPES);
    let to = target(&row, pack.key.device, judged);
    let rows = match &to {
        Ok(to) if may_talk && room > 0 => {
            let to = PeerDevice { peer, device: to.device };
            outbox::outbox_after(conn, to, pack.cursor, room * capacity(0))?
        }
        // Nobody to seal to: what waits is looked for, so that this is noticed.
        Err(_) if may_talk && room > 0 && outbox::anything_waits(conn, peer)? => {
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

/// Cuts what waits into envelopes; also says whether more waits.
pub(in crate::delivery) fn seal_all(waiting: &Waiting, seal: Seal<'_>) -> Result<(Vec<Sealed>, bool), SealError> {
    let to = waiting.to.as_ref().map_err(|why| SealError::NoPrekey(*why))?;
    let mut out = Vec::new();
    for signal in &waiting.signals {
        let outer = seal(to, Vec::new(), &[&signal.core])?;
        let signals = vec![(signal.msgid, signal.kind)];
        out.push(Sealed { number: next_number(), outer, chain: None, signals, is_pinged: false });
    }
    let mut rest = waiting.rows.as_slice();
    let mut packed = 0;
    while !rest.is_empty() && packed < waiting.room {
        let count = fit(rest, 0);
        let (head, tail) = rest.split_at(count);
        let cores: Vec<&[u8]> = head.iter().map(|row| row.core.as_slice()).collect();
        let outer = seal(to, Vec::new(), &cores)?;
        // Acknowledgements speak of epochs.
        let epoch = Core::decode(&head[0].core).map_err(|_| StoreError::Damaged("a core that waits"))?.epoch;
        let chain = Some((head[0].stream, epoch, head[0].seq, head[count - 1].seq));
        out.push(Sealed { number: next_number(), outer, chain, signals: Vec::new(), is_pinged: false });
        rest = tail;
        packed += 1;
    }
    // The read stops when the room is used up; what it stopped at is looked for again.
    Ok((out, packed == waiting.room || !rest.is_empty()))
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
