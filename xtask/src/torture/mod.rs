//! `cargo xtask torture`: the tests that take too long for the suite, and those of the suite with a hundred times the
//! work. Prints one table and writes it as JSON.
//!
//! Tests of the suite say what they saw in lines `figure: ...`; those become the figures of the table.

mod fuzz;
mod kills;
mod suite;
mod table;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use table::{Row, Table};

/// Two builds of what is given away.
const PACKAGES: &str = "packages";

/// What to run, and for how long.
#[derive(Debug, Args)]
pub struct Options {
    /// Only the parts whose name contains this: kills, mailbox, fuzz, or one of the suite's
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Optimised programs, as times are judged by; parts that need fail points are left out then
    #[arg(long)]
    release: bool,
    /// Minutes for each fuzz target
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u64,
    /// Where the random tests begin; printed with every failure
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where to write the table as JSON (target/torture.json if left out)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    let wanted = |name: &str| options.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let names: Vec<&str> =
        kills::NAMES.into_iter().chain(suite::names()).chain(fuzz::NAMES).chain([PACKAGES]).collect();
    ensure!(names.iter().any(|name| wanted(name)), "no such part; there are {}", names.join(", "));
    let mut table = Table::default();
    if names.iter().any(|name| wanted(name) && !fuzz::NAMES.contains(name) && **name != *PACKAGES) {
        // With fail points, which are in debug builds only.
        let mut build = crate::step::cargo(["build", "--workspace", "--bins", "--locked"]);
        build.args(options.release.then_some("--release"));
        let build = build.status();
        ensure!(build.context("cannot run cargo")?.success(), "the build failed");
    }
    if wanted("another implementation of age") {
        crate::tools::provide_node()?;
    }
    for name in names.into_iter().filter(|name| wanted(name)) {
        eprintln!("== {name}");
        let since = Instant::now();
        let result = if kills::NAMES.contains(&name) && options.release {
            Err(anyhow::anyhow!("NOT RUN: it needs fail points, which are in debug builds only"))
        } else if kills::NAMES.contains(&name) {
            kills::run(name, options.seed)
        } else if name == PACKAGES {
            crate::dist::compared().map(|figure| (figure, true))
        } else if let Some(target) = name.strip_prefix("fuzz ") {
            fuzz::run(target, options.minutes)
        } else {
            suite::run(name, options.release)
        };
        let row = match result {
            Ok((figure, ok)) => Row::new(name, figure, ok, since.elapsed()),
            // One part that fails must not take the others' figures with it.
            Err(error) => Row::new(name, format!("{error:#}"), false, since.elapsed()),
        };
        eprintln!("== {row}");
        table.add(row);
    }
    println!("{table}");
    let file = match &options.json {
        Some(file) => file.clone(),
        None => tests::binaries::target_folder()?.join("torture.json"),
    };
    let json = serde_json::to_string_pretty(&table)? + "\n";
    std::fs::write(&file, json).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("written to {}", file.display());
    ensure!(!table.has_failures(), "not all held");
    Ok(())
}
