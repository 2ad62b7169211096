//! The licences of everybody whose work is in a program, as their authors word them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tests::binaries::repository;

use super::graph::Crate;

/// How files begin that hold licences and what has to be said with them.
const BEGINNINGS: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// One text: each licence once, with all who use it.
pub fn texts(crates: &[&Crate]) -> Result<String> {
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut overview = String::new();
    for known in crates.iter().filter(|known| !known.is_ours) {
        let name = format!("{} {}", known.name, known.version);
        overview.push_str(&format!("{name}: {}\n", known.licence));
        for text in of_crate(known)? {
            of.entry(text).or_default().push(name.clone());
        }
    }
    let mut out = format!(
        "This program contains the work of others. First who, and under which licences; then the texts of these.\n\n{overview}"
    );
    for (text, mut users) in of {
        users.dedup();
        out.push_str(&format!("\n{}\n{}:\n\n{}\n", "=".repeat(78), users.join(", "), text.trim_end()));
    }
    Ok(out)
}

/// The texts that come with a crate. Where none does, that of the MIT licence if it is offered, in the name of its authors.
fn of_crate(known: &Crate) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(&known.folder);
    let entries = entries.with_context(|| format!("cannot read {}", known.folder.display()))?;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    if files.is_empty() {
        if !known.licence.contains("MIT") {
            bail!("{} {} ({}) comes without the text of its licence", known.name, known.version, known.licence);
        }
        return Ok(vec![mit(known)?]);
    }
    let read = |path: &PathBuf| {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
    };
    files.iter().map(read).collect()
}

fn mit(known: &Crate) -> Result<String> {
    let path = repository().join("LICENSE-MIT");
    let own = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let holders = match known.authors.as_slice() {
        [] => format!("the authors of {}", known.name),
        authors => authors.join(", "),
    };
    let line = |line: &str| match line.strip_prefix("Copyright (c) ") {
        Some(_) => format!("Copyright (c) {holders}\n"),
        None => format!("{line}\n"),
    };
    Ok(own.lines().map(line).collect())
}
