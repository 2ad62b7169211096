//! A package for Debian and its children, made by `dpkg-deb`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::binaries::Binaries;
use super::contents::Package;
use super::work::{MAINTAINER, Made, Run, date, files, output, set_times, template, write};

/// Accounts and folders are made by systemd's tools, or what stands for them where there is no systemd.
const TOOLS: &str = "systemd | systemd-standalone-sysusers | systemd-sysusers, systemd | systemd-standalone-tmpfiles | systemd-tmpfiles";

/// Adds to the staged files what Debian wants to have beside them, and packs.
pub fn pack(run: &Run, package: &Package, binaries: &Binaries, stage: &Path) -> Result<Made> {
    let name = package.name;
    let version = format!("{}-{}", run.version, run.release);
    let doc = stage.join("usr/share/doc").join(name);
    let time = date(run.epoch, "+%a, %d %b %Y %H:%M:%S %z")?;
    let changes = format!(
        "{name} ({version}) unstable; urgency=medium\n\n  * What changed is in changelog.gz.\n\n -- {MAINTAINER}  {time}\n"
    );
    let log = doc.join("changelog.Debian");
    write(&log, changes)?;
    output(Command::new("gzip").args(["--best", "--no-name"]).arg(&log))?;
    write(&doc.join("copyright"), template("packaging/deb/copyright", &[])?)?;
    write(
        &stage.join("usr/share/lintian/overrides").join(name),
        template("packaging/deb/overrides", &[("NAME", name)])?,
    )?;

    let control = stage.join("DEBIAN");
    let kib = files(stage)?.iter().map(|path| path.metadata().map_or(0, |file| file.len()).div_ceil(1024)).sum::<u64>();
    let depends = format!("{}, {TOOLS}", binaries.debian_depends(package.programs)?);
    let paragraphs =
        package.description.iter().map(|line| if line.is_empty() { " .\n".into() } else { format!(" {line}\n") });
    let fields = [
        ("Package", name.to_owned()),
        ("Version", version.clone()),
        ("Architecture", run.arch.debian.to_owned()),
        ("Maintainer", MAINTAINER.to_owned()),
        ("Installed-Size", kib.to_string()),
        ("Depends", depends.clone()),
        ("Section", "net".to_owned()),
        ("Priority", "optional".to_owned()),
        ("Description", package.summary.to_owned()),
    ];
    let fields: String = fields.iter().map(|(field, value)| format!("{field}: {value}\n")).collect();
    write(&control.join("control"), format!("{fields}{}", paragraphs.collect::<String>()))?;
    let below = |folder: &str| -> Result<Vec<PathBuf>> { files(&stage.join(folder)) };
    let relative = |path: &Path| Ok::<_, anyhow::Error>(path.strip_prefix(stage)?.display().to_string());
    let settings =
        below("etc")?.iter().map(|path| Ok(format!("/{}\n", relative(path)?))).collect::<Result<String>>()?;
    write(&control.join("conffiles"), settings)?;
    let mut sums = String::new();
    for path in below("usr")?.iter().chain(&below("etc")?) {
        let sum = output(Command::new("md5sum").arg(path))?;
        let sum = sum.split_whitespace().next().context("md5sum says nothing")?;
        sums.push_str(&format!("{sum}  {}\n", relative(path)?));
    }
    write(&control.join("md5sums"), sums)?;
    let starts = if package.starts { "yes" } else { "no" };
    for script in ["postinst", "prerm", "postrm"] {
        let path = control.join(script);
        write(&path, template(&format!("packaging/deb/{script}"), &[("NAME", name), ("STARTS", starts)])?)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    set_times(stage, run.epoch)?;

    let path = run.folder.join(format!("{name}_{version}_{}.deb", run.arch.debian));
    let mut pack = Command::new("dpkg-deb");
    pack.env("SOURCE_DATE_EPOCH", run.epoch.to_string()).args(["--root-owner-group", "--uniform-compression"]);
    pack.args(if run.is_fast() { ["-Zgzip", "-z1"] } else { ["-Zxz", "-z6"] });
    output(pack.arg("--build").arg(stage).arg(&path))?;
    Ok(Made { path, depends })
}
