//! docs/operating.md and the unit of docs/examples as printed, on machines that have what `apt install` gives.

use tests::binaries::repository;
use tests::skip_without_failing;
use tests::wait::wait_for;

use crate::machine::{Machine, Said, missing};

/// A block of commands of the document.
struct Block {
    section: String,
    commands: Vec<String>,
}

/// All of them, without comments. What is to be built or runs in containers is tried elsewhere.
fn blocks() -> Vec<Block> {
    let text = std::fs::read_to_string(repository().join("docs/operating.md")).unwrap();
    let mut all = Vec::new();
    for section in text.split("\n## ").skip(1) {
        let name = section.lines().next().unwrap();
        for block in section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let bare = |line: &str| line.split(" # ").next().unwrap_or(line).trim().to_owned();
            let commands: Vec<String> = block.lines().map(bare).filter(|line| !line.is_empty()).collect();
            if !block.contains("cargo xtask") {
                all.push(Block { section: name.to_owned(), commands });
            }
        }
    }
    all
}

/// What somebody types at home; `sudo` makes it root's.
fn type_in(machine: &Machine, person: &str, command: &str) -> Said {
    match command.strip_prefix("sudo ") {
        Some(command) => machine.run(&["sh", "-c", command]),
        None => machine.run(&["runuser", "-u", person, "--", "sh", "-c", &format!("cd && {command}")]),
    }
}

#[track_caller]
fn type_all(machine: &Machine, person: &str, block: &Block) {
    for command in &block.commands {
        let said = type_in(machine, person, command);
        // As is said beside it.
        if command.contains("--check") {
            assert!(said.stderr.contains("another"), "{command}: {said:?}");
        } else {
            assert_eq!(said.code, Some(0), "{}: {command}: {said:?}\n{}", block.section, machine.journal("chatd"));
        }
    }
}

#[test]
fn operating_works_as_printed() {
    if let Some(reason) = missing() {
        skip_without_failing!("{reason}");
    }
    let (moving, staying): (Vec<Block>, Vec<Block>) =
        blocks().into_iter().partition(|block| block.section.starts_with("Moving"));
    let count = |blocks: &[Block]| blocks.iter().map(|block| block.commands.len()).sum::<usize>();
    assert!(count(&staying) >= 18 && count(&moving) == 8, "{} and {}", count(&staying), count(&moving));
    let old = Machine::boot_for_two("operated", &[]);
    old.ctl_ok("alice", &["rename", "bob", "ops"]);
    old.ctl_ok("alice", &["send", "ops", "before the move", "--wait", "delivered"]);
    // Somebody who read for a while, and went for good.
    let watch = "timeout 3 chatctl watch --consumer bot --ack printed";
    assert_eq!(type_in(&old, "alice", watch).code, Some(124));
    wait_for("nobody reads it", || {
        let consumers = old.ctl_ok("alice", &["consumers", "--json"]).replace(" ", "");
        consumers.contains("bot") && !consumers.contains("\"reading\":true")
    });
    staying.iter().for_each(|block| type_all(&old, "alice", block));
    assert!(old.sh("tail -n 1 /home/alice/alice.jsonl").contains("\"end\""));
    each_line_has_its_priority(&old);

    let [leave, arrive, alone] = &moving[..] else { panic!("{} blocks", moving.len()) };
    type_all(&old, "alice", leave);
    let new = Machine::boot("moved");
    new.install("new", &["chatd", "directoryd"]);
    new.people(&["alice", "bob", "carol"]);
    let copy = |from: &Machine, path: &str, to: &str, owner: &str| {
        std::fs::copy(from.file(path), new.file(to)).unwrap();
        new.ok(&["chown", owner, to]);
    };
    copy(&old, "/root/chat.tar.gz", "/root/chat.tar.gz", "root");
    copy(&old, "/home/alice/backup.pass", "/home/alice/backup.pass", "alice");
    drop(old);
    type_all(&new, "alice", arrive);
    let history = || new.ctl_ok("bob", &["history", "alice"]);
    assert!(history().contains("before the move"));
    new.ctl_ok("alice", &["send", "ops", "after the move", "--wait", "delivered"]);

    // One person alone: to a daemon of her own, which stands for another machine.
    let own = ["systemd-run", "--quiet", "--uid=carol", "--setenv=HOME=/home/carol", "chatd"];
    new.ok(&[&own[..], &["--directory", "http://127.0.0.1:7470"]].concat());
    let (backup, restore) = alone.commands.split_at(2);
    for command in backup {
        assert_eq!(type_in(&new, "alice", command).code, Some(0), "{command}");
    }
    copy(&new, "/home/alice/moving.age", "/home/carol/moving.age", "carol");
    copy(&new, "/home/alice/backup.pass", "/home/carol/backup.pass", "carol");
    wait_for("her daemon answers", || new.ctl("carol", &["status"]).code == Some(0));
    for command in restore {
        let said = type_in(&new, "carol", command);
        assert_eq!(said.code, Some(0), "{command}: {said:?}");
    }
    assert!(new.ctl_ok("carol", &["history", "ops"]).contains("after the move"));
    new.ctl_ok("carol", &["send", "ops", "alone", "--wait", "delivered"]);
    assert!(history().contains("alone"));
    println!("figure: {} commands of docs/operating.md", count(&staying) + count(&moving));
}

/// In the journal a line has its priority, which is no part of it.
#[track_caller]
fn each_line_has_its_priority(machine: &Machine) {
    let journal = machine.ok(&["journalctl", "-u", "chatd", "-o", "json", "--no-pager"]);
    let lines = journal.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let of_log: Vec<_> =
        lines.filter(|line| line["MESSAGE"].as_str().is_some_and(|said| said.contains("event="))).collect();
    assert!(!of_log.is_empty(), "{journal}");
    for line in of_log {
        let said = line["MESSAGE"].as_str().unwrap();
        let levels = [(" WARN ", "4"), ("ERROR ", "3")];
        let level = levels.iter().find(|(level, _)| said.contains(level)).map_or("6", |(_, number)| number);
        assert!(line["PRIORITY"] == level && !said.starts_with('<'), "{line}");
    }
}

#[test]
fn a_unit_that_fails_tells_whom_the_example_says() {
    if let Some(reason) = missing() {
        skip_without_failing!("{reason}");
    }
    let machine = Machine::boot_for_two("failing", &[]);
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
