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
    let request = left(directory.deposit(&bob, None, envelope(bob.device_id(), DAY, b"hello")).await).await.number;
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
    assert!(evicted == 0 && numbers.contains(&first) && numbers.contains(&request));
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
                // Numbers go up by one, whatever became of the one before.
                assert!(last == 0 || number == last + 1, "{state}");
                last = number;
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
