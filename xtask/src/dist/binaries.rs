//! The programs as they are given away: built with nothing in them of the place where they were, stripped, with their debug symbols
//! apart.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::work::{Made, Run, files, output, set_times, write};
use crate::step::cargo;
use anyhow::{Context, Result, bail, ensure};
use tests::binaries::{PROGRAMS, repository};

/// The C library that everything here has to run with: that of RHEL 9, older than Debian 12's.
const OLDEST_GLIBC: (u32, u32) = (2, 34);

/// Libraries that may be needed, and the package of Debian's that has each.
const LIBRARIES: [(&str, &str); 5] = [
    ("libc.so.6", "libc6"),
    ("libm.so.6", "libc6"),
    ("ld-linux-x86-64.so.2", "libc6"),
    ("ld-linux-aarch64.so.1", "libc6"),
    ("libgcc_s.so.1", "libgcc-s1 (>= 4.2)"),
];

/// What was built.
#[derive(Debug)]
pub struct Binaries {
    /// Holds them, stripped.
    pub folder: PathBuf,
    /// Holds programs of the same sources that run here, and can be asked what stands in pages.
    pub speaking: PathBuf,
    /// Holds what was stripped off, as debuggers look for it.
    debug: PathBuf,
}

impl Binaries {
    /// Builds into `target`.
    pub fn build(run: &Run, target: &Path) -> Result<Self> {
        let mut build = cargo(["build", "--locked", "--bins", "--profile", run.profile.as_str(), "--target-dir"]);
        build.arg(target);
        if run.is_fast() {
            // As everything else is built for tests, so that it is built once.
            build.arg("--workspace");
        } else {
            build.args(PROGRAMS.iter().flat_map(|name| ["--package", name]));
            forget_places(&mut build, target, run.epoch)?;
        }
        run.arch.build(&mut build);
        ensure!(build.status().context("cannot run cargo")?.success(), "the build failed");
        let folder = if run.is_fast() { "debug" } else { &run.profile };
        let work = run.folder.join("work");
        let mut binaries = Self { folder: work.join("bin"), speaking: work.join("bin"), debug: work.join("debug") };
        let mut built = target.join(folder);
        if !run.arch.is_here() {
            built = target.join(run.arch.target).join(folder);
            let mut here = cargo(["build", "--locked", "--workspace", "--bins", "--target-dir"]);
            ensure!(here.arg(target).status().context("cannot run cargo")?.success(), "the build for here failed");
            binaries.speaking = target.join("debug");
        }
        for name in PROGRAMS {
            binaries.split(&built.join(name), name, run)?;
            let highest = highest_glibc(&binaries.folder.join(name))?;
            println!("{name}: needs GLIBC {}.{}", highest.0, highest.1);
            let (major, minor) = OLDEST_GLIBC;
            ensure!(highest <= OLDEST_GLIBC, "{name} needs GLIBC {highest:?}, and RHEL 9 has {major}.{minor}");
        }
        Ok(binaries)
    }

    fn split(&self, built: &Path, name: &str, run: &Run) -> Result<()> {
        let stripped = self.folder.join(name);
        write(&stripped, b"")?;
        output(Command::new(run.arch.tool("strip")).args(["--strip-all", "-o"]).arg(&stripped).arg(built))?;
        if run.is_fast() {
            return Ok(());
        }
        let id = build_id(built)?;
        let (first, rest) = id.split_at_checked(2).with_context(|| format!("{name} has the build id {id:?}"))?;
        let debug = self.debug.join("usr/lib/debug/.build-id").join(first).join(format!("{rest}.debug"));
        write(&debug, b"")?;
        output(
            Command::new(run.arch.tool("objcopy"))
                .args(["--only-keep-debug", "--compress-debug-sections"])
                .arg(built)
                .arg(&debug),
        )?;
        Ok(())
    }

    /// The debug symbols of all programs, to be unpacked at `/`.
    pub fn debug_archive(&self, run: &Run) -> Result<Made> {
        set_times(&self.debug, run.epoch)?;
        let path = run.folder.join(format!("chatd-debug-symbols-{}-{}.tar.xz", run.version, run.arch.rpm));
        let mut tar = Command::new("tar");
        tar.args([
            "--create",
            "--xz",
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mode=go=rX,u+rw,a-s",
        ]);
        tar.arg(format!("--mtime=@{}", run.epoch))
            .arg("--file")
            .arg(&path)
            .arg("--directory")
            .arg(&self.debug)
            .arg("usr");
        output(&mut tar)?;
        ensure!(!files(&self.debug)?.is_empty(), "there are no debug symbols");
        Ok(Made { path, depends: "the programs of the same build".into() })
    }

    /// What these programs need, in Debian's words.
    pub fn debian_depends(&self, names: &[&str]) -> Result<String> {
        let (mut depends, mut highest) = (BTreeSet::new(), (0, 0));
        for name in names {
            let path = self.folder.join(name);
            highest = highest.max(highest_glibc(&path)?);
            for library in needed(&path)? {
                let Some((_, package)) = LIBRARIES.iter().find(|(known, _)| *known == library) else {
                    bail!("{name} needs {library}, and nobody said in which package that is");
                };
                depends.insert(*package);
            }
        }
        let versioned = |package: &&str| match *package {
            "libc6" => format!("libc6 (>= {}.{})", highest.0, highest.1),
            other => other.to_owned(),
        };
        Ok(depends.iter().map(versioned).collect::<Vec<_>>().join(", "))
    }
}

/// Takes out of a build where and when it was made.
fn forget_places(build: &mut Command, target: &Path, epoch: u64) -> Result<()> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let home = home.context("HOME is not set, and CARGO_HOME neither")?;
    let rust = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let places = [
        (target.display().to_string(), "/build/target"),
        (repository().display().to_string(), "/build/chatd"),
        (home.display().to_string(), "/build/cargo"),
        (rust.trim().to_owned(), "/build/rust"),
    ];
    let rust: Vec<String> = places.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}")).collect();
    let c: Vec<String> = places.iter().map(|(from, to)| format!("-ffile-prefix-map={from}={to}")).collect();
    let link = "-Clink-arg=-Wl,--build-id=sha1".to_owned();
    build.env("CARGO_ENCODED_RUSTFLAGS", rust.into_iter().chain([link]).collect::<Vec<_>>().join("\u{1f}"));
    build.env("CFLAGS", c.join(" ")).env("CXXFLAGS", c.join(" ")).env("SOURCE_DATE_EPOCH", epoch.to_string());
    Ok(())
}

fn build_id(program: &Path) -> Result<String> {
    let notes = output(Command::new("readelf").args(["--wide", "--notes"]).arg(program))?;
    Ok(build_id_in(&notes).with_context(|| format!("{} has no build id", program.display()))?.to_owned())
}

/// On a line of its own, or behind what the note is called: not every `readelf` takes `--wide` alike.
fn build_id_in(notes: &str) -> Option<&str> {
    let id = notes.split_once("Build ID: ")?.1.split_whitespace().next()?;
    id.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(id)
}

/// The shared libraries that a program names.
pub fn needed(program: &Path) -> Result<Vec<String>> {
    let dynamic = output(Command::new("readelf").args(["--wide", "--dynamic"]).arg(program))?;
    let named = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    Ok(named.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned())).collect())
}

/// The newest version of the C library that a program asks for.
fn highest_glibc(program: &Path) -> Result<(u32, u32)> {
    let versions = output(Command::new("readelf").args(["--wide", "--version-info"]).arg(program))?;
    highest(&versions).with_context(|| format!("{} asks for no C library", program.display()))
}

fn highest(versions: &str) -> Option<(u32, u32)> {
    let named = versions.split("GLIBC_").skip(1);
    let version = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut parts = text.get(..end)?.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    named.filter_map(version).max()
}

#[cfg(test)]
mod tests_of_versions {
    use super::{build_id_in, highest};

    #[test]
    fn a_build_id_is_found_wherever_it_stands() {
        let wide = "  GNU  0x14\tNT_GNU_BUILD_ID (unique build ID bitstring)\t    Build ID: 1bf3720b\n";
        let narrow = "  GNU  0x14\tNT_GNU_BUILD_ID\n    Build ID: 1bf3720b\n";
        assert_eq!([wide, narrow, "Build ID: none"].map(build_id_in), [Some("1bf3720b"), Some("1bf3720b"), None]);
    }

    #[test]
    fn the_newest_is_found_by_number() {
        let text = "Name: GLIBC_2.9  Flags\n Name: GLIBC_2.34 (5)\nGLIBC_2.3.4\nGLIBC_PRIVATE\nGLIBC_ABI_DT_RELR\n";
        assert_eq!(highest(text), Some((2, 34)));
        assert_eq!(highest("GLIBC_PRIVATE"), None);
    }
}
