//! The client in docs/rpc.md works as it is printed.

use std::process::{Command, Stdio};

use tests::Pair;
use tests::binaries::repository;
use tests::daemon::isolate;

fn python() -> Option<&'static str> {
    ["/usr/bin/python3", "python3"].into_iter().find(|program| {
        let probe = Command::new(program).args(["-c", "import msgpack"]).stderr(Stdio::null()).status();
        probe.is_ok_and(|status| status.success())
    })
}

#[test]
fn the_python_client_of_the_documentation_works_as_printed() {
    let Some(python) = python() else {
        tests::skip!("Python's msgpack is missing: apt-get install python3-msgpack");
    };
    let text = std::fs::read_to_string(repository().join("docs/rpc.md")).unwrap();
    let program = text.split("```python\n").nth(1).expect("a Python example").split("```").next().unwrap();
    let pair = Pair::start();
    pair.alice.ok(["send", "bob", "for the robot", "--wait", "delivered"]);
    let mut command = Command::new(python);
    isolate(&mut command, pair.alice_daemon.home());
    command.args(["-c", program]).env("CHATD_SOCKET", pair.alice.socket()).env("CHATD_ACCOUNT", "alice");
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}\n{program}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("alice"), "it prints something of the account: {printed}");
}
