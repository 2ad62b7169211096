//! Runs `chatctl` as a user does: arguments in; stdout, stderr and exit code out.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Process;
use super::binaries::program;
use super::isolate::isolate;
use super::stream::Stream;

/// No run of `chatctl` in a test takes longer, a wait for delivery on a busy machine included.
pub const RUN_DEADLINE: Duration = Duration::from_secs(90);

/// `chatctl` with the flags of one daemon and account.
#[derive(Debug, Clone)]
pub struct Ctl {
    socket: PathBuf,
    home: PathBuf,
    account: Option<String>,
    env: Vec<(String, String)>,
    prefix: Vec<OsString>,
    program: Option<PathBuf>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The arguments, for messages.
    pub shown: String,
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Ctl {
    /// `chatctl --socket SOCKET` with its home in `home`.
    pub fn new(socket: &Path, home: &Path) -> Self {
        Self {
            socket: socket.into(),
            home: home.into(),
            account: None,
            env: Vec::new(),
            prefix: Vec::new(),
            program: None,
        }
    }

    /// The same for an account.
    #[must_use]
    pub fn account(mut self, name: &str) -> Self {
        self.account = Some(name.into());
        self
    }

    /// The same with one more variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The same program at another path, run through another one: `setpriv` with its arguments, for one.
    #[must_use]
    pub fn through(mut self, prefix: &[&str], program: &Path) -> Self {
        self.prefix = prefix.iter().map(OsString::from).collect();
        self.program = Some(program.into());
        self
    }

    /// The account's name.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn name(&self) -> &str {
        match &self.account {
            Some(name) => name,
            None => panic!("this Ctl has no account"),
        }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The command itself.
    ///
    /// # Errors
    /// When the program is missing.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Command> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => program("chatctl")?,
        };
        let mut words = self.prefix.iter().cloned().chain([program.into_os_string()]);
        let mut command = Command::new(words.next().context("no program")?);
        command.args(words);
        isolate(&mut command, &self.home);
        // TERM belongs to the terminal that runs the tests, not to this run.
        command.env_remove("TERM").env("NO_COLOR", "1");
        command.env("CHATD_SOCKET", &self.socket);
        if let Some(account) = &self.account {
            command.env("CHATD_ACCOUNT", account);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value))).args(args);
        Ok(command)
    }

    /// Runs it with nothing on stdin.
    ///
    /// # Panics
    /// When it cannot be run, takes longer than [`RUN_DEADLINE`], or panics itself.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.run_with(args, b"")
    }

    /// Runs it with `input` on stdin.
    ///
    /// # Panics
    /// As [`Ctl::run`].
    #[track_caller]
    pub fn run_with<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Output {
        match self.try_run(args, input) {
            Ok(output) => output,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Runs it with `input` on stdin.
    ///
    /// # Errors
    /// When it cannot be run, takes longer than [`RUN_DEADLINE`], or panics itself.
    pub fn try_run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Result<Output> {
        let command = self.command(args)?;
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let shown = format!("chatctl {}", words.join(" "));
        let output = Process::output(command, input, RUN_DEADLINE).with_context(|| format!("cannot run {shown}"))?;
        let output = Output {
            shown,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        if output.stderr.contains("panicked at") {
            bail!("{output:#?}");
        }
        Ok(output)
    }

    /// Runs it and wants exit code 0.
    ///
    /// # Panics
    /// As [`Ctl::run`], or when it ends otherwise.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.run(args).expect_code(0)
    }

    /// Runs it, wants exit code 0 and one JSON object.
    ///
    /// # Panics
    /// As [`Ctl::ok`], or when stdout is no JSON object.
    #[track_caller]
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        self.run(with_json(args)).expect_code(0).json()
    }

    /// Runs it, wants exit code 0 and one JSON object a line.
    ///
    /// # Panics
    /// As [`Ctl::ok`], or when a line of stdout is no JSON.
    #[track_caller]
    pub fn json_lines<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Vec<Value> {
        self.run(with_json(args)).expect_code(0).json_lines()
    }

    /// Runs it, wants exit code 0 and the objects of its list: one a line, or an array under `key` of one object.
    ///
    /// # Panics
    /// As [`Ctl::json_lines`].
    #[track_caller]
    pub fn list<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, key: &str) -> Vec<Value> {
        let mut lines = self.json_lines(args);
        match lines.as_mut_slice() {
            [only] if only.get(key).is_some_and(Value::is_array) => match only[key].take() {
                Value::Array(objects) => objects,
                _ => Vec::new(),
            },
            _ => lines,
        }
    }

    /// Starts it, for verbs that do not end by themselves.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn stream<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Stream {
        match self.command(args).and_then(Stream::start) {
            Ok(stream) => stream,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Arguments with `--json` before a possible `--`.
fn with_json<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().map(|word| word.as_ref().to_owned()).collect();
    let at = args.iter().position(|word| word == "--").unwrap_or(args.len());
    args.insert(at, "--json".into());
    args
}

impl Output {
    /// Wants this exit code.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code of {self:#?}");
        self
    }

    /// Wants these words on stderr, in any case of letters.
    ///
    /// # Panics
    /// When one is missing.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        let stderr = self.stderr.to_lowercase();
        for word in words {
            assert!(stderr.contains(&word.to_lowercase()), "stderr should say {word:?}: {self:#?}");
        }
        self
    }

    /// Stdout as one JSON object.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("stdout is no JSON ({error}): {self:#?}"),
        }
    }

    /// Stdout as one JSON object a line.
    ///
    /// # Panics
    /// When a line is none.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| match serde_json::from_str(line) {
            Ok(value) => value,
            Err(error) => panic!("{line:?} is no JSON ({error}): {self:#?}"),
        };
        self.stdout.lines().map(parse).collect()
    }
}
