//! The fuzz targets of `fuzz/`, one after the other. They need a nightly compiler and cargo-fuzz; where these are missing,
//! that is a failure and says so: what was not run has not held.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::binaries::{repository, target_folder};

use crate::step;

/// All targets, with `fuzz ` before each.
pub const NAMES: [&str; 13] = [
    "fuzz frames",
    "fuzz prescan",
    "fuzz open",
    "fuzz core",
    "fuzz event",
    "fuzz group_log",
    "fuzz record",
    "fuzz rotation",
    "fuzz invite",
    "fuzz rpc",
    "fuzz names",
    "fuzz session",
    "fuzz terminal",
];

/// Runs one target for some minutes: executions and edges, and whether nothing crashed.
pub fn run(target: &str, minutes: u64) -> Result<(String, bool)> {
    let have =
        |program: &str, args: &[&str]| Command::new(program).args(args).output().is_ok_and(|o| o.status.success());
    ensure!(have("cargo", &["fuzz", "--version"]), "NOT RUN: cargo-fuzz is missing (cargo install cargo-fuzz)");
    ensure!(
        have("cargo", &["+nightly", "--version"]),
        "NOT RUN: the nightly compiler is missing (rustup toolchain install nightly)"
    );
    let folder = repository().join("fuzz");
    let corpus = target_folder()?.join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let seeds = folder.join("seeds").join(target);
    let seconds = minutes * 60;
    let log = target_folder()?.join(format!("fuzz-{target}.log"));
    let mut command = Command::new("cargo");
    command.current_dir(&folder).args(["+nightly", "fuzz", "run", "-s", "none", "--target-dir"]);
    command.arg(target_folder()?.join("fuzz")).arg(target).args([corpus, seeds]).arg("--");
    command.args([&format!("-max_total_time={seconds}"), "-timeout=10", "-print_final_stats=1"]);
    // What cargo sets for this program would confuse the inner one.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "RUSTUP_TOOLCHAIN", "CARGO"] {
        command.env_remove(name);
    }
    command.stderr(std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?);
    // The first build takes its time.
    let deadline = Instant::now() + Duration::from_secs(seconds + 30 * 60);
    let step = step::run(target, command, deadline, |_| {})?;
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    Ok((figure(&text, &log), step.ok))
}

/// Executions, edges and the worst time, out of libFuzzer's log.
fn figure(log: &str, file: &Path) -> String {
    let stat = |name: &str| log.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let edges = log.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("cov: ")?;
        rest.split_whitespace().next()
    });
    let worst = log.lines().rev().find(|line| line.starts_with("worst: "));
    match (stat("stat::number_of_executed_units:"), edges) {
        (Some(executions), Some(edges)) => {
            let worst = worst.map_or(String::new(), |line| format!(", {line}"));
            let crash = log.lines().find(|line| line.contains("SUMMARY"));
            let crash = crash.map_or("crashes = 0".into(), |line| format!("CRASHED: {line}"));
            format!("{executions} executions, {edges} edges, {crash}{worst}")
        }
        _ => format!("no figures; see {}", file.display()),
    }
}

#[cfg(test)]
mod tests_of_fuzz {
    use super::*;

    #[test]
    fn figures_are_found_in_the_log() {
        let log = "#2\tINITED cov: 90 ft: 91\nworst: 12 us in prescan for 10 bytes\nworst: 55 us in age for 300 bytes\n\
                   #99 DONE   cov: 412 ft: 900 corp: 3/4b\nstat::number_of_executed_units: 4711\n";
        let shown = figure(log, Path::new(""));
        assert_eq!(shown, "4711 executions, 412 edges, crashes = 0, worst: 55 us in age for 300 bytes");
        assert!(figure("error: no such command", Path::new("f.log")).contains("f.log"));
        assert!(figure(&format!("{log}SUMMARY: libFuzzer: deadly signal"), Path::new("")).contains("CRASHED"));
    }

    #[test]
    fn every_target_is_run() {
        let manifest = std::fs::read_to_string(repository().join("fuzz/Cargo.toml")).unwrap_or_default();
        let targets = manifest.lines().filter(|line| line.starts_with("path = \"fuzz_targets/"));
        assert_eq!(targets.count(), NAMES.len());
        for name in NAMES {
            let target = name.trim_start_matches("fuzz ");
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
            assert!(repository().join("fuzz/seeds").join(target).is_dir(), "{target} has no seeds");
        }
    }
}
