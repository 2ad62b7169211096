//! What all parts of this room share: the run, what it has made, and files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use tests::binaries::repository;

use super::arch::Arch;

/// Who is asked about the packages.
pub const MAINTAINER: &str = "The chatd developers <chatd@example.org>";

/// One run: what is built, of which moment, and where it goes.
#[derive(Debug)]
pub struct Run {
    pub folder: PathBuf,
    pub profile: String,
    pub arch: Arch,
    pub version: String,
    pub release: u32,
    /// Seconds since 1970 that stand wherever a time has to: of the last commit, unless `SOURCE_DATE_EPOCH` says another.
    pub epoch: u64,
}

impl Run {
    /// Packages for tests are packed fast, and are large.
    pub fn is_fast(&self) -> bool {
        self.profile == "dev"
    }
}

/// A package or archive that was made.
#[derive(Debug)]
pub struct Made {
    pub path: PathBuf,
    /// What it needs of a system.
    pub depends: String,
}

pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An empty folder.
pub fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// What a program prints; what it says on standard error if it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// The same at `to` below `root`, with its mode; folders are everybody's to enter, whatever the umask is.
pub fn put(root: &Path, to: &str, bytes: &[u8], mode: u32) -> Result<PathBuf> {
    let path = root.join(to);
    write(&path, bytes)?;
    let permit = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    permit(&path, mode)?;
    let mut folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
    folders.try_for_each(|folder| permit(folder, 0o755))?;
    Ok(path)
}

/// A text of `packaging/` or `systemd/`, with words put in: `@NAME@`.
pub fn template(file: &str, words: &[(&str, &str)]) -> Result<String> {
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
pub fn date(epoch: u64, format: &str) -> Result<String> {
    let mut date = Command::new("date");
    date.env("LC_ALL", "C").args(["--utc", &format!("--date=@{epoch}"), format]);
    Ok(output(&mut date)?.trim().to_owned())
}

/// Every file below a folder is of this moment.
pub fn set_times(folder: &Path, epoch: u64) -> Result<()> {
    let time: SystemTime = UNIX_EPOCH + std::time::Duration::from_secs(epoch);
    for path in files(folder)? {
        let file = std::fs::File::options().append(true).open(&path);
        let set = file.and_then(|file| file.set_modified(time));
        set.with_context(|| format!("cannot set the time of {}", path.display()))?;
    }
    Ok(())
}

/// All files below a folder, in order.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}
