//! What programs, cron and units do with `chatctl`, and the examples as they are printed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tests::binaries::{program, repository};
use tests::daemon::isolate;
use tests::wait::wait_for;
use tests::{Ctl, Pair, Stream};

use crate::util::{bodies, text, wait_for_body};

fn example(name: &str) -> PathBuf {
    repository().join("docs/examples").join(name)
}

/// A folder in which `chatctl` is found by its name.
fn path_with_chatctl() -> String {
    let folder = program("chatctl").unwrap().parent().unwrap().display().to_string();
    format!("{folder}:/usr/local/bin:/usr/bin:/bin")
}

fn has(program: &str, args: &[&str]) -> bool {
    let probe = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}

/// Who holds a token of bob's that reads and sends.
fn holder(pair: &mut Pair) -> String {
    let made = pair.bob.json(["token", "create", "--name", "bot", "--allow", "read,send"]);
    text(&made["token"]).to_owned()
}

fn answers(alice: &Ctl) -> usize {
    bodies(alice, "bob", 50).iter().filter(|body| body.contains("load average") || body.starts_with("it is ")).count()
}

#[test]
fn the_shell_bot_answers_each_question_once() {
    if !has("jq", &["--version"]) || !has("uptime", &[]) {
        tests::skip!("jq or uptime is missing: apt-get install jq procps");
    }
    let mut pair = Pair::start();
    let token = holder(&mut pair);
    let bot = pair.bob_daemon().bare_ctl().env("CHATD_TOKEN", &token).env("PATH", &path_with_chatctl());
    let command = example("bot.sh").display().to_string();
    let args = ["watch", "--since", "0", "--consumer", "bot", "--type", "message.received", "--exec", command.as_str()];
    let mut watch = bot.stream(args);
    for text in ["!uptime please", "nothing for a bot", "!uptime"] {
        pair.alice.ok(["send", "bob", text, "--wait", "delivered"]);
    }
    wait_for("two answers", || answers(&pair.alice) == 2);
    // Killed, and begun anew from the beginning: what was answered is answered once.
    watch.signal(nix::sys::signal::Signal::SIGKILL);
    watch.wait();
    pair.bob.ok(["consumers", "reset", "bot/bot", "--since", "0"]);
    let _again = bot.stream(args);
    pair.alice.ok(["send", "bob", "!uptime, once more", "--wait", "delivered"]);
    wait_for("three answers", || answers(&pair.alice) >= 3);
    assert_eq!(answers(&pair.alice), 3);
    assert_eq!(
        pair.bob.json_lines(["token", "log", "bot"]).iter().filter(|entry| entry.get("refused").is_some()).count(),
        0
    );
}

#[test]
fn the_python_bot_answers_each_question_once() {
    let Some(python) =
        ["/usr/bin/python3", "python3"].into_iter().find(|python| has(python, &["-c", "import msgpack"]))
    else {
        tests::skip!("Python's msgpack is missing: apt-get install python3-msgpack");
    };
    let mut pair = Pair::start();
    let token = holder(&mut pair);
    let socket = pair.bob_daemon().socket().to_owned();
    let home = pair.bob_daemon().home().to_owned();
    let start = || {
        let mut command = Command::new(python);
        isolate(&mut command, &home);
        command.arg(example("bot.py")).env("CHATD_SOCKET", &socket).env("CHATD_TOKEN", &token);
        Stream::start(command).unwrap()
    };
    let mut bot = start();
    wait_for("it reads", || pair.bob.json_lines(["consumers"]).iter().any(|one| one["reading"] == true));
    for text in ["!time please", "nothing for a bot", "!time"] {
        pair.alice.ok(["send", "bob", text, "--wait", "delivered"]);
    }
    wait_for("two answers", || answers(&pair.alice) == 2);
    bot.signal(nix::sys::signal::Signal::SIGKILL);
    bot.wait();
    pair.bob.ok(["consumers", "reset", "bot/bot", "--since", "0"]);
    let mut bot = start();
    pair.alice.ok(["send", "bob", "!time, once more", "--wait", "delivered"]);
    wait_for("three answers", || answers(&pair.alice) >= 3);
    assert_eq!(answers(&pair.alice), 3);
    // A token that ends ends the bot, which says so.
    pair.bob.ok(["token", "revoke", "bot"]);
    assert!(!bot.wait().success());
    assert!(bot.stderr_now().iter().any(|line| line.contains("closed the connection")), "{:?}", bot.stderr_now());
}

/// The unit's command, as systemd would run it: with its environment file, no other environment, and its specifiers filled in.
#[test]
fn the_unit_for_failures_sends_as_printed() {
    let pair = Pair::start();
    pair.alice.ok(["rename", "bob", "ops"]);
    let unit = std::fs::read_to_string(example("chat-failure@.service")).unwrap();
    // The two commands of its comment make the file.
    let printed: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("#     ")).collect();
    let file = pair.alice_daemon.home().join("failures.token");
    let shell = |line: &str, env: &[(&str, &str)]| {
        let line = line.replace("/etc/chatd/failures.token", &file.display().to_string());
        let mut command = Command::new("sh");
        command
            .env_clear()
            .args(["-c", &line])
            .env("PATH", path_with_chatctl())
            .env("CHATD_SOCKET", pair.alice.socket());
        let run = command.envs(env.iter().copied()).output().unwrap();
        assert!(run.status.success(), "{line}: {run:?}");
    };
    for line in printed.iter().filter(|line| line.starts_with("chatctl") || line.starts_with("sed")) {
        shell(line, &[("CHATD_ACCOUNT", "alice")]);
    }
    let variable = std::fs::read_to_string(&file).unwrap();
    let (name, token) = variable.trim().split_once('=').unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/")).unwrap();
    let start = start.replace("%i", "backup.service").replace("%H", "nas");
    shell(&start, &[(name, token)]);
    wait_for_body(&pair.bob, "alice", "backup.service has failed on nas");
    let said = pair.bob.list(["history", "alice"], "messages").pop().unwrap();
    assert_eq!((text(&said["priority"]), &said["tags"]), ("high", &serde_json::json!(["failure"])));
}

/// As cron runs things: no variable at all.
#[test]
fn every_verb_works_in_an_empty_environment() {
    let pair = Pair::start();
    pair.alice.ok(["send", "bob", "hello", "--wait", "delivered"]);
    let socket = pair.alice.socket().display().to_string();
    let run = |args: &[&str]| {
        let mut command = Command::new(program("chatctl").unwrap());
        command.env_clear().args(["--socket", &socket, "--account", "alice"]).args(args);
        command.stdin(Stdio::null()).current_dir("/").output().unwrap()
    };
    let expected: BTreeMap<&str, (&[&str], i32)> = BTreeMap::from([
        ("status", (&[][..], 0)),
        ("doctor", (&[], 0)),
        ("netcheck", (&[], 0)),
        ("invite", (&["list"], 0)),
        ("ping", (&["bob", "-c", "1"], 0)),
        ("whoami", (&[], 0)),
        ("use", (&["alice"], 0)),
        ("users", (&[], 0)),
        ("add", (&["bob"], 0)),
        ("requests", (&[], 0)),
        ("accept", (&["nemo"], 1)),
        ("reject", (&["nemo"], 1)),
        ("contacts", (&[], 0)),
        ("rename", (&["bob", "bobby"], 0)),
        ("verify", (&["bob"], 0)),
        ("block", (&["bob"], 0)),
        ("unblock", (&["bob"], 0)),
        ("mute", (&["bob", "1h"], 0)),
        ("unmute", (&["bob"], 0)),
        ("send", (&["bob", "disk full", "--priority", "high"], 0)),
        ("history", (&["bob"], 0)),
        ("search", (&["hello"], 0)),
        ("unread", (&[], 0)),
        ("read", (&["bob"], 0)),
        ("forget", (&["bob", "--before", "2020-01-01T00:00:00.000Z"], 0)),
        ("trace", (&["last"], 0)),
        ("consumers", (&[], 0)),
        ("watch", (&["--consumer", "bot"], 2)),
        ("chat", (&["bob"], 0)),
        ("profile", (&["show"], 0)),
        ("settings", (&[], 0)),
        ("token", (&["list"], 0)),
        ("export", (&[], 0)),
        ("backup", (&["/nowhere/at/all", "--recipient", "x"], 1)),
        ("restore", (&["/nowhere/at/all"], 1)),
        ("completion", (&["bash"], 0)),
        ("man", (&[], 0)),
        ("logout", (&[], 0)),
        ("login", (&[], 0)),
        ("key", (&["rotate"], 0)),
        ("register", (&["alice"], 1)),
        ("remove", (&["bob"], 0)),
        ("unregister", (&["--yes"], 0)),
    ]);
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let groups = help.split("\nOptions:").next().unwrap().lines();
    let words = groups.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let mut verbs: Vec<&str> = words.filter_map(|line| line.split_whitespace().next()).collect();
    verbs.retain(|verb| *verb != "help");
    assert!(verbs.len() == expected.len(), "{verbs:?}");
    // What ends something comes last.
    verbs.sort_by_key(|verb| ["logout", "login", "remove", "unregister"].iter().position(|last| last == verb));
    let mut wrong = Vec::new();
    for verb in &verbs {
        let (args, code) = expected.get(verb).unwrap_or_else(|| panic!("{verb} is not tried"));
        let output = run(&[&[*verb], *args].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(*code) || stderr.contains("panicked") || stderr.contains("HOME") {
            wrong.push(format!("{verb}: {:?}: {stderr}", output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("figure: {} verbs without any variable", verbs.len());
    // Without a socket named, the system's is looked for.
    let mut command = Command::new(program("chatctl").unwrap());
    let nowhere = command.env_clear().arg("status").output().unwrap();
    if nowhere.status.code() != Some(0) {
        let stderr = String::from_utf8_lossy(&nowhere.stderr).into_owned();
        assert!(nowhere.status.code() == Some(3) && stderr.contains("/run/chatd/chatd.sock"), "{stderr}");
    }
}
