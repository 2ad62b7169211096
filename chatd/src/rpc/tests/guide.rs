use std::process::{Command, Stdio};

use super::*;

/// The client that docs/rpc.md prints, run as printed. Needs Python with msgpack: where that is missing, only its being
/// there is checked. `CHATD_TEST_PYTHON` names an interpreter.
#[tokio::test(flavor = "multi_thread")]
async fn the_ten_lines_of_python_work() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rpc.md")).unwrap();
    let (_, rest) = document.split_once("```python\n").unwrap();
    let (script, _) = rest.split_once("```").unwrap();
    let python = std::env::var("CHATD_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python).args(["-c", "import msgpack"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("skipped: {python} has no msgpack");
        return;
    }
    let server = Server::start(Limits::default()).await;
    server.fake.open_all();
    let (script, path) = (script.to_owned(), server.path.clone());
    let run = tokio::task::spawn_blocking(move || {
        Command::new(python).args(["-u", "-c", &script]).env("CHATD_SOCKET", path).output().unwrap()
    });
    // The client's third call subscribes to one batch of ten events, and then it waits for more.
    within(server.fake.pulled.subscribe().wait_for(|pulled| *pulled == 1)).await.unwrap();
    server.stop.cancel();
    let output = within(run).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(out.lines().count(), 12, "{out}\n{err}");
    assert!(out.starts_with("{'server': 'fake', 'api': 1,"), "{out}");
    assert!(out.contains("'state': 'queued'") && out.contains("'seq': 10,"), "{out}");
    assert_eq!(err.trim(), "the daemon closed the connection");
}
