//! Attacks on the logs of groups, and what becomes of the others meanwhile.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::team::*;
use common::*;
use proto::directory::api::*;
use proto::directory::groups::access::read_token;
use proto::directory::groups::{Append, EntryKind, Running};
use proto::ids::{LogId, hex};
use tests::team::{Team, event, key, with_bearer, with_token};

#[tokio::test]
async fn a_member_that_floods_leaves_room_and_time_for_others() {
    let directory = Directory::with(|config| {
        // Those on this machine are limited here, in how often they append to a log and in nothing else.
        config.limit_loopback = true;
        let limits = &mut config.limits;
        (limits.request_burst, limits.member_per_minute, limits.deposit_burst) = (1_000_000, 1_000_000, 1_000_000);
        limits.lookup_burst = 1_000_000;
        (config.groups.entries, config.groups.bytes) = (1_000, 4 << 20);
    })
    .await;
    let (_alice, session, team, mut connection) = founded(&directory).await;
    let mallory = person("mallory");
    directory.publish(&mallory, 1).await;
    let hers = directory.session(&mallory).await;
    team.added(&mut connection, &with_bearer(&session.token), &event(0, b"genesis")).await.unwrap();
    let mut refused = std::collections::BTreeMap::<u16, u32>::new();
    let large = vec![0; 60_000];
    // As fast as she can: entries, keys that are staged, slots, races that she loses.
    for n in 0..400u32 {
        let text = [&n.to_be_bytes()[..], &large].concat();
        let append = Append::new(EntryKind::Message, text.clone());
        let bearer = with_bearer(&hers.token);
        for answer in [
            team.append(&mut connection, &bearer, &append).await.unwrap(),
            team.stage(&mut connection, &bearer, &text).await.unwrap(),
            team.append(&mut connection, &bearer, &event(9, &n.to_be_bytes())).await.unwrap(),
        ] {
            *refused.entry(answer.status).or_default() += 1;
        }
    }
    let (mut waited, begun) = (0, Instant::now());
    // Alice gets her event in, whoever has a turn, and her messages.
    let mut latest = 1;
    for n in 0..3u8 {
        loop {
            let answer =
                team.append(&mut connection, &with_bearer(&session.token), &event(latest, &[n])).await.unwrap();
            if answer.status == 201 {
                latest = answer.json::<AppendAnswerNumber>().unwrap().number;
                break;
            }
            let error: ErrorAnswer = answer.json().unwrap();
            assert!(error.error.code == ErrorCode::LostRace && error.error.retry_after.is_some(), "{error:?}");
            waited += 1;
            tokio::task::yield_now().await;
        }
        team.say(&mut connection, &with_bearer(&session.token), &[n, 9]).await.unwrap();
    }
    let took = begun.elapsed();
    println!(
        "a flood of 1,200 requests: answers by status {refused:?}; an honest member waited {took:?} ({waited} answers)"
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(refused[&507] > 300 && refused[&409] == 400, "{refused:?}");
    let head = team.page(&mut connection, 0, 1_000).await.unwrap();
    let bytes: usize = head.entries.iter().filter_map(|entry| entry.entry.as_ref()).map(|entry| entry.len()).sum();
    assert!(bytes <= (4 << 20) / 8 + 10_000, "{bytes}");
    directory.stop().await;
}

/// The number alone of an answer to an append.
#[derive(serde::Deserialize)]
struct AppendAnswerNumber {
    number: u64,
}

#[tokio::test]
async fn a_stranger_learns_nothing_of_a_log() {
    let directory = Directory::start().await;
    let (_alice, _session, team, mut connection) = founded(&directory).await;
    let mallory = person("mallory");
    directory.publish(&mallory, 1).await;
    let hers = directory.session(&mallory).await;
    let nothing = Team { log: LogId([9; 16]), ..team.clone() };
    let guess = with_token(&[7; 32]);
    let bearer = with_bearer(&hers.token);
    let append = Append::new(EntryKind::Message, b"x".to_vec()).encode();
    let mut answers = Vec::new();
    for log in [&team, &nothing] {
        for (method, below, body) in [
            ("GET", "", None),
            ("GET", "/entries", None),
            ("GET", "/slots", None),
            ("POST", "/entries", Some(&append)),
            ("DELETE", "", None),
        ] {
            for headers in [guess.clone(), format!("{guess}{bearer}")] {
                let answer =
                    connection.request(method, &log.path(below), &headers, body.map(Vec::as_slice)).await.unwrap();
                let error: ErrorAnswer = answer.json().unwrap();
                answers.push((below, answer.status, error.error.code, error.error.message));
            }
        }
        let nonce = NonceAnswer { nonce: directory.nonce().await, origin: ORIGIN.into(), time: 0 };
        let mallory = Team { log_key: key("mallory"), ..log.clone() };
        let answer = mallory.keep(&mut connection, &nonce, true, &[1], &[]).await.unwrap();
        let error: ErrorAnswer = answer.json().unwrap();
        answers.push(("/keeper", answer.status, error.error.code, error.error.message));
        // Statements of hers, for a log that is not hers.
        let header = mallory.header().unwrap();
        let answer = mallory.state(&mut connection, "", None, Some(header)).await.unwrap();
        answers.push(("state", answer.status, answer.json::<ErrorAnswer>().unwrap().error.code, String::new()));
    }
    let (there, nowhere) = answers.split_at(answers.len() / 2);
    assert_eq!(there, nowhere, "a log that is there looks like one that is not");
    // What a token may be is looked at before anything is read: what is none costs no look.
    let bad = format!("x-group-token: {}\r\n", hex(&[7; 32]));
    assert_eq!(connection.request("GET", &team.path(""), &bad, None).await.unwrap().status, 400);
    // A bearer token of no session is told, whatever else is shown.
    let headers = format!("{}authorization: Bearer AAAA\r\n", team.reads());
    assert_eq!(connection.request("GET", &team.path(""), &headers, None).await.unwrap().status, 403);
    directory.stop().await;
}

#[tokio::test]
async fn who_follows_and_does_not_read_holds_nobody_up() {
    let directory = Directory::start().await;
    let (_alice, _session, team, mut connection) = founded(&directory).await;
    let token = || Base64(read_token(&team.seed).to_vec());
    let follow = || ClientFrame::Follow { log: team.log, token: token(), after: 0 };
    let mut slow = Vec::new();
    for n in 0..4u8 {
        let who = person(&format!("slow{n}"));
        directory.publish(&who, 1).await;
        let mut session = directory.session(&who).await;
        // Reads nothing from here on.
        session.send(&follow()).await;
        slow.push(session);
    }
    let who = person("quick");
    directory.publish(&who, 1).await;
    let mut quick = directory.session(&who).await;
    quick.send(&follow()).await;
    assert!(matches!(quick.frame().await, ServerFrame::Head { .. }));
    let mut slowest = Duration::ZERO;
    for n in 0..300u64 {
        let begun = Instant::now();
        let text = [&n.to_be_bytes()[..], &[7; 20_000]].concat();
        team.say(&mut connection, "", &text).await.unwrap();
        match quick.said().await {
            Some(Said::Mail(..)) => {}
            other => panic!("{other:?}"),
        }
        quick.send(&ClientFrame::Read { log: team.log, upto: n + 1 }).await;
        slowest = slowest.max(begun.elapsed());
    }
    println!("300 entries of 20 kB with 4 who do not read: the slowest was with the fifth after {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let (found, _) = team.read(&mut connection, Running::start(team.log)).await.unwrap();
    assert_eq!(found.len(), 300);
    drop(slow);
    directory.stop().await;
}

#[tokio::test]
async fn a_session_follows_so_many_logs_and_no_more() {
    let directory = Directory::start().await;
    let (_alice, mut session, team, _) = founded(&directory).await;
    session.send(&ClientFrame::Unfollow { logs: vec![team.log; 257] }).await;
    assert!(matches!(session.frame().await, ServerFrame::Error { code: ErrorCode::TooLarge, .. }));
    // Guesses are answered, and nothing of them is kept.
    for n in 0..20u8 {
        session.send(&ClientFrame::Follow { log: LogId([n; 16]), token: Base64(vec![0; 32]), after: 0 }).await;
        assert_eq!(session.frame().await, ServerFrame::Gone { log: LogId([n; 16]) });
    }
    session.send(&ClientFrame::Follow { log: team.log, token: Base64(vec![0; 31]), after: 0 }).await;
    assert!(matches!(session.frame().await, ServerFrame::Error { code: ErrorCode::Malformed, .. }));
    directory.stop().await;
}
