//! The client in docs/rpc.md works as it is printed.

use std::process::{Command, Stdio};

use tests::binaries::repository;
use tests::daemon::isolate;
use tests::{Pair, Stream};

use crate::util::wait_for_body;

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
    let mut command = Command::new(python);
    isolate(&mut command, pair.alice_daemon.home());
    // Unbuffered only because its output goes to a pipe here.
    command.args(["-u", "-c", program]).env("CHATD_SOCKET", pair.alice.socket());
    let mut client = Stream::start(command).unwrap();
    client.until("the answer to message.send", |line| line.contains("'queued'"));
    wait_for_body(&pair.bob, "alice", "hello");
    client.until("the delivery in the feed", |line| line.contains("message.state") && line.contains("delivered"));
    pair.bob.ok(["send", "alice", "hello, robot", "--wait", "delivered"]);
    client.until("the live answer", |line| line.contains("hello, robot"));
}
