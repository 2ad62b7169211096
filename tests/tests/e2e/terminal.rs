//! What people see: help, errors, rendering, and nothing that acts on their terminal.

use std::process::Command;

use tests::Pair;
use tests::hostile::{ESCAPES, STRINGS};
use tests::wait::wait_for;

use crate::util::{text, wait_for_body};

#[test]
fn b1_every_verb_exists_and_explains_itself() {
    let pair = Pair::strangers();
    let ctl = pair.alice_daemon.bare_ctl();
    let help = ctl.ok(["--help"]).stdout;
    let verbs = "register login logout unregister whoami status users add requests accept reject contacts remove rename \
                 verify send watch history search unread read chat block unblock mute unmute profile trace completion man";
    for verb in verbs.split_whitespace() {
        assert!(help.contains(verb), "--help names {verb}");
        let own = ctl.ok([verb, "--help"]).stdout;
        assert!(own.contains("Usage: chatctl"), "{verb}: {own}");
    }
    ctl.ok(["help", "send"]);
    ctl.ok(["list", "--help"]);
    let unknown = ctl.run(["snd", "bob", "hi"]).expect_code(2);
    assert!(unknown.stderr.contains("send"), "the nearest is named: {unknown:?}");
    ctl.run(["mute", "bob", "ten"]).expect_code(2);
    ctl.run(["send"]).expect_code(2);
    assert!(pair.alice.ok(["whoami"]).code == Some(0), "the daemon has not noticed");
    for shell in ["bash", "zsh", "fish"] {
        assert!(ctl.ok(["completion", shell]).stdout.contains("chatctl"));
    }
    assert!(ctl.ok(["man"]).stdout.starts_with(".") || ctl.ok(["man"]).stdout.contains(".TH"));
}

#[test]
fn c5_escapes_are_neutralised() {
    let pair = Pair::start();
    let mut watch = pair.bob.stream(["watch"]);
    let mut input = Vec::new();
    for line in ESCAPES.iter().chain(&STRINGS) {
        input.extend_from_slice(line.as_bytes());
        input.push(b'\n');
    }
    input.extend_from_slice(b"the last one\n");
    pair.alice.run_with(["send", "bob", "--stdin-lines"], &input).expect_code(0);
    watch.until("the last line", |line| line.contains("the last one"));
    let shown = watch.seen().join("\n") + &pair.bob.ok(["history", "alice", "-n", "1000"]).stdout;
    let bidi =
        ['\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}'];
    for c in shown.chars() {
        let harmless = !c.is_control() || c == '\n' || c == '\t';
        assert!(harmless && !bidi.contains(&c), "U+{:04X} reached the terminal", c as u32);
    }
    // JSON is for programs, but it is shown in terminals, too.
    let json = pair.bob.run(["history", "alice", "-n", "1000", "--json"]).expect_code(0).stdout;
    assert!(json.chars().all(|c| !c.is_control() || c == '\n'), "no raw control in JSON");
}

#[test]
fn c5_markdown_is_rendered_on_a_terminal_and_links_stay_text() {
    let pair = Pair::start();
    let body = "**bold** *italic* [link](https://example.org)";
    pair.alice.ok(["send", "bob", body, "--format", "markdown", "--wait", "delivered"]);
    let plain = pair.bob.ok(["history", "alice"]).stdout;
    assert!(!plain.contains('\u{1b}'), "no styles without a terminal: {plain:?}");
    assert!(plain.contains("https://example.org"), "the address is shown: {plain:?}");
    let mut command = pair.bob.command(["history", "alice"]).unwrap();
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
    let Some(shown) = on_a_terminal(&command) else {
        tests::skip!("script(1) of util-linux is missing");
    };
    assert!(shown.contains("\u{1b}[1m"), "bold on a terminal: {shown:?}");
    assert!(!shown.contains("**bold**"), "{shown:?}");
    assert!(shown.contains("https://example.org"), "{shown:?}");
    command.env("NO_COLOR", "1");
    assert!(!on_a_terminal(&command).unwrap().contains("\u{1b}[1m"), "NO_COLOR counts");
}

/// What a command writes to a pseudo-terminal; `None` without script(1).
fn on_a_terminal(command: &Command) -> Option<String> {
    let quote = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
    let words: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quote).collect();
    let mut script = Command::new("script");
    script.env_clear().args(["-qec", &words.join(" "), "/dev/null"]).stdin(std::process::Stdio::null());
    script.env("SHELL", "/bin/sh").envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = script.output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn e4_a_live_view_of_one_conversation() {
    let pair = Pair::start();
    pair.alice.ok(["send", "bob", "earlier", "--wait", "delivered"]);
    let mut chat = pair.bob.stream(["chat", "alice"]);
    chat.until("what was said before", |line| line.contains("earlier"));
    pair.alice.ok(["send", "bob", "live", "--wait", "delivered"]);
    chat.until("what is said now", |line| line.contains("live"));
    chat.type_line("typed by bob");
    wait_for_body(&pair.alice, "bob", "typed by bob");
    // Nothing typed is swallowed by what comes in meanwhile.
    for number in 0..20 {
        pair.alice.ok(["send", "bob", &format!("in {number}")]);
        chat.type_line(&format!("out {number}"));
    }
    wait_for_body(&pair.alice, "bob", "out 19");
    let out: Vec<String> = pair
        .alice
        .list(["history", "bob", "-n", "100"], "messages")
        .iter()
        .filter(|message| message["from"] == "bob")
        .map(|message| text(&message["body"]).to_owned())
        .collect();
    let expected: Vec<String> =
        std::iter::once("typed by bob".to_owned()).chain((0..20).map(|number| format!("out {number}"))).collect();
    assert_eq!(out, expected);
    chat.close_stdin();
    assert!(chat.wait().success(), "the end of the input ends the chat");
}

#[test]
fn e6_errors_are_one_line_and_the_daemon_lives() {
    let mut pair = Pair::start();
    let cases: [(&[&str], i32); 7] = [
        (&["send", "nobody", "hello"], 1),
        (&["history", "nobody"], 1),
        (&["accept", "bob2"], 1),
        (&["block", "nobody"], 1),
        (&["verify", "nobody"], 1),
        (&["read", "nobody"], 1),
        (&["trace", "01977e5c-0000-7000-8000-000000000000"], 1),
    ];
    for (args, code) in cases {
        let output = pair.alice.run(args).expect_code(code);
        let errors = output.stderr.lines().filter(|line| !line.trim_start().starts_with("hint")).count();
        assert_eq!(errors, 1, "one line and at most hints: {output:#?}");
        assert_eq!(output.stdout, "");
    }
    pair.bob_daemon().stop();
    pair.alice.ok(["send", "bob", "to somebody offline"]);
    assert!(pair.alice_daemon.is_running());
    pair.alice_daemon.stop();
    let gone = pair.alice.run(["whoami"]).expect_code(3);
    assert!(gone.stderr.contains("chatd.sock") && gone.stderr.lines().count() <= 3, "{gone:?}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    use std::io::{BufRead, BufReader, Read};
    let pair = Pair::start();
    let lines: Vec<String> = (0..500).map(|number| format!("{number} {}", "z".repeat(500))).collect();
    pair.alice.run_with(["send", "bob", "--stdin-lines"], lines.join("\n").as_bytes()).expect_code(0);
    wait_for("delivered", || crate::util::status(&pair.alice)["queued"] == 0);
    let mut command = pair.bob.command(["history", "alice", "-n", "1000"]).unwrap();
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut history = tests::process::Process::spawn(command).unwrap();
    let mut first = String::new();
    BufReader::new(history.take_stdout().unwrap()).read_line(&mut first).unwrap();
    let mut errors = String::new();
    history.take_stderr().unwrap().read_to_string(&mut errors).unwrap();
    let status = history.wait(tests::wait::DEADLINE).unwrap();
    assert!(status.success() && errors.is_empty(), "{status}: {errors}");
}
