//! `cargo xtask dist`: packages of the programs, .deb and .rpm, the same bytes each time.
//!
//! What stands in a package is said once (`contents`) for both formats; `dpkg-deb` and `rpmbuild` make archives of it. What they
//! are told beside that (scripts, descriptions, configurations) is in `packaging/` and `systemd/`.
//!
//! Not its job: to try the packages. Tests do, on machines with a systemd of their own (`tests/tests/systemd`).

mod arch;
mod binaries;
mod check;
mod contents;
mod deb;
mod graph;
mod licences;
mod make;
mod rpm;
mod sbom;
mod work;

use std::path::{Path, PathBuf};

use anyhow::Result;
use tests::binaries::target_folder;

use self::arch::Arch;
use self::make::{Order, make, report};
pub use self::work::put;

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
    /// For which processors, in Debian's words: `amd64` or `arm64` [default: this machine's]
    #[arg(long)]
    arch: Option<String>,
    /// Build everything twice, in two folders, and hold each file against the other
    #[arg(long)]
    check: bool,
}

/// Does it.
pub fn run(options: &Options) -> Result<()> {
    let folder = match &options.folder {
        Some(folder) => std::path::absolute(folder)?,
        None => target_folder()?.join("dist"),
    };
    let arch = Arch::named(options.arch.as_deref())?;
    let order = Order { profile: options.profile.clone(), arch, release: options.release, only: None };
    if options.check {
        return check::run(&order, &folder).map(drop);
    }
    report(&make(&order, &folder, &target_folder()?)?)
}

/// Builds what is given away twice, and compares; what to tell of it.
pub fn compared() -> Result<String> {
    let order = Order { profile: "dist".to_owned(), arch: Arch::named(None)?, release: 1, only: None };
    Ok(format!("{} files, the same bytes in two builds", check::run(&order, &target_folder()?.join("dist"))?))
}

/// Packages of the programs that the tests have, in `folder`: for machines that install them.
pub fn for_tests(folder: &Path, release: u32, only: Option<&str>) -> Result<()> {
    let order = Order { profile: "dev".to_owned(), arch: Arch::named(None)?, release, only: only.map(str::to_owned) };
    make(&order, folder, &target_folder()?).map(drop)
}
