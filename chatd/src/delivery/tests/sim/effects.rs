//! What a core wants done, done as the daemon's driver does it: the same functions, on the store in memory.

use std::collections::VecDeque;

use proto::reason::Reason;
use proto::wire::envelope::{AckEntry, Core};
use proto::wire::frame::Frame;

use super::Breakage;
use super::world::World;
use crate::crypto::CryptoError;
use crate::crypto::envelope::{SealTo, Sender, plain};
use crate::delivery::core::effect::{Effect, Note, Pack};
use crate::delivery::core::event::{Deposited, Dialled, Event, Facts, Problem, RouteKey};
use crate::delivery::{acks, driver, mailbox, sealer};
use crate::model::Outcome;
use crate::store::account::OwnCard;
use crate::store::delivery::deposits::Deposit;
use crate::store::delivery::{attempts, control, deposits, outbox};
use crate::store::log::told;
use crate::store::peers;

const URL: &str = "http://127.0.0.1:7470";
const WEEK_SECONDS: u64 = 604_800;
/// Envelopes that a mailbox takes.
const MAILBOX: usize = 4;

impl World<'_> {
    /// Does at once what takes no time, and keeps the rest.
    pub fn carry_out(&mut self, side: usize, effect: Effect, events: &mut VecDeque<Event>) {
        let (own, now, peer) = (self.sides[side].device(), self.now, self.peer(side));
        match effect {
            Effect::Look { key, accept } => {
                let (row, accept_waits) = self.sides[side]
                    .store
                    .read(|conn| Ok((peers::load(conn, key.peer)?, accept && control::accept_waits(conn, key.peer)?)));
                let facts = Facts { blocked: row.state.blocked, may_talk: row.state.may_talk(), accept_waits };
                let mut of = key;
                if key.device.is_none() {
                    let devices = sealer::devices_of(&row, now / 1_000);
                    of = sealer::named(key, &devices);
                    events.push_back(Event::Devices { peer, devices });
                }
                events.push_back(Event::Facts { key: of, facts: Some(facts) });
            }
            Effect::Dial { key, attempt, asks, .. }
                if !asks && !self.sides[side].store.read(|conn| outbox::anything_waits(conn, key.peer)) =>
            {
                events.push_back(Event::Dialled { key, attempt, result: Dialled::NothingWaits });
            }
            Effect::Claim { link, device } if self.link == Some(link) => self.claim(side, device),
            Effect::Unclaim { device, .. } => drop(self.sides[side].life.link.claims.remove(&device)),
            Effect::Greet { key, link, claim } if self.link == Some(link) => {
                let Some(device) = key.device else { return };
                if claim {
                    self.claim(side, device);
                }
                let record = self.sides[side].record.0.clone();
                self.wire[1 - side].push(Frame::Record { from_device: own, to_device: device, record });
                self.show_marks(side, key);
                self.flush(side);
            }
            Effect::ShowMarks { key, link } if self.link == Some(link) => self.show_marks(side, key),
            Effect::TellMailed { key, link } if self.link == Some(link) => {
                let Some(device) = key.device else { return };
                if self.sides[side].store.read(|conn| told::ack_is_due(conn, peer)) {
                    self.sides[side].store.tx(now, |tx| told::set_ack_due(tx, peer, false));
                    let entries = self.sides[side].store.read(|conn| told::acks_for(conn, peer, device));
                    let (entries, ids) = (self.told(entries), Vec::new());
                    self.wire[1 - side].push(Frame::Ack { from_device: own, to_device: device, entries, ids });
                }
            }
            Effect::Close { .. } => self.cut(),
            Effect::Note { peer, note } => self.keep(side, peer, note),
            job @ (Effect::Dial { .. }
            | Effect::Pack(_)
            | Effect::Deposit(_)
            | Effect::StoreResume { .. }
            | Effect::StoreAcks { .. }) => {
                self.sides[side].life.jobs.push(job);
            }
            // Of a link that has ended; nobody here asks for work; nobody dies without a word.
            _ => {}
        }
    }

    fn keep(&mut self, side: usize, peer: crate::model::ids::PeerId, note: Note) {
        self.sides[side].store.notes.push(Box::new(move |tx| driver::write_note(tx, peer, note)));
    }

    fn claim(&mut self, side: usize, device: proto::ids::DeviceId) {
        self.sides[side].life.link.claims.insert(device);
        let from_device = self.sides[side].device();
        self.wire[1 - side].push(Frame::Claim { from_device, to_device: device, signature: [0; 64] });
        self.flush(side);
    }

    fn show_marks(&mut self, side: usize, key: RouteKey) {
        let (own, Some(device)) = (self.sides[side].device(), key.device) else { return };
        let entries = self.sides[side].store.read(|conn| told::resume_entries(conn, key.peer, device));
        let entries = self.told(entries);
        self.wire[1 - side].push(Frame::Resume { from_device: own, to_device: device, entries });
    }

    /// Does one of the things that take time; `false`: there is none.
    pub fn run_job(&mut self, side: usize, unkind: bool) -> bool {
        let jobs = &mut self.sides[side].life.jobs;
        if jobs.is_empty() {
            return false;
        }
        let at = if unkind { self.random.below(jobs.len()) } else { 0 };
        let now = self.now;
        match jobs.remove(at) {
            Effect::Dial { key, attempt, refresh, .. } => {
                if (refresh.record || refresh.reach) && (self.reachable || self.random.chance(50)) {
                    self.fetch_record(side);
                }
                let key = self.tell_devices(side, key);
                let reached = self.reachable && !(unkind && self.random.chance(20));
                let result = match reached {
                    true => Dialled::Reached(self.connect()),
                    false => Dialled::Failed { wait: None, outcome: Outcome::failed(Reason::PeerUnreachable) },
                };
                self.feed(side, Event::Dialled { key, attempt, result });
            }
            Effect::Pack(pack) => self.pack(side, pack),
            Effect::Deposit(key) => self.deposit(side, key, unkind),
            Effect::StoreResume { key, link, entries } => {
                if unkind && self.random.chance(3) {
                    self.sides[side].store.crash_in(now, |tx| acks::resumed(tx, key, &entries));
                    self.restart(side, true);
                    return true;
                }
                self.sides[side].store.tx(now, |tx| acks::resumed(tx, key, &entries));
                self.feed(side, Event::Resumed { key, link, entries, stored: true });
            }
            Effect::StoreAcks { key, batch } => {
                let (own, at) = (self.sides[side].device(), self.time());
                // What was noted before comes first.
                self.sides[side].store.tx(now, |_| Ok(()));
                let store = &mut self.sides[side].store;
                let changes = batch.sure || store.read(|conn| acks::would_change(conn, key, own, &batch, at));
                let before = store.changes();
                store.tx_alone(now, |tx| acks::acknowledged(tx, key, &batch));
                if !changes && store.changes() != before {
                    let left = format!("left out, though it changes something: {:?}", batch.entries);
                    self.oracle.violation(left);
                }
                self.feed(side, Event::AcksStored { key, ids: batch.ids });
            }
            _ => {}
        }
        true
    }

    /// What a look at the peer's record says of its devices.
    fn tell_devices(&mut self, side: usize, key: RouteKey) -> RouteKey {
        let (peer, now) = (key.peer, self.now / 1_000);
        let row = self.sides[side].store.read(|conn| peers::load(conn, peer));
        let devices = sealer::devices_of(&row, now);
        let key = sealer::named(key, &devices);
        self.feed(side, Event::Devices { peer, devices });
        key
    }

    fn seal(
        &mut self,
        side: usize,
        card: &OwnCard,
        (to, acks): (&SealTo, Vec<AckEntry>),
        cores: &[&[u8]],
    ) -> Result<Vec<u8>, CryptoError> {
        let own = &self.sides[side];
        let sender = Sender {
            account: own.account,
            device: own.device(),
            key: &own.key,
            record_seq: card.record_seq,
            record_hash: proto::ids::sha256(&[&card.record]),
        };
        let moved: Vec<Vec<u8>> = cores.iter().map(|core| self.moved(core)).collect();
        let cores: Vec<&[u8]> = moved.iter().map(Vec::as_slice).collect();
        let outer = plain::seal(&sender, to, self.told(acks), &cores)?;
        cores.iter().for_each(|core| self.oracle.leaves(core));
        Ok(outer)
    }

    /// The core as it leaves.
    fn moved(&self, bytes: &[u8]) -> Vec<u8> {
        let core = Core::decode(bytes).unwrap();
        match self.breakage {
            Some(Breakage::RetryUnderNewNumber) if core.seq > 0 && self.oracle.has_left(&core) => {
                Core { seq: core.seq + 1, ..core }.encode()
            }
            _ => bytes.to_vec(),
        }
    }

    fn pack(&mut self, side: usize, pack: Pack) {
        let mut done = pack.nothing();
        if self.link != Some(pack.link) {
            return self.feed(side, Event::Packed(done));
        }
        let at = self.time();
        let waiting = self.sides[side].store.read(|conn| sealer::read(conn, &pack, (at, at.0 / 1_000)));
        let Some(waiting) = waiting else { return self.feed(side, Event::Packed(done)) };
        // Sealing is asked of by a function that changes nothing; whatever leaves is told to the oracle.
        let world = std::cell::RefCell::new(&mut *self);
        let sealed = sealer::seal_all(&waiting, &|to, acks, cores| {
            world.borrow_mut().seal(side, &waiting.card, (to, acks), cores)
        });
        match sealed {
            Ok((sealed, more)) => {
                done.more = more;
                for mut envelope in sealed {
                    let outer = std::mem::take(&mut envelope.outer);
                    let bytes = outer.len();
                    self.say(|| format!("{side}: puts {:?} on the link", envelope.chain));
                    if let Some(note) = sealer::attempt(&envelope, "direct", at) {
                        let peer = pack.key.peer;
                        let note = Box::new(move |tx: &mut crate::store::Tx<'_>| attempts::attempt(tx, peer, &note));
                        self.sides[side].store.notes.push(note);
                    }
                    self.wire[1 - side].push(Frame::Envelope { number: envelope.number, outer });
                    sealer::sent(&mut done, envelope, bytes);
                }
            }
            Err(sealer::SealError::NoPrekey(why)) => done.problem = Some(Problem::NoPrekey(why)),
            Err(error) => self.oracle.violation(format!("could not be sealed: {error}")),
        }
        self.feed(side, Event::Packed(done));
    }

    /// Leaves what waits in the other's mailbox, an envelope after the other.
    fn deposit(&mut self, side: usize, key: RouteKey, unkind: bool) {
        if !self.sides[side].life.session || unkind && self.random.chance(10) {
            let (refusal, wait, outcome) = (false, None, Outcome::failed(Reason::MailboxUnreachable));
            return self.feed(side, Event::Deposited { key, result: Deposited::Failed { refusal, wait, outcome } });
        }
        if self.random.chance(50) {
            self.fetch_record(side);
        }
        let key = self.tell_devices(side, key);
        let (there, now) = (1 - side, self.now);
        let (mut any, mut refreshed) = (false, false);
        let result = loop {
            self.mailboxes[there].entries.retain(|(_, at, _)| now - at < WEEK_SECONDS as i64 * 1_000);
            self.sides[side].store.tx(now, |tx| deposits::end_deposits(tx, now));
            let url = |_: &str| Some(URL.to_owned());
            let read = self.sides[side].store.read(|conn| mailbox::read(conn, key, now / 1_000, url));
            if read.as_ref().is_some_and(|waiting| waiting.to.is_err()) && !refreshed {
                (refreshed, _) = (true, self.fetch_record(side));
                continue;
            }
            let Some(mailbox::Waiting { to: Ok(to), row, card, rows, ack_due, floor, .. }) = read else {
                let all = !self.sides[side].store.read(|conn| outbox::anything_waits(conn, key.peer));
                break Deposited::Left { any, all };
            };
            if self.mailboxes[there].entries.len() >= MAILBOX {
                let (refusal, wait, outcome) = (true, None, Outcome::failed(Reason::MailboxFull));
                break Deposited::Failed { refusal, wait, outcome };
            }
            let entries = match ack_due {
                true => self.sides[side].store.read(|conn| told::acks_for(conn, key.peer, to.device)),
                false => Vec::new(),
            };
            let count = mailbox::cut(&rows, entries.len()).min(3);
            let cores: Vec<&[u8]> = rows[..count].iter().map(|row| row.core.as_slice()).collect();
            let outer = self.seal(side, &card, (&to, entries), &cores).unwrap();
            let mailbox = &mut self.mailboxes[there];
            mailbox.last += 1;
            let number = mailbox.last;
            mailbox.entries.push((number, now, outer));
            any = true;
            self.say(|| format!("{side}: puts {count} cores into the mailbox"));
            if unkind && self.random.chance(5) {
                self.say(|| format!("{side}: ends before it knows"));
                return self.restart(side, true);
            }
            let deposit = rows[..count].first().zip(rows[..count].last()).map(|(first, last)| Deposit {
                stream: first.stream,
                device: to.device,
                low: first.seq,
                high: last.seq,
                mailbox: URL.to_owned(),
                token: row.token_held.unwrap(),
                number,
                floor,
                at: self.time(),
                seconds: WEEK_SECONDS,
            });
            self.sides[side].store.tx(now, |tx| mailbox::left(tx, key.peer, ack_due, deposit.as_ref()));
        };
        self.feed(side, Event::Deposited { key, result });
    }
}
