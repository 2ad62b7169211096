//! One run from sources to packages.

use std::path::Path;
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, ensure};
use tests::binaries::repository;

use super::arch::Arch;
use super::binaries::Binaries;
use super::contents::{Format, PACKAGES, Package, Source};
use super::graph::Graph;
use super::work::{Made, Run, fresh, hex, output};
use super::{deb, rpm};

/// What is wanted.
#[derive(Debug)]
pub struct Order {
    /// What cargo is to build.
    pub profile: String,
    /// For which processors.
    pub arch: Arch,
    /// The number of this packaging of one version.
    pub release: u32,
    /// This package alone.
    pub only: Option<String>,
}

/// Builds into `target`, packs into `folder`; what is there now.
pub fn make(order: &Order, folder: &Path, target: &Path) -> Result<Vec<Made>> {
    needed(&["dpkg-deb", "rpmbuild", "objcopy", "strip", "readelf"])?;
    order.arch.check()?;
    let graph = Graph::read(order.arch)?;
    let run = Run {
        folder: folder.to_owned(),
        profile: order.profile.clone(),
        arch: order.arch,
        version: graph.version_of("chatd")?,
        release: order.release,
        epoch: epoch()?,
    };
    fresh(&run.folder)?;
    let binaries = Binaries::build(&run, target)?;
    let mut made = Vec::new();
    let is_wanted = |package: &&Package| order.only.as_deref().is_none_or(|only| only == package.name);
    for package in PACKAGES.iter().filter(is_wanted) {
        let source = Source::new(&run, package, &binaries, &graph)?;
        let deb = source.stage(Format::Deb)?;
        made.push(deb::pack(&run, package, &binaries, &deb)?);
        let rpm = source.stage(Format::Rpm)?;
        made.push(rpm::pack(&run, package, &rpm)?);
    }
    if !run.is_fast() {
        made.push(binaries.debug_archive(&run)?);
    }
    for work in ["work", "rpmbuild"] {
        std::fs::remove_dir_all(run.folder.join(work)).with_context(|| format!("cannot remove {work}"))?;
    }
    Ok(made)
}

/// Says which of these programs are missing, and what brings them.
fn needed(programs: &[&str]) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&&str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let missing: Vec<&str> = programs.iter().filter(|name| !is_there(name)).copied().collect();
    ensure!(
        missing.is_empty(),
        "missing: {}; on Debian: apt-get install dpkg rpm binutils; on Fedora: dnf install dpkg rpm-build binutils",
        missing.join(", ")
    );
    Ok(())
}

fn epoch() -> Result<u64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text.parse().with_context(|| format!("SOURCE_DATE_EPOCH is {text:?}, and no number of seconds"));
    }
    let mut git = Command::new("git");
    git.current_dir(repository()).args(["log", "-1", "--format=%ct"]);
    if let Ok(time) = output(&mut git) {
        return time.trim().parse().context("git log says no time");
    }
    // A copy without its history.
    let file = repository().join("CHANGELOG.md");
    let changed = file.metadata().and_then(|file| file.modified()).context("cannot tell when CHANGELOG.md changed")?;
    Ok(changed.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Prints names, sizes, checksums, dependencies.
pub fn report(made: &[Made]) -> Result<()> {
    println!();
    for Made { path, depends } in made {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        println!("{}", path.display());
        println!("  size     {} bytes", bytes.len());
        println!("  sha256   {}", hex(&bytes));
        println!("  depends  {depends}");
    }
    Ok(())
}
