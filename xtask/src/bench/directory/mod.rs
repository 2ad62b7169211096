//! The directory: durable registrations with possession of the key proved, lookups, and authenticated sessions.

pub mod groups;
pub mod mailbox;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::Directory;
use tests::directory::ORIGIN;
use tests::http::Http;
use tests::registry::Registrant;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Scale;
use super::accounts::raise_file_limit;
use super::table::Row;

/// Clients at the same time in the second measurement of each kind.
const CLIENTS: usize = 32;
/// Sessions to open.
const SESSIONS: usize = 1_000;
/// Handshakes under way at the same time.
const HANDSHAKES: usize = 64;
/// The limits that all these figures are measured under.
const LIMITS: &str = "defaults; loopback exempt";

/// Measures it.
pub async fn measure(scale: Scale) -> Result<Vec<Row>> {
    raise_file_limit()?;
    let directory = Directory::try_start(Default::default())?;
    let address = directory.address().to_owned();
    let mut rows = Vec::new();
    for (clients, count, target) in
        [(1, scale.of(5_000, 500), ">= 1,200 /s"), (CLIENTS, scale.of(40_000, 2_000), ">= 4,000 /s")]
    {
        // Keys and records are made beforehand: the figure is the directory's.
        let people = people(&format!("r{clients}x"), count)?;
        let took = registrations(&address, people, clients).await?;
        rows.push(row("directory registrations", clients, count, took, target));
    }
    for (clients, count, target) in
        [(1, scale.of(20_000, 2_000), ""), (CLIENTS, scale.of(200_000, 10_000), ">= 20,000 /s")]
    {
        let took = lookups(&address, count, clients, scale.of(5_000, 500)).await?;
        rows.push(row("directory lookups", clients, count, took, target));
    }
    let sessions = scale.of(SESSIONS, 100);
    let took = sessions_opened(&address, sessions).await?;
    rows.push(Row::new(
        format!("{sessions} authenticated sessions opened to the directory"),
        took.as_secs_f64(),
        "s",
        "< 1 s",
        format!("{HANDSHAKES} at a time; {LIMITS}"),
    ));
    let mib = directory.resident_kib().context("no /proc for directoryd")? as f64 / 1024.0;
    rows.push(Row::new("memory of the directory after it", mib, "MiB", "", "VmRSS"));
    Ok(rows)
}

fn row(what: &str, clients: usize, count: usize, took: Duration, target: &'static str) -> Row {
    let noun = if clients == 1 { "client" } else { "clients" };
    let rate = count as f64 / took.as_secs_f64();
    Row::new(format!("{what}, {clients} {noun}"), rate, "/s", target, format!("{count} of them; {LIMITS}"))
}

fn people(prefix: &str, count: usize) -> Result<Vec<Registrant>> {
    (0..count).map(|number| Registrant::new(&format!("{prefix}{number}"), "bench", ORIGIN)).collect()
}

async fn registrations(address: &str, people: Vec<Registrant>, clients: usize) -> Result<Duration> {
    let mut connections = Vec::new();
    for part in people.chunks(people.len().div_ceil(clients)) {
        let signed: Result<Vec<_>> = part.iter().map(|person| Ok((person.clone(), person.signed(1)?))).collect();
        connections.push((Http::connect(address).await?, signed?));
    }
    let since = Instant::now();
    let mut running = JoinSet::new();
    for (mut http, part) in connections {
        running.spawn(async move {
            for (person, record) in part {
                let answer = person.publish_signed(&mut http, record).await?;
                ensure!(answer.status == 201, "{}: {} {}", person.name.as_str(), answer.status, answer.text());
            }
            anyhow::Ok(())
        });
    }
    finish(running).await?;
    Ok(since.elapsed())
}

async fn lookups(address: &str, count: usize, clients: usize, known: usize) -> Result<Duration> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Http::connect(address).await?);
    }
    let since = Instant::now();
    let mut running = JoinSet::new();
    for (client, mut http) in connections.into_iter().enumerate() {
        running.spawn(async move {
            for number in 0..count / clients {
                let name = format!("r1x{}", (number * 7 + client * 131) % known);
                let answer = http.get(&format!("/v1/records/{name}")).await?;
                ensure!(answer.status == 200, "{name}: {} {}", answer.status, answer.text());
            }
            Ok(())
        });
    }
    finish(running).await?;
    Ok(since.elapsed())
}

async fn sessions_opened(address: &str, count: usize) -> Result<Duration> {
    let people = people("r32x", count)?;
    let mut connections = Vec::new();
    for _ in 0..HANDSHAKES {
        connections.push(Http::connect(address).await?);
    }
    let connections = Arc::new(tokio::sync::Mutex::new(connections));
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    let since = Instant::now();
    let mut running = JoinSet::new();
    for person in people {
        let (address, connections, room) = (address.to_owned(), Arc::clone(&connections), Arc::clone(&room));
        running.spawn(async move {
            let _turn = room.acquire_owned().await?;
            let mut http = connections.lock().await.pop().context("no connection left")?;
            let session = person.session(&mut http, &address).await?;
            connections.lock().await.push(http);
            anyhow::Ok(session)
        });
    }
    // All stay open until the last is.
    let mut open = Vec::with_capacity(count);
    while let Some(ended) = running.join_next().await {
        open.push(ended.context("a client panicked")??);
    }
    Ok(since.elapsed())
}

async fn finish(mut running: JoinSet<Result<()>>) -> Result<()> {
    while let Some(ended) = running.join_next().await {
        ended.context("a client panicked")??;
    }
    Ok(())
}
