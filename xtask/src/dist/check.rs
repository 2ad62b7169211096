//! `cargo xtask dist --check`: whether the same sources make the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::make::{Order, make, report};
use super::work::{files, hex};

/// Makes everything twice, each time in folders of its own, from nothing.
pub fn run(order: &Order, folder: &Path) -> Result<()> {
    let mut sums = Vec::new();
    for round in ["check-a", "check-b"] {
        let place = folder.with_file_name(round);
        let made = make(order, &place.join("packages"), &place.join("target"))?;
        report(&made)?;
        sums.push(checksums(&place.join("packages"))?);
    }
    let [first, second] = sums.as_slice() else { return Ok(()) };
    let differ: Vec<&String> =
        first.keys().chain(second.keys()).filter(|name| first.get(*name) != second.get(*name)).collect();
    ensure!(
        differ.is_empty(),
        "two builds differ in {differ:?}; they are in {}",
        folder.with_file_name("check-a").display()
    );
    println!("\n{} files, the same bytes in both builds", first.len());
    Ok(())
}

fn checksums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let of = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path.strip_prefix(folder)?.display().to_string(), hex(&bytes)))
    };
    files(folder)?.iter().map(of).collect()
}
