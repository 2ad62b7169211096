//! People on one daemon, tokens of one of them, and a client that says anything.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use proto::rpc::RpcError;
use proto::rpc::codec::{self, FrameReader, Incoming};
use serde_json::{Value, json};
use tests::{Ctl, Daemon, DaemonOptions, Directory, people};

use crate::util::text;

/// Alice, who knows bob and carol, all on one daemon.
pub struct House {
    pub daemon: Daemon,
    pub alice: Ctl,
    pub bob: Ctl,
    pub carol: Ctl,
    _directory: Directory,
}

impl House {
    pub fn start() -> Self {
        Self::start_with(DaemonOptions::default())
    }

    pub fn start_with(options: DaemonOptions) -> Self {
        let directory = Directory::start();
        let options = DaemonOptions { directory: Some(directory.url().to_owned()), ..options };
        let daemon = Daemon::start(options.place(directory.place()));
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| {
            let ctl = daemon.ctl(name);
            ctl.ok(["register", name]);
            ctl
        });
        people::befriend(&alice, &bob);
        people::befriend(&alice, &carol);
        Self { daemon, alice, bob, carol, _directory: directory }
    }

    /// A token of alice's.
    pub fn token(&self, args: &[&str]) -> String {
        let made = self.alice.json(["token", "create"].iter().chain(args));
        let token = text(&made["token"]).to_owned();
        assert!(token.starts_with("chatd_") && token.len() == 70, "{made}");
        token
    }

    /// Whoever holds a token, and says nothing of an account.
    pub fn holder(&self, token: &str) -> Ctl {
        self.daemon.bare_ctl().env("CHATD_TOKEN", token)
    }
}

/// A client that says anything.
pub struct Raw {
    stream: UnixStream,
    frames: FrameReader,
    next: u32,
    /// All that came, as it came.
    pub heard: Vec<u8>,
}

impl Raw {
    pub fn connect(daemon: &Daemon) -> Self {
        let stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream, frames: FrameReader::default(), next: 0, heard: Vec::new() }
    }

    pub fn with_token(daemon: &Daemon, token: &str) -> Self {
        let mut raw = Self::connect(daemon);
        raw.call("system.hello", &json!({"token": token})).unwrap();
        raw
    }

    /// The answer; `None` at the end of the connection.
    pub fn try_call(&mut self, method: &str, params: &Value) -> Option<Result<Value, RpcError>> {
        self.next += 1;
        let mut out = Vec::new();
        codec::encode_request(&mut out, self.next, method, params).unwrap();
        self.stream.write_all(&out).ok()?;
        loop {
            while let Some(frame) = self.frames.next_frame().unwrap() {
                if let Incoming::Response { id, outcome } = codec::decode(frame).unwrap()
                    && id == self.next
                {
                    return Some(outcome.map(|bytes| codec::decode_value(bytes).unwrap()));
                }
            }
            self.read().then_some(())?;
        }
    }

    pub fn call(&mut self, method: &str, params: &Value) -> Result<Value, RpcError> {
        self.try_call(method, params).expect("the connection goes on")
    }

    pub fn read(&mut self) -> bool {
        let mut bytes = [0; 65_536];
        match self.stream.read(&mut bytes) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.heard.extend_from_slice(&bytes[..count]);
                self.frames.buffer().extend_from_slice(&bytes[..count]);
                true
            }
        }
    }
}

pub fn code(answer: &Result<Value, RpcError>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(error) => error.code.as_str(),
    }
}
