//! `cargo xtask dist`: packages of the programs, .deb and .rpm, the same bytes each time.
//!
//! What stands in a package is said once (`contents`) for both formats; `dpkg-deb` and `rpmbuild` make archives of it. What they
//! are told beside that (scripts, descriptions, configurations) is in `packaging/` and `systemd/`.
//!
//! Not its job: to try the packages. Tests do, on machines with a systemd of their own (`tests/tests/systemd`).

mod binaries;
mod check;
mod contents;
mod deb;
mod graph;
mod licences;
mod rpm;
mod sbom;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use tests::binaries::{repository, target_folder};

use self::binaries::Binaries;
use self::contents::{Format, PACKAGES, Package, Source};
use self::graph::Graph;
use crate::step::cargo;

/// Who is asked about the packages.
const MAINTAINER: &str = "The chatd developers <chatd@example.org>";

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where to write [default: dist in the target folder]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// What to build: `dist` is made to be given away; packages of `dev` are for tests
    #[arg(long, default_value = "dist")]
    profile: String,
    /// The number of this packaging of one version
    #[arg(long, default_value_t = 1)]
    release: u32,
    /// Only this package
    #[arg(long, hide = true)]
    only: Option<String>,
    /// Build everything twice, in two folders, and hold each file against the other
    #[arg(long)]
    check: bool,
}

/// One run: what is built, of which moment, and where it goes.
#[derive(Debug)]
struct Run {
    folder: PathBuf,
    profile: String,
    version: String,
    release: u32,
    /// Seconds since 1970 that stand wherever a time has to: of the last commit, unless `SOURCE_DATE_EPOCH` says another.
    epoch: u64,
}

impl Run {
    /// Packages for tests are packed fast, and are large.
    fn is_fast(&self) -> bool {
        self.profile == "dev"
    }
}

/// Does it.
pub fn run(options: &Options) -> Result<()> {
    let folder = match &options.folder {
        Some(folder) => std::path::absolute(folder)?,
        None => target_folder()?.join("dist"),
    };
    if options.check {
        return check::run(options, &folder);
    }
    let made = make(options, &folder, &target_folder()?)?;
    report(&made)
}

/// Packages of the programs that the tests have, in `folder`: for machines that install them.
pub fn for_tests(folder: &Path, release: u32, only: Option<&str>) -> Result<()> {
    let only = only.map(str::to_owned);
    let options = Options { folder: None, profile: "dev".to_owned(), release, only, check: false };
    make(&options, folder, &target_folder()?).map(drop)
}

/// A package or archive that was made.
#[derive(Debug)]
struct Made {
    path: PathBuf,
    /// What it needs of a system.
    depends: String,
}

/// Builds into `target`, packs into `folder`; what is there now.
fn make(options: &Options, folder: &Path, target: &Path) -> Result<Vec<Made>> {
    needed(&["dpkg-deb", "rpmbuild", "objcopy", "strip", "readelf"])?;
    let graph = Graph::read()?;
    let run = Run {
        folder: folder.to_owned(),
        profile: options.profile.clone(),
        version: graph.version_of("chatd")?,
        release: options.release,
        epoch: epoch()?,
    };
    fresh(&run.folder)?;
    let binaries = Binaries::build(&run, target)?;
    let mut made = Vec::new();
    let is_wanted = |package: &&Package| options.only.as_deref().is_none_or(|only| only == package.name);
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
fn report(made: &[Made]) -> Result<()> {
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

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An empty folder.
fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// What a program prints; what it says on standard error if it fails.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes a file and the folders above it.
fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// A text of `packaging/` or `systemd/`, with words put in: `@NAME@`.
fn template(file: &str, words: &[(&str, &str)]) -> Result<String> {
    let path = repository().join(file);
    let mut text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for (name, value) in words {
        text = text.replace(&format!("@{name}@"), value);
    }
    let left = text.split('@').find(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase()));
    ensure!(left.is_none(), "{file}: nothing is known for @{}@", left.unwrap_or_default());
    Ok(text)
}

/// A time as `date` words it.
fn date(epoch: u64, format: &str) -> Result<String> {
    let mut date = Command::new("date");
    date.env("LC_ALL", "C").args(["--utc", &format!("--date=@{epoch}"), format]);
    Ok(output(&mut date)?.trim().to_owned())
}

/// Every file below a folder is of this moment.
fn set_times(folder: &Path, epoch: u64) -> Result<()> {
    let time: SystemTime = UNIX_EPOCH + std::time::Duration::from_secs(epoch);
    for path in files(folder)? {
        let file = std::fs::File::options().append(true).open(&path);
        let set = file.and_then(|file| file.set_modified(time));
        set.with_context(|| format!("cannot set the time of {}", path.display()))?;
    }
    Ok(())
}

/// All files below a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}
