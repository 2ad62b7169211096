//! What `apt install` gives a machine and the people on it.

use std::time::{Duration, Instant};

use tests::skip_without_failing;
use tests::wait::{times_are_judged, wait_for};

use crate::machine::{Machine, missing};

/// From `systemctl start` to its return.
const READY_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn chatd_is_ready_within_a_second_and_can_do_little() {
    if let Some(reason) = missing() {
        skip_without_failing!("{reason}");
    }
    let machine = Machine::boot("small");
    machine.install("new", &["chatd", "directoryd"]);
    // Debian's custom for what needs no setting up, and no directory has a domain by itself.
    assert_eq!(machine.show("chatd", "ActiveState"), "active");
    assert_eq!(machine.show("chatd", "UnitFileState"), "enabled");
    assert_eq!(machine.show("directoryd", "ActiveState"), "inactive");
    machine.serve_names();
    machine.ok(&["systemctl", "stop", "chatd"]);
    let since = Instant::now();
    machine.ok(&["systemctl", "start", "chatd"]);
    let took = since.elapsed();
    println!("figure: systemctl start chatd: {} ms", took.as_millis());
    assert!(!times_are_judged() || took < READY_WITHIN, "{took:?}");
    // Ready is when it answers.
    machine.ok(&["chatctl", "status"]);
    for unit in ["chatd", "directoryd"] {
        is_hardened(&machine, unit);
    }
    machine.ok(&["systemctl", "reload", "chatd", "directoryd"]);
    wait_for("both have read their configuration again", || {
        ["chatd", "directoryd"].iter().all(|unit| machine.journal(unit).contains("configuration read again"))
    });
    // systemd's own look at what is installed.
    let verified = machine
        .sh("cd /usr/lib/systemd/system && systemd-analyze verify --man=no ./chatd.service ./directoryd.service 2>&1");
    assert!(!verified.contains("chatd") && !verified.contains("directoryd"), "{verified}");
}

/// What the kernel says of a process: not what was asked for, but what is.
#[track_caller]
fn is_hardened(machine: &Machine, unit: &str) {
    let pid = machine.show(unit, "MainPID");
    let status = machine.ok(&["cat", &format!("/proc/{pid}/status")]);
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {key}: {status}")).trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(value(set), "0000000000000000", "{unit}: {set}");
    }
    assert_eq!(value("NoNewPrivs"), "1", "{unit}");
    assert_eq!(value("Seccomp"), "2", "{unit}: a filter of system calls");
    assert!(!value("Uid").starts_with('0') && !value("Gid").starts_with('0'), "{unit}: {}", value("Uid"));
    let limits = machine.ok(&["cat", &format!("/proc/{pid}/limits")]);
    let core: Vec<&str> = limits.lines().find(|line| line.contains("core")).unwrap().split_whitespace().collect();
    assert_eq!(&core[4..6], ["0", "0"], "{unit}: keys are in no core dump");
    let mounts = machine.ok(&["cat", &format!("/proc/{pid}/mountinfo")]);
    let mount = |place: &str| {
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).rfind(|fields| fields[4] == place);
        fields.map(|fields| (fields[5].to_owned(), fields[8..].join(" ")))
    };
    for (place, kept) in [("/", "ro,"), ("/tmp", "rw,"), ("/sys", "ro,"), ("/home", "ro,"), ("/root", "ro,")] {
        let (options, _) = mount(place).unwrap_or_else(|| panic!("{unit}: {place} is as everybody sees it: {mounts}"));
        assert!(options.starts_with(kept), "{unit}: {place}: {options}");
    }
    let proc = mount("/proc").unwrap().1;
    assert!(proc.contains("hidepid=invisible") && proc.contains("subset=pid"), "{unit}: {proc}");
    let root = format!("/proc/{pid}/root");
    assert_eq!(
        machine.sh(&format!("ls -A {root}/home {root}/tmp | grep -v :")).trim(),
        "",
        "{unit} sees nobody's files"
    );
    assert!(!machine.sh(&format!("ls {root}/dev")).contains("sda"), "{unit} sees no disk");
    // Not even root writes through its view of the files, but to its state.
    let write = |place: &str| machine.run(&["touch", &format!("{root}{place}/probe")]).code == Some(0);
    assert!(write(&format!("/var/lib/{unit}")) && write("/tmp"), "{unit} writes to its state");
    machine.ok(&["rm", &format!("{root}/var/lib/{unit}/probe")]);
    for place in ["/etc", "/usr/bin", "/var/lib", "/var/log", "/home", "/"] {
        assert!(!write(place), "{unit} writes to {place}");
    }
    // And what it writes cannot be run.
    let (noexec, _) = mount("/").unwrap();
    assert!(noexec.contains("noexec") && noexec.contains("nosuid"), "{unit}: {noexec}");
}

#[test]
fn people_of_one_machine_share_a_daemon_and_see_their_own_only() {
    if let Some(reason) = missing() {
        skip_without_failing!("{reason}");
    }
    let machine = Machine::boot_for_two("shared", &["eve"]);
    machine.ctl_ok("alice", &["send", "bob", "between us", "--wait", "delivered", "--timeout", "30s"]);
    assert!(machine.ctl_ok("bob", &["history", "alice"]).contains("between us"));
    // Everybody finds the daemon without being told where it is, and nothing of others in it.
    let nothing = machine.ctl_json("eve", &["status"]);
    assert_eq!(nothing["accounts"].as_array().map(Vec::len), Some(0), "{nothing}");
    for args in [&["whoami"][..], &["history", "bob"], &["send", "bob", "as alice"], &["contacts"], &["watch"]] {
        let said = machine.ctl("eve", &[&["--account", "alice"], args].concat());
        assert!(said.code == Some(1) && said.stdout.is_empty(), "{args:?}: {said:?}");
    }
    let own = machine.ctl_json("bob", &["status"]);
    assert_eq!(own["accounts"].as_array().map(Vec::len), Some(1), "{own}");
    assert!(!own.to_string().contains("\"alice"), "{own}");
    for place in ["/var/lib/chatd", "/var/lib/chatd/accounts"] {
        let said = machine.run(&["runuser", "-u", "eve", "--", "ls", place]);
        assert_ne!(said.code, Some(0), "{place}: {said:?}");
    }
    // A service of the machine has no business there, and is told what to do.
    let said = machine.ctl("nobody", &["status"]);
    assert!(said.code != Some(0) && said.stderr.contains("usermod"), "{said:?}");
}

#[test]
fn remove_keeps_everything_and_purge_nothing() {
    if let Some(reason) = missing() {
        skip_without_failing!("{reason}");
    }
    let machine = Machine::boot_for_two("purged", &[]);
    machine.ctl_ok("alice", &["send", "bob", "kept", "--wait", "delivered", "--timeout", "30s"]);
    machine.ok(&["dpkg", "--remove", "chatd"]);
    assert_eq!(machine.run(&["systemctl", "is-active", "chatd"]).stdout.trim(), "inactive");
    assert!(machine.ok(&["ls", "/var/lib/chatd/accounts"]).len() > 10);
    machine.install("new", &["chatd"]);
    assert!(machine.ctl_ok("bob", &["history", "alice"]).contains("kept"), "as it was");
    machine.ok(&["dpkg", "--purge", "chatd", "directoryd"]);
    let left = machine.sh("find / -xdev -path '/usr/share/doc' -prune -o \\( -name '*chatd*' -o -name '*directoryd*' \\) -print | grep -v -e /proc/ -e /sys/ -e '^/var/log' || true");
    assert_eq!(left.trim(), "", "nothing is left");
    assert_eq!(machine.run(&["systemctl", "is-failed", "chatd"]).stdout.trim(), "inactive");
}

/// A daemon of one's own, by the package's unit for users.
#[test]
fn a_user_may_run_a_daemon_of_their_own() {
    if let Some(reason) = missing() {
        skip_without_failing!("{reason}");
    }
    let machine = Machine::boot("own");
    machine.install("new", &["chatd"]);
    machine.people(&["alice"]);
    machine.ok(&["loginctl", "enable-linger", "alice"]);
    let own = |args: &[&str]| {
        machine.run(
            &[&["runuser", "-u", "alice", "--", "env", "XDG_RUNTIME_DIR=/run/user/1000", "systemctl", "--user"], args]
                .concat(),
        )
    };
    wait_for("alice's manager", || own(&["is-system-running"]).stdout.contains("running"));
    let started = own(&["enable", "--now", "chatd"]);
    assert_eq!(started.code, Some(0), "{started:?} {}", machine.run(&["journalctl", "--no-pager", "-n", "20"]).stdout);
    let socket = machine.ctl_json("alice", &["status"]);
    let system = machine.ctl_json("root", &["status"]);
    assert_ne!(socket["node"], system["node"], "chatctl talks to her own");
    let pid = own(&["show", "--value", "-p", "MainPID", "chatd"]).stdout;
    let status = machine.ok(&["cat", &format!("/proc/{}/status", pid.trim())]);
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    assert_eq!(own(&["stop", "chatd"]).code, Some(0));
}
