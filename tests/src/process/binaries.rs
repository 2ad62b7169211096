//! Finds the programs under test.
//!
//! They stand beside the running executable: `target/<profile>/` holds the programs, `target/<profile>/deps/` the test
//! executables. When one is missing it is built once; other test processes wait at a file lock meanwhile.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

/// The programs that a test can start.
pub const PROGRAMS: [&str; 3] = ["chatd", "chatctl", "directoryd"];

/// Looks here instead, when set: a folder that holds the programs of a package or a release.
pub const BIN_DIR_VARIABLE: &str = "CHATD_TEST_BIN_DIR";

/// The path of one of [`PROGRAMS`].
///
/// # Errors
/// When it is missing and cannot be built.
pub fn program(name: &str) -> Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| folder().map_err(|error| format!("{error:#}")));
    match folder {
        Ok(folder) => Ok(folder.join(name)),
        Err(error) => bail!("{error}"),
    }
}

/// The folder of the repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The folder that cargo builds this profile into: `target/debug`, for one.
///
/// # Errors
/// When the running executable cannot be named.
pub fn profile_folder() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("cannot name the running executable")?;
    let folder = exe.parent().context("the running executable is in no folder")?;
    let inner = folder.ends_with("deps") || folder.ends_with("examples");
    Ok(if inner { folder.parent().unwrap_or(folder) } else { folder }.to_path_buf())
}

/// Cargo's target folder.
///
/// # Errors
/// See [`profile_folder`].
pub fn target_folder() -> Result<PathBuf> {
    let profile = profile_folder()?;
    Ok(profile.parent().context("the profile's folder has no parent")?.to_path_buf())
}

/// Where `cargo xtask test` keeps programs that are neither ours nor the system's.
///
/// # Errors
/// See [`profile_folder`].
pub fn tools_folder() -> Result<PathBuf> {
    Ok(target_folder()?.join("tools"))
}

/// Where `cargo xtask test` keeps packages for node.
///
/// # Errors
/// See [`profile_folder`].
pub fn node_folder() -> Result<PathBuf> {
    Ok(target_folder()?.join("node"))
}

/// Where `cargo xtask test` keeps a tree of Debian, for machines with a systemd of their own.
///
/// # Errors
/// See [`profile_folder`].
pub fn tree_folder() -> Result<PathBuf> {
    Ok(target_folder()?.join("machine/tree"))
}

/// Where `cargo xtask test` puts packages of the programs: those of this build in `new`, of the version before in `old`.
///
/// # Errors
/// See [`profile_folder`].
pub fn packages_folder() -> Result<PathBuf> {
    Ok(target_folder()?.join("machine/packages"))
}

fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(BIN_DIR_VARIABLE) {
        let folder = PathBuf::from(folder);
        ensure!(complete(&folder), "{BIN_DIR_VARIABLE}={} does not hold {}", folder.display(), PROGRAMS.join(", "));
        return Ok(folder);
    }
    let folder = profile_folder()?;
    if !complete(&folder) {
        build(&folder)?;
    }
    Ok(folder)
}

fn complete(folder: &Path) -> bool {
    PROGRAMS.iter().all(|name| folder.join(name).is_file())
}

fn build(folder: &Path) -> Result<()> {
    let lock = File::create(folder.join("build-programs.lock")).context("cannot make the build lock")?;
    lock.lock().context("cannot take the build lock")?;
    if complete(folder) {
        return Ok(());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(repository()).arg("build").args(["--target-dir".as_ref(), target_folder()?.as_os_str()]);
    if folder.ends_with("release") {
        command.arg("--release");
    }
    // As `cargo xtask` does it, so that dependencies are built once.
    command.args(["--workspace", "--bins"]);
    let status = command.status().context("cannot run cargo")?;
    ensure!(status.success() && complete(folder), "cargo build of {} failed ({status})", PROGRAMS.join(", "));
    Ok(())
}
