//! `cargo xtask dist --check`: whether the same sources make the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::make::{Order, make, report};
use super::work::{files, fresh, hex};

/// Makes everything twice, each time in folders of its own, from nothing; how many files are the same.
pub fn run(order: &Order, folder: &Path) -> Result<usize> {
    let mut sums = Vec::new();
    for round in ["check-a", "check-b"] {
        let place = folder.with_file_name(round);
        fresh(&place)?;
        let made = make(order, &place.join("packages"), &place.join("target"))?;
        report(&made)?;
        sums.push(checksums(&place.join("packages"))?);
    }
    let [first, second] = sums.as_slice() else { bail!("there are {} builds to compare", sums.len()) };
    let differ: Vec<&String> =
        first.keys().chain(second.keys()).filter(|name| first.get(*name) != second.get(*name)).collect();
    ensure!(
        differ.is_empty(),
        "two builds differ in {differ:?}; they are in {}",
        folder.with_file_name("check-a").display()
    );
    println!("\n{} files, the same bytes in both builds", first.len());
    Ok(first.len())
}

fn checksums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let of = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path.strip_prefix(folder)?.display().to_string(), hex(&bytes)))
    };
    files(folder)?.iter().map(of).collect()
}
