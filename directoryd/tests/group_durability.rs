//! Logs of groups and what happens to a directory: kills, an older copy in its place, answers that are lost.
#![allow(clippy::unwrap_used)]

mod common;

use common::process::*;
use common::team::*;
use common::*;
use proto::directory::groups::api::*;
use proto::directory::groups::{Append, EntryKind, Running, entry_hash};
use tests::http::Http;
use tests::team::{Team, event, key};

#[tokio::test]
async fn killed_around_the_commit_the_same_entry_is_answered_once() {
    for (point, lies_there) in [("directory.append.before_commit", false), ("directory.append.after_commit", true)] {
        let data = tempfile::tempdir().unwrap();
        let process = Process::start(data.path(), &[]);
        let (_alice, session, team, _) = founded(&process.client()).await;
        drop(session);
        process.stop();
        let mut armed = command(data.path(), &[]);
        armed.env("CHATD_FAULT", format!("{point}:1"));
        let process = Process::spawn(armed);
        let genesis = event(0, b"genesis");
        let answer = team.append(&mut http(&process.client()).await, "", &genesis).await;
        assert!(answer.is_err(), "no answer, for it is dead");
        let (log, status) = process.ended();
        assert!(!status.success() && log.contains(point), "{log}");
        let process = Process::start(data.path(), &[]);
        let mut http = http(&process.client()).await;
        let answer = team.append(&mut http, "", &genesis).await.unwrap();
        assert_eq!(answer.status, if lies_there { 200 } else { 201 }, "{point}");
        let again: AppendAnswer = answer.json().unwrap();
        let expected = Running::start(team.log).with(&entry_hash(EntryKind::Event, b"genesis"));
        assert_eq!((again.number, again.hash.0), (1, expected.hash));
        let (found, _) = team.read(&mut http, Running::start(team.log)).await.unwrap();
        assert_eq!(found, [(1, Some(b"genesis".to_vec()))], "once, and not lost");
        process.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_appended_survives_kill_9() {
    let kills: u64 = std::env::var("CHATD_TORTURE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("directoryd.toml");
    std::fs::write(&config, "[groups]\nentries = 10000000\nbytes = 10000000000").unwrap();
    let args = ["--config", config.to_str().unwrap()];
    let process = Process::start(data.path(), &args);
    let (_alice, _session, team, _) = founded(&process.client()).await;
    process.kill();
    let mut known: Vec<(u64, [u8; 32], Vec<u8>)> = Vec::new();
    for round in 0..kills {
        let process = Process::start(data.path(), &args);
        let address = process.url.trim_start_matches("http://").to_owned();
        let mut writers = tokio::task::JoinSet::new();
        let acknowledged = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        for writer in 0..3u8 {
            let (team, address, count) = (team.clone(), address.clone(), std::sync::Arc::clone(&acknowledged));
            writers.spawn(async move {
                let (mut http, mut mine) = (Http::connect(&address).await.unwrap(), Vec::new());
                for n in 0u64.. {
                    let text = [&round.to_be_bytes()[..], &[writer], &n.to_be_bytes()].concat();
                    let append = Append::new(EntryKind::Message, text.clone());
                    let Ok(answer) = team.append(&mut http, "", &append).await else { break };
                    assert_eq!(answer.status, 201, "{}", answer.text());
                    let told: AppendAnswer = answer.json().unwrap();
                    mine.push((told.number, told.hash.0, text));
                    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                mine
            });
        }
        while acknowledged.load(std::sync::atomic::Ordering::Relaxed) < 30 + round * 11 % 71 {
            tokio::task::yield_now().await;
        }
        process.kill();
        while let Some(mine) = writers.join_next().await {
            known.extend(mine.unwrap());
        }
    }
    let process = Process::start(data.path(), &args);
    let (found, _) = team.read(&mut http(&process.client()).await, Running::start(team.log)).await.unwrap();
    let lost = known.iter().filter(|(number, _, text)| !found.contains(&(*number, Some(text.clone())))).count();
    let mut texts: Vec<_> = found.iter().map(|(_, text)| text).collect();
    texts.sort();
    texts.dedup();
    let twice = found.len() - texts.len();
    println!("{kills} kills, {} appends acknowledged: lost = {lost}, twice = {twice}", known.len());
    assert_eq!((lost, twice), (0, 0));
    process.stop();
}

#[tokio::test]
async fn a_directory_that_was_put_back_is_noticed_and_brought_up_to_date() {
    let data = tempfile::tempdir().unwrap();
    let (file, copy) = (data.path().join("directory.db"), data.path().join("copy.db"));
    let process = Process::start(data.path(), &[]);
    let (_alice, _session, mut team, mut connection) = founded(&process.client()).await;
    team.added(&mut connection, "", &event(0, b"genesis")).await.unwrap();
    team.say(&mut connection, "", b"before").await.unwrap();
    process.stop();
    rusqlite::Connection::open(&file).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").ok();
    std::fs::copy(&file, &copy).unwrap();
    let process = Process::start(data.path(), &[]);
    let mut connection = http(&process.client()).await;
    // Bob is removed, with other tokens, and much is said.
    let removed = team.clone();
    team.turn(5);
    let header = team.header().unwrap();
    let remove = Append { header: Some(header.clone()), ..event(1, b"remove bob") };
    removed.added(&mut connection, "", &remove).await.unwrap();
    team.say(&mut connection, "", b"after").await.unwrap();
    let (kept, head) = team.read(&mut connection, Running::start(team.log)).await.unwrap();
    process.stop();
    std::fs::copy(&copy, &file).unwrap();
    for rest in ["directory.db-wal", "directory.db-shm"] {
        let _ = std::fs::remove_file(data.path().join(rest));
    }
    let process = Process::start(data.path(), &[]);
    let mut connection = http(&process.client()).await;
    // It knows neither the place where a reader is nor the tokens; whoever has the header brings it.
    assert_eq!(connection.request("GET", &team.path(""), &team.reads(), None).await.unwrap().status, 404);
    assert_eq!(team.state(&mut connection, "", None, Some(header)).await.unwrap().status, 200);
    let page = team.page(&mut connection, head.number, 10).await.unwrap();
    assert!(page.before.is_none() && page.head.unwrap().number < head.number, "{page:?}");
    // Bob is faster than anybody, and has another history under the same numbers: nobody takes it for theirs.
    let mut forged = connection
        .request(
            "POST",
            &team.path("/entries"),
            &removed.writes(),
            Some(&Append::new(EntryKind::Message, b"bob's".to_vec()).encode()),
        )
        .await
        .unwrap();
    assert_eq!(forged.status, 403, "his token is none again");
    // Who has what is missing brings it to its place.
    let mut place = team.read(&mut connection, Running::start(team.log)).await.unwrap().1;
    for (number, text) in &kept[place.number as usize..] {
        let text = text.clone().unwrap();
        let append = if *number == 3 { event(1, &text) } else { Append::new(EntryKind::Message, text) };
        let at = place.with(&append.hash());
        forged = team.append(&mut connection, "", &Append { at: Some(at), ..append }).await.unwrap();
        assert_eq!(forged.status, 201, "{}", forged.text());
        place = at;
    }
    assert_eq!(place, head);
    assert_eq!(team.read(&mut connection, head).await.unwrap(), (vec![], head), "a reader goes on where it was");
    // The control: had somebody appended first, the same number would have another hash.
    let other = Append {
        at: Some(Running { number: head.number, hash: head.hash }),
        ..Append::new(EntryKind::Message, b"x".to_vec())
    };
    assert_eq!(team.append(&mut connection, "", &other).await.unwrap().status, 409);
    team.say(&mut connection, "", b"another history").await.unwrap();
    let elsewhere = head.with(&entry_hash(EntryKind::Message, b"what a reader knows"));
    let noticed = team.read(&mut connection, elsewhere).await.unwrap_err().to_string();
    assert!(noticed.contains("another history before"), "{noticed}");
    process.stop();
}

#[tokio::test]
async fn a_handover_that_is_repeated_is_answered_as_it_was() {
    let directory = Directory::start().await;
    let (_alice, _session, first, mut http) = founded(&directory).await;
    first.added(&mut http, "", &event(0, b"genesis")).await.unwrap();
    let mut team = first.clone();
    let (mut appends, mut after) = (Vec::new(), 1);
    for heir in ["bob", "carol"] {
        let owner = team.root.clone();
        (team.root, team.log_key) = (key(heir), key(&format!("log key of {heir}")));
        (team.root_number, team.number) = (team.root_number + 1, 0);
        team.turn(after as u8);
        let (root, header) = (Some(team.root_by(&owner).unwrap()), Some(team.header().unwrap()));
        let handover = Append { root, header, ..event(after, heir.as_bytes()) };
        // By the tokens that they replace.
        let shows = if appends.is_empty() { first.clone() } else { Team { seed: [1; 32], ..first.clone() } };
        let told = shows.added(&mut http, "", &handover).await.unwrap();
        after = told.number;
        appends.push((shows, handover, told.number));
    }
    for (shows, handover, number) in &appends {
        let answer = shows.append(&mut http, "", handover).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json::<AppendAnswer>().unwrap().number, *number);
    }
    // The root in force alone, again; and that of the one before, which says nothing any more.
    let (_, last, _) = &appends[1];
    assert_eq!(team.state(&mut http, "", last.root.clone(), last.header.clone()).await.unwrap().status, 200);
    let (_, before, _) = &appends[0];
    assert_eq!(team.state(&mut http, "", before.root.clone(), None).await.unwrap().status, 403);
    let late = Append { root: before.root.clone(), ..event(after, b"late") };
    assert_eq!(team.append(&mut http, "", &late).await.unwrap().status, 403);
    directory.stop().await;
}
