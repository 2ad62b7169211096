//! The network, the mailboxes and the clock around two sides: what happens, one thing after the other.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proto::ids::{DeviceId, PrekeyId};
use proto::time::Timestamp;
use proto::wire::envelope::{AckEntry, Outer};
use proto::wire::frame::{Frame, RefuseCode};

use super::Breakage;
use super::oracle::Oracle;
use super::shown::{shown, shown_of};
use super::side::{OnLink, Side};
use crate::crypto::envelope::plain;
use crate::delivery::core::event::{Event, RouteKey};
use crate::model::ids::PeerId;
use crate::policy::seeded::Random;
use crate::receive::{Judged, Receipt, Verdict};
use crate::store::log::{outgoing, told};
use crate::store::peers::{self, devices, trust};
use crate::store::tests::memory::message;

pub const BEGIN_MS: i64 = 1_700_000_000_000;

/// Number, when it came, and what it is.
pub type Entries = Vec<(u64, i64, Vec<u8>)>;

#[derive(Default, Clone)]
pub struct Mailbox {
    pub last: u64,
    pub entries: Entries,
    /// A backup of the directory.
    pub backup: Option<(u64, Entries)>,
}

pub struct World<'n> {
    pub sides: &'n mut [Side; 2],
    pub oracle: Oracle,
    pub random: Random,
    pub now: i64,
    begin: Instant,
    /// The link's number, if there is one.
    pub link: Option<u64>,
    pub links: u64,
    /// Whether a dial may succeed.
    pub reachable: bool,
    /// Frames to each side.
    pub wire: [Vec<Frame>; 2],
    pub mailboxes: [Mailbox; 2],
    /// Sessions, as the directory counts them.
    pub sessions: [u64; 2],
    /// Which session of which device ran when the copy of the disk was made.
    pub copied: [(u64, Option<DeviceId>); 2],
    pub devices: u8,
    messages: u64,
    told: bool,
    pub disks_go_back: bool,
    pub breakage: Option<Breakage>,
}

/// Numbers of messages tell whose they are.
pub fn side_of(number: u64) -> usize {
    (number % 2) as usize
}

/// What became of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The process ended over it.
    Ended,
    /// Whoever keeps it need not keep it any longer.
    Done,
    /// It is to come again.
    Again,
}

impl<'n> World<'n> {
    pub fn new(
        sides: &'n mut [Side; 2],
        seed: u64,
        told: bool,
        disks_go_back: bool,
        breakage: Option<Breakage>,
    ) -> Self {
        sides.iter_mut().for_each(Side::reset);
        let mut world = Self {
            sides,
            oracle: Oracle::default(),
            random: Random(seed),
            now: BEGIN_MS,
            begin: Instant::now(),
            link: None,
            links: 0,
            reachable: true,
            wire: [Vec::new(), Vec::new()],
            mailboxes: [Mailbox::default(), Mailbox::default()],
            sessions: [0, 0],
            copied: [(0, None); 2],
            devices: 0,
            messages: 0,
            told,
            disks_go_back,
            breakage,
        };
        for side in [0, 1] {
            world.start(side, true);
        }
        world
    }

    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.told {
            println!("{:>12} {}", self.now - BEGIN_MS, text());
        }
    }

    pub fn peer(&self, side: usize) -> PeerId {
        self.sides[side].store.peer
    }

    pub fn instant(&self) -> Instant {
        self.begin + Duration::from_millis((self.now - BEGIN_MS) as u64)
    }

    /// Tells a core something, and does what it wants at once.
    pub fn feed(&mut self, side: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let (now, mut effects) = (self.instant(), Vec::new());
            self.say(|| format!("{side}:   {:.160}", format!("{event:?}")));
            self.sides[side].life.core.handle(event, now, &mut self.random, &mut effects);
            for effect in effects {
                self.carry_out(side, effect, &mut events);
            }
        }
    }

    /// One thing happens, somewhere.
    pub fn step(&mut self) {
        let side = self.random.below(2);
        // Mostly things go on, or what is broken would hide what is on its way.
        match self.random.below(1_000) {
            0..110 => self.send(side),
            110..440 => drop(self.run_job(side, true) || self.run_job(1 - side, true)),
            440..800 => drop(self.arrive(side, true) || self.arrive(1 - side, true)),
            800..825 => self.cut(),
            825..840 => self.reachable = !self.reachable,
            840..865 => self.feed(side, Event::Offline(self.peer(side))),
            865..905 => drop(self.drain(side, true)),
            905..915 => self.ask(side),
            915..935 => self.pass_time(),
            935..947 => self.restart(side, true),
            947..960 => self.expire(side),
            960..970 => {
                self.say(|| format!("{side}: a copy of the disk is made"));
                self.sides[side].store.copy();
                self.copied[side] = (self.sessions[side], Some(self.sides[side].device()));
            }
            970..980 if self.disks_go_back => self.go_back(side),
            970..980 => self.cut(),
            980..988 => self.lose_prekeys(side),
            988..994 => self.directory_goes_back(side),
            _ => {
                // A session of which the directory knows and we do not.
                let _ = self.say_hello(side);
                self.restart(side, true);
            }
        }
        self.wake();
    }

    /// Tells the cores what was written down for them.
    pub fn wake(&mut self) {
        for side in [0, 1] {
            for peer in std::mem::take(&mut self.sides[side].store.dirty) {
                self.feed(side, Event::Wanted(peer));
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
        let (now, peer) = (self.now, self.peer(side));
        if self.random.chance(3) {
            self.sides[side].store.crash_in(now, |tx| outgoing::send(tx, peer, &new));
            return self.restart(side, true);
        }
        self.sides[side].store.tx(now, |tx| outgoing::send(tx, peer, &new));
        self.say(|| format!("{side}: sends {} messages up to {}", new.len(), self.messages * 2 + side as u64));
        for message in new {
            let number = u64::from_be_bytes(message.id.0[8..].try_into().unwrap());
            self.oracle.sent.insert(message.id, number);
        }
    }

    /// A frame arrives: mostly the next, or any of those under way, once or twice, or never.
    pub fn arrive(&mut self, side: usize, unkind: bool) -> bool {
        if self.wire[side].is_empty() {
            return false;
        }
        let any = unkind && self.random.chance(30);
        let at = if any { self.random.below(self.wire[side].len()) } else { 0 };
        let frame = match unkind.then(|| self.random.below(100)) {
            Some(0..5) => {
                self.wire[side].remove(at);
                return true;
            }
            Some(5..10) => self.wire[side][at].clone(),
            _ => self.wire[side].remove(at),
        };
        self.hear(side, frame, unkind);
        true
    }

    /// As the runner of the link does.
    pub fn hear(&mut self, side: usize, frame: Frame, unkind: bool) {
        let Some(link) = self.link else { return };
        let (now, own, peer) = (self.now, self.sides[side].device(), self.peer(side));
        let proved = |world: &Self, to, from| to == own && world.sides[side].life.link.proved.contains(&from);
        self.say(|| format!("{side}: hears {}", shown(&frame)));
        if let Frame::Ack { entries, .. } | Frame::Resume { entries, .. } = &frame {
            let there = &self.sides[1 - side].store;
            let on_disk = there.read(|conn| told::resume_entries(conn, there.peer, own));
            self.oracle.hears(entries, &on_disk);
        }
        match frame {
            Frame::Claim { from_device: from, to_device: to, .. } => {
                let claimant = self.sides[side].store.read(|conn| {
                    let Some((peer, _)) = devices::by_device(conn, from)? else { return Ok(false) };
                    Ok(to == own && peers::load(conn, peer)?.state.may_talk())
                });
                if !claimant {
                    let refuse = Frame::Refuse { code: RefuseCode::Offline, envelope: None, device: Some(to) };
                    return self.wire[1 - side].push(refuse);
                }
                self.sides[side].life.link.proved.insert(from);
                self.feed(side, Event::Claimed { key: RouteKey::new(peer, from), link });
                self.flush(side);
            }
            Frame::Ack { from_device: from, to_device: to, entries, ids } if proved(self, to, from) => {
                self.feed(side, Event::Ack { key: RouteKey::new(peer, from), entries, ids });
            }
            Frame::Resume { from_device: from, to_device: to, entries } if proved(self, to, from) => {
                self.feed(side, Event::Resume { key: RouteKey::new(peer, from), link, entries });
            }
            Frame::Record { from_device: from, to_device: to, record }
                if proved(self, to, from)
                    && self.sides[side].store.read(|conn| trust::may_replace_record(conn, peer, &record)) =>
            {
                self.sides[side].store.tx(now, |tx| trust::take_record(tx, peer, &record));
            }
            Frame::Refuse { code, envelope, device } => {
                self.feed(side, Event::Refused { link, code, envelope, device });
            }
            Frame::Envelope { number, outer } => drop(self.take(side, &outer, Some(number), unkind)),
            _ => {}
        }
    }

    fn refuse(&mut self, side: usize, code: RefuseCode, number: Option<u64>) -> Taken {
        let device = Some(self.sides[side].device());
        if number.is_some() && self.link.is_some() {
            self.wire[1 - side].push(Frame::Refuse { code, envelope: number, device });
        }
        // What nobody can read any more does not stop what comes behind it.
        if matches!(code, RefuseCode::Record | RefuseCode::Unavailable) { Taken::Again } else { Taken::Done }
    }

    /// Takes an envelope, of this number on the link, or out of the mailbox.
    pub fn take(&mut self, side: usize, outer: &[u8], number: Option<u64>, unkind: bool) -> Taken {
        let (parsed, own) = (Outer::decode(outer).unwrap(), self.sides[side].device());
        if parsed.to_device != own {
            return self.refuse(side, RefuseCode::Offline, number);
        }
        let id: PrekeyId = parsed.prekey_id;
        let Some(secret) = self.sides[side].prekeys.iter().find(|prekey| prekey.id() == id).cloned() else {
            return self.refuse(side, RefuseCode::PrekeyGone, number);
        };
        let peer = self.peer(side);
        for park in [true, false] {
            let opened = plain::open(&parsed, &secret).unwrap();
            let (instant, sides) = (self.instant(), &mut *self.sides);
            let Side { store, judge, .. } = &mut sides[side];
            let judged = store.read(|conn| Ok(judge.judge(conn, opened, outer.to_vec(), park, instant)));
            match judged {
                Ok(Judged::Known(device, opened)) => {
                    let proved = opened.prove(&device.key).unwrap();
                    return self.apply(side, device, &proved, number, unkind);
                }
                Ok(Judged::Verdict(Verdict::Refused(code))) => return self.refuse(side, code, number),
                Ok(Judged::Verdict(Verdict::Parked { .. })) if park => {
                    self.fetch_record(side);
                    self.sides[side].judge.unpark(peer, instant);
                }
                Ok(Judged::Verdict(Verdict::Parked { .. })) => return Taken::Again,
                // A device that the record known here does not name.
                Ok(Judged::Stranger(_)) => {
                    self.fetch_record(side);
                    return Taken::Again;
                }
                other => {
                    self.oracle.violation(format!("an honest envelope was dropped: {other:?}"));
                    return Taken::Done;
                }
            }
        }
        Taken::Again
    }

    fn apply(
        &mut self,
        side: usize,
        device: devices::KnownDevice,
        proved: &crate::crypto::envelope::Proved,
        number: Option<u64>,
        unkind: bool,
    ) -> Taken {
        let (now, from, peer) = (self.now, proved.wrap().from_device, self.peer(side));
        let Side { store, judge, .. } = &mut self.sides[side];
        if unkind && self.random.chance(4) {
            let receipt = store.crash_in(now, |tx| judge.apply(tx, device, proved));
            if self.breakage == Some(Breakage::AckBeforeCommit) && number.is_some() {
                let own = self.sides[side].device();
                let ack = Frame::Ack { from_device: own, to_device: from, entries: receipt.entries, ids: receipt.ids };
                self.hear(1 - side, ack, false);
                while self.run_job(1 - side, false) {}
            }
            self.say(|| format!("{side}: ends while it stores"));
            self.restart(side, true);
            return Taken::Ended;
        }
        let Receipt { entries, ids, silent, refused, .. } = store.tx(now, |tx| judge.apply(tx, device, proved));
        self.say(|| format!("{side}: has {}", shown_of(&entries)));
        self.oracle.look(side, &self.sides[side].store);
        if unkind && self.random.chance(4) {
            self.say(|| format!("{side}: ends before it acknowledges"));
            self.restart(side, true);
            return Taken::Ended;
        }
        if number.is_some() && !silent {
            let due = self.sides[side].life.link.due.entry(from).or_default();
            for entry in entries {
                due.0.retain(|e| e.epoch != entry.epoch);
                due.0.push(entry);
            }
            due.1.extend(ids);
            self.flush(side);
        } else if number.is_none() && !silent && !entries.is_empty() {
            self.sides[side].store.tx(now, |tx| told::set_ack_due(tx, peer, true));
        }
        if refused { Taken::Again } else { Taken::Done }
    }

    /// Acknowledges what was committed to devices that have proved themselves, and to which we have.
    pub fn flush(&mut self, side: usize) {
        let own = self.sides[side].device();
        let OnLink { claims, proved, due } = &mut self.sides[side].life.link;
        let ready: Vec<_> = due.keys().filter(|from| proved.contains(from) && claims.contains(from)).copied().collect();
        for to in ready {
            let (entries, ids) = self.sides[side].life.link.due.remove(&to).unwrap_or_default();
            if self.link.is_some() {
                let entries = self.told(entries);
                self.wire[1 - side].push(Frame::Ack { from_device: own, to_device: to, entries, ids });
            }
        }
    }

    /// What is said to have come.
    pub fn told(&self, mut entries: Vec<AckEntry>) -> Vec<AckEntry> {
        if self.breakage == Some(Breakage::HoleAcknowledged) {
            for entry in &mut entries {
                entry.contiguous = entry.ranges.last().map_or(entry.contiguous, |(_, high)| *high);
                entry.ranges.clear();
            }
        }
        entries
    }

    /// The other side's newest record comes from its directory.
    pub fn fetch_record(&mut self, side: usize) {
        let (now, peer, record) = (self.now, self.peer(side), self.sides[1 - side].record.0.clone());
        self.sides[side].store.tx(now, |tx| trust::take_record(tx, peer, &record));
    }

    /// The clock of all.
    pub fn time(&self) -> Timestamp {
        Timestamp(self.now)
    }
}
