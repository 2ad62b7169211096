//! The sources of the repository, for tests that read them.

use std::path::{Path, PathBuf};

use crate::binaries::repository;

/// Every file that belongs to the repository, in the order of their names. What cannot be read is left out.
pub fn files() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![repository()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some("target" | ".git") => {}
                _ if path.is_dir() => folders.push(path),
                _ => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// A path below the repository.
pub fn relative(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).to_string_lossy().into_owned()
}

/// Every source of the repository: its path below it, and its text.
pub fn sources() -> impl Iterator<Item = (String, String)> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    rust.filter_map(|path| Some((relative(&path), std::fs::read_to_string(&path).ok()?)))
}
