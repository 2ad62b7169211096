//! A daemon with many stored messages: how long it takes to start, and to find something.
//!
//! The messages come the way that all messages come, from alice; the store is as real as it gets.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use proto::rpc::client::Client;
use proto::rpc::methods::{MessageHistory, MessageSearch, SystemStatus};
use proto::rpc::types::{AccountParams, HistoryParams, SearchParams};
use tests::Pair;

use super::Scale;
use super::table::{Row, percentile_ms};
use super::throughput::exchange;

/// Messages exchanged in one go; between two, the counters are shown.
const STEP: usize = 100_000;
/// Hits that a search asks for.
const HITS: u32 = 50;

/// Measures it.
pub async fn measure(scale: Scale) -> Result<Vec<Row>> {
    let count = scale.of(1_000_000, 20_000);
    let mut pair = Pair::start();
    let alice = pair.alice_daemon.client().await;
    let bob = Client::connect(pair.bob.socket()).await.context("cannot connect to bob's daemon")?;
    for first in (0..count).step_by(STEP) {
        exchange(&alice, &bob, first, STEP.min(count - first)).await?;
        eprintln!("  {} messages stored", (first + STEP).min(count));
    }
    drop((alice, bob));

    let daemon = pair.bob_daemon();
    daemon.stop();
    let since = Instant::now();
    daemon.restart();
    let ready = since.elapsed();
    let client = daemon.client().await;
    client.call::<SystemStatus>(&AccountParams::default()).await.context("no status")?;
    let answered = since.elapsed();

    // `fox` is in every message, a number in one.
    let common = search(&client, "fox", HITS as usize, scale.of(200, 20)).await?;
    let rare = search(&client, &format!("{:08}", count / 3), 1, scale.of(200, 20)).await?;
    // Typed half: two letters of the word in every message, and the number without its last digit.
    let begun = search(&client, "fo", HITS as usize, scale.of(200, 20)).await?;
    let number = format!("{:08}", count / 3);
    let nearly = search(&client, &number[..7], 10, scale.of(200, 20)).await?;
    let page = history(&client, scale.of(200, 20)).await?;
    let memory = daemon.resident_kib().context("no /proc for chatd")? as f64 / 1024.0;
    let size = folder_bytes(&daemon.data_dir(), "") as f64 / count as f64;
    let index = folder_bytes(&daemon.data_dir(), "search.db") as f64 / count as f64;
    let limits = format!("{count} messages of 100 bytes stored");
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let row = |what: String, value, unit, target| Row::new(what, value, unit, target, limits.clone());
    Ok(vec![
        row("start to the ready line".into(), ms(ready), "ms", ""),
        row("start to the first status".into(), ms(answered), "ms", ""),
        row(format!("search of a word in every message, newest {HITS}, p50"), common, "ms", "< 5 ms"),
        row("search of a word in one message, p50".into(), rare, "ms", "< 5 ms"),
        row("search of the first two letters of a word in every message, newest 50, p50".into(), begun, "ms", "< 5 ms"),
        row("search of the beginning of ten words in a message each, p50".into(), nearly, "ms", "< 5 ms"),
        row("history, newest 50, p50".into(), page, "ms", ""),
        row("memory of the daemon then".into(), memory, "MiB", ""),
        row("disk for a message, index included".into(), size, "bytes", ""),
        row("of it the search index".into(), index, "bytes", ""),
    ])
}

async fn search(client: &Client, query: &str, hits: usize, rounds: usize) -> Result<f64> {
    let params = SearchParams { query: query.into(), limit: Some(HITS), ..SearchParams::default() };
    let mut durations = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let since = Instant::now();
        let found = client.call::<MessageSearch>(&params).await.context("cannot search")?;
        durations.push(since.elapsed());
        ensure!(found.messages.len() == hits, "{query:?}: {} hits, not {hits}", found.messages.len());
    }
    Ok(percentile_ms(&mut durations, 50))
}

async fn history(client: &Client, rounds: usize) -> Result<f64> {
    let params = HistoryParams { who: "alice".into(), ..HistoryParams::default() };
    let mut durations = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let since = Instant::now();
        let page = client.call::<MessageHistory>(&params).await.context("cannot read history")?;
        durations.push(since.elapsed());
        ensure!(page.messages.len() == 50, "{} messages on a page", page.messages.len());
    }
    Ok(percentile_ms(&mut durations, 50))
}

/// Bytes of the files below `folder` whose names begin with `prefix`.
fn folder_bytes(folder: &std::path::Path, prefix: &str) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => folder_bytes(&entry.path(), prefix),
            Ok(data) if entry.file_name().to_string_lossy().starts_with(prefix) => data.len(),
            _ => 0,
        })
        .sum()
}
