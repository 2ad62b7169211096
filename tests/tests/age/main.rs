//! The hybrid keys of age, held against others: C2SP's vectors, and the implementation for browsers by age's author.

#![allow(clippy::unwrap_used)]

mod interop;
mod vectors;

use std::path::PathBuf;

use tests::binaries::node_folder;

/// The folder of the packages for node that `cargo xtask test` installs, if this one is there.
fn package(name: &str) -> Option<PathBuf> {
    let folder = node_folder().ok()?;
    folder.join("node_modules").join(name).is_dir().then_some(folder)
}
