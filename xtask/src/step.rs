//! Running cargo and other programs as named, timed steps.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::binaries::repository;

/// What ran, how long, and whether it worked.
#[derive(Debug)]
pub struct Step {
    pub name: String,
    pub took: Duration,
    pub ok: bool,
}

/// Cargo in the repository's folder.
pub fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository()).args(args);
    // Set by `cargo run` for xtask itself; they would make the inner cargo rebuild what looks at them.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command, giving every line of its stdout to `line`; ends it and everything that it started at `deadline`.
pub fn run(name: &str, mut command: Command, deadline: Instant, mut line: impl FnMut(&str)) -> Result<Step> {
    let since = Instant::now();
    println!("== {name}");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
    let out = child.stdout.take().context("the child has no stdout")?;
    let ended = Arc::new(AtomicBool::new(false));
    let watch = watch(&child, deadline, Arc::clone(&ended));
    for text in BufReader::new(out).split(b'\n') {
        let text = text.context("cannot read the child's output")?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        line(&text);
    }
    let status = child.wait().context("cannot wait for the child")?;
    ended.store(true, Ordering::Relaxed);
    let timed_out = watch.join().unwrap_or(false);
    if timed_out {
        println!("ended: the time for all steps is over");
    }
    let step = Step { name: name.into(), took: since.elapsed(), ok: status.success() && !timed_out };
    println!("== {name}: {} ({:.1} s)", if step.ok { "ok" } else { "FAILED" }, step.took.as_secs_f64());
    Ok(step)
}

/// Ends the child and its descendants when time is over; tells whether it had to.
fn watch(child: &Child, deadline: Instant, ended: Arc<AtomicBool>) -> std::thread::JoinHandle<bool> {
    let pid = child.id();
    std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            if Instant::now() > deadline {
                let mut pids = descendants(pid);
                pids.push(pid);
                for pid in pids {
                    if let Ok(pid) = i32::try_from(pid) {
                        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                    }
                }
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    })
}

/// The children of a process and theirs, by /proc.
fn descendants(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = list.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let mut all = children.clone();
    for child in children {
        all.extend(descendants(child));
    }
    all
}
