//! `chatctl send` as a whole process: from fork to exit.

use std::time::Instant;

use anyhow::{Result, ensure};
use tests::Pair;

use super::Scale;
use super::table::{Row, percentile_ms};

/// Measures it.
pub fn measure(scale: Scale) -> Result<Vec<Row>> {
    let pair = Pair::start();
    let count = scale.of(200, 50);
    let mut durations = Vec::with_capacity(count);
    for number in 0..count {
        let mut command = pair.alice.command(["send", "bob", &format!("message {number}")])?;
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let since = Instant::now();
        let status = command.stderr(std::process::Stdio::null()).status()?;
        durations.push(since.elapsed());
        ensure!(status.success(), "chatctl send ended with {status}");
    }
    let limits = format!("{count} runs, without a terminal");
    Ok(vec![
        Row::new("chatctl send as a process, p50", percentile_ms(&mut durations, 50), "ms", "< 6 ms", &limits),
        Row::new("chatctl send as a process, p99", percentile_ms(&mut durations, 99), "ms", "", limits),
    ])
}
