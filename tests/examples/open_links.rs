//! Load for `cargo xtask bench`: opens many links to one daemon, prints how many seconds that took, and keeps them open
//! until its stdin ends. An example of its own, so that xtask itself builds without the daemon's dependencies.
//!
//! `open_links NODE-ID ADDRESS,ADDRESS... LINKS NODES AT-ONCE`

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use chatd::link::{LinkConfig, Node};
use proto::ids::{NodeId, sha256, unhex};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |index: usize| args.get(index).map(String::as_str).context("too few arguments");
    let peer = unhex(arg(0)?).map(NodeId).context("the first argument is no node id")?;
    let addresses: Vec<SocketAddr> = arg(1)?.split(',').filter_map(|word| word.parse().ok()).collect();
    let (links, count, at_once): (usize, usize, usize) = (arg(2)?.parse()?, arg(3)?.parse()?, arg(4)?.parse()?);

    let mut nodes = Vec::new();
    for number in 0..count {
        let mut config = LinkConfig::new(sha256(&[b"bench node", &number.to_be_bytes()]));
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let (node, incoming) = Node::bind(config).await.context("cannot bind a node")?;
        nodes.push((Arc::new(node), incoming));
    }
    let room = Arc::new(Semaphore::new(at_once));
    let since = Instant::now();
    let mut running = JoinSet::new();
    for number in 0..links {
        let node = Arc::clone(&nodes[number % count].0);
        let (addresses, room) = (addresses.clone(), Arc::clone(&room));
        running.spawn(async move {
            let _turn = room.acquire_owned().await?;
            node.dial(peer, &addresses).await.with_context(|| format!("link {number} failed"))
        });
    }
    // All stay open until the last is, and then until somebody has looked.
    let mut open = Vec::with_capacity(links);
    while let Some(ended) = running.join_next().await {
        open.push(ended.context("a dial panicked")??);
    }
    println!("{}", since.elapsed().as_secs_f64());
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await;
    Ok(())
}
