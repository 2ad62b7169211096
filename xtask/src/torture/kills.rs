//! The kill oracle at full length.

use std::time::Duration;

use anyhow::{Result, bail};
use tests::oracle::{Plan, Report, Who, run as oracle};

/// What there is.
pub const NAMES: [&str; 2] = ["kills", "kills while bob is away"];

/// Deaths and messages of each run.
const KILLS: u64 = 1_000;
const MESSAGES: u64 = 100_000;
/// Bob stays away so long at most when he is away.
const AWAY: Duration = Duration::from_millis(1_500);

/// Runs one of [`NAMES`]: what was seen, and whether it is as promised.
pub fn run(name: &str, seed: u64) -> Result<(String, bool)> {
    let plan = match name {
        "kills" => Plan::new(seed, KILLS, MESSAGES),
        // Fewer deaths, each of which takes a second.
        "kills while bob is away" => Plan {
            weights: [(Who::Bob, 6), (Who::Alice, 2), (Who::Directory, 1)],
            down: AWAY,
            ..Plan::new(seed, KILLS / 5, MESSAGES / 5)
        },
        other => bail!("no run {other}"),
    };
    let report = oracle(&plan)?;
    Ok((figure(&report), report.verdict.is_clean() && report.deaths.total() >= plan.kills))
}

fn figure(report: &Report) -> String {
    let verdict = &report.verdict;
    format!(
        "{}; {} messages acknowledged of {} sent; lost = {}, shown twice = {}, out of order = {}, invented = {}, \
         never shown to the consumer = {}, shown again after its acknowledgement = {}, gaps told = {}; \
         {:.0} s of kills, drained {:.1} s after the last; seed {}",
        report.deaths,
        verdict.acknowledged,
        verdict.sent,
        verdict.lost,
        verdict.twice,
        verdict.out_of_order,
        verdict.invented + verdict.vanished,
        verdict.unseen,
        verdict.feed_broken + verdict.feed_disorder,
        verdict.holes,
        report.took.as_secs_f64(),
        report.drained.as_secs_f64(),
        report.seed,
    )
}
