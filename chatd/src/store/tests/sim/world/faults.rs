//! What becomes of links, mailboxes, clocks and disks while messages are under way.

use crate::model::ids::PeerDevice;
use crate::store::contacts::giveup;
use crate::store::delivery::{deposits, outbox};
use crate::store::log::recovery::epochs;
use crate::store::log::reorder;
use crate::store::tests::sim::world::*;

impl World<'_> {
    pub(super) fn toggle_link(&mut self) {
        if self.link {
            self.say(|| "the link ends".to_owned());
            self.cut();
        } else {
            self.connect();
        }
    }

    pub(super) fn cut(&mut self) {
        self.link = false;
        for side in [0, 1] {
            self.wire[side].clear();
            let life = &mut self.nodes[side].life;
            (life.ready, life.cursor) = (false, (OutStreamRow(0), 0));
        }
    }

    pub(super) fn connect(&mut self) {
        self.say(|| "a link is made".to_owned());
        self.cut();
        self.link = true;
        for side in [0, 1] {
            self.known[side] = self.nodes[1 - side].device;
        }
        for side in [0, 1] {
            let entries = self.nodes[side].entries(self.known[side]);
            self.wire[1 - side].push(Frame::Resume(self.nodes[side].device, entries));
        }
    }

    pub(super) fn start_session(&mut self, side: usize) {
        self.sessions[side] += 1;
        let (now, counter) = (self.now, self.sessions[side]);
        let lost = self.nodes[side].tx(now, |tx| epochs::session_counted(tx, counter));
        self.nodes[side].life.session = true;
        self.say(|| format!("{side}: session {counter}{}", if lost { ", and new epochs" } else { "" }));
    }

    pub(super) fn restart(&mut self, side: usize) {
        self.say(|| format!("{side}: ends and starts"));
        self.nodes[side].crash();
        self.cut();
        if self.random.chance(80) {
            self.start_session(side);
        }
    }

    pub(super) fn deposit(&mut self, side: usize) -> bool {
        if !self.nodes[side].life.session {
            self.start_session(side);
            return false;
        }
        let (there, now) = (1 - side, self.now);
        if self.random.chance(50) {
            self.known[side] = self.nodes[there].device;
        }
        self.mailboxes[there].entries.retain(|(_, at, _)| now - at < WEEK_SECONDS as i64 * 1_000);
        self.nodes[side].tx(now, |tx| deposits::end_deposits(tx, now));
        let to = PeerDevice { peer: CONTACT, device: self.known[side] };
        let mut rows = self.nodes[side].read(|conn| outbox::undeposited(conn, to, 600));
        // One envelope holds consecutive numbers: a deposit covers them all.
        Self::fit(&mut rows, true);
        if self.mailboxes[there].entries.len() >= MAILBOX {
            return false;
        }
        let floor = self.nodes[side].read(|conn| deposits::highest_of(conn, URL, CONTACT, &TOKEN));
        let envelope = self.envelope(side, &rows, true);
        if envelope.cores.is_empty() && envelope.acks.is_empty() {
            return false;
        }
        let mailbox = &mut self.mailboxes[there];
        mailbox.last += 1;
        let number = mailbox.last;
        mailbox.entries.push((number, now, envelope));
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return false };
        self.say(|| format!("{side}: puts {}..={} of stream {} into the mailbox", first.seq, last.seq, first.stream));
        if self.random.chance(5) {
            self.say(|| format!("{side}: ends before it knows"));
            self.restart(side);
            return true;
        }
        let deposit = Deposit {
            stream: first.stream,
            device: to.device,
            low: first.seq,
            high: last.seq,
            mailbox: URL.to_owned(),
            token: TOKEN,
            number,
            floor,
            at: Timestamp(now),
            seconds: WEEK_SECONDS,
        };
        self.nodes[side].tx(now, |tx| deposits::deposited(tx, CONTACT, &deposit));
        true
    }

    /// Takes the oldest envelopes out of the own mailbox.
    pub(super) fn drain(&mut self, side: usize, unkind: bool) -> bool {
        if !self.nodes[side].life.session {
            self.start_session(side);
        }
        let count = if unkind { 1 + self.random.below(3) } else { usize::MAX };
        let due: Vec<(u64, Rc<Envelope>)> =
            self.mailboxes[side].entries.iter().take(count).map(|(n, _, e)| (*n, Rc::clone(e))).collect();
        for (number, envelope) in &due {
            self.say(|| format!("{side}: takes {number} out of the mailbox"));
            match self.take(side, envelope, unkind) {
                None => return true,
                Some(true) => self.mailboxes[side].entries.retain(|(n, _, _)| n != number),
                Some(false) => {}
            }
        }
        self.nodes[side].life.drained = self.mailboxes[side].entries.is_empty();
        !due.is_empty()
    }

    pub(super) fn pass_time(&mut self) {
        let time = [1_000, 20_000, 61_000, 61_000, 7_200_000, 8 * 86_400_000][self.random.below(6)];
        self.wait(time);
    }

    pub(super) fn wait(&mut self, ms: i64) {
        self.now += ms;
        self.say(|| format!("{} s pass", ms / 1_000));
        for side in [0, 1] {
            let (now, drained) = (self.now, self.nodes[side].life.drained);
            self.nodes[side].tx(now, |tx| reorder::give_up_gaps(tx, Timestamp(now), drained));
            self.oracle.look(side, &self.nodes[side]);
        }
    }

    /// What is over ends.
    pub(super) fn expire(&mut self, side: usize) {
        let now = self.now;
        self.nodes[side].tx(now, |tx| giveup::expire_due(tx, now / 1_000));
        let expired = self.nodes[side].own_messages(true);
        self.say(|| format!("{side}: {} messages expired by now", expired.len()));
        self.oracle.expired(expired);
    }

    pub(super) fn go_back(&mut self, side: usize) {
        if !self.nodes[side].has_copy {
            return;
        }
        self.devices += 1;
        let restored = self.random.chance(50).then(|| device(self.devices));
        self.say(|| format!("{side}: the disk goes back{}", if restored.is_some() { " by a restore" } else { "" }));
        let now = self.now;
        if restored.is_none() && self.copied[side] == self.sessions[side] {
            self.oracle.blind.insert(self.nodes[side].device);
        }
        self.nodes[side].go_back(now, restored);
        self.cut();
        let own: HashSet<MessageId> = self.nodes[side].read(|conn| {
            let mut select = conn.prepare_cached("SELECT msgid FROM messages WHERE sender = 0")?;
            let rows = select.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
            Ok(rows.map(|id| MessageId::from_slice(&id.unwrap()).unwrap()).collect())
        });
        self.oracle.went_back(side, &self.nodes[side], &own, side_of);
    }

    pub(super) fn lose_prekeys(&mut self, side: usize) {
        self.say(|| format!("{side}: its prekeys are gone"));
        let (newest, oldest) = &mut self.prekeys[side];
        *newest += 1;
        *oldest = *newest;
    }

    pub(super) fn directory_goes_back(&mut self, side: usize) {
        let mailbox = &mut self.mailboxes[side];
        match mailbox.backup.take() {
            Some((last, entries)) => (mailbox.last, mailbox.entries) = (last, entries),
            None => mailbox.backup = Some((mailbox.last, mailbox.entries.clone())),
        }
    }
}
