//! The documents say what the programs do: checked against the types where that can be checked.
#![allow(clippy::unwrap_used)]

use std::fs;

use proto::rpc::event::EventType;
use proto::rpc::methods::METHODS;
use proto::rpc::{API_VERSION, MAX_DEPTH, MAX_MESSAGE_BYTES};
use tests::binaries::repository;

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `1048576` as `1,048,576`.
fn with_commas(number: usize) -> String {
    let digits: Vec<char> = number.to_string().chars().rev().collect();
    let groups: Vec<String> = digits.chunks(3).map(|three| three.iter().collect()).collect();
    groups.join(",").chars().rev().collect()
}

#[test]
fn all_documents_are_there() {
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE",
        "docs/rpc.md",
        "docs/wire.md",
        "docs/directory-api.md",
        "docs/security.md",
    ] {
        assert!(read(name).len() > 500, "{name} says too little");
    }
}

#[test]
fn every_method_and_event_is_described() {
    let text = read("docs/rpc.md");
    for method in METHODS {
        assert!(text.contains(&format!("`{}`", method.name)), "docs/rpc.md does not describe {}", method.name);
        assert!(text.contains(method.doc), "docs/rpc.md does not say of {}: {}", method.name, method.doc);
    }
    for kind in EventType::ALL {
        assert!(text.contains(&format!("`{}`", kind.as_str())), "docs/rpc.md does not describe {}", kind.as_str());
    }
    let named = |bytes: usize| text.contains(&with_commas(bytes)) || text.contains(&bytes.to_string());
    assert!(named(MAX_MESSAGE_BYTES) || text.contains("1 MiB"), "the limit on a message");
    assert!(named(MAX_DEPTH) && named(API_VERSION as usize), "the limit on depth, and the version");
}

#[test]
fn nothing_is_described_that_is_not_there() {
    let text = read("docs/rpc.md");
    // Words in backticks that look like `noun.verb`.
    for word in text.split('`').skip(1).step_by(2) {
        let looks =
            word.split('.').count() == 2 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.');
        if !looks || word.ends_with(".md") || word.ends_with(".sock") || word.ends_with(".toml") {
            continue;
        }
        let known = METHODS.iter().any(|method| method.name == word)
            || EventType::ALL.iter().any(|kind| kind.as_str() == word)
            || word == proto::rpc::event::FEED_EVENT;
        assert!(known, "docs/rpc.md names `{word}`, which is neither a method nor an event");
    }
}

#[test]
fn the_directory_api_is_described_as_it_is_served() {
    let text = read("docs/directory-api.md");
    let served: serde_json::Value = serde_json::from_str(&read("directoryd/src/openapi.json")).unwrap();
    let paths = served["paths"].as_object().expect("the OpenAPI document has paths");
    assert!(paths.len() >= 5, "{paths:?}");
    for path in paths.keys() {
        assert!(text.contains(path.as_str()), "docs/directory-api.md does not describe {path}");
    }
}

#[test]
fn ci_runs_the_test_command_of_the_readme() {
    let readme = read("README.md");
    for command in ["cargo xtask demo", "cargo xtask test"] {
        assert!(readme.contains(command), "README.md does not name `{command}`");
    }
    let script = read(".ci/run");
    let last = script.lines().rev().find(|line| !line.trim().is_empty()).unwrap();
    assert_eq!(last, "exec cargo xtask test");
}

#[test]
fn commas_are_set() {
    assert_eq!([with_commas(16), with_commas(1_048_576)], ["16".to_owned(), "1,048,576".to_owned()]);
}
