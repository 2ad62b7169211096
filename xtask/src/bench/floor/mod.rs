//! The floor: the least that a message from one process to another can cost on this machine, with what the system
//! promises and nothing else. End-to-end figures are given as multiples of it, measured in the same run, since the
//! machines are noisy.
//!
//! ```text
//! client --text--> sender  (seal, sign, COMMIT) --block--> receiver (verify, open, COMMIT)
//! client <--done-- sender  (COMMIT)             <--ack---- receiver --texts--> reader (bursts only)
//! ```
//!
//! Two processes, each of one thread that waits in `poll`; the client is this program. A lone message costs three
//! commits that reach the disk, two hops over TCP and two over a Unix socket. In a burst up to [`node::BATCH`] texts share a
//! block and a commit, and both sides may index the texts in the same transaction.

pub mod node;
pub mod trace;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::Place;
use tests::process::Process;

use super::scale::body;
use node::{Role, frame, socket};

/// Nothing for so long means that it has stopped.
const SILENCE: Duration = Duration::from_secs(60);

/// The two processes.
#[derive(Debug)]
struct Nodes {
    sender: Process,
    receiver: Process,
    client: UnixStream,
    /// What the receiver received.
    reader: UnixStream,
    place: Place,
}

impl Nodes {
    fn start(index: bool) -> Result<Self> {
        let place = Place::new()?;
        let folder = place.path().to_owned();
        let (receiver, address) = spawn(Role::Receiver, &folder, index, None)?;
        let reader = connect(&folder, Role::Receiver)?;
        let (sender, _) = spawn(Role::Sender, &folder, index, Some(&address))?;
        let client = connect(&folder, Role::Sender)?;
        Ok(Self { sender, receiver, client, reader, place })
    }
}

fn spawn(role: Role, folder: &Path, index: bool, peer: Option<&str>) -> Result<(Process, String)> {
    let program = std::env::current_exe().context("cannot name the running program")?;
    let mut command = Command::new(&program);
    command.arg("floor-node").arg("--folder").arg(folder).args(["--role", role.name()]);
    if index {
        command.arg("--index");
    }
    if let Some(peer) = peer {
        command.args(["--peer", peer]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Process::spawn(command)?;
    let mut line = String::new();
    BufReader::new(child.take_stdout().context("no stdout")?).read_line(&mut line)?;
    ensure!(!line.is_empty(), "the floor's {} did not start", role.name());
    Ok((child, line.trim().to_owned()))
}

fn connect(folder: &Path, role: Role) -> Result<UnixStream> {
    let path = socket(folder, role);
    let stream = UnixStream::connect(&path).with_context(|| format!("cannot connect to {}", path.display()))?;
    stream.set_read_timeout(Some(SILENCE))?;
    Ok(stream)
}

/// What lone messages cost.
#[derive(Debug)]
pub struct Lone {
    /// From the text to the word that it was delivered; one for each message.
    pub durations: Vec<Duration>,
    /// What both processes asked of the system, for one message; `None` where that cannot be seen.
    pub calls: Option<trace::Calls>,
}

/// Sends messages one at a time.
///
/// # Errors
/// When a process fails or stops.
pub fn lone(warm_up: usize, count: usize, pace: Duration) -> Result<Lone> {
    let mut nodes = Nodes::start(false)?;
    // A receiver that nobody listens to would stop after some 300 messages. This ends with it.
    let mut reader = nodes.reader.try_clone()?;
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let mut one = |number: usize| -> Result<Duration> {
        let since = Instant::now();
        nodes.client.write_all(&frame(body(number).as_bytes()))?;
        let mut done = [0; 8];
        nodes.client.read_exact(&mut done).context("the floor's sender ended")?;
        let took = since.elapsed();
        std::thread::sleep(pace);
        Ok(took)
    };
    (0..warm_up).try_for_each(|number| one(number).map(drop))?;
    let durations = (0..count).map(&mut one).collect::<Result<_>>()?;
    let pids = [nodes.sender.pid(), nodes.receiver.pid()];
    let calls = trace::count(&pids, nodes.place.path(), trace::MESSAGES, |number| one(number).map(drop))?;
    Ok(Lone { durations, calls })
}

/// Sends `count` messages as fast as they are taken; how many came to the reader in a second.
///
/// # Errors
/// When a process fails, stops, or delivers anything else.
pub fn burst(count: usize, index: bool) -> Result<f64> {
    let nodes = Nodes::start(index)?;
    let mut client = nodes.client.try_clone()?;
    let since = Instant::now();
    let writer = std::thread::spawn(move || -> Result<()> {
        let mut buffer = Vec::new();
        for number in 0..count {
            buffer.extend_from_slice(&frame(body(number).as_bytes()));
            if buffer.len() >= 16 * 1024 {
                client.write_all(&buffer)?;
                buffer.clear();
            }
        }
        Ok(client.write_all(&buffer)?)
    });
    let mut answers = nodes.client.try_clone()?;
    let drain = std::thread::spawn(move || -> Result<()> {
        let mut done = vec![0; 64 * 1024];
        let mut left = count * 8;
        while left > 0 {
            let got = answers.read(&mut done)?;
            ensure!(got > 0, "the floor's sender ended");
            left = left.saturating_sub(got);
        }
        Ok(())
    });
    let mut reader = BufReader::with_capacity(64 * 1024, &nodes.reader);
    let mut text = Vec::new();
    for number in 0..count {
        let mut length = [0; 4];
        reader.read_exact(&mut length).context("the floor's receiver ended")?;
        text.resize(u32::from_le_bytes(length) as usize, 0);
        reader.read_exact(&mut text)?;
        ensure!(text == body(number).as_bytes(), "the floor lost message {number}");
    }
    let took = since.elapsed();
    for thread in [writer, drain] {
        thread.join().ok().context("a thread panicked")??;
    }
    Ok(count as f64 / took.as_secs_f64())
}
