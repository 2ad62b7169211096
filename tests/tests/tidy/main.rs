//! The structure of the repository, as a test: who imports whom, how long a file may be, what may stand where.
#![allow(clippy::unwrap_used)]

mod layers;
mod log;
mod modules;
mod rooms;

use std::fs;

use tests::binaries::repository;
use tests::sources::{files, relative, sources};

/// Lines of a source file at most, of one of tests as well.
const MAX_LINES: usize = 400;

/// What may stand in the repository's folder.
const TOP_LEVEL: [&str; 27] = [
    ".cargo",
    ".ci",
    ".git",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "chatctl",
    "chatd",
    "clippy.toml",
    "daemonkit",
    "deny.toml",
    "directoryd",
    "docs",
    "fuzz",
    "hybrid",
    "packaging",
    "proto",
    "rustfmt.toml",
    "systemd",
    "tests",
    "xtask",
];

/// Whether a whole file is tests.
fn is_test_file(name: &str) -> bool {
    let stem = name.rsplit('/').next().unwrap_or(name);
    name.contains("/tests/") || stem == "tests.rs" || stem.ends_with("_tests.rs") || name.contains("/benches/")
}

/// A source without its comments and without the test module at its end.
fn code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().take_while(|line| !line.trim_start().starts_with("#[cfg(test)]")).collect();
    without_comments(&lines.join("\n"))
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn source_files_are_short() {
    let mut long = Vec::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > MAX_LINES {
            long.push(format!("{name}: {lines} lines"));
        }
    }
    assert!(long.is_empty(), "more than {MAX_LINES} lines; split them by responsibility: {long:#?}");
}

/// Names of the dependencies in a manifest's section.
fn dependencies(manifest: &str, section: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(manifest)).unwrap();
    let header = format!("[{section}]");
    let body = text.lines().skip_while(|line| line.trim() != header).skip(1);
    let lines = body.take_while(|line| !line.starts_with('[')).filter(|line| !line.trim().is_empty());
    lines.map(|line| line.split(['.', '=', ' ']).next().unwrap_or(line).to_owned()).collect()
}

#[test]
fn crates_keep_apart() {
    for (manifest, forbidden) in [
        ("proto/Cargo.toml", &["rusqlite", "age", "hybrid", "iroh", "axum", "chatd", "chatctl", "directoryd"][..]),
        ("hybrid/Cargo.toml", &["proto", "daemonkit", "chatd", "chatctl", "directoryd"]),
        ("daemonkit/Cargo.toml", &["proto", "chatd", "chatctl", "directoryd"]),
        ("chatctl/Cargo.toml", &["chatd", "directoryd", "daemonkit", "rusqlite", "age", "hybrid", "iroh", "axum"]),
        ("directoryd/Cargo.toml", &["chatd", "chatctl", "age", "hybrid"]),
        ("chatd/Cargo.toml", &["directoryd", "chatctl", "axum"]),
    ] {
        let found = dependencies(manifest, "dependencies");
        assert!(!found.is_empty(), "{manifest} names no dependencies");
        for name in forbidden {
            assert!(!found.iter().any(|dependency| dependency == name), "{manifest} must not depend on {name}");
        }
    }
}

/// A log and settings are there before any runtime and outlive it; only the sign of life is a task of one.
#[test]
fn only_the_pulse_of_a_daemon_needs_a_runtime() {
    let kit = sources().filter(|(name, _)| name.starts_with("daemonkit/src/") && !is_test_file(name));
    let asynchronous = kit.filter(|(_, text)| {
        let code = code(text);
        code.contains("tokio") || code.contains("async ") || code.contains(".await")
    });
    let names: Vec<String> = asynchronous.map(|(name, _)| name).collect();
    assert_eq!(names, ["daemonkit/src/pulse.rs"]);
}

#[test]
fn only_known_things_at_the_top() {
    let unknown: Vec<_> = fs::read_dir(repository())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "target" && !TOP_LEVEL.contains(&name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "give it a place in a folder, or in TOP_LEVEL: {unknown:?}");
}

#[test]
fn no_paths_of_one_machine() {
    // Put together here, so that this file does not find itself.
    let home = |name: &str| format!("/{}/{name}", "home");
    let patterns = [format!("/{}/main", "work"), format!("/tmp/{}/", "wt"), format!("/{}/.", "root"), home("user/")];
    let mut wrong = Vec::new();
    for path in files() {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            if patterns.iter().any(|pattern| line.contains(pattern)) {
                wrong.push(format!("{}:{}: {line}", relative(&path), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_test_is_ignored() {
    let attribute = format!("#[{}", "ignore");
    let ignored: Vec<_> = sources().filter(|(_, text)| text.contains(&attribute)).map(|(name, _)| name).collect();
    assert!(ignored.is_empty(), "use skip!, which is listed at the end of a run: {ignored:?}");
}

/// Rows of the parity table that have a test; the others wait for later work.
const PARITY_ROWS: [&str; 36] = [
    "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "a10", "a11", "a14", "a16", "a20", "b1", "b2", "b3", "b4",
    "b5", "b7", "b8", "b9", "c1", "c2", "c4", "c5", "c6", "d1", "d2", "d3", "d4", "e1", "e2", "e3", "e4", "e5",
];

#[test]
fn every_parity_row_has_a_test() {
    let names: String = sources().filter(|(name, _)| name.starts_with("tests/tests/")).map(|(_, text)| text).collect();
    let rows = PARITY_ROWS.iter().chain(&["e6"]);
    let missing: Vec<_> = rows.filter(|row| !names.contains(&format!("fn {row}_"))).collect();
    assert!(missing.is_empty(), "no test carries these rows in its name: {missing:?}");
}
