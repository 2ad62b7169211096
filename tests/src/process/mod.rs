//! A managed process: started, waited for, signalled by its own id, and gone when its handle is, however the test ends.
//!
//! Everything that tests start is one: daemons and directories ([`managed`]), `chatctl` that runs to its end ([`ctl`]) or goes on
//! ([`stream`], [`screen`]), programs of others. One that stayed behind would keep open what it inherited, and whoever reads
//! the suite's output to its end would wait for ever.

pub mod background;
pub mod binaries;
pub mod ctl;
pub mod daemon;
pub mod directory;
pub mod isolate;
pub mod managed;
pub mod screen;
pub mod stream;
pub mod users;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A daemon gets this long from its start to its ready line; a debug build on a busy machine needs a second.
pub const READY_DEADLINE: Duration = Duration::from_secs(30);
/// A daemon promises to stop within this after SIGTERM.
pub const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// How often a child is asked whether it ended, at most and at least: most end as soon as their output has.
const ASK_INTERVAL: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(5)];
/// Lines of a log that an error shows.
const TAIL_LINES: usize = 30;

/// A running child. Dropping it kills it, and fails the test when its log shows a panic.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    log: Option<Log>,
}

/// Where what it writes goes, and the thread that takes it there.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts it; its input and output are as the command says.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let name = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, ended: None, log: None })
    }

    /// Starts `command` and waits for the first line on stderr that contains `ready`; returns that line, too. What it writes
    /// goes to the file `log`.
    ///
    /// # Errors
    /// When it cannot be started, ends before it is ready, or takes longer than [`READY_DEADLINE`]. The error shows the
    /// end of the log.
    pub fn start(name: &str, mut command: Command, log: &Path, ready: &'static str) -> Result<(Self, String)> {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let copy = file.try_clone().context("cannot share the log")?;
        command.stdin(Stdio::null()).stdout(Stdio::from(copy)).stderr(Stdio::piped());
        let mut process = Self::spawn(command)?;
        let shown = std::mem::replace(&mut process.name, name.to_owned());
        let stderr = process.take_stderr().context("the child has no stderr")?;
        let (tell, told) = mpsc::channel();
        let reader = std::thread::Builder::new()
            .name(format!("log of {name}"))
            .spawn(move || {
                let mut tell = Some(tell);
                let mut lines = BufReader::new(stderr);
                let mut line = Vec::new();
                while matches!(lines.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                    let _ = file.write_all(&line);
                    let text = String::from_utf8_lossy(&line);
                    if text.contains(ready)
                        && let Some(tell) = tell.take()
                    {
                        let _ = tell.send(text.trim_end().to_owned());
                    }
                    line.clear();
                }
            })
            .context("cannot start the log's reader")?;
        process.log = Some(Log { path: log.into(), reader: Some(reader) });
        match told.recv_timeout(READY_DEADLINE) {
            Ok(line) => Ok((process, line)),
            Err(error) => {
                let cause = match error {
                    mpsc::RecvTimeoutError::Timeout => format!("not ready after {READY_DEADLINE:?}"),
                    mpsc::RecvTimeoutError::Disconnected => "ended before it was ready".into(),
                };
                let status = process.end(Signal::SIGKILL, STOP_DEADLINE);
                let status = status.map_or_else(|error| format!("{error:#}"), |status| status.to_string());
                bail!("{shown}: {cause} ({status}); its log ends with\n{}", process.log_tail())
            }
        }
    }

    /// Runs it to its end with `input` on stdin, and gives what it wrote.
    ///
    /// # Errors
    /// When it cannot be started or runs longer than `deadline`; it is killed then.
    pub fn output(mut command: Command, input: &[u8], deadline: Duration) -> Result<Output> {
        command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Self::spawn(command)?;
        if let Some(mut stdin) = process.take_stdin() {
            let input = input.to_vec();
            // On a thread of its own: it may answer before it has read everything.
            std::thread::spawn(move || stdin.write_all(&input));
        }
        process.finish(deadline)
    }

    /// Lets it run to its end, and gives what it wrote to those of its pipes that nobody has taken. Nothing more comes on
    /// its stdin.
    ///
    /// # Errors
    /// When it runs longer than `deadline`; it is killed then.
    pub fn finish(mut self, deadline: Duration) -> Result<Output> {
        let since = Instant::now();
        drop(self.take_stdin());
        let (stdout, stderr) = (self.take_stdout().map(read_all), self.take_stderr().map(read_all));
        let read = |pipe: Option<mpsc::Receiver<Vec<u8>>>| {
            let Some(pipe) = pipe else { return Ok(Vec::new()) };
            let left = deadline.saturating_sub(since.elapsed());
            pipe.recv_timeout(left).with_context(|| format!("{} took longer than {deadline:?}", self.name))
        };
        let (stdout, stderr) = (read(stdout)?, read(stderr)?);
        let status = self.wait(deadline.saturating_sub(since.elapsed()))?;
        Ok(Output { status, stdout, stderr })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its stdin, if that is a pipe, once.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its stdout, if that is a pipe, once.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its stderr, if that is a pipe, once.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Everything that it wrote to its log, over all starts on that.
    pub fn log_text(&self) -> String {
        let bytes = self.log.as_ref().and_then(|log| std::fs::read(&log.path).ok());
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone: its id may be another's by then.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(status) = self.ended {
            bail!("{} has ended already ({status})", self.name);
        }
        let pid = i32::try_from(self.child.id()).context("the pid does not fit")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Waits for its end. Nothing more comes on its stdin, if nobody has taken that.
    ///
    /// # Errors
    /// When it still runs after `deadline`; it is killed then.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        drop(self.take_stdin());
        let (since, mut pause, mut late) = (Instant::now(), ASK_INTERVAL[0], false);
        let status = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            if !late && since.elapsed() > deadline {
                late = true;
                self.signal(Signal::SIGKILL)?;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(ASK_INTERVAL[1]);
        };
        if let Some(reader) = self.log.as_mut().and_then(|log| log.reader.take()) {
            let _ = reader.join();
        }
        if late {
            bail!("{} was still running after {deadline:?}; log:\n{}", self.name, self.log_tail());
        }
        Ok(status)
    }

    /// Sends a signal and waits for the end; returns how it ended. Does nothing when it ended before.
    ///
    /// # Errors
    /// As for [`Process::wait`].
    pub fn end(&mut self, signal: Signal, deadline: Duration) -> Result<ExitStatus> {
        if self.is_running() {
            self.signal(signal)?;
        }
        self.wait(deadline).with_context(|| format!("after {signal}"))
    }

    /// The first line of the log that tells of a panic.
    pub fn panic_line(&self) -> Option<String> {
        self.log_text().lines().find(|line| line.contains("panicked at")).map(str::to_owned)
    }

    /// Memory in use: VmRSS of /proc, in KiB.
    pub fn resident_kib(&self) -> Option<u64> {
        resident_kib(self.pid())
    }

    /// The first TCP port that it listens on at 127.0.0.1, once it does. For what listens on any port and cannot say
    /// which: a port that was free a moment ago may be another's.
    pub fn listening_port(&self) -> Option<u16> {
        let proc = PathBuf::from(format!("/proc/{}", self.pid()));
        let links =
            std::fs::read_dir(proc.join("fd")).ok()?.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let inode = |link: PathBuf| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
        let sockets: HashSet<String> = links.filter_map(inode).collect();
        // Columns of proc_net_tcp(5): number, local address, remote address, state (0A: listening), ... inode.
        let table = std::fs::read_to_string(proc.join("net/tcp")).ok()?;
        table.lines().skip(1).find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let listens = words.get(3) == Some(&"0A") && sockets.contains(*words.get(9)?);
            listens.then(|| u16::from_str_radix(words[1].strip_prefix("0100007F:")?, 16).ok())?
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end(Signal::SIGKILL, STOP_DEADLINE);
        if self.log.is_none() {
            return;
        }
        if std::thread::panicking() {
            eprintln!("--- end of the log of {} ---\n{}", self.name, self.log_tail());
        } else if let Some(line) = self.panic_line() {
            panic!("{} panicked: {line}\n{}", self.name, self.log_tail());
        }
    }
}

/// All of a pipe, when it has come.
fn read_all(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = tell.send(bytes);
    });
    told
}

/// VmRSS of a process in KiB.
pub fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time that a process has used; `None` if it is gone.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field may have spaces in it (proc_pid_stat(5)): fields 14 and 15, in hundredths of a second.
    let ticks = text.get(text.rfind(')')? + 2..)?.split(' ').skip(11).take(2);
    Some(Duration::from_millis(10 * ticks.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]);
        command
    }

    fn is_there(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn it_ends_with_its_test_also_when_that_fails() {
        let (tell, told) = mpsc::channel();
        let failed = std::thread::spawn(move || {
            let process = Process::spawn(shell("exec sleep 1000")).unwrap();
            tell.send(process.pid()).unwrap();
            panic!("the test fails here");
        });
        let pid = told.recv().unwrap();
        assert!(failed.join().is_err());
        assert!(!is_there(pid), "{pid} is still there");
    }

    #[test]
    fn nothing_is_signalled_that_is_gone() {
        let mut process = Process::spawn(shell("exit 3")).unwrap();
        assert_eq!(process.wait(READY_DEADLINE).unwrap().code(), Some(3));
        assert!(process.signal(Signal::SIGTERM).is_err(), "its id may be another's");
        assert_eq!(process.end(Signal::SIGTERM, STOP_DEADLINE).unwrap().code(), Some(3), "it is known how it ended");
    }

    #[test]
    fn a_run_gives_all_that_it_wrote_or_ends_at_the_deadline() {
        let output = Process::output(shell("cat; echo no >&2; exit 1"), &[b'x'; 200_000], READY_DEADLINE).unwrap();
        assert_eq!(
            (output.stdout.len(), output.stderr.as_slice(), output.status.code()),
            (200_000, &b"no\n"[..], Some(1))
        );
        let late = Process::output(shell("echo begun; exec sleep 1000"), b"", Duration::from_millis(50)).unwrap_err();
        assert!(format!("{late:#}").contains("took longer than"), "{late:#}");
    }

    #[test]
    fn it_is_ready_when_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let ready = shell("echo starting >&2; echo 'ready: 7' >&2; exec sleep 1000");
        let (process, line) = Process::start("one", ready, &log, "ready: ").unwrap();
        assert_eq!((line.as_str(), process.log_text().as_str()), ("ready: 7", "starting\nready: 7\n"));
        let failed = Process::start("two", shell("echo 'no room' >&2"), &log, "ready: ").unwrap_err();
        assert!(format!("{failed:#}").contains("no room"), "{failed:#}");
    }

    #[test]
    fn a_port_is_known_by_who_listens_on_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // The child inherits nothing: what this process listens on is not its.
        let mut process = Process::spawn(shell("exec sleep 1000")).unwrap();
        assert_eq!(process.listening_port(), None, "{port} is not its");
        assert!(process.is_running());
    }
}
