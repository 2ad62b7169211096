//! `watch --exec`: a command for each event of a durable consumer.
//!
//! The job: one run at a time, in the order of events; an event is acknowledged when its run exits 0, tried again with
//! growing pauses when it does not, and given up after so many attempts, which the daemon counts *before* each: one that
//! takes this program or the machine down with it counts, too.
//!
//! Invariants: nothing that others wrote is in the command's arguments or environment, it comes as JSON on standard input;
//! what is acknowledged was handled by a run that exited 0, or is a dead letter.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use proto::rpc::event::Event;
use proto::rpc::methods::{FeedAttempt, FeedGiveUp};
use proto::rpc::types::{FeedAttemptParams, FeedGiveUpParams};
use tokio::process::Command;

use crate::failure::{Exit, Failure};
use crate::show::words::{argument, count};
use crate::term::output::{say, to_json};
use crate::verbs::feed::consumer::Consumer;

/// Pause after the first attempt that failed; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: ten attempts on an event take about five minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(90);

/// How the attempts on one event ended.
enum Outcome {
    /// It is acknowledged, or a dead letter.
    Settled,
    /// A signal came first; the next reader begins with this event.
    Stopped,
}

impl Consumer<'_> {
    /// Runs `command` for each event until a signal comes.
    pub async fn exec(mut self, command: &str, max_attempts: u64) -> Result<Exit, Failure> {
        let (mut batch, mut events) = (Vec::new(), VecDeque::new());
        loop {
            let alive = tokio::select! {
                biased;
                () = self.stop.asked() => return Ok(Exit::Ok),
                alive = self.feed.next_many(&mut batch) => alive,
            };
            events.extend(batch.drain(..));
            while let Some(event) = events.pop_front() {
                let outcome = self.settle(event, command, max_attempts).await?;
                if matches!(outcome, Outcome::Stopped) || self.stop.is_asked() {
                    return Ok(Exit::Ok);
                }
            }
            if !alive && !self.reconnect().await? {
                return Ok(Exit::Ok);
            }
        }
    }

    async fn settle(&mut self, event: Event, command: &str, max_attempts: u64) -> Result<Outcome, Failure> {
        let seq = event.seq;
        let input = to_json(&event)? + "\n";
        drop(event);
        let (account, consumer) = (self.session.account(), self.name.clone());
        let attempt = FeedAttemptParams { account: account.clone(), consumer: consumer.clone(), seq };
        loop {
            let Some(counted) = self.call::<FeedAttempt>(&attempt).await? else { return Ok(Outcome::Stopped) };
            let made = counted.attempts;
            let failed = if made > max_attempts {
                // The last one took this program down with it.
                "no attempt came to an end".to_owned()
            } else {
                match self.run(command, input.as_bytes()).await? {
                    None => return Ok(Outcome::Stopped),
                    Some(status) if status.success() => {
                        let kept = self.acknowledge(seq).await?;
                        return Ok(if kept { Outcome::Settled } else { Outcome::Stopped });
                    }
                    Some(status) => ending(status),
                }
            };
            if made >= max_attempts {
                say(&format!(
                    "event {seq} is a dead letter after {} ({failed}); chatctl consumers dead-letters {} shows it",
                    count(made.min(max_attempts), "attempt"),
                    argument(&consumer),
                ));
                let params = FeedGiveUpParams { account, consumer, seq, reason: failed };
                let given = self.call::<FeedGiveUp>(&params).await?;
                return Ok(if given.is_some() { Outcome::Settled } else { Outcome::Stopped });
            }
            let pause = pause(made);
            say(&format!("event {seq}: {failed}; attempt {made} of {max_attempts}, the next in {} s", pause.as_secs()));
            tokio::select! {
                biased;
                () = self.stop.asked() => return Ok(Outcome::Stopped),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One run, to its end also when a signal comes, for that may be about to succeed; `None` after a second signal.
    async fn run(&mut self, command: &str, input: &[u8]) -> Result<Option<ExitStatus>, Failure> {
        let stdin =
            memory_file(input).map_err(|error| Failure::other(format!("cannot hand an event to --exec: {error}")))?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", command])
            .stdin(stdin)
            .spawn()
            .map_err(|error| Failure::other(format!("cannot run /bin/sh for --exec: {error}")))?;
        tokio::select! {
            status = child.wait() => {
                status.map(Some).map_err(|error| Failure::other(format!("cannot wait for the command of --exec: {error}")))
            }
            () = self.stop.urged() => Ok(None),
        }
    }
}

/// The event as a file in memory, not as a pipe: when this program is killed, the command still reads all of it.
fn memory_file(input: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("event", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file)
}

/// `exit code 3`, `killed by signal 9`.
fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}

fn pause(made: u64) -> Duration {
    let doubled = u32::try_from(made.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    (FIRST_PAUSE * 2u32.pow(doubled)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_somewhere() {
        let seconds: Vec<u64> = (1..=10).map(|made| pause(made).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 90, 90, 90]);
        assert_eq!(pause(u64::MAX), LONGEST_PAUSE);
        assert_eq!(seconds[..9].iter().sum::<u64>(), 307, "of ten attempts");
    }

    #[test]
    fn an_end_is_said() {
        assert_eq!(ending(ExitStatus::from_raw(3 << 8)), "exit code 3");
        assert_eq!(ending(ExitStatus::from_raw(9)), "killed by signal 9");
    }
}
