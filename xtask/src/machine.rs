//! What machines with a systemd of their own are made from, for the tests in `tests/tests/systemd`: a tree of Debian, made once and
//! kept, and packages of the programs that the tests have.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tests::binaries::{packages_folder, tree_folder};

use crate::{container, debian, dist};

/// What stands on such a machine: systemd, a network, and both package managers.
const INCLUDE: &str =
    "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,iproute2,netbase,rpm,dnf,createrepo-c";
const SUITE: &str = "bookworm";

/// Nothing to choose.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Does it, for whoever runs these tests alone.
pub fn run(_: &Options) -> Result<()> {
    debian::provide()?;
    let tree = Tree::begin()?;
    packages()?;
    tree.wait()
}

/// The packages of this build, as `new`, and those of the version before, as `old`: the same but for their number; and what an image is
/// built from.
pub fn packages() -> Result<()> {
    let folder = packages_folder()?;
    dist::for_tests(&folder.join("new"), 2, None)?;
    dist::for_tests(&folder.join("old"), 1, Some("chatd"))?;
    container::make(&folder.with_file_name("container"), "dev")
}

/// A tree that may be in the making.
#[derive(Debug)]
pub struct Tree(Option<Child>);

impl Tree {
    /// Begins to make it, if it is not there and can be made here.
    pub fn begin() -> Result<Self> {
        let folder = tree_folder()?;
        let wanted = format!("{SUITE} {INCLUDE}");
        if std::fs::read_to_string(folder.join("made-of")).is_ok_and(|made| made == wanted) {
            return Ok(Self(None));
        }
        if !nix::unistd::geteuid().is_root() || !debian::runs("mmdebstrap", &["--version"]) {
            println!("no machines with a systemd of their own: that needs root and mmdebstrap");
            return Ok(Self(None));
        }
        let partial = partial()?;
        for old in [&folder, &partial] {
            if old.exists() {
                std::fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        let above = folder.parent().context("the tree is in no folder")?;
        std::fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
        println!("making: a tree of {SUITE} in {}", folder.display());
        let log = File::create(above.join("mmdebstrap.log")).context("cannot write the log of mmdebstrap")?;
        let mut make = Command::new("mmdebstrap");
        make.args(["--variant=minbase", &format!("--include={INCLUDE}"), SUITE]).arg(&partial);
        make.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self(Some(make.spawn().context("cannot run mmdebstrap")?)))
    }

    /// Waits for it. Where it cannot be made, tests say that they have none.
    pub fn wait(self) -> Result<()> {
        let Some(mut child) = self.0 else { return Ok(()) };
        let (folder, partial) = (tree_folder()?, partial()?);
        if !child.wait().context("cannot wait for mmdebstrap")?.success() {
            println!("mmdebstrap failed; its log is beside {}", folder.display());
            return Ok(());
        }
        std::fs::write(partial.join("made-of"), format!("{SUITE} {INCLUDE}")).context("cannot mark the tree")?;
        ensure!(!folder.exists(), "{} is there already", folder.display());
        std::fs::rename(&partial, &folder).with_context(|| format!("cannot name it {}", folder.display()))
    }
}

fn partial() -> Result<PathBuf> {
    Ok(tree_folder()?.with_extension("partial"))
}
