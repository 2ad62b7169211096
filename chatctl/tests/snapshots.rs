//! What people and programs see, held as text: help, JSON, and the layout for people.

#![allow(clippy::unwrap_used)]

mod common;

use common::{alice, chatctl, finish, snapshot};

/// Every verb that ends, with arguments; `register` and `send` among them.
const RUNS: [&[&str]; 33] = [
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
        assert!(!line.chars().any(chatctl::terminal::acts), "{line:?}");
    }
    snapshot("json", &text);
}

#[test]
fn for_people() {
    let text = all(&[]);
    assert!(!text.chars().any(|c| c != '\n' && chatctl::terminal::acts(c)), "nothing acts on a terminal");
    snapshot("people", &text);
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
        for verb in verbs() {
            assert!(ran.stdout.contains(&verb), "{shell}: {verb}");
        }
    }
    let page = finish(chatctl(&["man"]), b"").stdout;
    for verb in verbs() {
        assert!(page.contains(&format!("chatctl\\-{verb}(1)")), "{verb}");
        let own = finish(chatctl(&["man", &verb]), b"");
        assert!(own.code == 0 && own.stdout.contains(".SH NAME"), "{verb}: {own:?}");
    }
    assert_eq!(finish(chatctl(&["man", "fly"]), b"").code, 2);
}

#[test]
fn alone_it_shows_help_and_fails() {
    let ran = finish(chatctl(&[]), b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("Usage: chatctl"), "{}", ran.stderr);
}
