//! Logs of groups, over the real API: what is appended is read and pushed, also to somebody of another domain, and survives kills;
//! what a directory learns is no more than it has to.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::process::*;
use common::team::*;
use common::*;
use futures_util::StreamExt;
use nix::sys::signal::Signal;
use proto::directory::api::*;
use proto::directory::groups::access::read_token;
use proto::directory::groups::{Append, EntryKind, FOLLOW_WINDOW, MAX_ENTRY_BYTES, Pushed, Running};
use tests::team::{Team, event, key, with_bearer};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;

/// What a session says that follows a log.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Entry(u64, EntryKind, Option<Vec<u8>>),
    Frame(ServerFrame),
}

async fn told(session: &mut Session) -> Option<Told> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match timeout_at(deadline, session.socket.next()).await.expect("nothing came") {
            Some(Ok(Message::Text(text))) => return Some(Told::Frame(serde_json::from_str(&text).unwrap())),
            Some(Ok(Message::Binary(bytes))) => {
                let pushed = Pushed::decode(&bytes).unwrap();
                return Some(Told::Entry(pushed.number, pushed.kind, pushed.entry.ok().map(<[u8]>::to_vec)));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_) | Err(_)) | None => return None,
        }
    }
}

async fn follow(session: &mut Session, team: &Team, after: u64) -> ServerFrame {
    let token = read_token(&team.seed).to_vec().into();
    session.send(&ClientFrame::Follow { log: team.log, token, after }).await;
    match told(session).await {
        Some(Told::Frame(frame)) => frame,
        other => panic!("{other:?}"),
    }
}

fn is_head(frame: &ServerFrame, expected: Option<u64>) -> bool {
    matches!(frame, ServerFrame::Head { number, .. } if *number == expected)
}

/// The numbers of the next `count` entries.
async fn numbers(session: &mut Session, count: usize) -> Vec<u64> {
    let mut found = Vec::new();
    while found.len() < count {
        match told(session).await {
            Some(Told::Entry(number, ..)) => found.push(number),
            other => panic!("{other:?} after {found:?}"),
        }
    }
    found
}

#[tokio::test]
async fn a_window_of_entries_is_pushed_and_no_more_until_they_are_read() {
    let directory = Directory::start().await;
    let (_alice, mut session, team, mut http) = founded(&directory).await;
    let count = FOLLOW_WINDOW as u64 + 10;
    for n in 0..count {
        team.say(&mut http, "", &n.to_be_bytes()).await.unwrap();
    }
    assert!(is_head(&follow(&mut session, &team, 0).await, Some(count)));
    assert_eq!(numbers(&mut session, FOLLOW_WINDOW).await, (1..=FOLLOW_WINDOW as u64).collect::<Vec<_>>());
    // Another question is answered, and nothing was pushed before.
    session
        .send(&ClientFrame::Watch { accounts: vec![Watch { account: _alice.account(), token: vec![0; 32].into() }] })
        .await;
    assert!(matches!(told(&mut session).await, Some(Told::Frame(ServerFrame::Presence { .. }))));
    session.send(&ClientFrame::Read { log: team.log, upto: 10 }).await;
    assert_eq!(numbers(&mut session, 10).await.last(), Some(&count));
    // From where the client is: after a reconnect nothing comes twice.
    let mut session = directory.session(&person("alice")).await;
    follow(&mut session, &team, count - 2).await;
    assert_eq!(numbers(&mut session, 2).await, [count - 1, count]);
    // What was dropped leaves its hash, and the keeper's word needs no event.
    let nonce = NonceAnswer { nonce: directory.nonce().await, origin: ORIGIN.into(), time: 0 };
    team.keep(&mut http, &nonce, true, &[count], &[]).await.unwrap();
    follow(&mut session, &team, count - 1).await;
    assert_eq!(told(&mut session).await, Some(Told::Entry(count, EntryKind::Message, None)));
    directory.stop().await;
}

#[tokio::test]
async fn somebody_of_another_domain_reads_and_appends_by_tokens_alone() {
    let directory = Directory::start().await;
    let (_alice, _session, mut team, mut http) = founded(&directory).await;
    let mut guest = directory.open().await;
    guest.send(&GuestHello { guest: true, node: None }).await;
    assert!(matches!(guest.frame().await, ServerFrame::Welcome { .. }));
    assert!(is_head(&follow(&mut guest, &team, 0).await, Some(0)));
    team.added(&mut http, "", &event(0, b"genesis")).await.unwrap();
    team.say(&mut http, "", b"hello from elsewhere").await.unwrap();
    assert_eq!(numbers(&mut guest, 2).await, [1, 2]);
    // Removed: told so at once, and from then on events and keys only.
    let old = team.clone();
    team.turn(3);
    let remove = Append { header: Some(team.header().unwrap()), ..event(1, b"remove") };
    old.added(&mut http, "", &remove).await.unwrap();
    team.say(&mut http, "", b"not for who was removed").await.unwrap();
    assert!(matches!(told(&mut guest).await, Some(Told::Frame(head)) if is_head(&head, None)));
    assert_eq!(told(&mut guest).await, Some(Told::Entry(3, EntryKind::Event, Some(b"remove".to_vec()))));
    team.added(&mut http, "", &event(3, b"later")).await.unwrap();
    assert!(matches!(told(&mut guest).await, Some(Told::Entry(5, EntryKind::Event, _))));
    // A guest still asks for nothing else.
    guest.send(&ClientFrame::Mailbox).await;
    assert!(matches!(guest.frame().await, ServerFrame::Error { code: ErrorCode::NotAllowed, .. }));
    directory.stop().await;
}

#[tokio::test]
async fn a_guest_who_follows_nothing_is_let_go() {
    let directory = Directory::with(|config| config.timing.guest = Duration::from_millis(100)).await;
    let (_alice, _session, team, _http) = founded(&directory).await;
    let mut guest = directory.open().await;
    guest.send(&GuestHello { guest: true, node: None }).await;
    assert!(matches!(guest.frame().await, ServerFrame::Welcome { .. }));
    guest.send(&ClientFrame::Follow { log: team.log, token: vec![0; 32].into(), after: 0 }).await;
    assert_eq!(guest.frame().await, ServerFrame::Gone { log: team.log });
    assert_eq!(guest.frame_or_end().await, None);
    directory.stop().await;
}

#[tokio::test]
async fn a_directory_learns_no_group_no_name_and_no_token() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("directoryd.toml");
    std::fs::write(&config, "log = \"debug\"\nlog_names = true").unwrap();
    let process = Process::start(data.path(), &["--config", config.to_str().unwrap()]);
    let (_alice, session, team, mut http) = founded(&process.client()).await;
    let secret = b"what is said in the group";
    let ciphertext: Vec<u8> = secret.iter().map(|byte| byte ^ 0x5a).collect();
    team.added(&mut http, "", &event(0, &ciphertext)).await.unwrap();
    team.say(&mut http, &with_bearer(&session.token), &[&ciphertext[..], b"2"].concat()).await.unwrap();
    team.put_slot(&mut http, &key("device"), 1, &ciphertext).await.unwrap();
    let (log, _) = process.end(Signal::SIGTERM);
    let id = team.log.to_string();
    assert!(!log.contains(&id), "which log somebody uses is in no line: {log}");
    let db = rusqlite::Connection::open(data.path().join("directory.db")).unwrap();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").ok();
    let bytes = std::fs::read(data.path().join("directory.db")).unwrap();
    let holds = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    assert!(holds(&ciphertext) && holds(&team.log.0), "the look finds what is there");
    for (what, secret) in [
        ("a text", &secret[..]),
        ("a token to read", &read_token(&team.seed)),
        ("a token to write", &proto::directory::groups::access::write_token(&team.seed)),
        ("the seed of tokens", &team.seed),
        ("the address of a writer", b"127.0.0.1"),
    ] {
        assert!(!holds(secret), "{what} is in the database");
    }
    // Every column there is: a new one has to be thought about.
    let mut query = db.prepare("SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name LIKE 'group\\_%' ESCAPE '\\' ORDER BY 1").unwrap();
    let columns: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let known = [
        "entries: entry expires hash kind log number place running writer",
        "logs: account appended bytes changes dropped entries event floor header header_number header_root log log_key minute next_turn number orphaned read root root_key root_number running slots turn turn_until write",
        "shares: appended bytes entries log lost minute next_turn slots writer",
        "slots: counter key log place slot writer",
        "staged: entry expires hash log place writer",
        "tokens: change hash log writes",
    ];
    let known: Vec<String> = known
        .iter()
        .flat_map(|table| {
            let (name, columns) = table.split_once(": ").unwrap();
            columns.split(' ').map(move |column| format!("group_{name}.{column}"))
        })
        .collect();
    assert_eq!(columns, known);
}

#[tokio::test]
async fn the_largest_entries_pass_in_both_directions() {
    let directory = Directory::start().await;
    let (_alice, mut session, team, mut http) = founded(&directory).await;
    follow(&mut session, &team, 0).await;
    for n in 0..4u8 {
        team.say(&mut http, "", &vec![n; MAX_ENTRY_BYTES]).await.unwrap();
        assert!(
            matches!(told(&mut session).await, Some(Told::Entry(_, _, Some(entry))) if entry == vec![n; MAX_ENTRY_BYTES])
        );
    }
    let (found, _) = team.read(&mut http, Running::start(team.log)).await.unwrap();
    assert_eq!(found.len(), 4);
    directory.stop().await;
}
