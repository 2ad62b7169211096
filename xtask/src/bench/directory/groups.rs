//! The log of a group at the directory: how fast entries are appended, each answered after its commit, and how fast they are read.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use proto::directory::groups::{Append, EntryKind};
use tests::directory::ORIGIN;
use tests::http::Http;
use tests::registry::Registrant;
use tests::team::Team;
use tests::{Directory, DirectoryOptions};
use tokio::task::JoinSet;

use super::super::Scale;
use super::super::table::Row;

/// Clients at the same time.
const CLIENTS: usize = 32;
/// Logs that they append to, four each.
const LOGS: usize = 8;
/// Bytes of an entry: a short message, sealed and padded.
const ENTRY_BYTES: usize = 800;
/// Entries of a page.
const PAGE: u32 = 100;
/// One network writes all of it here, which would have an eighth of a log.
const QUOTAS: &str = "[groups]\nentries = 100000000\nbytes = 100000000000\ntotal_bytes = 100000000000\n";
const LIMITS: &str = "loopback exempt; quotas raised, all comes from one network";

/// Measures it.
pub async fn measure(scale: Scale) -> Result<Vec<Row>> {
    let options = DirectoryOptions { config: Some(QUOTAS.to_owned()), ..DirectoryOptions::default() };
    let directory = Directory::try_start(options)?;
    let address = directory.address().to_owned();
    let teams = founded(&address).await?;
    let mut rows = Vec::new();
    for (clients, each, target) in [(1, scale.of(4_000, 500), ""), (CLIENTS, scale.of(2_000, 100), ">= 2,000 /s")] {
        let took = appends(&address, &teams, clients, each).await?;
        let noun = if clients == 1 { "client" } else { "clients" };
        let rate = (clients * each) as f64 / took.as_secs_f64();
        let note = format!("{} of {ENTRY_BYTES} B to {LOGS} logs, durable when answered; {LIMITS}", clients * each);
        rows.push(Row::new(format!("group log appends, {clients} {noun}"), rate, "/s", target, note));
    }
    let (entries, took) = reads(&address, &teams, scale.of(40_000, 2_000), PAGE).await?;
    let rate = entries as f64 / took.as_secs_f64();
    let note = format!("{entries} entries in pages of {PAGE}; {LIMITS}");
    rows.push(Row::new(format!("group log reads, {CLIENTS} clients"), rate, "/s", ">= 20,000 /s", note));
    let (requests, took) = reads(&address, &teams, scale.of(1_000, 50), 1).await?;
    let rate = requests as f64 / took.as_secs_f64();
    let note = format!("{requests} requests for the newest entry; {LIMITS}");
    rows.push(Row::new(format!("group log requests for one entry, {CLIENTS} clients"), rate, "/s", "", note));
    Ok(rows)
}

/// Logs that one member has made.
async fn founded(address: &str) -> Result<Vec<Team>> {
    let mut http = Http::connect(address).await?;
    let founder = Registrant::new("founder", "bench", ORIGIN)?;
    founder.register(&mut http).await?;
    let (_session, bearer) = founder.session_and_token(&mut http, address).await?;
    let mut teams = Vec::with_capacity(LOGS);
    for number in 0..LOGS {
        teams.push(Team::new(&format!("team {number}")));
    }
    for team in &teams {
        let answer = team.create(&mut http, &bearer).await?;
        ensure!(answer.status == 201, "{} {}", answer.status, answer.text());
    }
    Ok(teams)
}

async fn appends(address: &str, teams: &[Team], clients: usize, each: usize) -> Result<Duration> {
    let mut running = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Http::connect(address).await?);
    }
    let since = Instant::now();
    for (client, mut http) in connections.into_iter().enumerate() {
        let team = teams[client % teams.len()].clone();
        running.spawn(async move {
            for number in 0..each {
                let mut entry = vec![7; ENTRY_BYTES];
                entry[..24]
                    .copy_from_slice(&[clients as u64, client as u64, number as u64].map(u64::to_be_bytes).concat());
                let answer = team.append(&mut http, "", &Append::new(EntryKind::Message, entry)).await?;
                ensure!(answer.status == 201, "{} {}", answer.status, answer.text());
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a client panicked")??;
    }
    Ok(since.elapsed())
}

/// Each client reads so many entries, from the beginning of its log as often as it comes to the end.
async fn reads(address: &str, teams: &[Team], each: usize, page: u32) -> Result<(usize, Duration)> {
    let mut running = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        connections.push(Http::connect(address).await?);
    }
    let since = Instant::now();
    for (client, mut http) in connections.into_iter().enumerate() {
        let team = teams[client % teams.len()].clone();
        running.spawn(async move {
            let (mut after, mut found) = (0, 0);
            while found < each {
                // Taken as it comes: what the client makes of it is not the directory's.
                let path = team.path(&format!("/entries?after={after}&limit={page}"));
                let answer = http.request("GET", &path, &team.reads(), None).await?;
                ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
                let full = answer.body.len() > ENTRY_BYTES * page as usize;
                ensure!(full || after > 0, "a short page at the beginning: {} bytes", answer.body.len());
                found += if full { page as usize } else { 0 };
                after = if full { after + u64::from(page) } else { 0 };
            }
            anyhow::Ok(found)
        });
    }
    let mut found = 0;
    while let Some(ended) = running.join_next().await {
        found += ended.context("a client panicked")??;
    }
    Ok((found, since.elapsed()))
}
