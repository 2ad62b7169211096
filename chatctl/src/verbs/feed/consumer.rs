//! A durable consumer of the feed, and how its events become acknowledged: when they were printed, or when whoever reads
//! them says so. (When a command has dealt with them: [`crate::verbs::feed::exec`].)
//!
//! Invariant: nothing is acknowledged before the boundary that was asked for, and nothing before an event that is not
//! acknowledged itself: a consumer's place is one number.

use std::collections::VecDeque;
use std::time::Duration;

use proto::rpc::event::Event;
use proto::rpc::methods::{FeedAck, Method};
use proto::rpc::types::FeedAckParams;

use crate::client::feed::Feed;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::input::stdin_lines::{self, Line, LineError};
use crate::input::stop::Stop;
use crate::term::output::reader_gone;
use crate::verbs::feed::printer::EventPrinter;

/// Printed events after which a consumer acknowledges even while more keep coming.
const ACK_EVERY: usize = 100;
/// Quiet after which it acknowledges fewer.
const ACK_IDLE: Duration = Duration::from_millis(50);
/// Events that are printed and not finished at most; beyond, the reader has to finish some before more are printed.
pub const MAX_UNFINISHED: usize = 10_000;

/// A consumer that is being read.
pub struct Consumer<'a> {
    pub feed: Feed,
    pub session: &'a mut Session,
    pub name: String,
    pub stop: Stop,
}

impl Consumer<'_> {
    /// A call, over as many connections as it takes; `None` when a signal came first.
    pub async fn call<M: Method>(&mut self, params: &M::Params) -> Result<Option<M::Result>, Failure> {
        loop {
            match self.feed.client().call::<M>(params).await.map_err(Failure::from) {
                Err(failure) if failure.is_disconnect() => {
                    if !self.reconnect().await? {
                        return Ok(None);
                    }
                }
                result => return result.map(Some),
            }
        }
    }

    /// `false` when a signal came first.
    pub async fn reconnect(&mut self) -> Result<bool, Failure> {
        tokio::select! {
            biased;
            () = self.stop.asked() => Ok(false),
            result = self.feed.reconnect(self.session) => result.map(|()| true),
        }
    }

    /// Everything up to `seq` is dealt with. `false` when a signal came before the daemon had it.
    pub async fn acknowledge(&mut self, seq: u64) -> Result<bool, Failure> {
        let params = FeedAckParams { account: self.session.account(), consumer: self.name.clone(), seq };
        Ok(self.call::<FeedAck>(&params).await?.is_some())
    }

    async fn print(&mut self, printer: &mut EventPrinter, batch: &mut Vec<Event>) -> Result<(), Failure> {
        for event in batch.drain(..) {
            printer.print(self.session, self.feed.client(), event).await?;
        }
        printer.flush(self.session, self.feed.client()).await
    }

    /// `--ack printed`: what was written to standard output counts.
    pub async fn printed(mut self, mut printer: EventPrinter) -> Result<Exit, Failure> {
        let mut gone = std::pin::pin!(reader_gone());
        let (mut unacked, mut batch) = (0, Vec::new());
        loop {
            let (mut alive, mut idle) = (true, false);
            tokio::select! {
                biased;
                () = self.stop.asked() => {
                    if unacked > 0 {
                        self.acknowledge(self.feed.last()).await?;
                    }
                    return Ok(Exit::Ok);
                }
                () = &mut gone => return Err(Failure::ClosedPipe),
                more = self.feed.next_many(&mut batch) => alive = more,
                () = tokio::time::sleep(ACK_IDLE), if unacked > 0 => idle = true,
            }
            unacked += batch.len();
            // An acknowledgement follows the flush: what was not printed is told again.
            self.print(&mut printer, &mut batch).await?;
            if !alive && !self.reconnect().await? {
                return Ok(Exit::Ok);
            }
            if (idle || unacked >= ACK_EVERY) && self.acknowledge(self.feed.last()).await? {
                unacked = 0;
            }
        }
    }

    /// `--ack-stdin`: the reader writes the number of each event that it has finished, one a line, in any order. Ends when
    /// standard input ends.
    pub async fn finished(mut self, mut printer: EventPrinter) -> Result<Exit, Failure> {
        let mut gone = std::pin::pin!(reader_gone());
        let mut input = stdin_lines::stdin();
        let mut unfinished = Unfinished { last: self.feed.last(), ..Unfinished::default() };
        let mut batch = Vec::new();
        loop {
            let result = tokio::select! {
                biased;
                () = self.stop.asked() => Ok(Some(Exit::Ok)),
                lines = input.recv() => unfinished.read(lines),
                () = &mut gone => Err(Failure::ClosedPipe),
                alive = self.feed.next_many(&mut batch), if unfinished.events.len() < MAX_UNFINISHED => {
                    unfinished.events.extend(batch.iter().map(|event| (event.seq, false)));
                    match self.print(&mut printer, &mut batch).await {
                        Ok(()) if !alive && !self.reconnect().await? => Ok(Some(Exit::Ok)),
                        result => result.map(|()| None),
                    }
                }
            };
            // Whatever ends it: what was finished is told first.
            if let Some(seq) = unfinished.take_finished() {
                self.acknowledge(seq).await?;
            }
            if let Some(exit) = result? {
                return Ok(exit);
            }
        }
    }
}

/// Events that were printed, oldest first, and whether they are finished.
#[derive(Default)]
struct Unfinished {
    events: VecDeque<(u64, bool)>,
    /// The last one of those that are no longer in `events`.
    last: u64,
}

impl Unfinished {
    /// What the reader wrote; an exit code at its end.
    fn read(&mut self, lines: Option<Result<Vec<Line>, LineError>>) -> Result<Option<Exit>, Failure> {
        let Some(lines) = lines else { return Ok(Some(Exit::Ok)) };
        for line in lines.map_err(|error| Failure::other(error.to_string()))? {
            let word = line.text.trim();
            if !word.is_empty() && !word.parse().is_ok_and(|seq| self.finish(seq)) {
                let begin: String = word.chars().take(40).collect();
                let text = format!("{begin:?} on standard input is not the number (seq) of an event that was printed");
                return Err(Failure::other(text));
            }
        }
        Ok(None)
    }

    /// Whether it was printed. Finishing twice is finishing once.
    fn finish(&mut self, seq: u64) -> bool {
        match self.events.binary_search_by_key(&seq, |(seq, _)| *seq) {
            Ok(index) => {
                self.events[index].1 = true;
                true
            }
            Err(_) => seq <= self.last,
        }
    }

    /// How far everything is finished, if that is news.
    fn take_finished(&mut self) -> Option<u64> {
        let before = self.last;
        while let Some((seq, true)) = self.events.front() {
            self.last = *seq;
            self.events.pop_front();
        }
        (self.last > before).then_some(self.last)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_nothing_unfinished_before_it_is_acknowledged() {
        let mut unfinished = Unfinished { last: 3, ..Unfinished::default() };
        unfinished.events.extend([(4, false), (6, false), (7, false), (9, false)]);
        let mut tell = |lines: &[&str]| {
            let lines = lines.iter().map(|line| Line { number: 1, text: (*line).to_owned() }).collect();
            unfinished.read(Some(Ok(lines))).map(|_| unfinished.take_finished())
        };
        assert_eq!(tell(&["6"]).unwrap(), None, "4 is not finished");
        assert_eq!(tell(&["4", " 9", " "]).unwrap(), Some(6));
        assert_eq!(tell(&["4", "2"]).unwrap(), None, "twice is once");
        for wrong in ["5000", "8", "x", "-1", "7 9"] {
            assert!(tell(&[wrong]).is_err(), "{wrong}");
        }
        assert_eq!(tell(&["7"]).unwrap(), Some(9));
    }

    #[test]
    fn the_end_of_the_input_is_the_end() {
        assert_eq!(Unfinished::default().read(None).unwrap(), Some(Exit::Ok));
    }
}
