//! What becomes of links, mailboxes, clocks and disks while messages are under way; and how everything works again.

use proto::wire::frame::Frame;

use super::side::OnLink;
use super::world::{Taken, World, side_of};
use crate::delivery::core::event::Event;
use crate::store::account;
use crate::store::contacts::giveup;
use crate::store::log::recovery::epochs;
use crate::store::peers;

impl World<'_> {
    /// The link ends, and with it what was on it.
    pub fn cut(&mut self) {
        let Some(link) = self.link.take() else { return };
        self.say(|| "the link ends".to_owned());
        self.wire.iter_mut().for_each(Vec::<Frame>::clear);
        for side in [0, 1] {
            self.sides[side].life.link = OnLink::default();
        }
        for side in [0, 1] {
            self.feed(side, Event::LinkDown { link, too_much: false });
        }
    }

    /// There is a link; its number.
    pub fn connect(&mut self) -> u64 {
        if let Some(link) = self.link {
            return link;
        }
        self.links += 1;
        let link = self.links;
        self.say(|| format!("link {link} is made"));
        self.link = Some(link);
        for side in [0, 1] {
            let peers = vec![self.peer(side)];
            self.feed(side, Event::LinkUp { link, peers });
        }
        link
    }

    /// A process begins: delivery takes up what waits, and a session is made, perhaps.
    pub fn start(&mut self, side: usize, session: bool) {
        let waiting = self.sides[side].store.read(peers::with_pending);
        let waiting = waiting.into_iter().map(|peer| (peer, false)).collect();
        let links = self.link.into_iter().collect();
        self.feed(side, Event::Begin { links, waiting });
        if session {
            self.start_session(side);
        }
    }

    /// A device gives a session its number, if it can keep one, and the directory counts it.
    pub fn say_hello(&mut self, side: usize) -> Option<u64> {
        let now = self.now;
        let said = self.random.chance(90).then(|| self.sides[side].store.tx(now, account::next_session));
        self.sessions[side] = said.unwrap_or_default().max(self.sessions[side] + 1);
        said
    }

    pub fn start_session(&mut self, side: usize) {
        let said = self.say_hello(side);
        let (now, counter) = (self.now, self.sessions[side]);
        let lost = self.sides[side].store.tx(now, |tx| epochs::session_counted(tx, said, counter));
        self.sides[side].life.session = true;
        self.say(|| format!("{side}: session {counter}{}", if lost { ", and new epochs" } else { "" }));
        self.feed(side, Event::Session(true));
        let (there, peer) = (1 - side, self.peer(1 - side));
        if self.sides[there].life.session {
            self.feed(there, Event::Online(peer));
            let peer = self.peer(side);
            self.feed(side, Event::Online(peer));
        }
    }

    pub fn restart(&mut self, side: usize, unkind: bool) {
        self.say(|| format!("{side}: ends and starts"));
        self.sides[side].end();
        self.cut();
        let (there, peer) = (1 - side, self.peer(1 - side));
        if self.sides[there].life.session {
            self.feed(there, Event::Offline(peer));
        }
        let session = !unkind || self.random.chance(80);
        self.start(side, session);
    }

    /// Takes the oldest envelopes out of the own mailbox.
    pub fn drain(&mut self, side: usize, unkind: bool) -> bool {
        if !self.sides[side].life.session {
            self.start_session(side);
        }
        let count = if unkind { 1 + self.random.below(3) } else { usize::MAX };
        let due: Vec<(u64, Vec<u8>)> =
            self.mailboxes[side].entries.iter().take(count).map(|(n, _, outer)| (*n, outer.clone())).collect();
        for (number, outer) in &due {
            self.say(|| format!("{side}: takes {number} out of the mailbox"));
            match self.take(side, outer, None, unkind) {
                Taken::Ended => return true,
                Taken::Done => self.mailboxes[side].entries.retain(|(n, _, _)| n != number),
                Taken::Again => {}
            }
        }
        self.sides[side].life.drained = self.mailboxes[side].entries.is_empty();
        !due.is_empty()
    }

    /// What is held behind a hole is asked for.
    pub fn ask(&mut self, side: usize) {
        if self.sides[side].store.hole().is_some_and(|since| self.now - since >= 5_000) {
            let peer = self.peer(side);
            self.feed(side, Event::Hole(peer));
        }
    }

    pub fn pass_time(&mut self) {
        let time = [1_000, 20_000, 61_000, 61_000, 7_200_000, 8 * 86_400_000][self.random.below(6)];
        self.wait(time);
    }

    /// Time passes: timers go off, a few of them at their time, and what is late then.
    pub fn wait(&mut self, ms: i64) {
        self.say(|| format!("{} s pass", ms / 1_000));
        let end = self.now + ms;
        for _ in 0..6 {
            let next = (0..2).filter_map(|side| self.sides[side].life.core.next()).min();
            let Some(next) = next else { break };
            let ms = next.saturating_duration_since(self.instant()).as_millis() as i64 + 1;
            if self.now + ms >= end {
                break;
            }
            self.now += ms;
            for side in [0, 1] {
                self.feed(side, Event::Tick);
            }
        }
        self.now = end;
        for side in [0, 1] {
            if self.sides[side].renew_daily(self.now / 1_000) {
                self.own_record(side);
            }
            let (now, drained) = (self.now, self.sides[side].life.drained);
            self.sides[side].store.give_up_gaps(now, drained);
            self.oracle.look(side, &self.sides[side].store);
            self.feed(side, Event::Tick);
        }
    }

    /// What is over ends.
    pub fn expire(&mut self, side: usize) {
        let now = self.now;
        self.sides[side].store.tx(now, |tx| giveup::expire_due(tx, now / 1_000));
        let expired = self.sides[side].store.own_messages(true);
        self.say(|| format!("{side}: {} messages expired by now", expired.len()));
        self.oracle.expired(expired);
    }

    pub fn go_back(&mut self, side: usize) {
        if !self.sides[side].store.has_copy {
            return;
        }
        let (session, device) = self.copied[side];
        // A disk of before a restore names a device that the record does not name any more: it is only restored again.
        let restored = self.random.chance(50) || device != Some(self.sides[side].device());
        let now = self.now;
        self.say(|| format!("{side}: the disk goes back{}", if restored { " by a restore" } else { "" }));
        if restored {
            self.devices += 1;
            let number = self.devices;
            self.sides[side].renew(Some(number), now / 1_000);
        } else if session == self.sessions[side] {
            self.oracle.blind.insert(self.sides[side].device());
        }
        let device = restored.then(|| self.sides[side].device());
        let record = self.sides[side].record.clone();
        self.sides[side].store.go_back(now, device, (&record.0, record.1));
        self.sides[side].end();
        self.cut();
        let own = self.sides[side].store.all_own_messages();
        self.oracle.went_back(side, &self.sides[side].store, &own, side_of);
        self.start(side, false);
    }

    pub fn lose_prekeys(&mut self, side: usize) {
        self.say(|| format!("{side}: its prekeys are gone"));
        self.sides[side].renew(None, self.now / 1_000);
        self.own_record(side);
    }

    fn own_record(&mut self, side: usize) {
        let (now, record) = (self.now, self.sides[side].record.clone());
        self.sides[side].store.tx(now, |tx| account::set_own_record(tx, &record.0, record.1));
    }

    pub fn directory_goes_back(&mut self, side: usize) {
        let mailbox = &mut self.mailboxes[side];
        match mailbox.backup.take() {
            Some((last, entries)) => (mailbox.last, mailbox.entries) = (last, entries),
            None => mailbox.backup = Some((mailbox.last, mailbox.entries.clone())),
        }
    }

    /// Everything that was broken works again: all that waits must arrive.
    pub fn heal(&mut self) {
        self.say(|| "everything works again".to_owned());
        self.reachable = true;
        for round in 0..16 {
            for side in [0, 1] {
                if !self.sides[side].life.session {
                    self.start_session(side);
                }
            }
            self.wake();
            for _ in 0..400 {
                let mut busy = false;
                for side in [0, 1] {
                    busy |= self.arrive(side, false);
                    busy |= self.run_job(side, false);
                }
                self.wake();
                if !busy {
                    break;
                }
            }
            for side in [0, 1] {
                self.drain(side, false);
                self.ask(side);
            }
            let waits = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM reorder_buffer)
               + (SELECT sum(ack_due) FROM contacts)";
            let idle = self.wire.iter().all(Vec::is_empty) && self.sides.iter().all(|side| side.life.jobs.is_empty());
            if idle && self.sides.iter().all(|side| side.store.number(waits) == 0) {
                break;
            }
            self.wait(if round < 12 { 61_000 } else { 8 * 86_400_000 });
        }
        let [one, other] = &*self.sides;
        self.oracle.end([&one.store, &other.store]);
    }
}
