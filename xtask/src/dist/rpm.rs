//! A package for Fedora, RHEL and their children, made by `rpmbuild`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::contents::Package;
use super::work::{MAINTAINER, Made, Run, date, files, output, template, write};

/// As a sentence begins.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Packs the staged files.
pub fn pack(run: &Run, package: &Package, stage: &Path) -> Result<Made> {
    let top = run.folder.join("rpmbuild");
    let mut listed = String::new();
    for path in files(stage)? {
        let path = path.strip_prefix(stage)?.display().to_string();
        let kind = match path.split('/').collect::<Vec<_>>().as_slice() {
            ["etc", ..] => "%config(noreplace) ",
            ["usr", "share", "licenses", ..] => "%license ",
            ["usr", "share", "doc", ..] => "%doc ",
            _ => "",
        };
        listed.push_str(&format!("{kind}/{path}\n"));
    }
    let name = package.name;
    let (release, description) = (run.release.to_string(), package.description.join("\n"));
    let spec = template(
        "packaging/rpm/package.spec",
        &[
            ("NAME", name),
            ("VERSION", &run.version),
            ("RELEASE", &release),
            ("SUMMARY", &sentence(package.summary)),
            ("DESCRIPTION", &description),
            ("MAINTAINER", MAINTAINER),
            ("DATE", &date(run.epoch, "+%a %b %d %Y")?),
            ("STAGE", &stage.display().to_string()),
            ("FILES", &listed),
        ],
    )?;
    let file = top.join(format!("{name}.spec"));
    write(&file, spec)?;
    let mut build = Command::new("rpmbuild");
    build.env("SOURCE_DATE_EPOCH", run.epoch.to_string()).args([
        "-bb",
        "--quiet",
        "--target",
        run.arch.rpm,
        "--define",
    ]);
    build.arg(format!("_topdir {}", top.display()));
    let payload = if run.is_fast() { "w1.gzdio" } else { "w19.zstdio" };
    for define in [
        "_buildhost build",
        "use_source_date_epoch_as_buildtime 1",
        "clamp_mtime_to_source_date_epoch 1",
        "_build_id_links none",
        "debug_package %{nil}",
        "__os_install_post %{nil}",
        &format!("_binary_payload {payload}"),
    ] {
        build.args(["--define", define]);
    }
    output(build.arg(&file))?;
    let made = files(&top.join("RPMS"))?;
    let ours = |path: &&std::path::PathBuf| {
        path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-")))
    };
    let built = made.iter().find(ours).with_context(|| format!("rpmbuild made no {name}"))?;
    let path = run.folder.join(built.file_name().context("a package without a name")?);
    std::fs::rename(built, &path).with_context(|| format!("cannot move {}", built.display()))?;
    let needs = output(Command::new("rpm").args(["--query", "--requires", "--package"]).arg(&path))?;
    // The C library is named by each version of a symbol; the newest says it all.
    let is_detail = |need: &str| need.starts_with("rpmlib(") || need.contains("(GLIBC_") || need.contains("(GCC_");
    let mut needs: Vec<&str> = needs.lines().filter(|need| !is_detail(need)).collect();
    needs.dedup();
    ensure!(!needs.is_empty(), "{name} needs nothing, which cannot be");
    Ok(Made { path, depends: needs.join(", ") })
}
