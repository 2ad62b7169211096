//! What may be depended on: licences, sources, banned crates (deny.toml), known advisories, and the Rust version that each needs.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tests::binaries::repository;

use crate::step::cargo;
use crate::tools;

/// `cargo deny check` of all but advisories; `None` where the tool cannot be had.
pub fn deny() -> Result<Option<Command>> {
    Ok(tools::provide(&tools::CARGO_DENY)?.map(|program| {
        let mut command = Command::new(program);
        command.current_dir(repository());
        // Two versions of one crate are known, allowed and many: only what is denied is worth a line.
        command.args(["--locked", "--log-level", "error", "check", "bans", "licenses", "sources"]);
        command
    }))
}

/// The same for advisories; `None` where their database is not on this machine.
pub fn advisories() -> Result<Option<Command>> {
    let home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| std::path::PathBuf::from(home).join(".cargo")));
    let found = home.and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok()?.next());
    let (Some(_), Some(program)) = (found, tools::provide(&tools::CARGO_DENY)?) else { return Ok(None) };
    let mut command = Command::new(program);
    command.current_dir(repository()).args(["--offline", "--locked", "check", "advisories"]);
    Ok(Some(command))
}

/// Holds the declared `rust-version` against every dependency's. What our own code uses is watched by clippy's
/// `incompatible_msrv`. Where that toolchain is installed, everything is also checked with it.
pub fn rust_version() -> Result<Vec<String>> {
    let output = cargo(["metadata", "--format-version=1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let ours =
        packages.iter().find(|package| package["name"] == "chatd").and_then(needed).context("no rust-version")?;
    let newer: Vec<String> = packages
        .iter()
        .filter(|package| needed(package).is_some_and(|version| version > ours))
        .map(|package| format!("{} {} needs Rust {}", package["name"], package["version"], package["rust_version"]))
        .collect();
    ensure!(newer.is_empty(), "Cargo.toml declares an older rust-version than these need: {}", newer.join(", "));
    let (major, minor, _) = ours;
    let toolchain = format!("+{major}.{minor}");
    let there = Command::new("cargo").args([&toolchain, "--version"]).output().is_ok_and(|run| run.status.success());
    if !there {
        return Ok(vec![format!(
            "rust-version {major}.{minor}: no dependency and no call of ours needs a newer one; not compiled with it, that toolchain is not installed"
        )]);
    }
    let status = Command::new("cargo")
        .current_dir(repository())
        .args([&toolchain, "check", "--workspace", "--all-targets", "--locked", "--target-dir", "target/rust-version"])
        .env_remove("RUSTUP_TOOLCHAIN")
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("it does not build with the declared rust-version: see above, or raise it in Cargo.toml and README.md");
    }
    Ok(vec![format!("rust-version {major}.{minor}: everything was checked with it")])
}

/// The version that a package declares: major, minor, patch.
fn needed(package: &Value) -> Option<(u32, u32, u32)> {
    let mut parts = package["rust_version"].as_str()?.split('.').map(|part| part.parse().unwrap_or(0));
    Some((parts.next()?, parts.next().unwrap_or(0), parts.next().unwrap_or(0)))
}
