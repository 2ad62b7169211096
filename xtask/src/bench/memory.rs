//! Memory of a daemon: idle with one account, and after many messages.

use std::time::Duration;

use anyhow::{Context, Result};
use proto::rpc::client::Client;
use tests::wait::try_wait;
use tests::{Daemon, DaemonOptions, Directory, Pair};

use super::Scale;
use super::table::Row;
use super::throughput::exchange;

/// Memory counts as settled when two looks, this far apart, differ by less than 1 %.
const LOOK: Duration = Duration::from_millis(500);
/// Longest wait for that.
const SETTLE: Duration = Duration::from_secs(20);

/// Measures it.
pub async fn measure(scale: Scale) -> Result<Vec<Row>> {
    let directory = Directory::try_start(Default::default())?;
    let daemon = Daemon::try_start(DaemonOptions::new("idle", directory.url()))?;
    daemon.ctl("alice").ok(["register", "alice"]);
    let idle = settled(&daemon).await?;
    let registry = directory.resident_kib().context("no /proc for directoryd")?;
    drop((daemon, directory));

    let mut pair = Pair::start();
    let alice = pair.alice_daemon.client().await;
    let bob = Client::connect(pair.bob.socket()).await?;
    let count = scale.of(100_000, 5_000);
    exchange(&alice, &bob, 0, count).await?;
    drop((alice, bob));
    let sender = settled(&pair.alice_daemon).await?;
    let receiver = settled(pair.bob_daemon()).await?;
    let mib = |kib: u64| kib as f64 / 1024.0;
    Ok(vec![
        Row::new("memory of an idle daemon, one account", mib(idle), "MiB", "< 35 MB", "VmRSS, session up"),
        Row::new("memory of an idle directory", mib(registry), "MiB", "", "VmRSS, one account"),
        Row::new(format!("memory of the sender after {count} messages"), mib(sender), "MiB", "", "VmRSS"),
        Row::new(format!("memory of the receiver after {count} messages"), mib(receiver), "MiB", "", "VmRSS"),
    ])
}

async fn settled(daemon: &Daemon) -> Result<u64> {
    let look = || daemon.resident_kib();
    let steady = try_wait(SETTLE, || async {
        let before = look()?;
        tokio::time::sleep(LOOK).await;
        let after = look()?;
        (before.abs_diff(after) * 100 < before).then_some(after)
    });
    match steady.await {
        Some(kib) => Ok(kib),
        None => look().context("no /proc for chatd"),
    }
}
