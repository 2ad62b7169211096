//! docs/operating.md and the unit of docs/examples as printed, on a machine that has what `apt install` gives.

use tests::binaries::repository;
use tests::skip_without_failing;
use tests::wait::wait_for;

use crate::machine::{Machine, befriend, missing};

/// Commands of a document, in its order: those of its `sh` blocks, without comments and `sudo`, for whoever runs them is root. What is to be
/// built or runs in containers is tried elsewhere.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.filter(|block| !block.contains("cargo xtask")).flat_map(str::lines);
    let bare = |line: &str| line.split(" # ").next().unwrap_or(line).trim().trim_start_matches("sudo ").to_owned();
    lines.map(|line| bare(&line.replace("    #", " #"))).filter(|line| !line.is_empty()).collect()
}

#[test]
fn operating_works_as_printed() {
    if let Some(reason) = missing() {
        skip_without_failing!("{reason}");
    }
    let machine = Machine::boot("operated");
    machine.install("new", &["chatd", "directoryd"]);
    machine.serve_names();
    machine.ok(&["systemctl", "restart", "chatd"]);
    machine.people(&["alice", "bob"]);
    befriend((&machine, "alice"), (&machine, "bob"));
    machine.ctl_ok("alice", &["rename", "bob", "ops"]);
    let mut watch = machine.start(&["runuser", "-u", "alice", "--", "chatctl", "watch", "--consumer", "NAME"]);
    wait_for("there is a consumer", || machine.ctl_ok("alice", &["consumers"]).contains("NAME"));
    watch.kill().unwrap();
    watch.wait().unwrap();
    wait_for("nobody reads it", || machine.ctl("alice", &["consumers", "--json"]).stdout.contains("\"reading\":false"));

    let text = std::fs::read_to_string(repository().join("docs/operating.md")).unwrap();
    let commands = commands(&text);
    assert!(commands.len() >= 12, "{commands:?}");
    for command in &commands {
        // People run chatctl, root all else.
        let said = if command.starts_with("chatctl") {
            machine.run(&["runuser", "-u", "alice", "--", "sh", "-c", &format!("cd && {command}")])
        } else {
            machine.run(&["sh", "-c", command])
        };
        match command.as_str() {
            // As is said beside it.
            check if check.contains("--check") => assert!(said.stderr.contains("another"), "{command}: {said:?}"),
            _ => assert_eq!(said.code, Some(0), "{command}: {said:?}\n{}", machine.journal("chatd")),
        }
    }
    println!("figure: {} commands of docs/operating.md", commands.len());
    let exported = machine.sh("tail -n 1 /home/alice/alice.jsonl");
    assert!(exported.contains("\"end\""), "{exported}");

    // What the journal has of it: each line with its priority, which is no part of it, and with its id.
    machine.ok(&["systemctl", "restart", "chatd"]);
    let journal = machine.ok(&["journalctl", "-u", "chatd", "-o", "json", "--no-pager"]);
    let lines: Vec<serde_json::Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_log: Vec<_> =
        lines.iter().filter(|line| line["MESSAGE"].as_str().is_some_and(|said| said.contains("event="))).collect();
    assert!(!of_log.is_empty(), "{journal}");
    for line in of_log {
        let (said, priority) = (line["MESSAGE"].as_str().unwrap(), line["PRIORITY"].as_str().unwrap());
        let level = if said.contains(" WARN ") {
            "4"
        } else if said.contains("ERROR") {
            "3"
        } else {
            "6"
        };
        assert!(priority == level && !said.starts_with('<'), "{line}");
    }
}

#[test]
fn a_unit_that_fails_tells_whom_the_example_says() {
    if let Some(reason) = missing() {
        skip_without_failing!("{reason}");
    }
    let machine = Machine::boot("failing");
    machine.install("new", &["chatd", "directoryd"]);
    machine.serve_names();
    machine.ok(&["systemctl", "restart", "chatd"]);
    machine.people(&["alice", "bob"]);
    befriend((&machine, "alice"), (&machine, "bob"));
    machine.ctl_ok("alice", &["rename", "bob", "ops"]);
    // The package brings it; its comment says how it is set up.
    machine.sh("cp /usr/share/doc/chatd/examples/chat-failure@.service /etc/systemd/system/");
    let unit = machine.sh("cat /etc/systemd/system/chat-failure@.service");
    let printed: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("#     ")).collect();
    for line in printed.iter().filter(|line| line.starts_with("chatctl") || line.starts_with("sed")) {
        // The account is alice's, the file root's.
        machine.sh(&line.replace("chatctl", "runuser -u alice -- chatctl"));
    }
    let watched = printed.iter().filter(|line| line.starts_with('[') || line.starts_with("OnFailure"));
    let watched = watched.copied().collect::<Vec<_>>().join("\n");
    machine.sh(&format!(
        "printf '%s\\n[Service]\\nExecStart=/bin/false\\n' '{watched}' > /etc/systemd/system/backup.service"
    ));
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.run(&["systemctl", "start", "backup"]);
    wait_for("ops are told", || machine.ctl_ok("bob", &["history", "alice"]).contains("backup.service has failed on"));
    assert_eq!(machine.show("chat-failure@backup.service.service", "Result"), "success");
}
