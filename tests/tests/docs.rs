//! The documents say what the programs do. The reference part of docs/rpc.md is checked in the crate `proto`; here is the
//! rest.
#![allow(clippy::unwrap_used)]

use std::fs;

use proto::rpc::event::EventType;
use proto::rpc::methods::METHODS;
use tests::binaries::repository;
use tests::sources::sources;

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
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
        "docs/configuration.md",
        "docs/retention.md",
    ] {
        assert!(read(name).len() > 500, "{name} says too little");
    }
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
    // What stands in braces is a name for a reader, not a part of the path.
    let plain = |text: &str| {
        let parts = text.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
        parts.collect::<Vec<_>>().join("{}")
    };
    let text = plain(&read("docs/directory-api.md"));
    let served: serde_json::Value = serde_json::from_str(&read("directoryd/src/routes/openapi.json")).unwrap();
    let paths = served["paths"].as_object().expect("the OpenAPI document has paths");
    assert!(paths.len() >= 5, "{paths:?}");
    for path in paths.keys() {
        assert!(text.contains(&plain(path)), "docs/directory-api.md does not describe {path}");
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
fn each_test_and_file_that_the_document_on_security_names_is_there() {
    let (text, keys, sources) = (read("docs/security.md"), read("docs/configuration.md"), Vec::from_iter(sources()));
    let mut functions = std::collections::BTreeSet::new();
    for (_, source) in &sources {
        let words = source.split("fn ").skip(1);
        functions.extend(words.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()));
    }
    let is_file = |name: &str| {
        // As it is, below chatd's sources, or without the crate's `src`.
        let below = name.split_once('/').map(|(first, rest)| format!("{first}/src/{rest}"));
        let places = [Some(name.to_owned()), Some(format!("chatd/src/{name}")), below];
        sources.iter().any(|(path, _)| places.iter().flatten().any(|place| place == path))
    };
    let mut named = 0;
    for line in text.lines() {
        // In a row of a table: where its last cell begins, which has the tests.
        let last = line.trim_end_matches([' ', '|']).rfind(" | ").filter(|_| line.starts_with('|'));
        let mut at = 0;
        for (n, word) in line.split('`').enumerate() {
            let in_last = last.is_some_and(|last| at > last);
            at += word.len() + 1;
            if n % 2 == 0 || word.is_empty() {
                continue;
            }
            if word.ends_with(".rs") {
                assert!(is_file(word), "docs/security.md names the file `{word}`, which is not there");
            }
            let plain = word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '…');
            let underscores = word.matches(['_', '…']).count();
            let is_key = keys.contains(&format!("`{word}`"));
            if plain && !is_key && (underscores >= 3 || in_last && underscores >= 2) {
                named += 1;
                assert!(functions.contains(word), "docs/security.md names the test `{word}`, which is not there");
            }
        }
    }
    assert!(named > 150, "{named}");
}

#[test]
fn the_readme_lists_the_documents() {
    let readme = read("README.md");
    for entry in fs::read_dir(repository().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(
            !name.ends_with(".md") || readme.contains(&format!("](docs/{name})")),
            "README.md lists no docs/{name}"
        );
    }
}
