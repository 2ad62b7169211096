//! The room for strangers in a mailbox: shared fairly by where they come from, and opened by work when it is full.
#![allow(clippy::unwrap_used)]

mod common;

use common::mail::*;
use common::*;
use proto::directory::ContactPolicy;
use proto::directory::api::*;
use proto::time::Timestamp;
use proto::wire::envelope::Outer;
use proto::wire::work::{MAX_WORK_BITS, Stamp, shown, solve};
use reqwest::{Response, StatusCode};

/// Bob takes requests from anyone, and everybody comes by a proxy that tells from where.
async fn open_bob(work_bits: u8) -> (Directory, Person) {
    let change = |config: &mut directoryd::Config| {
        config.proxies = vec!["127.0.0.1".into()];
        config.mailbox_work_bits = work_bits;
        config.limits.lookup_burst = 1_000;
    };
    let directory = Directory::with(change).await;
    let mut bob = person("bob");
    bob.policy = ContactPolicy::Open;
    assert!(directory.publish(&bob, 1).await.status().is_success());
    (directory, bob)
}

async fn from(directory: &Directory, bob: &Person, address: &str, envelope: Vec<u8>) -> Response {
    let url = format!("{}/v1/mailbox/{}", directory.url, bob.account());
    directory.http.post(url).header("x-forwarded-for", address).body(envelope).send().await.unwrap()
}

fn junk(bob: &Person, n: u32) -> Vec<u8> {
    envelope(bob.device_id(), DAY, &n.to_be_bytes())
}

/// The work that a refusal asks for.
async fn wanted(response: Response) -> WorkWanted {
    assert_eq!(response.status(), StatusCode::INSUFFICIENT_STORAGE);
    response.json::<ErrorAnswer>().await.unwrap().error.work.expect("work opens the lane")
}

fn stamped(envelope: &[u8], WorkWanted { bits, window }: WorkWanted) -> Vec<u8> {
    let outer = Outer::decode(envelope).unwrap();
    let work = solve(&outer, bits, window, || true);
    Outer { work, ..outer }.encode()
}

/// The same envelope, with a version that takes two bytes.
fn long_version(envelope: &[u8]) -> Vec<u8> {
    assert_eq!(envelope[..2], [0x97, 1]);
    [&[0x97, 0xcc, 1], &envelope[2..]].concat()
}

#[tokio::test]
async fn one_network_does_not_close_the_lane_of_strangers() {
    for (name, junk_from, honest_from) in [
        ("IPv4", Box::new(|n: u32| format!("192.0.2.{}", n % 200)) as Box<dyn Fn(u32) -> String>, "198.51.100.7"),
        ("IPv6", Box::new(|n| format!("2001:db8:1:{n:x}::1")), "2001:db8:2::1"),
        ("one host", Box::new(|_| "192.0.2.1".to_owned()), "192.0.2.2"),
    ] {
        let (directory, bob) = open_bob(4).await;
        let mut taken = 0;
        for n in 0..200 {
            taken += u32::from(from(&directory, &bob, &junk_from(n), junk(&bob, n)).await.status().is_success());
        }
        let honest = from(&directory, &bob, honest_from, junk(&bob, 1_000)).await;
        println!("figure: {name}: 200 junk envelopes, {taken} taken of 32 places, an honest one: {}", honest.status());
        assert!(taken <= 16 && honest.status() == StatusCode::CREATED, "{name}: {taken}");
        directory.stop().await;
    }
}

/// 32 throw-away accounts of one host used to close the lane for all other members.
#[tokio::test]
async fn accounts_are_free_and_close_the_lane_for_no_member() {
    let (directory, mut bob) = open_bob(4).await;
    bob.policy = ContactPolicy::Members;
    assert!(directory.publish(&bob, 2).await.status().is_success());
    let leave = async |name: &str, n: u32, address: &str| {
        let who = person(name);
        assert!(directory.publish(&who, 1).await.status().is_success(), "{name}");
        let session = directory.session(&who).await;
        let url = format!("{}/v1/mailbox/{}", directory.url, bob.account());
        let request = directory.http.post(url).header("x-forwarded-for", address).bearer_auth(&session.token);
        request.body(junk(&bob, n)).send().await.unwrap().status()
    };
    let mut taken = 0;
    for n in 0..24 {
        taken += u32::from(leave(&format!("throw-away-{n}"), n, "192.0.2.1").await.is_success());
    }
    println!("figure: 24 accounts of one host: {taken} taken of 32 places");
    assert_eq!(taken, 11);
    assert_eq!(leave("alice", 1_000, "198.51.100.7").await, StatusCode::CREATED);
    directory.stop().await;
}

#[tokio::test]
async fn an_honest_stranger_gets_into_a_full_lane_with_work() {
    let (directory, bob) = open_bob(8).await;
    let places = |n: u32| format!("10.{}.{}.1", n / 250, n % 250);
    let mut taken = 0;
    for n in 0..200 {
        taken += u32::from(from(&directory, &bob, &places(n), junk(&bob, n)).await.status().is_success());
    }
    assert_eq!(taken, 32, "junk from 200 networks closes the ordinary lane");
    let alice = "198.51.100.7";
    let request = junk(&bob, 1_000);
    let asked = wanted(from(&directory, &bob, alice, request.clone()).await).await;
    assert_eq!(asked.bits, 8);
    // Not for another envelope, not of another time.
    let good = stamped(&request, asked);
    let work = Outer::decode(&good).unwrap().work;
    let others = (2_000..2_100).map(|n| junk(&bob, n)).find(|other| {
        let outer = Outer { work, ..Outer::decode(other).unwrap() };
        shown(&outer, 0, u64::MAX) < 8
    });
    let other = others.unwrap();
    let stolen = Outer { work, ..Outer::decode(&other).unwrap() }.encode();
    wanted(from(&directory, &bob, alice, stolen).await).await;
    // One stamp is good for one envelope: neither with another lifetime nor in another spelling.
    let mut living = (DAY + 1..DAY + 100).map(|ttl| Outer { ttl, ..Outer::decode(&good).unwrap() });
    let other = living.find(|other| shown(other, 0, u64::MAX) < 8).expect("a lifetime is part of the work");
    wanted(from(&directory, &bob, alice, other.encode()).await).await;
    for envelope in [&request, &good] {
        let spelling = long_version(envelope);
        assert_eq!(Outer::decode(&spelling), Outer::decode(envelope));
        let answer = from(&directory, &bob, alice, spelling).await;
        assert_eq!(refused(answer).await, (StatusCode::BAD_REQUEST, ErrorCode::Malformed));
    }
    for window in [asked.window - 2, asked.window + 2] {
        let old = stamped(&request, WorkWanted { window, ..asked });
        wanted(from(&directory, &bob, alice, old).await).await;
    }
    assert_eq!(from(&directory, &bob, alice, good.clone()).await.status(), StatusCode::CREATED);
    // Again and again it takes no more room.
    for _ in 0..40 {
        assert_eq!(from(&directory, &bob, alice, good.clone()).await.status(), StatusCode::CREATED);
    }
    // The more are let in so, the more it costs; and there is an end.
    let mut steps = vec![asked.bits];
    for n in 3_000.. {
        let refused = from(&directory, &bob, alice, junk(&bob, n)).await;
        assert_eq!(refused.status(), StatusCode::INSUFFICIENT_STORAGE);
        let Some(asked) = refused.json::<ErrorAnswer>().await.unwrap().error.work else { break };
        steps.push(asked.bits);
        assert!(from(&directory, &bob, alice, stamped(&junk(&bob, n), asked)).await.status().is_success());
    }
    assert_eq!((steps.len(), steps.last()), (32, Some(&11)), "{steps:?}");
    directory.stop().await;
}

#[tokio::test]
async fn the_work_that_is_asked_for_takes_a_moment() {
    let bits = directoryd::Config::default().mailbox_work_bits;
    let bob = person("bob");
    let began = std::time::Instant::now();
    let bytes = junk(&bob, 1);
    let outer = Outer::decode(&bytes).unwrap();
    let window = proto::wire::work::window_of(Timestamp::now().unix_seconds());
    let stamp: Stamp = solve(&outer, bits, window, || true).unwrap();
    println!("figure: {bits} bits: {} hashes in {:?}", stamp.nonce + 1, began.elapsed());
    assert!(bits <= MAX_WORK_BITS && shown(&Outer { work: Some(stamp), ..outer }, window, window) >= bits);
}
