//! A bot that is killed at random while it works. `cargo xtask torture --only bot` does the same ten times as long.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::process::Process;
use tests::wait::{DEADLINE, wait_for};
use tests::{Ctl, Pair};

use crate::util::text;

fn amount(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// xorshift64*: the same deaths for the same seed, as far as two processes allow it.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit.max(1)
    }
}

/// Numbers of the events that were handled: those of the whole lines that runs appended.
fn handled(log: &Path) -> Vec<u64> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect()
}

fn place(ctl: &Ctl) -> u64 {
    ctl.json_lines(["consumers"]).first().and_then(|bot| bot["seq"].as_u64()).unwrap_or(0)
}

fn start(bob: &Ctl, command: &str) -> Process {
    let args = ["watch", "--consumer", "bot", "--since", "0", "--type", "message.received", "--exec", command];
    // A group of its own, so that a death can take the running command along, or leave it.
    let mut bot = bob.command(args).unwrap();
    bot.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Process::spawn(bot).unwrap()
}

#[test]
fn a_bot_that_is_killed_handles_every_job() {
    let (kills, jobs) = (amount("CHATD_TORTURE_BOT_KILLS", 20), amount("CHATD_TORTURE_BOT_JOBS", 200));
    let mut random = Random(amount("CHATD_TORTURE_SEED", 1) | 1);
    let mut pair = Pair::on_one_daemon();
    let log = pair.alice_daemon.place().path().join("handled");
    let lines: String = (0..jobs).map(|job| format!("job {job}\n")).collect();
    pair.alice.run_with(["send", "bob", "--stdin-lines"], lines.as_bytes()).expect_code(0);
    wait_for("all jobs are there", || pair.bob.json(["unread"])["total"] == jobs);
    let mut job_of = BTreeMap::new();
    let mut all = pair.bob.stream(["watch", "--json", "--since", "0", "--type", "message.received"]);
    while job_of.len() < jobs as usize {
        let event = all.next_json();
        job_of.insert(event["seq"].as_u64().unwrap(), text(&event["message"]["body"]).to_owned());
    }
    drop(all);
    // The whole event is read before anything is done with it; a line is appended by one write.
    let command = format!("line=$(cat) && printf '%s\\n' \"$line\" >> {}", log.display());
    let (mut bot, mut daemons) = (start(&pair.bob, &command), 0);
    let mut broken = Vec::new();
    for number in 1..=kills {
        // Somewhere on the way to the next jobs, and anywhere within one.
        let until = (handled(&log).len() as u64 + random.below(2 * jobs / kills)).min(jobs - 1);
        wait_for("the bot goes on", || {
            handled(&log).len() as u64 > until || place(&pair.bob) >= *job_of.keys().last().unwrap()
        });
        std::thread::sleep(Duration::from_micros(random.below(12_000)));
        let pid = Pid::from_raw(i32::try_from(bot.pid()).unwrap());
        let group = random.below(2) == 0;
        let _ = kill(if group { Pid::from_raw(-pid.as_raw()) } else { pid }, Signal::SIGKILL);
        bot.wait(DEADLINE).unwrap();
        if number % 10 == 0 {
            pair.alice_daemon.kill9();
            pair.alice_daemon.restart();
            daemons += 1;
        }
        // What is acknowledged now was handled before; so it is read first.
        let acknowledged = place(&pair.bob);
        let done: BTreeSet<u64> = handled(&log).into_iter().collect();
        broken
            .extend(job_of.keys().filter(|seq| **seq <= acknowledged && !done.contains(seq)).map(|seq| (number, *seq)));
        bot = start(&pair.bob, &command);
    }
    wait_for("all is acknowledged", || place(&pair.bob) >= *job_of.keys().last().unwrap());
    // The one before may have acknowledged the last of them: this one stops cleanly once it stands.
    wait_for("the last one reads", || {
        pair.bob.json_lines(["consumers"]).first().is_some_and(|bot| bot["reading"] == true)
    });
    assert!(bot.end(Signal::SIGTERM, DEADLINE).unwrap().success());
    let runs = handled(&log);
    let done: BTreeSet<u64> = runs.iter().copied().collect();
    let missed: Vec<&String> = job_of.iter().filter(|(seq, _)| !done.contains(seq)).map(|(_, job)| job).collect();
    let letters = pair.bob.json_lines(["consumers", "dead-letters", "bot"]).len();
    println!(
        "figure: bot killed {kills} times, daemon {daemons} times; {jobs} jobs, {} runs that ended, never handled = {}, \
         acknowledged and not handled = {}, dead letters = {letters}",
        runs.len(),
        missed.len(),
        broken.len(),
    );
    assert!(missed.is_empty() && broken.is_empty() && letters == 0, "{missed:?} {broken:?}");
}
