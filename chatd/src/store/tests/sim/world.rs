//! The network, the mailboxes and the clock around two sides, and what happens to them.

mod faults;

use crate::model::Outcome;
use std::collections::HashSet;
use std::rc::Rc;

use proto::ids::{DeviceId, MessageId};
use proto::time::Timestamp;
use proto::wire::envelope::AckEntry;

use crate::model::ids::{OutStreamRow, PeerDevice};
use crate::store::delivery::attempts::AttemptNote;
use crate::store::delivery::deposits::Deposit;
use crate::store::delivery::outbox::{OutboxRow, outbox_after};
use crate::store::log::recovery::epochs;
use crate::store::log::{acks, outgoing, told};
use crate::store::tests::sim::node::{CONTACT, Node, device, message, receive};
use crate::store::tests::sim::oracle::Oracle;

const URL: &str = "http://127.0.0.1:7470";
/// What each gave the other; it is never replaced here.
const TOKEN: [u8; 32] = [1; 32];
const WEEK_SECONDS: u64 = 604_800;
/// Envelopes that a mailbox takes.
const MAILBOX: usize = 4;
/// Cores in one envelope at most.
const CORES: usize = 3;

#[derive(Clone)]
struct Envelope {
    to: DeviceId,
    /// Which prekey it is sealed to.
    prekey: u64,
    cores: Vec<Vec<u8>>,
    acks: Vec<AckEntry>,
}

#[derive(Clone)]
enum Frame {
    Envelope(Rc<Envelope>),
    Ack(Vec<AckEntry>),
    Resume(DeviceId, Vec<AckEntry>),
}

/// Number, when it came, and what it is.
type Entries = Vec<(u64, i64, Rc<Envelope>)>;

#[derive(Default, Clone)]
struct Mailbox {
    last: u64,
    entries: Entries,
    /// A backup of the directory.
    backup: Option<(u64, Entries)>,
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

pub struct World<'n> {
    nodes: &'n mut [Node; 2],
    pub oracle: Oracle,
    random: Random,
    now: i64,
    link: bool,
    /// Frames to each side.
    wire: [Vec<Frame>; 2],
    mailboxes: [Mailbox; 2],
    /// Sessions, as the directory counts them.
    sessions: [u64; 2],
    /// Which session ran when the copy of the disk was made.
    copied: [u64; 2],
    /// The newest prekey of each side, and the oldest whose secret it has.
    prekeys: [(u64, u64); 2],
    /// Which device each side knows of the other.
    known: [DeviceId; 2],
    devices: u64,
    messages: u64,
    told: bool,
    disks_go_back: bool,
}

/// Numbers of messages tell whose they are.
fn side_of(number: u64) -> usize {
    (number % 2) as usize
}

impl<'n> World<'n> {
    pub fn new(nodes: &'n mut [Node; 2], seed: u64, told: bool, disks_go_back: bool) -> Self {
        for (side, node) in (1..).zip(nodes.iter_mut()) {
            node.reset(device(side));
        }
        let known = [nodes[1].device, nodes[0].device];
        let mut world = Self {
            nodes,
            oracle: Oracle::default(),
            random: Random(seed),
            now: 1_700_000_000_000,
            link: false,
            wire: [Vec::new(), Vec::new()],
            mailboxes: [Mailbox::default(), Mailbox::default()],
            sessions: [0, 0],
            copied: [0, 0],
            prekeys: [(1, 1), (1, 1)],
            known,
            devices: 2,
            messages: 0,
            told,
            disks_go_back,
        };
        world.start_session(0);
        world.start_session(1);
        world
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.told {
            println!("{:>12} {}", self.now - 1_700_000_000_000, text());
        }
    }

    pub fn messages(&self) -> u64 {
        self.oracle.sent.len() as u64
    }

    /// One thing happens, somewhere.
    pub fn step(&mut self) {
        let side = self.random.below(2);
        match self.random.below(100) {
            0..18 => self.send(side),
            18..40 => drop(self.transmit(side)),
            40..66 => drop(self.arrive(side, true)),
            66..72 => self.toggle_link(),
            72..79 => drop(self.deposit(side)),
            79..86 => drop(self.drain(side, true)),
            86..89 => self.pass_time(),
            89 => self.nodes[side].life.cursor = (OutStreamRow(0), 0),
            90..92 => self.restart(side),
            92..95 => self.expire(side),
            95 => {
                self.say(|| format!("{side}: a copy of the disk is made"));
                self.nodes[side].copy();
                self.copied[side] = self.sessions[side];
            }
            96 if self.disks_go_back => self.go_back(side),
            96 => self.cut(),
            97 => self.lose_prekeys(side),
            98 => self.directory_goes_back(side),
            _ => {
                // A session of which the directory knows and we do not.
                self.sessions[side] += 1;
                self.restart(side);
            }
        }
    }

    fn send(&mut self, side: usize) {
        let mut new = Vec::new();
        for _ in 0..=self.random.below(3) {
            self.messages += 1;
            let expires = self.random.chance(10).then_some(self.now / 1_000 + 10);
            new.push(message(self.messages * 2 + side as u64, expires));
        }
        let now = self.now;
        if self.random.chance(3) {
            self.nodes[side].crash_in(now, |tx| outgoing::send(tx, CONTACT, &new));
            return self.restart(side);
        }
        self.nodes[side].tx(now, |tx| outgoing::send(tx, CONTACT, &new));
        self.say(|| format!("{side}: sends {} messages up to {}", new.len(), self.messages * 2 + side as u64));
        for message in new {
            let number = u64::from_be_bytes(message.id.0[8..].try_into().unwrap());
            self.oracle.sent.insert(message.id, number);
        }
    }

    fn envelope(&mut self, side: usize, rows: &[OutboxRow], mailed: bool) -> Rc<Envelope> {
        for row in rows {
            self.oracle.leaves(&row.core);
        }
        let acks = if mailed {
            self.nodes[side].read(|conn| told::acks_for(conn, CONTACT, self.known[side]))
        } else {
            Vec::new()
        };
        let cores = rows.iter().map(|row| row.core.clone()).collect();
        Rc::new(Envelope { to: self.known[side], prekey: self.prekeys[1 - side].0, cores, acks })
    }

    /// Rows of one stream from the first on, as many as an envelope takes.
    fn fit(rows: &mut Vec<OutboxRow>, consecutive: bool) {
        let Some(first) = rows.first().cloned() else { return };
        let fits = |(n, row): (usize, &OutboxRow)| {
            n < CORES && row.stream == first.stream && (!consecutive || row.seq == first.seq + n as u64)
        };
        let count = rows.iter().enumerate().take_while(|(n, row)| fits((*n, row))).count();
        rows.truncate(count);
    }

    /// Puts an envelope on the link; whether there was one.
    fn transmit(&mut self, side: usize) -> bool {
        if !self.link || !self.nodes[side].life.ready {
            return false;
        }
        let cursor = self.nodes[side].life.cursor;
        let to = PeerDevice { peer: CONTACT, device: self.known[side] };
        let mut rows = self.nodes[side].read(|conn| outbox_after(conn, to, cursor, 600));
        Self::fit(&mut rows, false);
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return false };
        let (stream, low, high) = (first.stream, first.seq, last.seq);
        let envelope = self.envelope(side, &rows, false);
        self.say(|| format!("{side}: puts {low}..={high} of stream {stream} on the link"));
        self.wire[1 - side].push(Frame::Envelope(envelope));
        let at = Timestamp(self.now);
        let life = &mut self.nodes[side].life;
        life.cursor = (stream, high);
        life.notes.push(AttemptNote { stream, low, high, path: "direct", outcome: Outcome::Sent, at });
        true
    }

    /// A frame arrives: any of those under way, once or twice, or never.
    fn arrive(&mut self, side: usize, unkind: bool) -> bool {
        if self.wire[side].is_empty() {
            return false;
        }
        let at = if unkind { self.random.below(self.wire[side].len()) } else { 0 };
        let frame = match unkind.then(|| self.random.below(100)) {
            Some(0..8) => {
                self.wire[side].swap_remove(at);
                return true;
            }
            Some(8..16) => self.wire[side][at].clone(),
            Some(_) => self.wire[side].swap_remove(at),
            None => self.wire[side].remove(at),
        };
        let now = self.now;
        match frame {
            Frame::Resume(from, entries) => {
                self.say(|| format!("{side}: hears the resume {}", shown(&entries)));
                let resumed = self.nodes[side].tx(now, |tx| epochs::peer_resumed(tx, CONTACT, from, &entries));
                self.nodes[side]
                    .tx(now, |tx| acks::acknowledged(tx, PeerDevice { peer: CONTACT, device: from }, &entries));
                self.say(|| format!("{side}: {resumed:?}"));
                self.known[side] = from;
                let life = &mut self.nodes[side].life;
                (life.ready, life.cursor) = (true, (OutStreamRow(0), 0));
            }
            Frame::Ack(entries) => {
                self.say(|| format!("{side}: hears the acknowledgement {}", shown(&entries)));
                self.nodes[side].acknowledged(now, &entries);
            }
            Frame::Envelope(envelope) => {
                self.take(side, &envelope, unkind);
            }
        }
        true
    }

    fn opens(&self, side: usize, envelope: &Envelope) -> bool {
        envelope.to == self.nodes[side].device && envelope.prekey >= self.prekeys[side].1
    }

    /// Takes an envelope; `None` if the process ended over it, else whether all of it was taken.
    fn take(&mut self, side: usize, envelope: &Envelope, unkind: bool) -> Option<bool> {
        if !self.opens(side, envelope) {
            return Some(true);
        }
        let now = self.now;
        if unkind && self.random.chance(4) {
            self.say(|| format!("{side}: ends while it stores"));
            self.nodes[side].crash_in(now, |tx| receive(tx, &envelope.acks, &envelope.cores));
            self.restart(side);
            return None;
        }
        let received = self.nodes[side].tx(now, |tx| receive(tx, &envelope.acks, &envelope.cores));
        self.say(|| {
            let (shown, held, dup) = (received.shown, received.held, received.duplicates);
            format!(
                "{side}: {} cores: {shown} shown, {held} held, {dup} known; {}",
                envelope.cores.len(),
                shown_of(&received.entries)
            )
        });
        self.oracle.look(side, &self.nodes[side]);
        if received.chain_broken && self.oracle.blind.is_empty() {
            self.oracle.violation("a chain that its sender made does not link".to_owned());
        }
        if unkind && self.random.chance(4) {
            self.say(|| format!("{side}: ends before it acknowledges"));
            self.restart(side);
            return None;
        }
        if self.link && !received.entries.is_empty() {
            self.wire[1 - side].push(Frame::Ack(received.entries));
        }
        Some(received.refused == 0)
    }

    /// Everything that was broken works again: all that waits must arrive.
    pub fn heal(&mut self) {
        self.say(|| "everything works again".to_owned());
        for round in 0..12 {
            for side in [0, 1] {
                if !self.nodes[side].life.session {
                    self.start_session(side);
                }
            }
            self.connect();
            for _ in 0..400 {
                let mut busy = false;
                for side in [0, 1] {
                    busy |= self.arrive(side, false);
                    busy |= self.transmit(side);
                }
                if !busy {
                    break;
                }
            }
            for side in [0, 1] {
                self.drain(side, false);
            }
            self.wait(if round < 8 { 61_000 } else { 8 * 86_400_000 });
            let waits = |node: &Node| node.number("SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM held)");
            if self.wire.iter().all(Vec::is_empty) && self.nodes.iter().all(|node| waits(node) == 0) {
                break;
            }
        }
        self.oracle.end(self.nodes);
    }
}

fn shown(entries: &[AckEntry]) -> String {
    shown_of(entries)
}

fn shown_of(entries: &[AckEntry]) -> String {
    let one = |e: &AckEntry| format!("{:02x}{:02x}:{}{:?}", e.epoch.0[0], e.epoch.0[1], e.contiguous, e.ranges);
    entries.iter().map(one).collect::<Vec<_>>().join(" ")
}
