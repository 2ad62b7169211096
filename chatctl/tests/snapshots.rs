//! What people and programs see, held as text: help, JSON, and the layout for people.

#![allow(clippy::unwrap_used)]

mod common;

use common::{alice, chatctl, finish, snapshot};

/// Every verb that ends, with arguments; `register` and `send` among them.
const RUNS: [&[&str]; 35] = [
    &["register", "alice"],
    &["login"],
    &["logout"],
    &["unregister", "--yes"],
    &["whoami"],
    &["status"],
    &["users"],
    &["add", "bob", "--message", "hi"],
    &["requests"],
    &["accept", "carol"],
    &["reject", "carol"],
    &["contacts"],
    &["remove", "bob"],
    &["rename", "bob", "Bobby"],
    &["verify", "bob"],
    &["verify", "bob", "12345", "67890"],
    &["verify", "bob", "123456789012345678901234567890", "123456789012345678901234567890"],
    &["send", "bob", "hello"],
    &["send", "bob", "hello", "--wait", "delivered"],
    &["history", "bob"],
    &["search", "hello", "--in", "bob"],
    &["unread"],
    &["read", "bob"],
    &["forget", "bob"],
    &["forget", "bob", "--before", "2020-09-13T12:26:40Z"],
    &["chat", "bob"],
    &["block", "bob"],
    &["unblock", "bob"],
    &["mute", "bob", "30s"],
    &["unmute", "bob"],
    &["profile", "show"],
    &["profile", "show", "bob"],
    &["profile", "set", "--status", "here"],
    &["trace", "01977e5c-0000-7000-8000-000000000009"],
    &["watch", "--no-such-flag"],
];

#[test]
fn help() {
    let mut text = String::new();
    for (n, verb) in std::iter::once("").chain(verbs().iter().map(String::as_str)).enumerate() {
        let args: Vec<&str> = if n == 0 { vec!["--help"] } else { vec![verb, "--help"] };
        let ran = finish(chatctl(&args), b"");
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{verb}");
        text.push_str(&format!("$ chatctl {}\n{}\n", args.join(" "), ran.stdout));
    }
    snapshot("help", &text);
}

fn verbs() -> Vec<String> {
    chatctl::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect()
}

#[test]
fn json() {
    let text = all(&["--json"]);
    for line in text.lines().filter(|line| line.starts_with(['{', '['])) {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
        assert!(!line.chars().any(chatctl::term::escape::acts), "{line:?}");
    }
    snapshot("json", &text);
}

#[test]
fn for_people() {
    let text = all(&[]);
    assert!(!text.chars().any(|c| c != '\n' && chatctl::term::escape::acts(c)), "nothing acts on a terminal");
    snapshot("people", &text);
}

#[test]
fn in_colour() {
    snapshot("colour", &all(&["--color", "always"]).replace('\x1b', "^["));
}

fn all(flags: &[&str]) -> String {
    let daemon = alice();
    let mut text = String::new();
    for args in RUNS {
        let ran = daemon.run(&[args, flags].concat(), b"");
        text.push_str(&format!("$ chatctl {}\n{}", args.join(" "), ran.stdout));
        text.extend(ran.stderr.lines().map(|line| format!("stderr: {line}\n")));
        text.push_str(&format!("exit {}\n\n", ran.code));
    }
    // A folder of its own each time.
    text.replace(&daemon.socket().display().to_string(), "/run/chatd/chatd.sock")
}

#[test]
fn completion_and_manual_pages_name_every_verb() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = finish(chatctl(&["completion", shell]), b"");
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        assert!(ran.stdout.contains("CHATCTL_COMPLETE"), "{shell}: {}", ran.stdout);
    }
    // The scripts ask the program, as bash does here.
    let offered = finish(completing(chatctl(&[]), &[""]), b"");
    for verb in verbs() {
        // Of names for the same verb one is offered.
        let same =
            |line: &str| line == verb || (verb == "users" && line == "list") || (verb == "add" && line == "connect");
        assert!(offered.stdout.lines().any(same), "{verb}: {offered:?}");
    }
    let page = finish(chatctl(&["man"]), b"").stdout;
    for verb in verbs() {
        assert!(page.contains(&format!("chatctl\\-{verb}(1)")), "{verb}");
        let own = finish(chatctl(&["man", &verb]), b"");
        assert!(own.code == 0 && own.stdout.contains(".SH NAME"), "{verb}: {own:?}");
    }
    assert_eq!(finish(chatctl(&["man", "fly"]), b"").code, 2);
}

/// The command as the script of bash runs it, with these words after the program's name; the last is being typed.
fn completing(mut command: std::process::Command, words: &[&str]) -> std::process::Command {
    command.args(["--", "chatctl"]).args(words);
    command.env("CHATCTL_COMPLETE", "bash").env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_COMP_TYPE", "9");
    command.env("_CLAP_COMPLETE_SPACE", "false").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    command
}

#[test]
fn names_of_people_and_accounts_are_completed() {
    let daemon = alice();
    let offered = |words: &[&str]| finish(completing(daemon.chatctl(&[]), words), b"").stdout;
    let contacts = daemon.run(&["contacts", "--json"], b"").stdout;
    let contacts: serde_json::Value = serde_json::from_str(&contacts).unwrap();
    let whos: Vec<&str> = contacts["contacts"].as_array().unwrap().iter().map(|c| c["who"].as_str().unwrap()).collect();
    assert!(!whos.is_empty());
    for verb in ["send", "history", "block", "verify", "watch", "mute"] {
        for who in &whos {
            assert!(offered(&[verb, ""]).lines().any(|line| line == *who), "{verb} {who}");
        }
    }
    assert!(offered(&["profile", "show", ""]).contains(whos[0]));
    assert!(offered(&["accept", ""]).lines().any(|line| line == "%7"), "the handle of who asks");
    for words in [&["use", ""][..], &["whoami", "--account", ""]] {
        assert!(offered(words).contains("alice"), "{words:?}");
    }
    // Nobody there: nothing is offered, and nothing said.
    let alone = finish(completing(chatctl(&[]), &["send", ""]), b"");
    assert_eq!((alone.code, alone.stderr.as_str()), (0, ""), "{alone:?}");
}

/// As the scripts of zsh and fish run it.
#[test]
fn names_are_completed_in_zsh_and_fish_too() {
    let daemon = alice();
    let offered = |shell: &str, words: &[&str]| {
        let mut command = completing(daemon.chatctl(&[]), words);
        command.env("CHATCTL_COMPLETE", shell);
        if shell == "fish" {
            // It knows the word that is typed by its place alone.
            for name in ["_CLAP_IFS", "_CLAP_COMPLETE_INDEX", "_CLAP_COMPLETE_COMP_TYPE", "_CLAP_COMPLETE_SPACE"] {
                command.env_remove(name);
            }
        }
        let ran = finish(command, b"");
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{shell} {words:?}");
        // What stands behind a value describes it.
        let value = |line: &str| line.split([':', '\t']).next().unwrap_or_default().to_owned();
        ran.stdout.lines().map(value).collect::<Vec<_>>()
    };
    for shell in ["zsh", "fish"] {
        for (words, name) in [
            (&["send", ""][..], "bob"),
            (&["send", "b"], "bob"),
            (&["accept", ""], "%7"),
            (&["use", ""], "alice"),
            (&["whoami", "--account", ""], "alice"),
            (&["hist"], "history"),
        ] {
            let values = offered(shell, words);
            assert!(values.iter().any(|value| value == name), "{shell} {words:?}: {values:?}");
        }
        assert!(!offered(shell, &["send", "x"]).iter().any(|value| value == "bob"), "{shell}");
    }
    let registers = |shell: &str, line: &str| {
        let script = finish(chatctl(&["completion", shell]), b"").stdout;
        assert!(script.contains(line), "{shell}: {script}");
    };
    registers("zsh", "compdef _clap_dynamic_completer_chatctl chatctl");
    registers("fish", "complete --keep-order --exclusive --command chatctl");
}

#[test]
fn pages_have_examples_and_files_and_inner_verbs_have_pages() {
    let page = |words: &[&str]| finish(chatctl(&[&["man"], words].concat()), b"").stdout;
    let own = page(&[]);
    assert!(own.contains(".SH EXAMPLES") && own.contains(".SH FILES") && own.contains("chatd.sock"), "{own}");
    for section in ["ENVIRONMENT", "EXIT STATUS"] {
        assert!(own.contains(&format!(".SH {section}")), "{own}");
    }
    let folder = tempfile::tempdir().unwrap();
    let ran = finish(chatctl(&["man", "--all", folder.path().to_str().unwrap()]), b"");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    for verb in verbs() {
        assert!(folder.path().join(format!("chatctl-{verb}.1")).exists(), "{verb}");
    }
    assert!(folder.path().join("chatctl.1").exists() && folder.path().join("chatctl-key-rotate.1").exists());
    assert!(page(&["send"]).contains("journalctl"));
    for words in [&["key-rotate"][..], &["key", "rotate"], &["chatctl-key-rotate"]] {
        assert!(page(words).contains("new identity key"), "{words:?}");
    }
    assert!(page(&["consumers-dead-letters"]).contains(".SH NAME"));
}

#[test]
fn alone_it_shows_help_and_fails() {
    let ran = finish(chatctl(&[]), b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("Usage: chatctl"), "{}", ran.stderr);
}
