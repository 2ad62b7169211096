//! What a remote party can make a directory keep, tell and log: each has a bound, and somebody with whom it goes.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::mail::*;
use common::process::*;
use common::*;
use directoryd::cluster::Monotonic;
use directoryd::store::{MAX_TOKENS, RESERVED_SECONDS};
use ed25519_dalek::SigningKey;
use proto::directory::api::*;
use proto::directory::groups::{Append, EntryKind};
use proto::directory::reach::{MAX_ADDRESSES, MAX_REACH_BYTES, MAX_RELAY_BYTES};
use proto::directory::record::MAX_DEVICES;
use proto::directory::{ContactPolicy, Device, Reach, Record, SignedReach};
use proto::ids::{NodeId, hex};
use proto::time::Timestamp;
use rusqlite::Connection;
use tests::http::Http;
use tests::team::{Team, event, key, with_bearer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ACCOUNTS: usize = 2;
const ENVELOPES: usize = 5;
const STRANGERS: usize = 2;
/// Logs of groups of an account, entries and bytes of one, and what a row of it counts at least.
const LOGS: usize = 2;
const ENTRIES: usize = 16;
const LOG_BYTES: usize = 64 * 1024;
const ROW_BYTES: usize = 128;

/// Whose the rows of a table are.
#[derive(Clone, Copy, PartialEq)]
enum Owner {
    /// An account's: they go when it gives its name up.
    Account,
    /// A name's, which rests for 30 days.
    Name,
    /// A log's, which is there as long as the name of the account that made it rests.
    Log,
    /// The directory's: no remote party adds any.
    Directory,
}

/// Each table, whose its rows are, and how many there may be. One that is new needs its entry.
fn tables() -> BTreeMap<&'static str, (Owner, usize)> {
    BTreeMap::from([
        ("accounts", (Owner::Account, ACCOUNTS)),
        // Together with accounts.
        ("released", (Owner::Name, ACCOUNTS)),
        ("reach", (Owner::Account, ACCOUNTS * MAX_DEVICES)),
        ("sessions", (Owner::Account, ACCOUNTS * MAX_DEVICES)),
        ("tokens", (Owner::Account, ACCOUNTS * MAX_TOKENS)),
        // Strangers twice: without and with proof of work.
        ("mailbox", (Owner::Account, ACCOUNTS * (ENVELOPES + 2 * STRANGERS))),
        ("mailboxes", (Owner::Account, ACCOUNTS)),
        ("group_logs", (Owner::Log, ACCOUNTS * LOGS)),
        // Those that were dropped as well: their rows count.
        ("group_entries", (Owner::Log, ACCOUNTS * LOGS * LOG_BYTES / ROW_BYTES)),
        // Whoever has something there; and has lately had, for a minute.
        ("group_shares", (Owner::Log, ACCOUNTS * LOGS * (LOG_BYTES / ROW_BYTES + 2))),
        // Two for each of the last changes.
        ("group_tokens", (Owner::Log, ACCOUNTS * LOGS * 2 * 1_024)),
        ("group_slots", (Owner::Log, ACCOUNTS * LOGS * LOG_BYTES / ROW_BYTES)),
        ("group_staged", (Owner::Log, ACCOUNTS * LOGS * LOG_BYTES / ROW_BYTES)),
        ("sums", (Owner::Directory, 16)),
        ("clock", (Owner::Directory, 1)),
        ("identity", (Owner::Directory, 1)),
    ])
}

fn rows(database: &Connection) -> BTreeMap<String, usize> {
    let mut query = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
    let names: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let count = |name: &String| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM \"{name}\""), [], |row| row.get(0)).unwrap()
    };
    names.iter().map(|name| (name.clone(), count(name) as usize)).collect()
}

/// As many devices as a record may have; those of another round are others.
fn devices(name: &str, round: u8) -> Vec<SigningKey> {
    let key = |n: usize| SigningKey::from_bytes(&proto::ids::sha256(&[name.as_bytes(), &[round, n as u8]]));
    (0..MAX_DEVICES).map(key).collect()
}

fn with_devices(who: &Person, seq: u64, keys: &[SigningKey]) -> Record {
    let devices = keys.iter().map(|key| Device::of_key(key.verifying_key().to_bytes())).collect();
    Record { devices, prekeys: vec![], ..who.record(seq) }
}

/// Takes all that a member can take, and then some.
async fn take_all(directory: &Directory, name: &str, hash: &mut u32) -> Person {
    let mut who = person(name);
    who.policy = ContactPolicy::Open;
    for round in 0..3u8 {
        let keys = devices(name, round);
        let record = with_devices(&who, u64::from(round) + 1, &keys);
        assert!(directory.publish_record(&who, &record).await.status().is_success());
        for key in keys {
            who.device = key;
            assert!(directory.put("/v1/reach", &who.reach(1, "192.0.2.1:7")).await.status().is_success());
            directory.session(&who).await;
        }
    }
    let mut session = directory.session(&who).await;
    session.give_token(&TOKEN).await;
    loop {
        let add = (0..MAX_FRAME_ENTRIES).map(|_| {
            *hash += 1;
            hex(&proto::ids::sha256(&[&hash.to_be_bytes()]))
        });
        session.send(&ClientFrame::Tokens { add: add.collect(), remove: vec![] }).await;
        if matches!(session.frame().await, ServerFrame::Error { .. }) {
            break;
        }
    }
    for n in 0..3 * ENVELOPES as u32 {
        for token in [Some(&TOKEN), None] {
            directory.deposit(&who, token, envelope(who.device_id(), DAY, &n.to_be_bytes())).await;
        }
    }
    who
}

/// Makes logs until it is told to stop, and fills each.
async fn take_logs(directory: &Directory, who: &Person) {
    let (name, session) = (&who.name, directory.session(who).await);
    let mut http = Http::connect(directory.url.trim_start_matches("http://")).await.unwrap();
    for n in 0.. {
        let mut team = Team::new(&format!("{name}'s {n}"));
        if team.create(&mut http, &session.token).await.unwrap().status != 201 {
            assert_eq!(n, LOGS);
            break;
        }
        let mut full = 0;
        for n in 0..3 * ENTRIES as u64 {
            let bearer = if n % 2 == 0 { with_bearer(&session.token) } else { String::new() };
            let text = n.to_be_bytes();
            let append = team.proved(Append::new(EntryKind::Message, text.to_vec()), 0);
            full += u32::from(team.append(&mut http, &bearer, &append).await.unwrap().status == 507);
            full +=
                u32::from(team.stage(&mut http, &bearer, &[&text[..], b"keys"].concat()).await.unwrap().status == 507);
            team.put_slot(&mut http, &key(&format!("device {n}")), 1, &text).await.unwrap();
            // Lost on purpose.
            team.append(&mut http, &bearer, &event(99, &text)).await.unwrap();
        }
        assert!(full > 0);
        for seed in 0..5 {
            team.turn(seed);
            let header = team.header().unwrap();
            assert_eq!(team.state(&mut http, "", None, Some(header)).await.unwrap().status, 200);
        }
    }
}

#[tokio::test]
async fn every_table_has_a_bound_and_an_owner() {
    let clock = Monotonic::manual();
    let directory = Directory::with(|config| {
        config.clock = clock.clone();
        config.max_accounts = ACCOUNTS as u64;
        (config.mailbox_envelopes, config.mailbox_strangers) = (ENVELOPES as u64, STRANGERS as u64);
        config.groups.per_account = LOGS as u64;
        (config.groups.entries, config.groups.bytes) = (ENTRIES as u64, LOG_BYTES as u64);
        config.timing.sweep = Duration::from_millis(20);
    })
    .await;
    let (tables, names) = (tables(), ["mallory", "eve"]);
    // It is open once it answers.
    directory.nonce().await;
    let database = Connection::open(directory.config.data_dir.join("directory.db")).unwrap();
    let within = |when: &str| {
        let rows = rows(&database);
        for (name, count) in &rows {
            let Some((_, most)) = tables.get(name.as_str()) else {
                panic!("the table {name} has no entry here: say whose its rows are, and how many there may be")
            };
            assert!(count <= most, "{when}: {name} has {count} rows, and may have {most}");
        }
        assert_eq!(rows.len(), tables.len(), "all of them are there");
        rows
    };
    within("new");
    let mut hash = 0;
    for name in names {
        let who = take_all(&directory, name, &mut hash).await;
        take_logs(&directory, &who).await;
    }
    assert_eq!(refused(directory.publish(&person("trent"), 1).await).await.1, ErrorCode::NotAllowed);
    let full = within("full");
    println!("figure: rows when two members have taken all that they can: {full:?}");
    for table in ["accounts", "reach", "sessions", "group_logs"] {
        assert_eq!(full[table], tables[table].1, "{table}");
    }
    // The last frame of tokens is refused as a whole.
    assert!(full["tokens"] + names.len() * MAX_FRAME_ENTRIES > tables["tokens"].1 && full["mailbox"] >= 2 * ENVELOPES);
    for name in names {
        assert!(directory.unregister(&person(name)).await.status().is_success());
    }
    assert_eq!(refused(directory.publish(&person("trent"), 1).await).await.1, ErrorCode::NotAllowed);
    let gone = within("given up");
    for (table, (owner, most)) in &tables {
        let left = match owner {
            Owner::Account => 0,
            Owner::Name | Owner::Directory => *most,
            Owner::Log => full[*table],
        };
        assert_eq!(gone[*table], left, "{table} when all have given their names up");
    }
    clock.advance(Duration::from_secs(RESERVED_SECONDS as u64 + 1));
    let begun = std::time::Instant::now();
    let resting = |table: &str| table == "released" || tables[table].0 == Owner::Log;
    while rows(&database).iter().any(|(table, count)| resting(table) && *count > 0) {
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    drop(database);
    directory.stop().await;
}

#[tokio::test]
async fn the_largest_answer_about_reach_is_bounded() {
    let directory = Directory::start().await;
    let mut who = person("mallory");
    who.policy = ContactPolicy::Open;
    let mut largest = 0;
    for round in 0..8u8 {
        let keys = devices("mallory", round);
        let record = with_devices(&who, u64::from(round) + 1, &keys);
        assert!(directory.publish_record(&who, &record).await.status().is_success());
        for key in keys {
            who.device = key;
            let reach = Reach {
                account: who.account(),
                device: who.device_id(),
                node: NodeId(who.node.verifying_key().to_bytes()),
                relay: Some("r".repeat(MAX_RELAY_BYTES)),
                addresses: vec!["[1111:2222:3333:4444:5555:6666:7777:8888]:65535".parse().unwrap(); MAX_ADDRESSES],
                seq: u64::MAX >> 1,
                issued: Timestamp::now().unix_seconds(),
            };
            let bytes = SignedReach::sign(&reach, &who.device, &who.node).unwrap().encode();
            let published = directory.put("/v1/reach", &PublishReachRequest { reach: bytes.into() }).await;
            assert!(published.status().is_success(), "{}", published.text().await.unwrap());
            // Anybody may ask: the policy is `open`.
            let answer = directory.get(&format!("/v1/reach/{}", who.account())).await.bytes().await.unwrap();
            largest = largest.max(answer.len());
        }
    }
    let most = MAX_DEVICES * (MAX_REACH_BYTES.div_ceil(3) * 4 + 3) + 64;
    println!(
        "figure: the largest answer about reach: {largest} bytes, after 32 devices; it cannot have more than {most}"
    );
    assert!((MAX_DEVICES * 1_000..=most).contains(&largest), "{largest}");
    directory.stop().await;
}

/// Row 'one connection fills the disk with log': whatever is asked, the log hardly grows, and its lines are short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_thirty_kilobytes_hardly_grow_the_log() {
    const ROUNDS: usize = 200;
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &[]);
    let before = process.log().len();
    let mut connection = TcpStream::connect(process.url.trim_start_matches("http://")).await.unwrap();
    let mut asked = 0;
    for round in 0..ROUNDS {
        let name = format!("{round}-{}", "x".repeat(30_000));
        let heads = [
            format!("GET /v1/records/{name} HTTP/1.1\r\nHost: localhost"),
            format!("GET /v1/accounts/{name} HTTP/1.1\r\nHost: localhost"),
            format!("GET /v1/reach/{name} HTTP/1.1\r\nHost: localhost"),
            format!("GET /v1/users?query={name} HTTP/1.1\r\nHost: localhost"),
            format!("GET /{name} HTTP/1.1\r\nHost: localhost"),
            format!("DELETE /v1/records/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0"),
            format!("GET /v1/nonce HTTP/1.1\r\nHost: {name}"),
            format!("GET /v1/nonce HTTP/1.1\r\nHost: localhost\r\nOrigin: {name}"),
            format!("GET /v1/users HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {name}"),
            "GET /v1/nonce HTTP/1.1\r\nHost: localhost".to_owned(),
        ];
        for head in heads {
            connection.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
            answer(&mut connection).await;
            asked += 1;
        }
    }
    let log = process.stop().split_off(before);
    let longest = log.lines().map(str::len).max().unwrap();
    println!(
        "figure: {asked} requests with values of 30 KB: {} bytes of log, {} for each request; the longest line has {longest}",
        log.len(),
        log.len() / asked
    );
    assert!(log.contains("refused") && !log.contains("panicked"), "{log}");
    assert!(longest < 1_024, "{longest}");
    assert!(log.len() < 16 * asked, "{log}");
}

/// Takes one answer, which has a length.
async fn answer(connection: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.unwrap();
}
