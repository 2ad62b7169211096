//! Links opened to one daemon, hello included: what a QUIC handshake costs it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use chatd::link::{LinkConfig, Node};
use proto::ids::{NodeId, sha256, unhex};
use tests::{Daemon, DaemonOptions};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

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
    let config = format!("[limits]\nmax_inbound_links = {0}\nmax_unauthenticated_links = {0}\n", links + HANDSHAKES);
    let daemon = Daemon::try_start(DaemonOptions::default().config(&config))?;
    let before = daemon.resident_kib().context("no /proc for chatd")?;
    let peer = daemon.ready_value("node").and_then(unhex).map(NodeId).context("no node id in the ready line")?;
    let addresses = daemon.ready_value("addresses").context("no addresses in the ready line")?;
    let addresses: Vec<SocketAddr> = addresses.split(',').filter_map(|word| word.parse().ok()).collect();

    let mut nodes = Vec::new();
    for number in 0..NODES {
        let mut config = LinkConfig::new(sha256(&[b"bench node", &number.to_be_bytes()]));
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let (node, incoming) = Node::bind(config).await.context("cannot bind a node")?;
        nodes.push((Arc::new(node), incoming));
    }
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    let since = Instant::now();
    let mut running = JoinSet::new();
    for number in 0..links {
        let node = Arc::clone(&nodes[number % NODES].0);
        let (addresses, room) = (addresses.clone(), Arc::clone(&room));
        running.spawn(async move {
            let _turn = room.acquire_owned().await?;
            let link = node.dial(peer, &addresses).await.with_context(|| format!("link {number} failed"))?;
            anyhow::Ok(link)
        });
    }
    // All stay open until the last is.
    let mut open = Vec::with_capacity(links);
    while let Some(ended) = running.join_next().await {
        open.push(ended.context("a dial panicked")??);
    }
    let took = since.elapsed();
    let after = daemon.resident_kib().context("no /proc for chatd")?;
    let limits = format!("{HANDSHAKES} at a time from {NODES} nodes; link caps raised");
    Ok(vec![
        Row::new(format!("{links} links opened to one daemon"), took.as_secs_f64(), "s", "< 3 s", &limits),
        Row::new("memory of an open link", after.saturating_sub(before) as f64 / links as f64, "KiB", "", limits),
    ])
}
