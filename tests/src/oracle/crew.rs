//! The processes, and who kills them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::plan::{Plan, Progress, Who};
use super::rng::Rng;
use crate::daemon::{Daemon, DaemonOptions};
use crate::directory::{Directory, DirectoryOptions};
use crate::people::befriend;
use crate::place::{Place, private_folder};
use crate::wait::wait_for;

/// Fail points of a daemon: before and after every commit, and where acknowledgements leave and come in.
const DAEMON_FAULTS: [&str; 8] = [
    "store.commit.before",
    "store.commit.after",
    "receive.ack.before",
    "receive.ack.after",
    "delivery.ack.before",
    "mailbox.deposit.before",
    "mailbox.deposit.after",
    "mailbox.delete.before",
];
/// Fail points of the directory.
const DIRECTORY_FAULTS: [&str; 4] = [
    "directory.deposit.before_commit",
    "directory.deposit.after_commit",
    "directory.delete.before_commit",
    "directory.delete.after_commit",
];
/// A fail point that is armed ends its process at one of this many passes.
const MAX_PASSES: u64 = 24;
/// A kill that waits for messages to move waits no longer than this.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Other kills come at any time within this.
const ANY_TIME: Duration = Duration::from_millis(150);

/// Messages more than in the copy that bob's disk forgets, in the control.
const FORGET: u64 = 100;

/// Who died how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deaths {
    /// By SIGKILL.
    pub killed: BTreeMap<Who, u64>,
    /// At a fail point, by its name.
    pub faults: BTreeMap<String, u64>,
}

impl Deaths {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.killed.values().sum::<u64>() + self.faults.values().sum::<u64>()
    }
}

impl fmt::Display for Deaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} deaths", self.total())?;
        for (who, count) in &self.killed {
            write!(f, ", {who:?} {count}")?;
        }
        for (name, count) in &self.faults {
            write!(f, ", {name} {count}")?;
        }
        Ok(())
    }
}

/// All three processes.
#[derive(Debug)]
pub struct Crew {
    alice: Daemon,
    bob: Daemon,
    directory: Directory,
    rng: Rng,
    /// Which fail point each was started with.
    armed: BTreeMap<Who, &'static str>,
    /// Lines about fail points in each log so far.
    told: BTreeMap<Who, usize>,
    deaths: Deaths,
    /// Messages that bob had been shown when the copy was made that he goes back to.
    forgotten: Option<u64>,
}

impl Crew {
    /// Starts them, and makes alice and bob contacts.
    pub fn start(plan: &Plan) -> Result<Self> {
        let place = Arc::new(Place::new()?);
        let directory = Directory::try_start(DirectoryOptions::default().place(&place))?;
        let start = |name: &str| Daemon::try_start(DaemonOptions::new(name, directory.url()).place(&place));
        let (alice, bob) = (start("alice")?, start("bob")?);
        let (alices, bobs) = (alice.ctl("alice"), bob.ctl("bob"));
        alices.ok(["register", "alice"]);
        bobs.ok(["register", "bob"]);
        befriend(&alices, &bobs);
        let (armed, told) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self {
            alice,
            bob,
            directory,
            rng: Rng::new(plan.seed, 2),
            armed,
            told,
            deaths: Deaths::default(),
            forgotten: None,
        })
    }

    /// The RPC socket of alice's or bob's daemon.
    pub fn socket(&self, who: Who) -> PathBuf {
        let daemon = if who == Who::Alice { &self.alice } else { &self.bob };
        daemon.socket().to_path_buf()
    }

    /// Who died how often until now.
    pub fn deaths(&self) -> Deaths {
        self.deaths.clone()
    }

    /// Kills and starts again until the plan is fulfilled; then all run, and no fail point is armed.
    pub fn torment(&mut self, plan: &Plan, progress: &Progress) -> Result<()> {
        while self.deaths.total() < plan.kills {
            // Alice's share grows with the deaths, so that there is something under way at each of them.
            let share = plan.messages * (self.deaths.total() + 1) / plan.kills.max(1);
            progress.quota.store(share, Ordering::Relaxed);
            self.choose_the_moment(progress)?;
            let victims = self.choose(plan);
            for who in &victims {
                self.end(*who)?;
            }
            let down = plan.down.mul_f64(self.rng.below(1_000) as f64 / 1_000.0);
            // Not a wait for anything: how long somebody is away is part of the plan.
            std::thread::sleep(down);
            if plan.forget && victims.contains(&Who::Bob) {
                self.forget(progress.shown.load(Ordering::Relaxed))?;
            }
            for who in victims {
                self.begin(who, plan)?;
            }
        }
        progress.quota.store(plan.messages, Ordering::Relaxed);
        if let Some(before) = self.forgotten.filter(|before| plan.forget && *before < u64::MAX - FORGET) {
            // At none of bob's deaths there was enough to forget: now there is.
            wait_for("messages that bob can forget", || progress.shown.load(Ordering::Relaxed) > before + FORGET);
            self.end(Who::Bob)?;
            self.forget(progress.shown.load(Ordering::Relaxed))?;
            self.begin(Who::Bob, plan)?;
        }
        let disarmed = Plan { faults: false, ..plan.clone() };
        for who in self.armed.keys().copied().collect::<Vec<_>>() {
            self.end(who)?;
            self.begin(who, &disarmed)?;
        }
        Ok(())
    }

    /// While bob's daemon is dead: keeps a copy of its data, and puts it in their place when there is more of them.
    fn forget(&mut self, shown: u64) -> Result<()> {
        let (data, copy) = (self.bob.data_dir(), self.bob.home().join("copy"));
        match self.forgotten {
            None => {
                copy_folder(&data, &copy)?;
                self.forgotten = Some(shown);
            }
            Some(before) if shown > before + FORGET => {
                std::fs::remove_dir_all(&data).context("cannot remove bob's data")?;
                copy_folder(&copy, &data)?;
                self.forgotten = Some(u64::MAX - FORGET);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Half of the kills come when messages have moved since the last one, the others at any time: in the middle of a
    /// start, or of a reconnection.
    fn choose_the_moment(&mut self, progress: &Progress) -> Result<()> {
        let (since, before) = (Instant::now(), progress.shown.load(Ordering::Relaxed));
        let any_time = ANY_TIME.mul_f64(self.rng.below(1_000) as f64 / 1_000.0);
        let wait = if self.rng.once_in(2) { any_time } else { PATIENCE };
        while since.elapsed() < wait {
            if wait == PATIENCE && progress.shown.load(Ordering::Relaxed) > before {
                std::thread::sleep(any_time / 4);
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            for who in [Who::Alice, Who::Bob, Who::Directory] {
                if !self.is_running(who) {
                    // At its fail point, most likely: `end` looks.
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn choose(&mut self, plan: &Plan) -> Vec<Who> {
        let mut dead = vec![Who::Alice, Who::Bob, Who::Directory];
        dead.retain(|who| !self.is_running(*who));
        if !dead.is_empty() {
            return dead;
        }
        let all: u64 = plan.weights.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.below(all);
        let mut first = Who::Alice;
        for (who, weight) in plan.weights {
            if at < weight {
                first = who;
                break;
            }
            at -= weight;
        }
        // Now and then two at once.
        let other = if first == Who::Alice { Who::Bob } else { Who::Alice };
        if self.rng.once_in(8) { vec![first, other] } else { vec![first] }
    }

    fn is_running(&mut self, who: Who) -> bool {
        match who {
            Who::Alice => self.alice.is_running(),
            Who::Bob => self.bob.is_running(),
            Who::Directory => self.directory.is_running(),
        }
    }

    /// Makes sure that it is dead, and writes down of what it died.
    fn end(&mut self, who: Who) -> Result<()> {
        let was_running = self.is_running(who);
        match who {
            Who::Alice => self.alice.kill9(),
            Who::Bob => self.bob.kill9(),
            Who::Directory => self.directory.kill9(),
        }
        if self.count_fault(who) {
            return Ok(());
        }
        ensure!(was_running, "{who:?} ended by itself; its log ends with\n{}", self.log_tail(who));
        *self.deaths.killed.entry(who).or_default() += 1;
        Ok(())
    }

    /// Whether its log tells of one more fail point than before.
    fn count_fault(&mut self, who: Who) -> bool {
        let Some(name) = self.armed.remove(&who) else { return false };
        let lines = self.log(who).lines().filter(|line| line.starts_with("fail point ")).count();
        let told = self.told.entry(who).or_default();
        let one_more = lines > *told;
        *told = lines;
        if one_more {
            *self.deaths.faults.entry(name.to_owned()).or_default() += 1;
        }
        one_more
    }

    fn begin(&mut self, who: Who, plan: &Plan) -> Result<()> {
        let mut env = Vec::new();
        if plan.faults && self.rng.once_in(2) {
            let names: &[&'static str] = if who == Who::Directory { &DIRECTORY_FAULTS } else { &DAEMON_FAULTS };
            let name = names[self.rng.below(names.len() as u64) as usize];
            let passes = 1 + self.rng.below(MAX_PASSES);
            env.push(("CHATD_FAULT".to_owned(), format!("{name}:{passes}")));
            self.armed.insert(who, name);
        }
        let result = self.launch(who, &env);
        // It may have come to its fail point before it was ready.
        if result.is_err() && self.count_fault(who) {
            return self.launch(who, &[]);
        }
        result
    }

    fn launch(&mut self, who: Who, env: &[(String, String)]) -> Result<()> {
        match who {
            Who::Alice => self.alice.try_again(env),
            Who::Bob => self.bob.try_again(env),
            Who::Directory => self.directory.try_again(env),
        }
    }

    fn log(&self, who: Who) -> String {
        match who {
            Who::Alice => self.alice.log_text(),
            Who::Bob => self.bob.log_text(),
            Who::Directory => self.directory.log_text(),
        }
    }

    fn log_tail(&self, who: Who) -> String {
        let log = self.log(who);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    private_folder(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).with_context(|| format!("cannot copy {}", target.display()))?;
        }
    }
    Ok(())
}
