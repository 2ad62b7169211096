//! What the programs are made of: crates, by `cargo metadata`, and their checksums, by `Cargo.lock`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use crate::step::cargo;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::binaries::repository;

use super::arch::Arch;

/// One crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    pub name: String,
    pub version: String,
    /// An SPDX expression.
    pub licence: String,
    pub authors: Vec<String>,
    /// Where its sources lie.
    pub folder: PathBuf,
    /// Whether it is of this repository.
    pub is_ours: bool,
    /// SHA-256 of the archive that it came in.
    pub checksum: Option<String>,
}

/// Crates, and which of them each needs when it runs. Those that only build others are no part of what is given away.
#[derive(Debug)]
pub struct Graph {
    crates: BTreeMap<String, Crate>,
    needs: HashMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Asks cargo.
    pub fn read(arch: Arch) -> Result<Self> {
        let args = ["metadata", "--format-version=1", "--locked", "--filter-platform", arch.target];
        let output = cargo(args).output().context("cannot run cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
        let checksums = checksums()?;
        let mut crates = BTreeMap::new();
        for package in list(&metadata["packages"]) {
            let (name, version) = (text(&package["name"]), text(&package["version"]));
            let folder = PathBuf::from(text(&package["manifest_path"])).parent().map(PathBuf::from);
            let known = Crate {
                checksum: checksums.get(&(name.clone(), version.clone())).cloned(),
                // Older manifests say "MIT/Apache-2.0".
                licence: text(&package["license"]).replace('/', " OR "),
                authors: list(&package["authors"]).iter().map(text).collect(),
                folder: folder.context("a manifest is in no folder")?,
                is_ours: package["source"].is_null(),
                name,
                version,
            };
            crates.insert(text(&package["id"]), known);
        }
        let mut needs = HashMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let runs = |dep: &&Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let deps = list(&node["deps"]).iter().filter(runs).map(|dep| text(&dep["pkg"])).collect();
            needs.insert(text(&node["id"]), deps);
        }
        Ok(Self { crates, needs })
    }

    /// The version of a crate of ours.
    pub fn version_of(&self, name: &str) -> Result<String> {
        let found = self.crates.values().find(|known| known.is_ours && known.name == name);
        Ok(found.with_context(|| format!("there is no {name} here"))?.version.clone())
    }

    /// These crates of ours and all that they need, each with what it needs itself, in order.
    pub fn below(&self, names: &[&str]) -> Vec<(&Crate, Vec<&Crate>)> {
        let is_root = |known: &Crate| known.is_ours && names.contains(&known.name.as_str());
        let mut left: Vec<&String> = self.crates.iter().filter(|(_, known)| is_root(known)).map(|(id, _)| id).collect();
        let mut seen: BTreeSet<&String> = left.iter().copied().collect();
        while let Some(id) = left.pop() {
            left.extend(self.needs.get(id).into_iter().flatten().filter(|need| seen.insert(need)));
        }
        let of = |id: &String| {
            let needs = self.needs.get(id).into_iter().flatten();
            let mut needs: Vec<&Crate> = needs.filter_map(|need| self.crates.get(need)).collect();
            needs.sort();
            Some((self.crates.get(id)?, needs))
        };
        let mut found: Vec<_> = seen.into_iter().filter_map(of).collect();
        found.sort();
        found
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// By name and version.
fn checksums() -> Result<HashMap<(String, String), String>> {
    let text = std::fs::read_to_string(repository().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let mut found = HashMap::new();
    for block in text.split("[[package]]") {
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
            Some(line.trim_end_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(checksum)) = (value("name"), value("version"), value("checksum")) {
            found.insert((name, version), checksum);
        }
    }
    Ok(found)
}
