//! `cargo xtask test`: format, lints, documentation, and all tests of the workspace.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::step::{Step, cargo, run as step};
use crate::{debian, dependencies, machine, tools};

/// All steps together end within this, so that a hung test fails a run and does not block it.
const TIME_LIMIT: Duration = Duration::from_secs(58 * 60);

/// Nothing to choose: everything runs.
#[derive(Debug, Args)]
pub struct Options {}

/// What cargo's test runs said.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
    failures: Vec<String>,
}

impl Counts {
    /// Takes one line of a test run's output.
    fn read(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            let number = |word: &str| {
                let before = rest.split(&format!(" {word}")).next()?;
                before.rsplit(' ').next()?.parse::<usize>().ok()
            };
            self.passed += number("passed").unwrap_or(0);
            self.failed += number("failed").unwrap_or(0);
            self.ignored += number("ignored").unwrap_or(0);
        } else if let Some(rest) = line.strip_prefix("test ")
            && let Some(name) = rest.strip_suffix(" ... FAILED")
        {
            self.failures.push(name.to_owned());
        }
    }
}

/// Runs it.
pub fn run(_: &Options) -> Result<()> {
    let deadline = Instant::now() + TIME_LIMIT;
    debian::provide()?;
    // Beside everything else: it waits for a network most of the time.
    let tree = machine::Tree::begin()?;
    let skips = tests::skip::list()?;
    if skips.exists() {
        std::fs::remove_file(&skips).with_context(|| format!("cannot remove {}", skips.display()))?;
    }
    let mut notes = dependencies::rust_version()?;
    // Looked for by its test.
    tools::provide(&tools::SCHEMATHESIS)?;
    tools::provide_node()?;
    let mut steps = Vec::new();
    let mut counts = Counts::default();
    match dependencies::deny()? {
        Some(command) => steps.push(step("dependencies", command, deadline, |_| {})?),
        None => notes.push(skipped("dependencies: cargo-deny cannot be had here")?),
    }
    match dependencies::advisories()? {
        Some(command) => steps.push(step("advisories", command, deadline, |_| {})?),
        None => notes.push("advisories: not checked, no database of them is on this machine".to_owned()),
    }
    let mut go = |name: &str, args: &[&str], line: &mut dyn FnMut(&str)| -> Result<()> {
        let mut command = cargo(args.iter().copied());
        if name == "documentation" {
            command.env("RUSTDOCFLAGS", "-D warnings");
        }
        steps.push(step(name, command, deadline, line)?);
        Ok(())
    };
    go("format", &["fmt", "--all", "--check"], &mut |_| {})?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    go("clippy", &clippy, &mut |_| {})?;
    go("documentation", &["doc", "--workspace", "--no-deps", "--locked"], &mut |_| {})?;
    go("programs", &["build", "--workspace", "--bins", "--locked"], &mut |_| {})?;
    machine_packages(&mut notes)?;
    tree.wait()?;
    let tests = ["test", "--workspace", "--no-fail-fast", "--locked"];
    go("tests", &tests, &mut |line| counts.read(line))?;

    report(&steps, &counts, &std::fs::read_to_string(&skips).unwrap_or_default(), &notes)
}

/// Packages for the tests that install them; these say that they have none where they cannot be made.
fn machine_packages(notes: &mut Vec<String>) -> Result<()> {
    let since = Instant::now();
    println!("== packages");
    match machine::packages() {
        Ok(()) => println!("== packages: ok ({:.1} s)", since.elapsed().as_secs_f64()),
        Err(error) => notes.push(format!("packages: {error:#}")),
    }
    Ok(())
}

/// A check that this machine cannot do; an error where everything must run.
fn skipped(what: &str) -> Result<String> {
    ensure!(!tests::skip::is_ci(), "skipped although CI=true: {what}");
    Ok(format!("SKIPPED: {what}"))
}

fn report(steps: &[Step], counts: &Counts, skips: &str, notes: &[String]) -> Result<()> {
    println!();
    for step in steps {
        println!("{:<14} {:>7.1} s  {}", step.name, step.took.as_secs_f64(), if step.ok { "ok" } else { "FAILED" });
    }
    for note in notes {
        println!("{note}");
    }
    for name in &counts.failures {
        println!("FAILED: {name}");
    }
    let mut skipped: Vec<&str> = skips.lines().collect();
    skipped.sort_unstable();
    for line in &skipped {
        println!("{line}");
    }
    // A test that skips itself is a pass for cargo.
    let passed = counts.passed.saturating_sub(skipped.len());
    println!("{passed} passed, {} failed, {} skipped", counts.failed, skipped.len() + counts.ignored);
    if steps.iter().any(|step| !step.ok) {
        std::process::exit(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests_of_counts {
    use super::Counts;

    #[test]
    fn counts_are_added_up_over_runs() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test a5_send_wait_delivered ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ] {
            counts.read(line);
        }
        let failures = vec!["a5_send_wait_delivered".to_owned()];
        assert_eq!(counts, Counts { passed: 42, failed: 1, ignored: 2, failures });
    }
}
