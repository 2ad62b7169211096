//! What texts tell one to run can be run: the programs' errors and hints, help, README and documents name verbs, flags and forms
//! that the command line takes. And nothing is counted as `1 messages`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Command;
use clap::error::ErrorKind;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Files below some folders of the repository, with what is in them.
fn texts(places: &[&str], ends: &str) -> Vec<(PathBuf, String)> {
    let mut open: Vec<PathBuf> = places.iter().map(|place| root().join(place)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.to_string_lossy().ends_with(ends) {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    assert!(!found.is_empty(), "{places:?}");
    found
}

/// What the programs are made of, without tests, which stand in files of their own or in a module at the end.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = texts(&["chatctl/src", "chatd/src", "directoryd/src", "daemonkit/src", "proto/src"], ".rs");
    files.retain(|(path, _)| !path.strip_prefix(root()).unwrap().to_string_lossy().contains("tests"));
    for (_, text) in &mut files {
        let module = |at: &usize| {
            let line = text[*at..].lines().find(|line| line.starts_with("mod ") || line.starts_with("pub mod "));
            line.is_some_and(|line| line.ends_with('{'))
        };
        let end = text.match_indices("\n#[cfg(test)]\n").map(|(at, _)| at).find(module);
        text.truncate(end.unwrap_or(text.len()));
    }
    files
}

fn inner<'a>(command: &'a Command, name: &str) -> Option<&'a Command> {
    command.get_subcommands().find(|verb| verb.get_name() == name || verb.get_all_aliases().any(|alias| alias == name))
}

fn has_flag(command: &Command, flag: &str) -> bool {
    command.get_arguments().any(|argument| {
        let long = flag.strip_prefix("--");
        long.is_some_and(|long| {
            argument.get_long() == Some(long) || argument.get_all_aliases().is_some_and(|all| all.contains(&long))
        })
    })
}

/// In prose, where a command has no end: its verb, the inner one that it needs, and the flags before the next stop.
#[test]
fn whatever_an_error_or_a_hint_advises_can_be_run() {
    let command = chatctl::command();
    let (mut verbs, mut flags) = (BTreeSet::new(), BTreeSet::new());
    for (path, text) in sources() {
        for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with("//!")) {
            // Comments that are texts for users, of flags, have their commands in backticks.
            let begins = if line.starts_with("//") { "`chatctl " } else { "chatctl " };
            for rest in line.split(begins).skip(1) {
                let mut words = rest.split(|c: char| !c.is_ascii_lowercase() && c != '-');
                let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                // What is no word in small letters is a flag, a placeholder, a version. And what is said of the program.
                if first.is_empty() || first.starts_with('-') || first == "help" || rest.starts_with("talks to it") {
                    continue;
                }
                let Some(mut verb) = inner(&command, first) else {
                    panic!("{}: there is no verb {first}: {line}", path.display());
                };
                verbs.insert(first.to_owned());
                match inner(verb, second) {
                    Some(found) => verb = found,
                    None => assert!(
                        !verb.is_subcommand_required_set(),
                        "{}: {first} has no {second:?}: {line}",
                        path.display()
                    ),
                }
                let until = rest.find([';', ',', '`', '"', ')', ':']).unwrap_or(rest.len());
                for flag in rest[..until].split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2) {
                    let flag = flag.trim_end_matches('.').split('=').next().unwrap();
                    let known = has_flag(verb, flag) || has_flag(&command, flag);
                    assert!(known, "{}: {} has no {flag}: {line}", path.display(), verb.get_name());
                    flags.insert(flag.to_owned());
                }
            }
        }
    }
    println!("figure: {} verbs and {} flags are advised: {flags:?}", verbs.len(), flags.len());
    assert!(verbs.len() > 20 && verbs.contains("key") && flags.len() > 2, "{verbs:?} {flags:?}");
}

/// The words of a line, as a shell sees them; up to a pipe, a comment or a redirection.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (None, '#' | '|' | '>' | '<' | '&' | ';') if word.is_none() => break,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None, c) if c.is_whitespace() => all.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    all
}

/// In the documents: whole commands, in blocks and between backticks.
#[test]
fn every_command_of_the_documents_is_one() {
    let mut files = texts(&["docs"], ".md");
    files.extend(
        ["README.md", "ARCHITECTURE.md"]
            .map(|name| (root().join(name), std::fs::read_to_string(root().join(name)).unwrap())),
    );
    let (mut whole, mut named) = (0, 0);
    for (path, text) in files {
        let mut parse = |line: &str, mention: bool| {
            let words = words(line);
            // What may be left out, and what goes on, stands for several commands.
            if words.len() < 2 || words.iter().any(|word| word.contains(['[', '…', '{']) || word.contains("...")) {
                return;
            }
            let words = words.iter().map(|word| if word == "ID" { "last" } else { word });
            match chatctl::command().try_get_matches_from(words) {
                Ok(_) => whole += 1,
                Err(error) => {
                    let kind = error.kind();
                    let unfinished = [
                        ErrorKind::MissingRequiredArgument,
                        ErrorKind::MissingSubcommand,
                        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                    ];
                    let shows = matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                    assert!(shows || (mention && unfinished.contains(&kind)), "{}: {line}\n{error}", path.display());
                    named += 1;
                }
            }
        };
        let mut parts = text.split("```");
        while let (Some(prose), block) = (parts.next(), parts.next()) {
            for span in prose.split('`').skip(1).step_by(2).filter(|span| span.starts_with("chatctl ")) {
                parse(&span.replace('\n', " "), true);
            }
            for line in block.unwrap_or_default().replace("\\\n", " ").lines() {
                // At the beginning, behind a prompt, behind a pipe; elsewhere it is what a command says.
                let at = line.find("chatctl ").filter(|at| {
                    let before = line[..*at].trim();
                    (before.is_empty() || before.ends_with(['$', '|']))
                        && line[at + 8..].starts_with(|c: char| c.is_ascii())
                });
                if let Some(at) = at {
                    parse(&line[at..], false);
                }
            }
        }
    }
    println!("figure: of the documents, {whole} whole commands are taken, {named} verbs are named");
    assert!(whole >= 25, "{whole}");
}

/// What is counted goes through `verbs::count`, or is said otherwise.
#[test]
fn one_is_never_many() {
    const NOUNS: &str = "messages accounts clients contacts requests links others backups events attempts seconds minutes hours \
                         days lines consumers letters times devices places users people directories";
    let (mut seen, mut found) = (0, Vec::new());
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            // One is told apart here.
            let near = &lines[number.saturating_sub(1)..=number];
            let decided = near.iter().any(|line| line.contains("== 1") || line.trim_start().starts_with("1 =>"));
            if decided || line.trim_start().starts_with("//") || !line.contains('"') {
                continue;
            }
            for (at, _) in line.match_indices("} ") {
                let what = &line[line[..at].rfind('{').map_or(at, |open| open + 1)..at];
                seen += 1;
                // Constants are more than one, and so are limits, which are called `most`.
                if what.chars().any(char::is_uppercase) {
                    continue;
                }
                if !line[at + 2..].starts_with(char::is_alphabetic) {
                    continue;
                }
                let word = line[at + 2..].split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
                let many = NOUNS.split(' ').find(|noun| *noun == word);
                if let Some(many) =
                    many.filter(|_| what != "most" && !line.contains("at most") && !line.contains("the most"))
                {
                    found.push(format!("{}: {many} may be one: {line}", path.display()));
                }
            }
        }
    }
    assert!(seen > 300 && found.is_empty(), "{seen}: {found:#?}");
    for name in ["people", "help", "json"] {
        let snapshot = root().join("chatctl/tests/snapshots").join(format!("{name}.txt"));
        for line in std::fs::read_to_string(snapshot).unwrap().lines() {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric()).collect();
            for pair in words.windows(2) {
                let many =
                    pair[1].len() > 1 && pair[1].ends_with('s') && pair[1].chars().all(|c| c.is_ascii_lowercase());
                assert!(!(pair[0] == "1" && many), "{name}: {line}");
            }
        }
    }
}
