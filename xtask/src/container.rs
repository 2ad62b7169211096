//! `cargo xtask container`: what an image is built from: a tree with the programs, the libraries that they load, and a user; a
//! Dockerfile and a compose file beside it.
//!
//! Not its job: to build the image. `docker-compose up --build` does.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::binaries::{PROGRAMS, repository, target_folder};

use crate::dist::put;
use crate::step::cargo;

/// Who everything runs as in there.
const USER: &str = "chatd:x:10001:10001:chatd:/var/lib/chatd:/usr/sbin/nologin\n";
/// Which certificates to believe, if this machine says so.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where to write [default: container in the target folder]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// What to build: `dist` is made to be given away; `dev` is for tests
    #[arg(long, default_value = "dist")]
    profile: String,
}

/// Does it.
pub fn run(options: &Options) -> Result<()> {
    let folder = match &options.folder {
        Some(folder) => std::path::absolute(folder)?,
        None => target_folder()?.join("container"),
    };
    make(&folder, &options.profile)?;
    println!("\ncd {} && docker-compose up --detach --build", folder.display());
    Ok(())
}

/// The same for tests and for people.
pub fn make(folder: &Path, profile: &str) -> Result<()> {
    let target = target_folder()?;
    let mut build = cargo(["build", "--locked", "--bins", "--workspace", "--profile", profile, "--target-dir"]);
    ensure!(build.arg(&target).status().context("cannot run cargo")?.success(), "the build failed");
    let built = target.join(if profile == "dev" { "debug" } else { profile });
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let root = folder.join("rootfs");
    for name in PROGRAMS {
        let program = built.join(name);
        let stripped = put(&root, &format!("usr/bin/{name}"), b"", 0o755)?;
        let strip = Command::new("strip").args(["--strip-all", "-o"]).arg(&stripped).arg(&program).status();
        ensure!(strip.context("cannot run strip: apt-get install binutils")?.success(), "cannot strip {name}");
        for library in libraries(&program)? {
            let bytes = std::fs::read(&library).with_context(|| format!("cannot read {library}"))?;
            put(&root, library.trim_start_matches('/'), &bytes, 0o755)?;
        }
    }
    put(&root, "etc/passwd", USER.as_bytes(), 0o644)?;
    put(&root, "etc/group", b"chatd:x:10001:\n", 0o644)?;
    if let Ok(bytes) = std::fs::read(Path::new("/").join(CERTIFICATES)) {
        put(&root, CERTIFICATES, &bytes, 0o644)?;
    }
    for name in ["chatd", "directoryd"] {
        let state = folder.join("state").join(name);
        std::fs::create_dir_all(&state).with_context(|| format!("cannot make {}", state.display()))?;
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700))?;
    }
    for file in ["Dockerfile", "compose.yaml"] {
        let text = std::fs::read(repository().join("packaging/container").join(file))?;
        // Where docker-compose looks for it, of whatever age it is.
        put(folder, if file == "compose.yaml" { "docker-compose.yml" } else { file }, &text, 0o644)?;
    }
    Ok(())
}

/// The files that the loader would load for a program, and the loader.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    ensure!(output.status.success(), "ldd {}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(str::to_owned)
        .collect())
}
