//! What whoever keeps a machine runs: `doctor`, `export`, figures, and a log that names nobody.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::wait::wait_for;
use tests::{Daemon, DaemonOptions, Directory, Pair};

use crate::util::{text, wait_for_body};

/// What `doctor` says of a thing, worst first.
fn level(report: &Value, what: &str) -> String {
    let all = report["checks"].as_array().unwrap().iter().filter(|check| check["what"] == what);
    let worst = all.map(|check| text(&check["level"])).max_by_key(|level| match *level {
        "ok" => 0,
        "warning" => 1,
        _ => 2,
    });
    worst.unwrap_or("not looked at").to_owned()
}

#[test]
fn doctor_says_what_is_wrong_and_what_to_do() {
    let mut pair = Pair::start();
    let report = pair.alice.json(["doctor"]);
    for what in [
        "socket",
        "version",
        "disk",
        "share",
        "clients",
        "permissions",
        "store",
        "keys",
        "directory",
        "certificate",
        "clock",
        "consumers",
        "tokens",
    ] {
        assert_eq!(level(&report, what), "ok", "{what}: {report:#}");
    }
    assert_eq!(report["level"], "ok");
    let shown = pair.alice.ok(["doctor"]).stdout;
    assert!(shown.lines().all(|line| line.starts_with("ok ")), "{shown}");
    // What is wrong is found, each with its word and exit code 1.
    let data = pair.alice_daemon.data_dir().to_owned();
    let open = |mode: u32| std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).unwrap();
    open(0o755);
    let report = pair.alice.run(["doctor", "--json"]).expect_code(1).json();
    assert_eq!((level(&report, "permissions"), level(&report, "store")), ("error".into(), "ok".into()), "{report:#}");
    open(0o700);
    pair.alice.ok(["token", "create", "--name", "soon", "--allow", "read", "--expires", "1d"]);
    let report = pair.alice.json(["doctor"]);
    assert_eq!((level(&report, "tokens"), &report["level"]), ("warning".into(), &"warning".into()));
    pair.directory.stop();
    wait_for("the directory is missed", || level(&pair.alice.run(["doctor", "--json"]).json(), "directory") == "error");
    pair.alice_daemon.stop();
    let report = pair.alice.run(["doctor", "--json"]).expect_code(3).json();
    assert_eq!((level(&report, "daemon"), level(&report, "socket")), ("error".into(), "warning".into()), "{report:#}");
    let shown = pair.alice.run(["doctor"]).expect_code(3).stdout;
    assert!(shown.contains("systemctl start chatd"), "{shown}");
}

/// What `netcheck` says of a thing.
fn value(found: &Value, what: &str) -> String {
    let all = found["checks"].as_array().unwrap();
    all.iter().find(|check| check["what"] == what).map_or("not looked at", |check| text(&check["value"])).to_owned()
}

#[test]
fn netcheck_says_what_it_found_also_of_a_directory_that_stalls() {
    let pair = Pair::start();
    let found = pair.alice.json(["netcheck"]);
    // A directory on this machine has no relay that would tell how others see it.
    for (what, expected) in
        [("udp", "unknown"), ("nat", "unknown"), ("directory", "yes"), ("relay", "no"), ("srv", "no")]
    {
        assert_eq!(value(&found, what), expected, "{what}: {found:#}");
    }
    assert!(["ipv4", "ipv6"].iter().all(|what| value(&found, what) != "not looked at"), "{found:#}");
    let directory = found["checks"].as_array().unwrap().iter().find(|check| check["what"] == "directory").unwrap();
    assert!(directory["account"] == "alice@example.org" && directory["took_us"].as_u64().unwrap() > 0, "{directory}");
    let shown = pair.alice.ok(["netcheck"]).stdout;
    assert!(shown.contains("directory of alice@example.org  yes") && shown.contains(" ms"), "{shown}");
    // It takes connections, and says nothing.
    let stalls = |signal| kill(Pid::from_raw(pair.directory.pid().unwrap() as i32), signal).unwrap();
    stalls(Signal::SIGSTOP);
    let begun = Instant::now();
    let found = pair.alice.run(["netcheck", "--json"]).expect_code(1).json();
    let took = begun.elapsed();
    stalls(Signal::SIGCONT);
    println!("figure: netcheck of a directory that stalls: {took:?}");
    assert_eq!(value(&found, "directory"), "no", "{found:#}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Whoever asks all the time is told to wait.
    let refused = (0..200).map(|_| pair.alice.run(["netcheck"])).find(|output| output.code == Some(5));
    assert!(refused.is_some_and(|output| output.stderr.contains("again in")), "200 looks in a row");
}

fn kinds(lines: &[Value]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for line in lines {
        let kind = text(&line["kind"]);
        assert!(kind == "end" || line[kind].is_object(), "{line}");
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds
}

#[test]
fn export_writes_everything_and_says_that_it_is_all() {
    let pair = Pair::start();
    let lines: String = (0..1_200).map(|number| format!("line {number}\n")).collect();
    pair.alice.run_with(["send", "bob", "--stdin-lines"], lines.as_bytes()).expect_code(0);
    pair.bob.ok(["send", "alice", "an answer", "--wait", "delivered"]);
    pair.alice.ok(["token", "create", "--name", "t", "--allow", "read"]);
    pair.alice.ok(["profile", "set", "--status", "exporting"]);
    wait_for_body(&pair.bob, "alice", "line 1199");
    let all = pair.alice.json_lines(["export"]);
    let expected =
        [("account", 1), ("settings", 1), ("profile", 1), ("contact", 1), ("message", 1_201), ("token", 1), ("end", 1)];
    assert_eq!(kinds(&all), BTreeMap::from(expected.map(|(kind, count)| (kind.to_owned(), count))));
    assert_eq!((&all.last().unwrap()["messages"], &all.last().unwrap()["kind"]), (&1_201.into(), &"end".into()));
    let mut bodies: Vec<&str> = all
        .iter()
        .filter_map(|line| line["message"]["body"].as_str())
        .filter(|body| body.starts_with("line"))
        .collect();
    bodies.reverse();
    let sent: Vec<String> = (0..1_200).map(|number| format!("line {number}")).collect();
    assert_eq!(bodies, sent, "each once, from the newest on");
    assert!(!format!("{all:?}").contains("chatd_"), "no token is in it");
}

#[test]
fn figures_are_written_to_a_file_and_go_with_the_daemon() {
    let directory = Directory::start();
    let options = DaemonOptions::new("chatd", directory.url()).place(directory.place());
    let file = directory.place().path().join("figures.prom");
    let mut daemon = Daemon::start(options.config(&format!("metrics_file = {:?}\n", file.display().to_string())));
    wait_for("the figures", || file.exists());
    daemon.ctl("alice").ok(["register", "alice"]);
    daemon.restart();
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    wait_for("the account is counted", || read().contains("\nchatd_accounts 1\n"));
    let figures = read();
    assert!(figures.contains("# TYPE chatd_messages_queued gauge") && !figures.contains("alice"), "{figures}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    daemon.stop();
    assert!(!file.exists(), "of a daemon that is gone there are none");
}

/// What names somebody stays below INFO: the daemons of two people who do all that people do.
#[test]
fn a_busy_log_names_nobody_and_nothing() {
    let mut pair = Pair::strangers();
    pair.alice.ok(["add", "bob", "--message", "quokka asks"]);
    wait_for("bob hears of it", || pair.bob.list(["requests"], "contacts").len() == 1);
    pair.bob.ok(["accept", "alice"]);
    pair.alice.ok(["send", "bob", "quokka to bob", "--tag", "wombat", "--wait", "delivered"]);
    pair.bob.ok(["profile", "set", "--display-name", "Zanzibar", "--status", "numbat"]);
    pair.alice.ok(["rename", "bob", "platypus"]);
    pair.alice.ok(["key", "rotate"]);
    let token = pair.alice.json(["token", "create", "--name", "grafana", "--send-to", "platypus"]);
    pair.alice_daemon.bare_ctl().env("CHATD_TOKEN", text(&token["token"])).run(["history", "platypus"]).expect_code(1);
    pair.alice_daemon.bare_ctl().env("CHATD_TOKEN", "chatd_0").run(["whoami"]).expect_code(1);
    pair.bob_daemon().stop();
    pair.alice.ok(["send", "platypus", "quokka while away"]);
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", "quokka while away");
    pair.bob.ok(["block", "alice"]);
    pair.alice.run(["send", "platypus", "quokka refused"]);
    pair.alice.run(["backup", "/nowhere/x", "--recipient", "age1x"]);
    let ids: Vec<String> = [&pair.alice, &pair.bob]
        .iter()
        .map(|ctl| ctl.json(["whoami"]))
        .flat_map(|account| [&account["id"], &account["fingerprint"]].map(|value| text(value).to_owned()))
        .collect();
    pair.bob.ok(["unregister", "--yes"]);
    pair.alice.ok(["logout"]);
    pair.alice_daemon.restart();
    let log = format!("{}{}{}", pair.alice_daemon.log_text(), pair.bob_daemon().log_text(), pair.directory.log_text());
    // The line for scripts, and the folders on this machine's own disk, are no lines about anybody.
    let home = pair.directory.place().path().display().to_string();
    let lines: Vec<String> =
        log.lines().filter(|line| !line.contains("d ready: ")).map(|line| line.replace(&home, "HOME")).collect();
    let mut seen = 0;
    for line in &lines {
        seen += usize::from(line.contains("account registered") || line.contains("directory session is up"));
        // Other kinds of lines are those of libraries.
        let ours = [" chatd", " directoryd", " daemonkit"].iter().any(|program| line.contains(&format!("{program}:")));
        assert!(!ours || line.contains(" event="), "{line}");
        let said = line.replace("HOME/alice", "HOME").replace("HOME/bob", "HOME").to_lowercase();
        for word in ["alice", "bob", "quokka", "wombat", "numbat", "zanzibar", "platypus", "grafana", "chatd_"] {
            assert!(!said.contains(word), "{word}: {line}");
        }
        for id in &ids {
            assert!(!said.contains(&id.to_lowercase()), "{id}: {line}");
        }
    }
    assert!(seen >= 4 && lines.iter().any(|line| line.contains(" account=#")), "{log}");
    let of_members = lines.iter().filter(|line| line.contains(" operation=") && line.contains(" name=#")).count();
    assert!(of_members >= 4, "{log}");
    println!("figure: {} lines of three logs, and nobody in them", lines.len());
}
