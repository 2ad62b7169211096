//! The real program and its mailbox: killed at any moment, with a wrong clock, a failing disk, a damaged database, or put
//! back in time.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use common::mail::*;
use common::process::*;
use common::*;
use nix::sys::signal::Signal;
use proto::directory::api::*;
use proto::wire::envelope::Outer;

/// Kills and rounds: some here, many with the amount of a torture.
fn rounds(few: usize) -> usize {
    std::env::var("CHATD_TORTURE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

/// What the world outside knows of bob's mailbox: the ciphertext's number tells envelopes apart.
#[derive(Default)]
struct Oracle {
    /// Acknowledged to their senders.
    left: BTreeSet<u32>,
    /// Whose deletion was acknowledged to bob.
    deleted: BTreeSet<u32>,
    /// Whose deletion he asked for, with no answer.
    unsure: BTreeSet<u32>,
}

fn which(envelope: &[u8]) -> u32 {
    u32::from_be_bytes(*Outer::decode(envelope).unwrap().ciphertext.last_chunk().unwrap())
}

/// Fetches and deletes until the directory is gone.
async fn fetch(directory: Directory, bob: Person, oracle: &mut Oracle, up: &AtomicBool) {
    let mut session = directory.session(&bob).await;
    up.store(true, Ordering::Relaxed);
    session.send(&ClientFrame::Mailbox).await;
    let mut asked: Vec<u32> = Vec::new();
    let mut last = 0;
    loop {
        match session.said().await {
            Some(Said::Mail(number, envelope)) => {
                assert!(number > last, "out of order");
                last = number;
                let n = which(&envelope);
                assert!(!oracle.deleted.contains(&n), "{n} was deleted, and comes again");
                asked.push(n);
                oracle.unsure.insert(n);
                session.try_delete(&bob, &[number]).await;
            }
            Some(Said::Frame(ServerFrame::Deleted { numbers })) => {
                assert_eq!(numbers.len(), 1);
                let n = asked.remove(0);
                oracle.unsure.remove(&n);
                oracle.deleted.insert(n);
            }
            Some(Said::Frame(ServerFrame::Drained { .. })) => {}
            Some(other) => panic!("{other:?}"),
            None => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    let data = tempfile::tempdir().unwrap();
    let next = Arc::new(AtomicU32::new(0));
    let mut oracle = Oracle::default();
    let bob = person("bob");
    // Room for whatever a torture leaves.
    let config = data.path().join("directoryd.toml");
    std::fs::write(&config, "mailbox_envelopes = 100000000\nmailbox_bytes = 1000000000").unwrap();
    let args = ["--config", config.to_str().unwrap()];
    for round in 0..rounds(6) {
        let process = Process::start(data.path(), &args);
        if round == 0 {
            process.client().publish(&bob, 1).await;
            process.client().session(&bob).await.give_token(&TOKEN).await;
        }
        let mut senders = tokio::task::JoinSet::new();
        let acknowledged = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let (url, next, acknowledged) = (process.url.clone(), Arc::clone(&next), Arc::clone(&acknowledged));
            senders.spawn(async move {
                let (directory, bob) = (Directory::at(&url), person("bob"));
                let mut mine = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let bytes = envelope(bob.device_id(), DAY, &n.to_be_bytes());
                    match directory.try_deposit(&bob, &TOKEN, bytes).await {
                        Some(answer) if answer.status().is_success() => mine.push(n),
                        Some(answer) => panic!("{}", answer.status()),
                        None => return mine,
                    }
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let up = AtomicBool::new(false);
        let fetching = fetch(process.client(), person("bob"), &mut oracle, &up);
        let killing = async {
            // In the midst of it, each time somewhere else.
            while acknowledged.load(Ordering::Relaxed) < 20 + round * 7 % 83 || !up.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
            process.kill();
        };
        tokio::join!(fetching, killing);
        while let Some(mine) = senders.join_next().await {
            oracle.left.extend(mine.unwrap());
        }
    }
    let process = Process::start(data.path(), &args);
    let mut session = process.client().session(&bob).await;
    let mut found = BTreeSet::new();
    session.send(&ClientFrame::Mailbox).await;
    while let Some(said) = session.said().await {
        match said {
            Said::Mail(number, envelope) => {
                assert!(found.insert(which(&envelope)), "twice");
                session.try_delete(&bob, &[number]).await;
            }
            Said::Frame(ServerFrame::Drained { .. }) => break,
            Said::Frame(_) => {}
        }
    }
    process.stop();
    let lost =
        oracle.left.iter().filter(|n| !oracle.deleted.contains(n) && !oracle.unsure.contains(n) && !found.contains(n));
    let lost = lost.count();
    let back = oracle.deleted.intersection(&found).count();
    println!(
        "{} kills, {} deposits and {} deletions acknowledged: lost = {lost}, come back = {back}",
        rounds(6),
        oracle.left.len(),
        oracle.deleted.len()
    );
    assert_eq!((lost, back), (0, 0));
    assert!(oracle.left.len() >= 100 && !oracle.deleted.is_empty());
}

#[tokio::test]
async fn killed_around_each_commit() {
    for (point, lies_there) in [
        ("directory.deposit.before_commit", false),
        ("directory.deposit.after_commit", true),
        ("directory.delete.before_commit", true),
        ("directory.delete.after_commit", false),
    ] {
        let data = tempfile::tempdir().unwrap();
        let bob = person("bob");
        let process = Process::start(data.path(), &[]);
        process.client().publish(&bob, 1).await;
        process.client().session(&bob).await.give_token(&TOKEN).await;
        process.stop();
        let mut armed = command(data.path(), &[]);
        armed.env("CHATD_FAULT", format!("{point}:1"));
        let process = Process::spawn(armed);
        let directory = process.client();
        let bytes = envelope(bob.device_id(), DAY, b"one");
        let answer = directory.try_deposit(&bob, &TOKEN, bytes.clone()).await;
        if point.contains("delete") {
            assert_eq!(answer.unwrap().status(), 201);
            let mut session = directory.session(&bob).await;
            let (mail, _) = session.drain().await;
            session.try_delete(&bob, &[mail[0].0]).await;
            assert_eq!(session.said().await, None, "no answer, for it is dead");
        } else {
            assert!(answer.is_none(), "no answer, for it is dead");
        }
        let (log, status) = process.ended();
        assert!(!status.success() && log.contains(point), "{log}");
        let process = Process::start(data.path(), &[]);
        let mut session = process.client().session(&bob).await;
        let (mail, _) = session.drain().await;
        assert_eq!(mail.len(), usize::from(lies_there), "{point}");
        // The sender repeats what it has no answer to: it lies there once.
        let answer = process.client().deposit(&bob, Some(&TOKEN), bytes.clone()).await;
        assert_eq!(answer.status(), if lies_there { 200 } else { 201 }, "{point}");
        assert_eq!(process.client().session(&bob).await.drain().await.0.len(), 1, "{point}");
        process.stop();
    }
}

#[tokio::test]
async fn no_wall_clock_makes_mail_expire() {
    let data = tempfile::tempdir().unwrap();
    let (wall, up) = (data.path().join("wall"), data.path().join("up"));
    let start = || Process::start_with_clocks(data.path(), &wall, &up);
    let ten_years = 10 * 365 * 86_400i64;
    let bob = person("bob");
    std::fs::write(&wall, "0").unwrap();
    let process = start();
    process.client().publish(&bob, 1).await;
    process.client().session(&bob).await.give_token(&TOKEN).await;
    fill(&process.client(), &bob, 0, 3).await;
    process.stop();
    let mut lost = 0;
    for shift in [0, 3_600, -3_600, 86_400, -86_400, ten_years, -ten_years] {
        // The clock is wrong from the start, and jumps back while it runs.
        std::fs::write(&wall, shift.to_string()).unwrap();
        let process = start();
        lost += usize::from(process.client().session(&bob).await.drain().await.0.len() != 3);
        std::fs::write(&wall, "0").unwrap();
        lost += usize::from(process.client().session(&bob).await.drain().await.0.len() != 3);
        // A crash, after which the clock goes on from what was saved.
        process.kill();
    }
    println!("wall clocks off by up to ten years, 14 looks: mail expired early = {lost}");
    assert_eq!(lost, 0);
    // The one clock that counts.
    std::fs::write(&up, (DAY + 2).to_string()).unwrap();
    let process = start();
    assert_eq!(process.client().session(&bob).await.drain().await.0, vec![]);
    process.client().until("directoryd_mailbox_envelopes 0\n").await;
    process.stop();
}

#[tokio::test]
async fn numbers_tell_of_a_directory_that_was_put_back() {
    let data = tempfile::tempdir().unwrap();
    let (file, copy) = (data.path().join("directory.db"), data.path().join("copy.db"));
    let bob = person("bob");
    let process = Process::start(data.path(), &[]);
    process.client().publish(&bob, 1).await;
    process.client().session(&bob).await.give_token(&TOKEN).await;
    fill(&process.client(), &bob, 0, 2).await;
    process.stop();
    // As a copy is made of a database that nobody has open: with what is in its log.
    rusqlite::Connection::open(&file).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").ok();
    std::fs::copy(&file, &copy).unwrap();
    let process = Process::start(data.path(), &[]);
    let highest = *fill(&process.client(), &bob, 10, 3).await.last().unwrap();
    let sessions = process.client().session(&bob).await.counter;
    process.stop();
    std::fs::copy(&copy, &file).unwrap();
    for rest in ["directory.db-wal", "directory.db-shm"] {
        let _ = std::fs::remove_file(data.path().join(rest));
    }
    let process = Process::start(data.path(), &[]);
    let told = fill(&process.client(), &bob, 20, 1).await[0];
    assert!(told <= highest, "the sender sees that {told} was given before: {highest} was the highest");
    let mut session = process.client().session(&bob).await;
    assert!(session.counter <= sessions, "and bob by the count of his sessions");
    assert_eq!(session.drain().await.0.len(), 3, "what came since the copy was made is gone");
    process.stop();
}

#[tokio::test]
async fn a_disk_that_fails_ends_it_and_nothing_acknowledged_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let bob = person("bob");
    let process = Process::start(data.path(), &[]);
    process.client().publish(&bob, 1).await;
    process.client().session(&bob).await.give_token(&TOKEN).await;
    process.stop();
    // Files of more than 1 MiB cannot be written: the log's write fails with EFBIG, which is no full disk.
    let limited = command(data.path(), &[]);
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg("trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"").arg(limited.get_program());
    shell.args(limited.get_args());
    let process = Process::spawn(shell);
    let directory = process.client();
    let mut kept = Vec::new();
    for n in 0..100u32 {
        let mut bytes = vec![7; 60_000];
        bytes.extend(n.to_be_bytes());
        match directory.try_deposit(&bob, &TOKEN, envelope(bob.device_id(), DAY, &bytes)).await {
            Some(answer) if answer.status().is_success() => kept.push(n),
            Some(answer) => assert_eq!(refused(answer).await.1, ErrorCode::Unavailable),
            None => break,
        }
    }
    let (log, status) = process.ended();
    assert!(!status.success(), "{log}");
    assert!(log.contains("can no longer be trusted") && log.contains("check the disk"), "{log}");
    assert!((1..60).contains(&kept.len()), "{}", kept.len());
    let process = Process::start(data.path(), &[]);
    let (mail, _) = process.client().session(&bob).await.drain_all(&bob).await;
    let found: Vec<u32> = mail.iter().map(|(_, envelope)| which(envelope)).collect();
    let lost = kept.iter().filter(|n| !found.contains(n)).count();
    println!("a failing disk: {} deposits acknowledged before it, lost = {lost}", kept.len());
    assert_eq!(lost, 0);
    process.stop();
}

#[tokio::test]
async fn a_damaged_database_is_noticed_and_only_read() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("directory.db");
    let bob = person("bob");
    let process = Process::start(data.path(), &[]);
    process.client().publish(&bob, 1).await;
    process.client().session(&bob).await.give_token(&TOKEN).await;
    fill(&process.client(), &bob, 0, 3).await;
    assert!(process.client().get("/healthz").await.text().await.unwrap().contains("\"clean\""));
    process.kill();
    // Killed, and whole.
    let process = Process::start(data.path(), &[]);
    let directory = process.client();
    let begun = std::time::Instant::now();
    while !directory.get("/healthz").await.text().await.unwrap().contains("\"checked\"") {
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    process.stop();
    // A page of an index, overwritten; and a log that tells of an unclean end.
    let db = rusqlite::Connection::open(&file).unwrap();
    let page: u64 = db
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'mailbox_by_hash'", [], |row| row.get::<_, i64>(0))
        .unwrap()
        .unsigned_abs();
    drop(db);
    let mut bytes = std::fs::read(&file).unwrap();
    let start = (page as usize - 1) * 4_096;
    bytes[start..start + 4_096].fill(0xab);
    std::fs::write(&file, bytes).unwrap();
    std::fs::write(data.path().join("directory.db-wal"), [0; 64]).unwrap();
    let process = Process::start(data.path(), &[]);
    let directory = process.client();
    let begun = std::time::Instant::now();
    while directory.get("/healthz").await.status().is_success() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    assert!(directory.get("/v1/records/bob").await.status().is_success(), "what is whole is served");
    let answer = directory.deposit(&bob, Some(&TOKEN), envelope(bob.device_id(), DAY, b"more")).await;
    let refusal: ErrorAnswer = answer.json().await.unwrap();
    assert!(refusal.error.code == ErrorCode::Unavailable && refusal.error.message.contains("damaged"), "{refusal:?}");
    let (log, _) = process.end(Signal::SIGTERM);
    assert!(log.contains("the database is damaged and only read"), "{log}");
}
