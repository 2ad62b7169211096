//! `cargo xtask man DIR`: manual pages and completions, as a package installs them.
//!
//! Not its job: what stands in them. Each program prints its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::binaries::profile_folder;

use crate::step::cargo;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where to write: man/*.1 and *.8, completions/chatctl (bash), _chatctl (zsh), chatctl.fish
    folder: PathBuf,
}

/// Builds the programs, and asks each.
pub fn run(options: &Options) -> Result<()> {
    let build = cargo(["build", "--workspace", "--bins", "--locked"]).status();
    ensure!(build.context("cannot run cargo")?.success(), "the build failed");
    write(&options.folder, &profile_folder()?)
}

/// Asks the programs that are in `programs`.
pub fn write(folder: &Path, programs: &Path) -> Result<()> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for daemon in ["chatd", "directoryd"] {
        keep(&man.join(format!("{daemon}.8")), &programs.join(daemon), &["--print-man"])?;
    }
    let all = man.display().to_string();
    printed(&programs.join("chatctl"), &["man", "--all", &all])?;
    for (shell, file) in [("bash", "chatctl"), ("zsh", "_chatctl"), ("fish", "chatctl.fish")] {
        keep(&completions.join(file), &programs.join("chatctl"), &["completion", shell])?;
    }
    Ok(())
}

fn keep(file: &Path, program: &Path, args: &[&str]) -> Result<()> {
    std::fs::write(file, printed(program, args)?).with_context(|| format!("cannot write {}", file.display()))
}

/// What a program of ours prints.
fn printed(program: &Path, args: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program).args(args).output();
    let name = program.display();
    let output = output.with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} {} ended with {}: {said}", args.join(" "), output.status);
    Ok(output.stdout)
}
