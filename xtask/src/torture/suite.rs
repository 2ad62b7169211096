//! Tests of the suite with much more work, by the environment variables that they look at. Whatever such a test prints is
//! its figure.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::step::{self, cargo};

/// Some tests of one package.
struct Part {
    name: &'static str,
    /// What to tell cargo: package, target, profile.
    cargo: &'static [&'static str],
    /// Which tests; any whose path contains one of these.
    tests: &'static [&'static str],
    /// How much.
    env: &'static [(&'static str, &'static str)],
}

/// A part that hangs is ended.
const TIME_LIMIT: Duration = Duration::from_secs(60 * 60);

const CHATD: &[&str] = &["-p", "chatd", "--lib"];
const E2E: &[&str] = &["-p", "tests", "--test", "e2e"];
/// One test at a time: each measures what honest ones wait.
const ATTACKED: &[(&str, &str)] = &[("CHATD_TORTURE_SECONDS", "10"), ("RUST_TEST_THREADS", "1")];
const SOURCES: &[(&str, &str)] = &[("CHATD_TORTURE_SOURCES", "10000000")];

const PARTS: &[Part] = &[
    Part {
        name: "replay and gaps",
        cargo: CHATD,
        tests: &["store::tests::gaps"],
        env: &[("CHATD_TORTURE_FRAMES", "1000000")],
    },
    Part {
        name: "clocks and prekeys",
        cargo: CHATD,
        tests: &["policy::clock"],
        env: &[("CHATD_TORTURE_SEEDS", "100000")],
    },
    Part {
        name: "changing keys",
        cargo: CHATD,
        tests: &["store::tests::keys"],
        env: &[("CHATD_TORTURE_SEEDS", "2000")],
    },
    Part {
        name: "simulation",
        // Optimised: a hundred thousand seeds would take hours.
        cargo: &["--release", "-p", "chatd", "--lib"],
        tests: &["delivery::tests::sim"],
        env: &[("CHATD_TORTURE_SEEDS", "100000")],
    },
    Part {
        name: "rules of groups",
        // Optimised: a million chains.
        cargo: &["--release", "-p", "chatd", "--lib"],
        tests: &["policy::group"],
        env: &[("CHATD_TORTURE_CHAINS", "1000000")],
    },
    Part {
        name: "several devices",
        cargo: CHATD,
        tests: &["store::tests::devices"],
        env: &[("CHATD_TORTURE_LIVES", "1000")],
    },
    Part { name: "power cuts and failing disks", cargo: CHATD, tests: &["store::tests::crash"], env: &[] },
    Part { name: "upgrades killed at each step", cargo: CHATD, tests: &["store::tests::upgrade"], env: &[] },
    Part { name: "damaged databases", cargo: CHATD, tests: &["store::tests::damage"], env: &[] },
    Part {
        name: "directory killed, its disk and clock",
        cargo: &["-p", "directoryd", "--test", "durability"],
        tests: &[],
        env: &[("CHATD_TORTURE_KILLS", "300")],
    },
    Part {
        name: "directory damaged, upgraded, filled and probed",
        cargo: &["-p", "directoryd", "--test", "damage", "--test", "upgrade", "--test", "threats"],
        tests: &[],
        env: &[("CHATD_TORTURE_FLIPS", "20")],
    },
    Part {
        name: "bot killed at work",
        cargo: E2E,
        tests: &["torture_bot::"],
        env: &[("CHATD_TORTURE_BOT_KILLS", "200"), ("CHATD_TORTURE_BOT_JOBS", "2000")],
    },
    Part { name: "mailbox end to end", cargo: E2E, tests: &["mailbox::"], env: &[] },
    Part {
        name: "full disk, damage, a hundred starts",
        cargo: E2E,
        tests: &["storage::", "simultaneous_starts"],
        env: &[],
    },
    Part {
        name: "half-open connections",
        cargo: E2E,
        tests: &["torture_flood::half_open"],
        env: &[("CHATD_TORTURE_CONNECTIONS", "10000")],
    },
    Part { name: "overload", cargo: E2E, tests: &["torture_flood::overload"], env: &[("CHATD_TORTURE_SECONDS", "60")] },
    Part {
        name: "a thousand come back to a directory",
        cargo: E2E,
        tests: &["torture_herd::"],
        env: &[("CHATD_TORTURE_CLIENTS", "1000")],
    },
    Part { name: "hostile contact", cargo: E2E, tests: &["hostile::"], env: ATTACKED },
    Part { name: "hostile crowd, hostile local users", cargo: E2E, tests: &["hostile_crowd::"], env: ATTACKED },
    Part {
        name: "unread log",
        cargo: E2E,
        tests: &["torture_unread_logs"],
        env: &[("CHATD_TORTURE_LOG_SECONDS", "600")],
    },
    Part {
        name: "networks: walking, flapping, five minutes without one, an hour of rest",
        cargo: E2E,
        tests: &["nat::", "lan::"],
        env: &[("CHATD_LAB_PARTITION", "300"), ("CHATD_LAB_REST", "600"), ("RUST_TEST_THREADS", "1")],
    },
    Part { name: "limiters", cargo: CHATD, tests: &["policy::rate", "policy::failures"], env: SOURCES },
    Part {
        name: "limiter of the directory",
        cargo: &["-p", "directoryd", "--lib"],
        tests: &["limits::"],
        env: SOURCES,
    },
    Part { name: "hostile headers, kinds out of context", cargo: CHATD, tests: &["prescan::", "contexts::"], env: &[] },
    Part {
        name: "another implementation of age",
        cargo: &["-p", "tests", "--test", "age"],
        tests: &[],
        env: &[("CHATD_TORTURE_INTEROP", "10000")],
    },
    Part {
        name: "probes, packets to anybody else",
        cargo: E2E,
        tests: &["a_stranger_who_probes", "isolation::"],
        env: &[],
    },
];

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    PARTS.iter().map(|part| part.name)
}

/// Runs one: the figures that it printed, and whether all its tests passed.
pub fn run(name: &str, release: bool) -> Result<(String, bool)> {
    let part = PARTS.iter().find(|part| part.name == name).with_context(|| format!("no part {name}"))?;
    let mut command = cargo(["test", "--locked"]);
    command.args((release && !part.cargo.contains(&"--release")).then_some("--release"));
    command.args(part.cargo).args(["--", "--nocapture"]).args(part.tests);
    command.env("CHATD_TORTURE", "1").envs(part.env.iter().copied());
    let mut seen = Seen::default();
    let step = step::run(name, command, Instant::now() + TIME_LIMIT, |line| seen.read(line))?;
    seen.figures.insert(0, format!("{} tests passed", seen.passed));
    // A filter that fits nothing passes for cargo.
    Ok((seen.figures.join("\n"), step.ok && seen.passed > 0))
}

/// What a test run printed.
#[derive(Debug, Default)]
struct Seen {
    figures: Vec<String>,
    passed: u64,
}

impl Seen {
    fn read(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            let passed = rest.split(" passed").next().and_then(|text| text.rsplit(' ').next()?.parse::<u64>().ok());
            self.passed += passed.unwrap_or(0);
            return;
        }
        // A test's output may begin behind `test name ... ` on the same line.
        let text = match line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            Some((_, rest)) => rest,
            None => line,
        };
        let text = text.strip_prefix("figure: ").unwrap_or(text).trim();
        let chatter = ["", "ok", "FAILED", "failures:", "successes:"].contains(&text)
            || ["running ", "thread ", "note: ", "stack backtrace"].iter().any(|start| text.starts_with(start));
        if !chatter {
            self.figures.push(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests_of_suite {
    use super::*;

    #[test]
    fn figures_are_what_tests_print() {
        let mut seen = Seen::default();
        for line in [
            "running 2 tests",
            "test a ... figure: 3 lost",
            "ok",
            "7 kills, lost = 0",
            "test b ... ok",
            "",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.10s",
        ] {
            seen.read(line);
        }
        assert_eq!((seen.figures, seen.passed), (vec!["3 lost".into(), "7 kills, lost = 0".into()], 2));
    }
}
