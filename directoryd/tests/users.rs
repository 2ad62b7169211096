//! Lists and search: parity row A2.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::*;
use directoryd::cluster::{Local, Monotonic};
use directoryd::config::ListPolicy;
use directoryd::metrics::Metrics;
use directoryd::store::{Publish, Store};
use proto::directory::SignedRecord;
use proto::directory::api::*;
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;

/// Registers many without HTTP, straight through the store.
async fn fill(data_dir: &std::path::Path, count: usize) {
    let (index, metrics) = (Arc::new(Local::new(Monotonic::System)), Arc::new(Metrics::default()));
    let config = directoryd::Config { data_dir: data_dir.to_owned(), ..directoryd::Config::default() };
    let (store, thread) = Store::open(&config.store(), index, Arc::clone(&metrics), CancellationToken::new()).unwrap();
    // The keys do not matter to a list: one signature is shared, only the first keys differ, and nothing is verified.
    let template = person("template");
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..count {
        let mut record = template.record(1);
        record.rotations.clear();
        record.name = proto::name::Name::parse(&format!("user{number:05}")).unwrap();
        let signed = SignedRecord::sign(&record, &template.identity).unwrap();
        record.first_key = proto::ids::sha256(&[&number.to_be_bytes()]);
        let bytes = unverified(&signed, &template.identity.verifying_key().to_bytes(), &record.first_key);
        let signed = SignedRecord::decode(&bytes).unwrap();
        let record = signed.peek().unwrap();
        let store = store.clone();
        waiting.spawn(async move { store.publish(Publish { bytes, signed, record, recovery: None, now: 1 }).await });
    }
    while let Some(done) = waiting.join_next().await {
        assert!(done.unwrap().unwrap().created);
    }
    drop(store);
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap();
}

/// The record's bytes with another first key in them.
fn unverified(signed: &SignedRecord, old: &[u8; 32], new: &[u8; 32]) -> Vec<u8> {
    let mut body = signed.body.clone();
    let at = body.windows(32).position(|window| window == old).unwrap();
    body[at..at + 32].copy_from_slice(new);
    SignedRecord { body, signature: signed.signature }.encode()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_ten_thousand_users_are_listed_completely() {
    let data = tempfile::tempdir().unwrap();
    fill(data.path(), 10_000).await;
    let directory = Directory::with(|config| config.data_dir = data.path().to_owned()).await;
    let alice = person("alice");
    assert_eq!(directory.publish(&alice, 1).await.status(), StatusCode::CREATED);
    let session = directory.session(&alice).await;
    for limit in [1_000, 999] {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let next = after.map(|name: String| format!("&after={name}")).unwrap_or_default();
            let page = directory.get_as(&format!("/v1/users?limit={limit}{next}"), &session.token).await;
            let page: UsersPage = page.json().await.unwrap();
            names.extend(page.users.into_iter().map(|user| user.name.to_string()));
            match page.next {
                Some(name) => after = Some(name),
                None => break,
            }
        }
        assert_eq!(names.len(), 10_001);
        assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!((names[0].as_str(), names[10_000].as_str()), ("alice", "user09999"));
    }
    // A substring in the middle of the names, in any case, over several pages.
    let page = directory.get_as("/v1/users?query=SER0999&limit=1000", &session.token).await;
    assert_eq!(page.json::<UsersPage>().await.unwrap().users.len(), 10);
    directory.stop().await;
}

#[tokio::test]
async fn a2_found_by_name_substring_address_and_presence() {
    let directory = Directory::start().await;
    let mut people = ["alice", "alicia", "bob", "ålice"].map(person);
    people[1].list_address = true;
    people[2].show_online = false;
    for (number, person) in people.iter().enumerate() {
        assert_eq!(directory.publish(person, 1).await.status(), StatusCode::CREATED);
        let reach = person.reach(1, &format!("192.0.2.{number}:7000"));
        assert_eq!(directory.put("/v1/reach", &reach).await.status(), StatusCode::OK);
    }
    let session = directory.session(&people[0]).await;
    let _bob = directory.session(&people[2]).await;
    let find = async |query: &str| -> Vec<String> {
        let answer = directory.get_as(&format!("/v1/users?{query}"), &session.token).await;
        let page: UsersPage = answer.json().await.unwrap();
        page.users.into_iter().map(|user| user.name.to_string()).collect()
    };
    assert_eq!(find("").await, ["alice", "alicia", "bob", "ålice"]);
    assert_eq!(find("query=LIC").await, ["alice", "alicia", "ålice"]);
    assert_eq!(find("query=%C3%85").await, ["ålice"], "Å finds å");
    assert_eq!(find("name=Alice").await, ["alice"]);
    assert_eq!(find("name=ali").await, [""; 0]);
    assert_eq!(find("address=192.0.2.1").await, ["alicia"]);
    assert_eq!(find("address=192.0.2.1:7000").await, ["alicia"]);
    assert_eq!(find("address=192.0.2.0").await, [""; 0], "alice does not list hers");
    assert_eq!(find("online=true").await, ["alice"], "bob does not show it");
    assert_eq!(find("query=ali&online=false").await, ["alicia"]);
    // She moves, and then lists her address no more.
    directory.put("/v1/reach", &people[1].reach(2, "198.51.100.7:1")).await;
    assert_eq!(find("address=192.0.2.1").await, [""; 0]);
    assert_eq!(find("address=198.51.100.7").await, ["alicia"]);
    people[1].list_address = false;
    directory.publish(&people[1], 2).await;
    assert_eq!(find("address=198.51.100.7").await, [""; 0]);
    for bad in ["address=x", "limit=0", "limit=1001", "online=maybe", "colour=blue", "after=%00"] {
        let answer = directory.get_as(&format!("/v1/users?{bad}"), &session.token).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    directory.stop().await;
}

#[tokio::test]
async fn the_operator_says_who_may_list() {
    for (policy, stranger, member) in
        [(ListPolicy::Members, false, true), (ListPolicy::Public, true, true), (ListPolicy::Off, false, false)]
    {
        let directory = Directory::with(|config| config.list = policy).await;
        let alice = person("alice");
        directory.publish(&alice, 1).await;
        let session = directory.session(&alice).await;
        for path in ["/v1/users", "/v1/users?query=a", "/v1/users?name=alice&online=true"] {
            assert_eq!(directory.get(path).await.status().is_success(), stranger, "{policy:?} {path}");
            let answer = directory.get_as(path, &session.token).await;
            assert_eq!(answer.status().is_success(), member, "{policy:?} {path}");
        }
        let exact: UsersPage = directory.get("/v1/users?name=alice").await.json().await.unwrap();
        assert_eq!(exact.users.len(), 1, "{policy:?}");
        assert_eq!(exact.users[0].online, (policy == ListPolicy::Public).then_some(true));
        directory.stop().await;
    }
}

#[tokio::test]
async fn b2_a_list_while_alone_comes_at_once() {
    let directory = Directory::with(|config| config.list = ListPolicy::Public).await;
    let page: UsersPage = directory.get("/v1/users").await.json().await.unwrap();
    assert!(page.users.is_empty() && page.next.is_none());
    directory.stop().await;
}
