//! Counts what processes ask of the system, with strace.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::process::Process;
use tests::wait::DEADLINE;

/// Messages that are looked at.
pub const MESSAGES: usize = 50;

/// For one message, of all processes together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Calls {
    /// System calls.
    pub all: f64,
    /// Reads of pages of a database or of its log.
    pub page_reads: f64,
    /// Times that something was forced to the disk.
    pub syncs: f64,
}

/// Counts while `act` is done `times` times; `None`, said on stderr, where strace is missing or may not look.
///
/// # Errors
/// What `act` fails with.
pub fn count(
    pids: &[u32],
    folder: &Path,
    times: usize,
    mut act: impl FnMut(usize) -> Result<()>,
) -> Result<Option<Calls>> {
    let file = folder.join("strace.txt");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "0", "-o"]).arg(&file);
    for pid in pids {
        command.args(["-p", &pid.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let Ok(mut strace) = Process::spawn(command) else {
        eprintln!("  strace is not installed: system calls are not counted");
        return Ok(None);
    };
    let mut said = BufReader::new(strace.take_stderr().context("no stderr")?);
    for _ in pids {
        let mut line = String::new();
        said.read_line(&mut line)?;
        if !line.contains("attached") {
            eprintln!("  strace cannot look at a process: system calls are not counted ({})", line.trim());
            return Ok(None);
        }
    }
    // Whatever it says later must not hold it up.
    let rest = std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    (0..times).try_for_each(&mut act)?;
    let status = strace.end(Signal::SIGINT, DEADLINE)?;
    let _ = rest.join();
    let lines = std::fs::read_to_string(&file).with_context(|| format!("strace ended with {status}"))?;
    let calls = add_up(&lines, times);
    ensure!(calls.all > 0.0, "strace saw nothing");
    Ok(Some(calls))
}

/// A call that another thread interrupts is two lines, the second with `resumed>`.
fn add_up(lines: &str, times: usize) -> Calls {
    let mut calls = Calls::default();
    for line in lines.lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        let name = name.rsplit(' ').next().unwrap_or_default();
        if line.contains("resumed>") || line.contains("--- ") || line.contains("+++ ") {
            continue;
        }
        calls.all += 1.0;
        match name {
            "pread64" if rest.contains(".db") || rest.contains("-wal>") => calls.page_reads += 1.0,
            "fsync" | "fdatasync" => calls.syncs += 1.0,
            _ => {}
        }
    }
    let each = |sum: f64| sum / times as f64;
    Calls { all: each(calls.all), page_reads: each(calls.page_reads), syncs: each(calls.syncs) }
}

#[cfg(test)]
mod tests_of_trace {
    use super::*;

    #[test]
    fn lines_of_strace_are_added_up() {
        let lines = "\
            12 pread64(7</data/account.db>, \"\"..., 4096, 0) = 4096\n\
            12 pread64(9</etc/hosts>, \"\"..., 10, 0) = 10\n\
            13 fdatasync(8</data/account.db-wal> <unfinished ...>\n\
            12 write(1, \"\", 5) = 5\n\
            13 <... fdatasync resumed>) = 0\n\
            13 --- SIGCHLD {si_signo=SIGCHLD} ---\n\
            13 +++ exited with 0 +++\n";
        assert_eq!(add_up(lines, 2), Calls { all: 2.0, page_reads: 0.5, syncs: 0.5 });
    }
}
