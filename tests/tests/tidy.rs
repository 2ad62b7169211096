//! The structure of the repository, as a test: who imports whom, how long a file may be, what may stand where.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;

use tests::binaries::repository;
use tests::sources::{files, relative, sources};

/// Lines of a source file at most, its tests not counted.
const MAX_LINES: usize = 400;

/// What may stand in the repository's folder.
const TOP_LEVEL: [&str; 26] = [
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
    "packaging",
    "proto",
    "rustfmt.toml",
    "systemd",
    "tests",
    "xtask",
];

/// Modules of chatd, from the bottom up. A module imports only from rows before its own.
const LAYERS: [&[&str]; 9] = [
    &["model"],
    &["crypto", "policy", "events"],
    &["store"],
    &["link", "directory"],
    &["delivery", "receive"],
    &["service"],
    &["rpc"],
    // What a program needs around the layers: it stands on top of them and nothing imports it.
    &["daemon"],
    &["manual", "main", "lib"],
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
    for (name, text) in sources().filter(|(name, _)| !is_test_file(name)) {
        let end = text.lines().position(|line| line.trim_start().starts_with("#[cfg(test)]"));
        let lines = end.unwrap_or_else(|| text.lines().count());
        if lines > MAX_LINES {
            long.push(format!("{name}: {lines} lines"));
        }
    }
    assert!(long.is_empty(), "more than {MAX_LINES} lines; split them by responsibility: {long:#?}");
}

#[test]
fn chatd_imports_downwards_only() {
    let rank = |module: &str| LAYERS.iter().position(|row| row.contains(&module));
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, text) in sources() {
        let Some(inside) = name.strip_prefix("chatd/src/") else { continue };
        if is_test_file(&name) {
            continue;
        }
        let module = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        let Some(own) = rank(module) else {
            wrong.push(format!("{name}: module {module} is in no layer; give it a place in LAYERS"));
            continue;
        };
        seen.insert(module.to_owned());
        for used in crate_paths(&code(&text)) {
            match rank(&used) {
                _ if used == module => {}
                Some(other) if other < own => {}
                // lib.rs and main.rs put everything together.
                _ if own == LAYERS.len() - 1 => {}
                Some(_) => wrong.push(format!("{name}: {module} imports {used}, which stands beside or above it")),
                None => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen.contains("lib") && seen.len() > 3, "found too little of chatd to judge: {seen:?}");
}

/// The first row of [`LAYERS`] whose rooms may speak to clients: what is below it knows no types of the RPC.
const CLIENTS_FROM: &str = "service";

#[test]
fn rooms_below_the_service_know_no_rpc() {
    let below: Vec<&str> =
        LAYERS.iter().take_while(|row| !row.contains(&CLIENTS_FROM)).flat_map(|row| row.iter().copied()).collect();
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    // Tests included: what a room is asked and answers are words of `model`, whoever asks.
    for (name, text) in sources() {
        let Some(inside) = name.strip_prefix("chatd/src/") else { continue };
        let module = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        if !below.contains(&module) {
            continue;
        }
        seen.insert(module.to_owned());
        if paths_of("proto", &without_comments(&text)).contains("rpc") {
            wrong.push(format!("{name}: {module} uses proto::rpc; say it in `model`, and convert it in `rpc/view`"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen.len(), below.len(), "a room was not found: {below:?}, {seen:?}");
}

/// The rooms of chatd's store, from what knows least to what knows most. A room uses those before it only.
const STORE: &[&str] = &[
    "disk", "error", "engine", "account", "peers", "delivery", "log", "history", "contacts", "feed", "prune", "handle",
    "snapshot",
];

/// What one room of the store uses of a later one, as bad as a ring: `error` is at home below all that fail by it.
const STORE_EXCEPTIONS: &[(&str, &str)] = &[("disk", "error")];

#[test]
fn rooms_of_the_store_stand_in_their_order() {
    let place = |room: &str| STORE.iter().position(|known| *known == room);
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for (name, text) in sources() {
        let Some(inside) = name.strip_prefix("chatd/src/store/") else { continue };
        let room = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        if matches!(room, "mod" | "tests") || inside.ends_with("tests.rs") {
            continue;
        }
        let Some(own) = place(room) else {
            wrong.push(format!("{name}: {room} has no place in the order"));
            continue;
        };
        seen.insert(own);
        let code = without_comments(&text);
        // Tests at the end of a file may set up what they like.
        let code = code.split("#[cfg(test)]\n#[allow(clippy::unwrap_used)]\nmod tests").next().unwrap_or(&code);
        for used in paths_of("crate::store", code) {
            match place(&used) {
                _ if used == "tests" => {}
                Some(at) if at <= own || STORE_EXCEPTIONS.contains(&(room, &used)) => {}
                Some(_) => wrong.push(format!("{name}: {room} uses {used}, which stands above it")),
                None => wrong.push(format!("{name}: `crate::store::{used}` hides in which room it is")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen.len(), STORE.len(), "a room was not found: {seen:?} of {STORE:?}");
}

#[test]
fn the_transaction_is_a_small_handle() {
    let mut files = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| name.starts_with("chatd/src/")) {
        let code = without_comments(&text);
        if code.lines().any(|line| line.starts_with("impl") && line.contains(" Tx<") && !line.contains(" for ")) {
            let block = code.split("\nimpl").filter(|block| block.lines().next().is_some_and(|l| l.contains("Tx<")));
            files.push((name, block.map(|block| block.matches("    pub").count()).sum::<usize>()));
        }
    }
    assert!(matches!(files[..], [(_, methods)] if methods <= 12), "functions of rooms, not methods of Tx: {files:?}");
}

fn crate_paths(code: &str) -> BTreeSet<String> {
    paths_of("crate", code)
}

/// First segments of all paths that begin with `root`, those in `use root::{a, b::c}` included.
fn paths_of(root: &str, code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let root = format!("{root}::");
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for (at, _) in code.match_indices(&root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + root.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    found.insert(word(&group[index..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn crate_paths_are_found() {
    let text = "use crate::a::b;\nuse crate::{c, d::{e, f}, g};\nlet x = crate::h::i(); $crate::no; mycrate::no";
    let expected = ["a", "c", "d", "g", "h"].map(String::from);
    assert_eq!(crate_paths(text), BTreeSet::from(expected));
    let text = "use proto::{ids::A, rpc::types::{B, C}};\nlet x = proto::wire::d(); myproto::no";
    assert_eq!(paths_of("proto", text), BTreeSet::from(["ids", "rpc", "wire"].map(String::from)));
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
        ("proto/Cargo.toml", &["rusqlite", "age", "iroh", "axum", "chatd", "chatctl", "directoryd"][..]),
        ("daemonkit/Cargo.toml", &["proto", "tokio", "chatd", "chatctl", "directoryd"]),
        ("chatctl/Cargo.toml", &["chatd", "directoryd", "daemonkit", "rusqlite", "age", "iroh", "axum"]),
        ("directoryd/Cargo.toml", &["chatd", "chatctl", "age"]),
        ("chatd/Cargo.toml", &["directoryd", "chatctl", "axum"]),
    ] {
        let found = dependencies(manifest, "dependencies");
        assert!(!found.is_empty(), "{manifest} names no dependencies");
        for name in forbidden {
            assert!(!found.iter().any(|dependency| dependency == name), "{manifest} must not depend on {name}");
        }
    }
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
const PARITY_ROWS: [&str; 31] = [
    "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a10", "a11", "b1", "b2", "b3", "b4", "b5", "b7", "b8", "c1", "c2",
    "c4", "c5", "c6", "d1", "d2", "d3", "d4", "e1", "e2", "e3", "e4", "e5",
];

#[test]
fn every_parity_row_has_a_test() {
    let names: String = sources().filter(|(name, _)| name.starts_with("tests/tests/")).map(|(_, text)| text).collect();
    let rows = PARITY_ROWS.iter().chain(&["e6"]);
    let missing: Vec<_> = rows.filter(|row| !names.contains(&format!("fn {row}_"))).collect();
    assert!(missing.is_empty(), "no test carries these rows in its name: {missing:?}");
}
