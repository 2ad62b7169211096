//! RPC round trips: one client, pipelined, and in ping-pong.

use std::time::Instant;

use anyhow::{Context, Result};
use proto::rpc::client::Pending;
use proto::rpc::methods::SystemHello;
use proto::rpc::types::HelloParams;
use tests::{Daemon, DaemonOptions};
use tokio::sync::mpsc;

use super::Scale;
use super::table::{Row, percentile_ms};

/// Calls that may wait for their answers at the same time.
const IN_FLIGHT: usize = 4_096;

/// Measures it.
pub async fn measure(scale: Scale) -> Result<Vec<Row>> {
    let daemon = Daemon::try_start(DaemonOptions::default())?;
    let client = daemon.client().await;
    let params = HelloParams { client: "bench".into(), ..HelloParams::default() };
    let count = scale.of(1_000_000, 100_000);
    let since = Instant::now();
    let (tell, mut told) = mpsc::channel::<Pending<SystemHello>>(IN_FLIGHT);
    let answers = tokio::spawn(async move {
        while let Some(pending) = told.recv().await {
            pending.await.context("system.hello failed")?;
        }
        anyhow::Ok(())
    });
    for _ in 0..count {
        if tell.send(client.submit::<SystemHello>(&params).await?).await.is_err() {
            break;
        }
    }
    drop(tell);
    answers.await.context("the answers' task panicked")??;
    let pipelined = count as f64 / since.elapsed().as_secs_f64();

    let mut durations = Vec::new();
    for _ in 0..scale.of(10_000, 1_000) {
        let since = Instant::now();
        client.call::<SystemHello>(&params).await?;
        durations.push(since.elapsed());
    }
    let limits = format!("{count} calls of system.hello, one client");
    Ok(vec![
        Row::new("RPC round trips, pipelined", pipelined, "/s", ">= 200,000 /s", limits),
        Row::new("RPC round trip, one at a time, p50", percentile_ms(&mut durations, 50), "ms", "", "one client"),
    ])
}
