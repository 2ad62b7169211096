//! The unit of docs/examples as printed, on a machine that has what `apt install` gives.

use tests::skip_without_failing;
use tests::wait::wait_for;

use crate::machine::{Machine, missing};

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
