//! Rows of the threat model, as far as a directory has a part in them; each test prints its figure.
#![allow(clippy::unwrap_used)]

mod common;

use common::mail::*;
use common::*;
use proto::directory::ContactPolicy;
use proto::directory::api::*;
use reqwest::StatusCode;
use tokio::task::JoinSet;

/// Row 'mailbox fill': one contact and a crowd of strangers leave as much as they can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filling_a_mailbox_evicts_nothing_and_hurts_nobody_else() {
    const ROOM: u32 = 600;
    let directory = Directory::with(|config| config.mailbox_envelopes = ROOM.into()).await;
    let (mut bob, mut session) = bob_at(&directory).await;
    bob.policy = ContactPolicy::Open;
    assert!(directory.publish(&bob, 2).await.status().is_success());
    let carol = person("carol");
    assert!(directory.publish(&carol, 1).await.status().is_success());
    directory.session(&carol).await.give_token(&TOKEN).await;
    // What was there before: a friend's message and a stranger's request.
    let first = fill(&directory, &bob, 0, 1).await[0];
    let request = envelope(bob.device_id(), DAY, b"hello");
    left(directory.deposit(&bob, None, request.clone()).await).await;
    let mut flood = JoinSet::new();
    for client in 0..8u32 {
        let url = directory.url.clone();
        flood.spawn(async move {
            let (directory, bob) = (Directory::at(&url), person("bob"));
            let (mut taken, mut refusals) = (0u32, 0u32);
            for n in 0..2 * ROOM / 8 {
                let bytes = envelope(bob.device_id(), DAY, &(1_000_000 + client * 10_000 + n).to_be_bytes());
                let token = (n % 2 == 0).then_some(&TOKEN);
                match directory.deposit(&bob, token, bytes).await.status() {
                    StatusCode::CREATED => taken += 1,
                    StatusCode::INSUFFICIENT_STORAGE => refusals += 1,
                    other => panic!("{other}"),
                }
            }
            (taken, refusals)
        });
    }
    let (mut taken, mut refusals) = (0, 0);
    while let Some(ended) = flood.join_next().await {
        let (t, r) = ended.unwrap();
        (taken, refusals) = (taken + t, refusals + r);
    }
    let strangers = 32;
    assert_eq!(taken, ROOM - 1 + strangers - 1, "contacts and strangers each have their own room");
    // Somebody else's mailbox has all of its room.
    let others = fill(&directory, &carol, 0, 20).await.len();
    let (mail, _) = session.drain_all(&bob).await;
    let numbers: Vec<u64> = mail.iter().map(|(number, _)| *number).collect();
    let evicted = 2 + taken as usize - numbers.len();
    println!(
        "mailbox fill: {taken} taken of {}, {refusals} answered with 507, evicted = {evicted}; deposits for somebody \
         else meanwhile refused = {}",
        taken + refusals,
        20 - others
    );
    let kept = |bytes: &[u8]| mail.iter().any(|(_, envelope)| envelope == bytes);
    let friend = envelope(bob.device_id(), DAY, &0u32.to_be_bytes());
    assert!(evicted == 0 && numbers.contains(&first) && kept(&friend) && kept(&request));
    directory.stop().await;
}

/// Row 'enumeration': how many names can be tried from one address.
#[tokio::test]
async fn names_are_found_slowly() {
    let directory = Directory::with(|config| config.limit_loopback = true).await;
    let people: Vec<_> = (0..10).map(|n| person(&format!("user{n}"))).collect();
    for person in &people {
        assert!(directory.publish(person, 1).await.status().is_success());
    }
    let (mut tried, mut found, mut refusals) = (0, 0, 0);
    let mut one_shape = std::collections::BTreeSet::new();
    for n in 0..500 {
        // By turns: by name, by an id that nobody has, by the page's list, by the mailbox.
        let path = match n % 4 {
            0 | 1 => format!("/v1/records/user{}", n % 20),
            2 => format!("/v1/accounts/{}", person(&format!("nobody{n}")).account()),
            _ => format!("/v1/reach/{}", people[n % 10].account()),
        };
        let answer = directory.get(&path).await;
        match answer.status() {
            StatusCode::TOO_MANY_REQUESTS => refusals += 1,
            StatusCode::OK => (tried, found) = (tried + 1, found + 1),
            StatusCode::NOT_FOUND => {
                tried += 1;
                one_shape.insert(answer.json::<ErrorAnswer>().await.unwrap().error.message);
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(one_shape.len(), 1, "{one_shape:?}");
    assert_eq!(refused(directory.get("/v1/users").await).await.1, ErrorCode::RateLimited, "the limit is one for all");
    // Published records were looked up for the burst as well; what is given back meanwhile is a few.
    let limits = &directory.config.limits;
    let burst = limits.lookup_burst + limits.lookup_per_minute;
    assert!(refusals > 100 && tried <= burst, "{tried}");
    let an_hour = limits.lookup_burst + 60 * limits.lookup_per_minute;
    println!(
        "enumeration from one address: {tried} of 500 guesses answered at once ({found} were names), {refusals} refused; \
         in an hour at most {an_hour} guesses, and no list"
    );
    directory.stop().await;
}

/// Row 'presence and receipt probing': a stranger asks everything there is to ask, while bob is there and while he is not.
#[tokio::test]
async fn a_stranger_who_probes_learns_neither_presence_nor_receipt() {
    let directory = Directory::start().await;
    let (mut bob, mut his) = bob_at(&directory).await;
    (bob.policy, bob.show_online) = (ContactPolicy::Open, false);
    assert!(directory.publish(&bob, 2).await.status().is_success());
    let mallory = person("mallory");
    assert!(directory.publish(&mallory, 1).await.status().is_success());
    let mut hers = directory.session(&mallory).await;
    let request = envelope(bob.device_id(), DAY, b"are you there?");
    let mut probes = 0;
    let mut seen: Vec<Vec<String>> = Vec::new();
    let mut last = 0;
    for state in ["there", "has fetched", "away", "away for longer"] {
        let mut answers = Vec::new();
        for path in [
            format!("/v1/records/{}", bob.name),
            format!("/v1/accounts/{}", bob.account()),
            format!("/v1/users?name={}", bob.name),
            "/v1/users?online=true&query=bo".to_owned(),
        ] {
            for answer in [directory.get(&path).await, directory.get_as(&path, &hers.token).await] {
                answers.push(without_time(answer).await);
            }
        }
        for token in [None, Some(&[1; 32])] {
            let answer = directory.deposit(&bob, token, request.clone()).await;
            let status = answer.status();
            let mut answer: serde_json::Value = answer.json().await.unwrap();
            if let Some(number) = answer["number"].as_u64() {
                // Nothing is counted for a stranger, whatever became of the one before.
                assert_eq!(number, 0, "{state}");
                last += 1;
            }
            (answer["time"], answer["number"]) = (0.into(), 0.into());
            answers.push(format!("{status} {answer}"));
        }
        hers.watch(bob.account(), &[1; 32]).await;
        answers.push(format!("{:?}", hers.frame().await));
        hers.send_delete(&mallory, &[last]).await;
        let mut deleted = format!("{:?}", hers.frame().await);
        deleted = deleted.replace(&last.to_string(), "n");
        answers.push(deleted);
        hers.send(&ClientFrame::Mailbox).await;
        answers.push(format!("{:?}", hers.said().await));
        probes += answers.len();
        seen.push(answers);
        match state {
            "there" => {
                let (mail, _) = his.drain().await;
                his.delete(&bob, &[mail[0].0]).await;
            }
            "has fetched" => his.socket.close(None).await.unwrap(),
            _ => {}
        }
    }
    let differ = seen.iter().skip(1).flat_map(|round| round.iter().zip(&seen[0])).filter(|(a, b)| a != b).count();
    println!("presence and receipt probing: {probes} probes in 4 states, answers that tell them apart = {differ}");
    assert_eq!(differ, 0, "{seen:#?}");
    directory.stop().await;
}

async fn without_time(answer: reqwest::Response) -> String {
    let status = answer.status();
    let mut body: serde_json::Value = answer.json().await.unwrap();
    body["time"] = 0.into();
    format!("{status} {body}")
}

/// Row 'a member exhausts the directory': new devices in every record.
#[tokio::test]
async fn what_devices_leave_behind_goes_with_the_record_that_named_them() {
    let directory = Directory::start().await;
    let mut mallory = person("mallory");
    let rounds = 40u64;
    for round in 0..rounds {
        mallory.device = ed25519_dalek::SigningKey::from_bytes(&[round as u8 + 1; 32]);
        assert!(directory.publish(&mallory, round + 1).await.status().is_success());
        assert!(directory.put("/v1/reach", &mallory.reach(1, "192.0.2.1:7")).await.status().is_success());
        directory.session(&mallory).await;
    }
    let (path, session) = (format!("/v1/reach/{}", mallory.account()), directory.session(&mallory).await);
    let reach: ReachAnswer = directory.get_as(&path, &session.token).await.json().await.unwrap();
    let db = rusqlite::Connection::open(directory.config.data_dir.join("directory.db")).unwrap();
    let rows =
        |table: &str| -> i64 { db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap() };
    let kept = (reach.reach.len(), rows("reach"), rows("sessions"));
    println!("figure: {rounds} devices of one member: {} of reach told, rows kept: {} + {}", kept.0, kept.1, kept.2);
    assert_eq!(kept, (1, 1, 1));
    // A reach of a device that was dropped finds no place any more.
    let last = mallory.reach(2, "192.0.2.1:7");
    mallory.device = ed25519_dalek::SigningKey::from_bytes(&[99; 32]);
    assert!(directory.publish(&mallory, rounds + 1).await.status().is_success());
    assert!(!directory.put("/v1/reach", &last).await.status().is_success());
    assert!(directory.unregister(&mallory).await.status().is_success());
    assert_eq!((rows("reach"), rows("sessions"), rows("tokens"), rows("released")), (0, 0, 0, 1));
    drop(db);
    directory.stop().await;
}

/// Names that are taken and given up again have a bound: the room of the directory.
#[tokio::test]
async fn names_that_rest_take_room() {
    let directory = Directory::with(|config| config.max_accounts = 3).await;
    for name in ["alice", "bob", "carol"] {
        let person = person(name);
        assert!(directory.publish(&person, 1).await.status().is_success());
        assert!(directory.unregister(&person).await.status().is_success());
    }
    assert_eq!(refused(directory.publish(&person("dave"), 1).await).await.1, ErrorCode::NotAllowed);
    assert!(directory.publish(&person("alice"), 2).await.status().is_success(), "its own name takes its own room");
    directory.stop().await;
}

/// Rows 'any Host' and 'X-Forwarded-For', over the wire.
#[tokio::test]
async fn a_page_from_elsewhere_and_an_unnamed_proxy_get_nowhere() {
    let directory = Directory::start().await;
    for (header, value, status) in [
        ("host", "evil.example.net", StatusCode::MISDIRECTED_REQUEST),
        ("host", "example.org", StatusCode::OK),
        ("origin", "https://evil.example.net", StatusCode::FORBIDDEN),
    ] {
        for path in ["/v1/nonce", "/healthz", "/metrics", "/", "/v1/users?name=bob"] {
            let answer =
                directory.http.get(format!("{}{path}", directory.url)).header(header, value).send().await.unwrap();
            assert_eq!(answer.status(), status, "{path} {header}: {value}");
        }
        let session = directory.http.get(format!("{}/v1/session", directory.url)).header(header, value);
        assert_eq!(session.send().await.unwrap().status() == status, status != StatusCode::OK);
    }
    directory.stop().await;
    let behind = Directory::with(|config| config.proxies = vec!["127.0.0.1".into()]).await;
    for said in [None, Some("unknown"), Some("[::1]:80"), Some("127.0.0.1")] {
        let mut refusals = 0;
        for _ in 0..400 {
            let mut request = behind.http.get(format!("{}/v1/records/bob", behind.url));
            if let Some(said) = said {
                request = request.header("x-forwarded-for", said);
            }
            refusals += usize::from(request.send().await.unwrap().status() == StatusCode::TOO_MANY_REQUESTS);
        }
        println!("figure: 400 look-ups with X-Forwarded-For {said:?}: {refusals} refused");
        assert!(refusals >= 95, "{said:?}");
    }
    behind.stop().await;
}

/// Every route counts, whatever it is for.
#[tokio::test]
async fn every_route_has_a_limit() {
    let directory = Directory::with(|config| {
        config.limit_loopback = true;
        (config.limits.request_burst, config.limits.request_per_minute) = (40, 1);
    });
    let directory = directory.await;
    let paths = ["/v1/nonce", "/healthz", "/metrics", "/openapi.json", "/", "/nowhere", "/v1/session"];
    let mut refusals = std::collections::BTreeMap::new();
    for n in 0..paths.len() * 12 {
        let path = paths[n % paths.len()];
        let limited = directory.get(path).await.status() == StatusCode::TOO_MANY_REQUESTS;
        *refusals.entry(path).or_insert(0) += usize::from(limited);
    }
    assert!(refusals.values().all(|count| *count >= 5), "{refusals:?}");
    directory.stop().await;
}

/// Row 'clients that never read': they ask for much and take nothing.
#[tokio::test]
async fn clients_that_never_read_are_let_go() {
    use tokio::io::AsyncWriteExt;
    let directory = Directory::with(|config| config.timing.write = std::time::Duration::from_millis(500)).await;
    let address = directory.url.trim_start_matches("http://").to_owned();
    let begun = std::time::Instant::now();
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = tokio::net::TcpStream::connect(&address).await.unwrap();
        let asks = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400);
        client.write_all(asks.as_bytes()).await.unwrap();
        clients.push(client);
    }
    // The one that asks for the metrics is all that is left.
    directory.until("directoryd_connections 1\n").await;
    println!("figure: {} clients that never read were let go after {:?}", clients.len(), begun.elapsed());
    directory.stop().await;
}

/// The same row, as WebSockets: with a session or before any hello.
#[tokio::test]
async fn sessions_that_never_read_are_let_go() {
    let directory = Directory::with(|config| config.timing.write = std::time::Duration::from_millis(500)).await;
    let mut clients = Vec::new();
    for n in 0..10 {
        let person = person(&format!("user{n}"));
        assert!(directory.publish(&person, 1).await.status().is_success());
        let session = directory.session_that_never_reads(&person).await;
        clients.push(session);
        clients.push(directory.open().await);
    }
    directory.until("directoryd_sessions 0\n").await;
    directory.until("directoryd_connections 1\n").await;
    drop(clients);
    directory.stop().await;
}

/// Row 'eight accounts fill the mailbox for everybody'.
#[tokio::test]
async fn eight_that_fill_their_mailboxes_leave_room_for_others() {
    let directory = Directory::with(|config| config.mailbox_total_bytes = 400_000).await;
    let mut sessions = Vec::new();
    let mut taken = Vec::new();
    let mut names: Vec<_> = (0..8).map(|n| format!("loud{n}")).collect();
    names.push("alice".into());
    for name in &names {
        let person = person(name);
        assert!(directory.publish(&person, 1).await.status().is_success());
        let mut session = directory.session(&person).await;
        session.give_token(&TOKEN).await;
        sessions.push(session);
    }
    let mut full = 0;
    for round in 0..60u8 {
        for name in &names[..8] {
            let person = person(name);
            let answer =
                directory.deposit(&person, Some(&TOKEN), envelope(person.device_id(), DAY, &[round; 4_000])).await;
            full += usize::from(answer.status() == StatusCode::INSUFFICIENT_STORAGE);
        }
    }
    let alice = person("alice");
    for round in 0..5u8 {
        let answer = directory.deposit(&alice, Some(&TOKEN), envelope(alice.device_id(), DAY, &[round; 4_000])).await;
        taken.push(answer.status());
    }
    println!("figure: eight loud accounts refused {full} times of 480; alice was given {taken:?}");
    assert!(full > 300 && taken.iter().all(|status| *status == StatusCode::CREATED), "{taken:?}");
    directory.stop().await;
}
