//! A scripted daemon and a way to run `chatctl` against it; snapshots as plain text files.
//!
//! What a real daemon does is tested elsewhere. Here a closure answers, so that a test can have exactly the situation
//! that it is about.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::io::{Read, Write};

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::rpc::codec::{self, Incoming};
use proto::rpc::{ErrorCode, RpcError};
use serde_json::{Value, json};
use tests::process::Process;

/// What the script does with one request.
pub struct Call<'a> {
    pub method: &'a str,
    pub params: Value,
    id: u32,
    stream: &'a UnixStream,
}

impl Call<'_> {
    pub fn answer(&self, result: Value) {
        let mut out = Vec::new();
        codec::encode_response(&mut out, self.id, &result).unwrap();
        let _ = (&mut &*self.stream).write_all(&out);
    }

    pub fn refuse(&self, code: ErrorCode, text: &str) {
        let mut out = Vec::new();
        codec::encode_error(&mut out, Some(self.id), &RpcError::new(code, text));
        let _ = (&mut &*self.stream).write_all(&out);
    }

    /// Sends an event to the subscriber whose parameters these are.
    pub fn event(&self, event: Value) {
        let method = self.params["method"].as_str().unwrap_or("feed.event");
        let mut out = Vec::new();
        codec::encode_notification(&mut out, method, &event).unwrap();
        let _ = (&mut &*self.stream).write_all(&out);
    }

    pub fn hang_up(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// A daemon that does what a closure says and remembers what it was asked.
///
/// It welcomes whoever connects: `system.hello` is answered without the script, and not remembered.
pub struct Daemon {
    pub dir: tempfile::TempDir,
    pub asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Daemon {
    pub fn new(script: impl Fn(&Call<'_>) + Send + Sync + 'static) -> Self {
        Self::serving(script, true)
    }

    /// One whose script gets `system.hello` as well.
    pub fn unwelcoming(script: impl Fn(&Call<'_>) + Send + Sync + 'static) -> Self {
        Self::serving(script, false)
    }

    fn serving(script: impl Fn(&Call<'_>) + Send + Sync + 'static, welcomes: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("chatd.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, remembered) = (Arc::new(script), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, remembered) = (Arc::clone(&script), Arc::clone(&remembered));
                std::thread::spawn(move || serve(&stream.unwrap(), welcomes, &*script, &remembered));
            }
        });
        Self { dir, asked }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("chatd.sock")
    }

    pub fn chatctl(&self, args: &[&str]) -> Command {
        let mut command = chatctl(args);
        command.env("CHATD_SOCKET", self.socket());
        command
    }

    /// Runs to the end, with this on standard input.
    pub fn run(&self, args: &[&str], input: &[u8]) -> Ran {
        finish(self.chatctl(args), input)
    }

    /// The methods that were called, in order.
    pub fn methods(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(method, _)| method.clone()).collect()
    }

    /// The parameters of each call of a method, in order.
    pub fn calls(&self, method: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(m, _)| m == method).map(|(_, params)| params.clone()).collect()
    }
}

fn serve(stream: &UnixStream, welcomes: bool, script: &dyn Fn(&Call<'_>), asked: &Mutex<Vec<(String, Value)>>) {
    let mut frames = codec::FrameReader::default();
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = (&mut &*stream).read(&mut chunk) {
        frames.buffer().extend_from_slice(&chunk[..count]);
        while let Some(frame) = frames.next_frame().unwrap() {
            let Incoming::Request { id, method, params } = codec::decode(frame).unwrap() else { panic!("no request") };
            let params: Value = codec::decode_params(params).unwrap();
            if welcomes && method == "system.hello" {
                Call { method, params, id, stream }.answer(hello());
                continue;
            }
            asked.lock().unwrap().push((method.to_owned(), params.clone()));
            script(&Call { method, params, id, stream });
        }
    }
}

/// What a daemon answers to `system.hello`.
pub fn hello() -> Value {
    json!({ "server": "chatd 0.1.0", "api": 1, "uid": 1000, "accounts": ["alice"] })
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// `chatctl` in an environment that is the same everywhere.
pub fn chatctl(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatctl"));
    command.args(args).env_clear().env("TZ", "UTC").env("XDG_RUNTIME_DIR", "/nonexistent");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// No run takes longer.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn start(command: Command) -> Process {
    Process::spawn(command).unwrap()
}

pub fn finish(command: Command, input: &[u8]) -> Ran {
    let mut child = start(command);
    let mut stdin = child.take_stdin().unwrap();
    std::thread::scope(|scope| {
        // A thread: what is printed meanwhile has to be read. A program that stops reading early is part of the tests.
        scope.spawn(move || {
            let _ = stdin.write_all(input);
        });
        end(child)
    })
}

pub fn end(child: Process) -> Ran {
    ran(child.finish(DEADLINE).unwrap())
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Compares with `tests/snapshots/NAME.txt`; `UPDATE_SNAPSHOTS=1` writes it instead.
pub fn snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((n, (is, was))) = text.lines().zip(stored.lines()).enumerate().find(|(_, (is, was))| is != was) {
        panic!(
            "{} differs in line {}:\n  was: {was}\n  is:  {is}\n(UPDATE_SNAPSHOTS=1 accepts)",
            path.display(),
            n + 1
        );
    }
    assert_eq!(text.lines().count(), stored.lines().count(), "{}: UPDATE_SNAPSHOTS=1 accepts", path.display());
}

/// The `n`th id of a message.
pub fn id(n: u8) -> String {
    format!("01977e5c-0000-7000-8000-0000000000{n:02x}")
}

const AT: &str = "2020-09-13T12:26:40.000Z";

/// The `n`th message of bob to alice.
pub fn message(n: u8, body: &str) -> Value {
    json!({
        "id": id(n), "conversation": "11".repeat(16), "from": "bob", "to": "alice", "peer": "33".repeat(16), "body": body, "format": "plain",
        "tags": [], "priority": "normal", "sent_at": AT, "received_at": AT, "state": "delivered",
    })
}

pub fn event(seq: u64, kind: &str) -> Value {
    json!({ "seq": seq, "type": kind, "at": AT, "account": "alice", "who": "bob", "peer": "33".repeat(16) })
}

pub fn message_event(seq: u64, n: u8, body: &str) -> Value {
    let mut event = event(seq, "message.received");
    event["message"] = message(n, body);
    event
}

pub fn account() -> Value {
    json!({
        "name": "alice", "address": "alice@example.org", "id": "22".repeat(16), "fingerprint": "ab12 cd34 ef56 7890",
        "directory": "https://example.org:7470", "logged_in": true, "online": true,
    })
}

pub fn contact(name: &str, state: &str) -> Value {
    json!({
        "who": if state == "pending" { "%7" } else { name }, "handle": "%7",
        "name": name, "address": format!("{name}@example.org"), "account": "33".repeat(16), "conversation": "11".repeat(16), "state": state,
        "trust": "unverified", "fingerprint": "1234 5678", "confirmed": state != "pending", "blocked": false,
        "online": true, "online_since": AT, "unread": 2, "since": AT, "message": "it is \u{202e}me",
        "profile": { "display_name": "B.", "status": "away \u{1b}[31m", "bio": "" },
    })
}

/// How messages are sealed.
fn encryption() -> Value {
    json!({
        "suite": 2, "sealed": "mlkem768x25519", "signed": "ed25519",
        "post_quantum_confidentiality": true, "post_quantum_authentication": false,
    })
}

/// A daemon of alice's, with bob in it; answers every method with something.
pub fn alice() -> Daemon {
    Daemon::new(|call| call.answer(sample(call)))
}

pub fn sample(call: &Call<'_>) -> Value {
    match call.method {
        "account.register" => json!({ "account": account(), "recovery_key": "chat-recovery-1abc" }),
        "account.login" | "account.logout" | "account.whoami" | "account.use" => account(),
        "account.list" => json!({ "accounts": [account()] }),
        "system.status" => json!({
            "server": "chatd 0.1.0", "api": 1, "node": "44".repeat(32), "addresses": ["127.0.0.1:4433"], "uptime": 3700,
            "links": 1, "clients": 2,
            "own_clients": [
                { "program": "chatctl", "pid": 4242, "since": AT, "does": "follows events" },
                { "since": AT, "does": "idle since message.send" },
            ],
            "user_clients": [{ "uid": 1000, "clients": 2 }, { "uid": 1001, "clients": 1 }], "accounts": [{
                "name": "alice", "address": "alice@example.org", "logged_in": true, "online": false,
                "directory": "https://example.org:7470", "directory_error": "connection refused", "queued": 3,
                "unread": 2, "requests": 1, "contacts": 4, "seq": 99, "encryption": encryption(),
            }],
        }),
        "directory.users" => json!({ "users": [
            { "name": "alice", "account": "22".repeat(16), "online": true, "contact": false },
            { "name": "bob", "account": "33".repeat(16), "contact": true },
        ]}),
        "contact.add" => contact("bob", "requested"),
        "contact.requests" => json!({ "contacts": [contact("carol", "pending")] }),
        "contact.list" => json!({ "contacts": [contact("bob", "accepted"), contact("carol", "pending")] }),
        "contact.verify" => {
            let mut bob = contact("bob", "accepted");
            bob["encryption"] = encryption();
            json!({ "safety_number": "12345 67890", "contact": bob })
        }
        "contact.mute" => {
            let mut bob = contact("bob", "accepted");
            bob["muted_until"] = json!(AT);
            bob
        }
        "contact.rename" => {
            let mut bob = contact("bob", "accepted");
            bob["label"] = json!("Bobby");
            bob["who"] = json!("Bobby");
            bob
        }
        "contact.accept" | "contact.block" | "contact.unblock" | "contact.unmute" | "contact.show" => {
            contact("bob", "accepted")
        }
        "contact.reject" | "contact.remove" => contact("bob", "removed"),
        "account.unregister" | "feed.ack" | "feed.unsubscribe" => json!({}),
        "message.send" => json!({ "id": id(9), "state": "queued" }),
        "message.wait" => json!({ "id": id(9), "state": "delivered" }),
        "message.history" | "message.search" => json!({ "more": false, "messages": [
            message(1, "hello\n\u{1b}[2Jalice"), message(2, "how are you? \u{202e}é👩"),
        ]}),
        "message.unread" => json!({ "total": 2, "conversations": [
            { "who": "bob", "account": "33".repeat(16), "conversation": "11".repeat(16), "count": 2 },
        ]}),
        "message.forget" => json!({ "forgotten": 1 }),
        "key.recover" => json!({ "account": account(), "published": true, "recovery_key": "chat-recovery-1abc" }),
        "message.read" => json!({ "marked": 2 }),
        "message.trace" => json!({
            "id": id(9), "who": "bob", "peer": "33".repeat(16), "state": "queued", "reason": "peer_unreachable: no address of it is known", "own": true,
            "steps": [
                { "at": AT, "what": "queued" },
                { "at": AT, "what": "attempt", "path": "direct", "outcome": "failed", "reason": "peer_unreachable: timed out" },
            ],
        }),
        "feed.subscribe" => json!({ "subscription": 1, "seq": 10, "head": 10 }),
        "profile.show" | "profile.set" => json!({ "display_name": "Alice", "status": "here", "bio": "" }),
        other => panic!("no sample for {other}"),
    }
}
