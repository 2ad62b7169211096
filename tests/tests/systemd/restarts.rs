//! Whatever ends a daemon, it begins again, and nothing is lost.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::process::Child;
use std::time::{Duration, Instant};

use tests::skip_without_failing;
use tests::wait::wait_for;

use crate::machine::{Machine, Two, befriend, missing};

/// For messages to arrive over whatever happens meanwhile.
const ARRIVAL: Duration = Duration::from_secs(90);

/// Lines that are sent, one message each, at a pace; the pipe stays open until all are written.
struct Sending {
    child: Child,
    sent: usize,
}

impl Sending {
    fn start(machine: &Machine) -> Self {
        let child = machine.start(&["runuser", "-u", "alice", "--", "chatctl", "send", "bob", "--stdin-lines"]);
        Self { child, sent: 0 }
    }

    fn more(&mut self, lines: usize) {
        let stdin = self.child.stdin.as_mut().unwrap();
        let text: String = (self.sent..self.sent + lines).map(|n| format!("line {n}\n")).collect();
        if let Err(error) = stdin.write_all(text.as_bytes()) {
            let mut said = String::new();
            let _ = self.child.stderr.as_mut().unwrap().read_to_string(&mut said);
            panic!("{error}: {said}");
        }
        self.sent += lines;
    }

    /// Closes the pipe; how many messages there are to arrive.
    #[track_caller]
    fn finish(mut self) -> usize {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.sent
    }
}

/// The lines that bob has, the oldest first.
fn lines_of(machine: &Machine) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut before: Option<String> = None;
    loop {
        let mut args = vec!["history", "alice", "-n", "1000"];
        args.extend(before.iter().flat_map(|id| ["--before", id.as_str()]));
        let page = machine.ctl_json("bob", &args);
        let page = page["messages"].as_array().cloned().unwrap_or_default();
        let Some(first) = page.first() else { return found };
        before = first["id"].as_str().map(str::to_owned);
        let bodies =
            page.iter().filter_map(|message| message["body"].as_str()).filter(|body| body.starts_with("line "));
        found.splice(0..0, bodies.map(str::to_owned));
    }
}

/// Each of the lines has come once, in order.
#[track_caller]
fn all_have_come(machine: &Machine, lines: usize) {
    let bodies = || lines_of(machine);
    let since = Instant::now();
    while bodies().len() < lines && since.elapsed() < ARRIVAL {
        std::thread::sleep(Duration::from_millis(200));
    }
    let bodies = bodies();
    assert!(bodies.len() >= lines, "{} of {lines} after {ARRIVAL:?}; {}", bodies.len(), machine.journal("chatd"));
    assert_eq!(bodies.iter().collect::<HashSet<_>>().len(), bodies.len(), "none twice");
    assert_eq!(bodies, (0..lines).map(|n| format!("line {n}")).collect::<Vec<_>>(), "in order");
}

#[test]
fn a_crash_a_hang_and_no_memory_lose_nothing() {
    if let Some(reason) = missing() {
        skip_without_failing!("{reason}");
    }
    let machine = Machine::boot("killed");
    machine.install("new", &["chatd", "directoryd"]);
    // As the unit is, but that a hang is noticed sooner.
    for unit in ["chatd", "directoryd"] {
        let folder = format!("/etc/systemd/system/{unit}.service.d");
        machine.sh(&format!(
            "mkdir -p {folder} && printf '[Service]\\nWatchdogSec=2s\\nTimeoutAbortSec=1s\\n' > {folder}/soon.conf"
        ));
    }
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.serve_names();
    machine.ok(&["systemctl", "restart", "chatd"]);
    machine.people(&["alice", "bob"]);
    befriend((&machine, "alice"), (&machine, "bob"));
    let mut sending = Sending::start(&machine);
    sending.more(1);
    wait_for("the first line", || !lines_of(&machine).is_empty());
    for (what, kill) in [
        ("signal", "systemctl kill --kill-whom=main -s KILL UNIT"),
        ("watchdog", "systemctl kill --kill-whom=main -s STOP UNIT"),
        // No more memory than it has: the next allocation fails.
        (
            "signal",
            "setpriv --reuid=UNIT --regid=UNIT --clear-groups prlimit --pid $(systemctl show --value -p MainPID UNIT) --data=1",
        ),
    ] {
        for unit in ["chatd", "directoryd"] {
            let before = machine.show(unit, "NRestarts");
            sending.more(200);
            machine.sh(&kill.replace("UNIT", unit));
            let since = Instant::now();
            if kill.contains("prlimit") {
                // It has to want some.
                exhaust(&machine, unit, &before, &mut sending);
            }
            machine.wait_for_restart(unit, &before);
            println!("figure: {unit} is back after {what}: {} ms", since.elapsed().as_millis());
        }
    }
    for unit in ["chatd", "directoryd"] {
        let ends = machine.journal(unit);
        for end in ["status=9/KILL", "Watchdog timeout", "memory allocation of"] {
            assert!(ends.contains(end), "{unit}: no {end} in {ends}");
        }
    }
    sending.more(200);
    let lines = sending.finish();
    all_have_come(&machine, lines);
}

/// Asks for more and more, until there is none.
fn exhaust(machine: &Machine, unit: &str, before: &str, sending: &mut Sending) {
    let since = Instant::now();
    while machine.show(unit, "NRestarts") == before && since.elapsed() < ARRIVAL {
        if unit == "chatd" {
            sending.more(2_000);
            let _ = machine.run(&["sh", "-c", "for n in 1 2 3 4 5 6 7 8; do runuser -u bob -- chatctl search line -n 1000 >/dev/null 2>&1 & done; wait"]);
        } else {
            let _ = machine.run(&["bash", "-c", "for n in $(seq 200); do exec {fd}<>/dev/tcp/127.0.0.1/7470 || break; printf 'GET /openapi.json HTTP/1.1\\r\\n' >&$fd; done"]);
        }
    }
}

/// The version before is the same source under a smaller number: the schema is as it was.
#[test]
fn an_upgrade_on_both_sides_loses_nothing_that_is_on_its_way() {
    if let Some(reason) = missing() {
        skip_without_failing!("{reason}");
    }
    let two = Two::boot();
    let [one, other] = &two.machines;
    one.install("new", &["directoryd"]);
    for machine in &two.machines {
        machine.install("old", &["chatd"]);
        machine.sh("echo 'directory = \"http://127.0.0.1:7470\"' >> /etc/chatd/chatd.toml");
    }
    one.ok(&["systemctl", "start", "directoryd"]);
    two.tunnel();
    one.people(&["alice"]);
    other.people(&["bob"]);
    for machine in &two.machines {
        machine.ok(&["systemctl", "restart", "chatd"]);
    }
    befriend((one, "alice"), (other, "bob"));
    one.ctl_ok("alice", &["send", "bob", "from one machine to another", "--wait", "delivered", "--timeout", "30s"]);
    let mut sending = Sending::start(one);
    sending.more(1);
    wait_for("the first line", || !lines_of(other).is_empty());
    for machine in [one, other] {
        let before = machine.show("chatd", "MainPID");
        sending.more(1_000);
        machine.install("new", &["chatd"]);
        assert_ne!(machine.show("chatd", "MainPID"), before, "the new one runs");
        let version = machine.ok(&["dpkg-query", "-W", "-f", "${Version}", "chatd"]);
        assert!(version.ends_with("-2"), "{version}");
        sending.more(1_000);
    }
    let lines = sending.finish();
    all_have_come(other, lines);
    wait_for("that all are acknowledged", || one.ctl_json("alice", &["status"])["accounts"][0]["queued"] == 0);
    // What was configured is still there.
    assert!(one.ok(&["cat", "/etc/chatd/chatd.toml"]).contains("7470"));
}
