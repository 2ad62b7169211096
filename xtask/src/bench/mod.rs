//! `cargo xtask bench`: measures the system on this machine, prints one table, and writes it as JSON.
//!
//! Every scenario is one file and starts daemons of its own. Figures are printed beside their targets; `--check` fails when
//! one is missed.
//! The load is made by this program itself, built with optimisation: `bench` builds the release profile and hands over
//! to the `xtask` in it.

mod accounts;
mod connections;
mod directory;
pub mod floor;
mod latency;
mod memory;
mod offline;
mod process;
mod rpc;
mod scale;
mod store;

mod table;
mod throughput;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::step::cargo;
pub use scale::Scale;
use table::{Row, Table};

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Fewer messages, people and rounds: a look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Only the scenarios whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Where to write the table as JSON (target/bench.json if left out)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail when a target is missed. A scenario that misses one is measured up to three times, as machines are noisy
    #[arg(long)]
    check: bool,
    /// Set by `bench` itself for the optimised program that it hands over to
    #[arg(long, hide = true)]
    inner: bool,
}

/// Names, in the order of running: what needs a quiet machine first.
const SCENARIOS: [&str; 12] = [
    "throughput",
    "latency",
    "process",
    "rpc",
    "directory",
    "directory-mailbox",
    "directory-groups",
    "connections",
    "mailbox",
    "recovery",
    "memory",
    "store",
];

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    if !options.inner {
        return hand_over(options);
    }
    let scale = Scale::new(options.quick);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut table = Table::new(options.quick);
    let wanted = |name: &str| options.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    ensure!(SCENARIOS.iter().any(|name| wanted(name)), "no such scenario; there are {}", SCENARIOS.join(", "));
    for name in SCENARIOS.into_iter().filter(|name| wanted(name)) {
        eprintln!("measuring {name} ...");
        match runtime.block_on(best(name, scale, if options.check { 3 } else { 1 })) {
            Ok(rows) => rows.into_iter().for_each(|row| table.add(row)),
            // One scenario that fails must not take the others' figures with it.
            Err(error) => {
                eprintln!("{name} failed: {error:#}");
                table.add_failure(name, &error);
            }
        }
    }
    println!("{table}");
    let file = match &options.json {
        Some(file) => file.clone(),
        None => tests::binaries::target_folder()?.join("bench.json"),
    };
    std::fs::write(&file, table.json()?).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("written to {}", file.display());
    ensure!(!table.has_failures(), "a scenario failed");
    let missed = table.missed();
    ensure!(!options.check || missed.is_empty(), "{} targets are missed:\n{}", missed.len(), missed.join("\n"));
    Ok(())
}

/// The best of so many measurements; no further ones when nothing is missed.
async fn best(name: &str, scale: Scale, times: usize) -> Result<Vec<Row>> {
    let mut rows = measure(name, scale).await?;
    for _ in 1..times {
        if !rows.iter().any(Row::misses) {
            break;
        }
        eprintln!("  a target is missed: measuring it again");
        let again = measure(name, scale).await?;
        ensure!(again.len() == rows.len(), "{name} has other rows the second time");
        rows = rows.into_iter().zip(again).map(|(row, other)| row.better(other)).collect();
    }
    Ok(rows)
}

async fn measure(name: &str, scale: Scale) -> Result<Vec<Row>> {
    match name {
        "throughput" => throughput::measure(scale).await,
        "latency" => latency::measure(scale).await,
        "process" => process::measure(scale),
        "rpc" => rpc::measure(scale).await,
        "directory" => directory::measure(scale).await,
        "directory-mailbox" => directory::mailbox::measure(scale).await,
        "directory-groups" => directory::groups::measure(scale).await,
        "connections" => connections::measure(scale).await,
        "mailbox" => offline::mailbox(scale).await,
        "recovery" => offline::recovery(scale).await,
        "memory" => memory::measure(scale).await,
        "store" => store::measure(scale).await,
        other => bail!("no scenario {other}"),
    }
}

/// Builds everything with optimisation and runs the scenarios in the program built so.
fn hand_over(options: &Options) -> Result<()> {
    eprintln!("Building with optimisation (the first time takes some minutes) ...");
    let what = ["--bins", "-p", "chatd", "-p", "chatctl", "-p", "directoryd", "-p", "xtask"];
    let args =
        ["build", "--release", "--locked"].into_iter().chain(what).chain(["-p", "tests", "--example", "open_links"]);
    ensure!(cargo(args).status().context("cannot run cargo")?.success(), "the build failed");
    let program = tests::binaries::target_folder()?.join("release").join("xtask");
    let mut command = Command::new(&program);
    command.args(["bench", "--inner"]);
    if options.quick {
        command.arg("--quick");
    }
    if options.check {
        command.arg("--check");
    }
    if let Some(only) = &options.only {
        command.args(["--only", only]);
    }
    if let Some(file) = &options.json {
        command.arg("--json").arg(file);
    }
    let status = command.status().with_context(|| format!("cannot run {}", program.display()))?;
    std::process::exit(status.code().unwrap_or(1));
}
