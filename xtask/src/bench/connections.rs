//! Links opened to one daemon, hello included: what a QUIC handshake costs it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tests::process::Process;
use tests::wait::DEADLINE;
use tests::{Daemon, DaemonOptions};

use super::Scale;
use super::accounts::raise_file_limit;
use super::table::Row;

/// Links to open.
const LINKS: usize = 1_000;
/// Nodes that they come from.
const NODES: usize = 20;
/// Handshakes under way at the same time.
const HANDSHAKES: usize = 64;

/// Measures it.
pub async fn measure(scale: Scale) -> Result<Vec<Row>> {
    raise_file_limit()?;
    let links = scale.of(LINKS, 100);
    let config = format!("[limits]\nconnections = {0}\nconnections_unauthenticated = {0}\n", links + HANDSHAKES);
    let daemon = Daemon::try_start(DaemonOptions::default().config(&config))?;
    let before = daemon.resident_kib().context("no /proc for chatd")?;
    let node = daemon.ready_value("node").context("no node id in the ready line")?;
    let addresses = daemon.ready_value("addresses").context("no addresses in the ready line")?;

    let program = tests::binaries::profile_folder()?.join("examples").join("open_links");
    let mut command = Command::new(&program);
    command.args([node, addresses]).args([links, NODES, HANDSHAKES].map(|number| number.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Process::spawn(command)?;
    let mut line = String::new();
    BufReader::new(child.take_stdout().context("no stdout")?).read_line(&mut line)?;
    let after = daemon.resident_kib().context("no /proc for chatd")?;
    drop(child.take_stdin());
    ensure!(child.wait(DEADLINE)?.success(), "{} failed", program.display());
    let seconds: f64 = line.trim().parse().with_context(|| format!("it printed {line:?}"))?;

    let limits = format!("{HANDSHAKES} at a time from {NODES} nodes; link caps raised");
    let each = after.saturating_sub(before) as f64 / links as f64;
    Ok(vec![
        Row::new(format!("{links} links opened to one daemon"), seconds, "s", "< 3 s", &limits),
        Row::new("memory of an open link", each, "KiB", "", limits),
    ])
}
