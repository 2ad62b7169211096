//! Names and records: parity rows A1, C1, C2, D1, D4 and the directory's half of A3.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use proto::directory::api::*;
use proto::directory::{ContactPolicy, SignedRecord};
use reqwest::StatusCode;

#[tokio::test]
async fn a1_register_publish_again_and_name_taken() {
    let directory = Directory::start().await;
    let alice = person("alice");
    let first = directory.publish(&alice, 1).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let answer: PublishAnswer = first.json().await.unwrap();
    assert_eq!((answer.account, answer.seq), (alice.account(), 1));
    // A new record of the same account, and the same one twice.
    let record = alice.record(2);
    assert_eq!(directory.publish_record(&alice, &record).await.status(), StatusCode::OK);
    assert_eq!(directory.publish_record(&alice, &record).await.status(), StatusCode::OK);
    // From a new address.
    for (seq, address) in [(1, "192.0.2.1:1"), (2, "192.0.2.2:2")] {
        let response = directory.put("/v1/reach", &alice.reach(seq, address)).await;
        assert_eq!(response.json::<PublishReachAnswer>().await.unwrap().seq, seq);
    }
    // An older reach changes nothing.
    let late = directory.put("/v1/reach", &alice.reach(1, "192.0.2.9:9")).await;
    assert_eq!(late.json::<PublishReachAnswer>().await.unwrap().seq, 2);
    // Another key.
    let mut mallory = person("mallory");
    mallory.name = "alice".into();
    assert_eq!(refused(directory.publish(&mallory, 9).await).await, (StatusCode::CONFLICT, ErrorCode::NameTaken));
    mallory.name = "a1ice".into();
    let alike = refused(directory.publish(&mallory, 9).await).await;
    assert_eq!(alike, (StatusCode::BAD_REQUEST, ErrorCode::NameNotAllowed), "it looks like alice");
    directory.stop().await;
}

#[tokio::test]
async fn an_older_record_is_refused_with_the_stored_one() {
    let directory = Directory::start().await;
    let alice = person("alice");
    assert_eq!(directory.publish(&alice, 5).await.status(), StatusCode::CREATED);
    for seq in [4, 5] {
        let mut other = alice.record(seq);
        other.min_suite = 3;
        let response = directory.publish_record(&alice, &other).await;
        assert_eq!(response.status(), StatusCode::CONFLICT);
        let error = response.json::<ErrorAnswer>().await.unwrap().error;
        assert_eq!(error.code, ErrorCode::Conflict);
        let stored = SignedRecord::decode(&error.record.unwrap()).unwrap().verify().unwrap();
        assert_eq!((stored.seq, stored.min_suite), (5, 2));
    }
    // One account, one name.
    let mut renamed = person("alice");
    renamed.name = "alicia".into();
    assert_eq!(refused(directory.publish(&renamed, 6).await).await, (StatusCode::CONFLICT, ErrorCode::Conflict));
    directory.stop().await;
}

#[tokio::test]
async fn d1_bad_requests_are_typed() {
    let directory = Directory::start().await;
    let alice = person("alice");
    let bytes = SignedRecord::sign(&alice.record(1), &alice.identity).unwrap().encode();
    let good = |nonce: Base64| {
        use ed25519_dalek::Signer;
        let signature = alice.identity.sign(&publish_message(ORIGIN, &nonce, &bytes)).to_bytes().to_vec();
        PublishRequest { record: Base64(bytes.clone()), nonce, signature: Base64(signature), recovery: None }
    };
    let nonce = directory.nonce().await;
    let path = "/v1/records/alice";
    let mut stale = good(nonce.clone());
    stale.nonce.0[3] ^= 1;
    let mut unsigned = good(nonce.clone());
    unsigned.signature.0[0] ^= 1;
    let mut forged = good(nonce.clone());
    let last = forged.record.0.len() - 1;
    forged.record.0[last] ^= 1;
    let mut huge = good(nonce.clone());
    huge.record = Base64(vec![0; 33_000]);
    let mut garbage = good(nonce.clone());
    garbage.record = Base64(vec![0x91; 1_000]);
    for (request, status, code) in [
        (stale, StatusCode::UNAUTHORIZED, ErrorCode::StaleNonce),
        (unsigned, StatusCode::FORBIDDEN, ErrorCode::BadSignature),
        (forged, StatusCode::FORBIDDEN, ErrorCode::BadSignature),
        (huge, StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge),
        (garbage, StatusCode::BAD_REQUEST, ErrorCode::Malformed),
    ] {
        assert_eq!(refused(directory.put(path, &request).await).await, (status, code));
    }
    for bad in [serde_json::json!({}), serde_json::json!({"record": 7}), serde_json::json!([])] {
        let answer = refused(directory.put(path, &bad).await).await;
        assert_eq!(answer, (StatusCode::BAD_REQUEST, ErrorCode::Malformed));
    }
    let other_path = refused(directory.put("/v1/records/bob", &good(nonce.clone())).await).await;
    assert_eq!(other_path, (StatusCode::BAD_REQUEST, ErrorCode::Malformed));
    let bad_name = refused(directory.put("/v1/records/a%20b", &good(nonce.clone())).await).await;
    assert_eq!(bad_name, (StatusCode::BAD_REQUEST, ErrorCode::NameNotAllowed));
    let big = serde_json::json!({ "record": "A".repeat(200_000) });
    let too_large = refused(directory.put(path, &big).await).await;
    assert_eq!(too_large, (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge));
    let mut expired = alice.record(1);
    (expired.issued, expired.expires) = (1_000, 2_000);
    let answer = refused(directory.publish_record(&alice, &expired).await).await;
    assert_eq!(answer, (StatusCode::BAD_REQUEST, ErrorCode::Expired));
    let mut elsewhere = alice.record(1);
    elsewhere.origin = "example.net".into();
    let answer = refused(directory.publish_record(&alice, &elsewhere).await).await;
    assert_eq!(answer, (StatusCode::BAD_REQUEST, ErrorCode::Malformed));
    // After all of that, the good one.
    assert_eq!(directory.put(path, &good(nonce)).await.status(), StatusCode::CREATED);
    let missing = refused(directory.get("/v1/records/nobody").await).await;
    assert_eq!(missing, (StatusCode::NOT_FOUND, ErrorCode::NotFound));
    assert_eq!(refused(directory.get("/v1/nothing").await).await, (StatusCode::NOT_FOUND, ErrorCode::NotFound));
    let method = directory.http.post(format!("{}/v1/nonce", directory.url)).send().await.unwrap();
    assert_eq!(method.status(), StatusCode::METHOD_NOT_ALLOWED);
    directory.stop().await;
}

#[tokio::test]
async fn d1_a_browser_sees_who_is_there() {
    let directory = Directory::with(|config| config.list = directoryd::config::ListPolicy::Public).await;
    let (alice, bob) = (person("alice"), person("bob"));
    for person in [&alice, &bob] {
        assert_eq!(directory.publish(person, 1).await.status(), StatusCode::CREATED);
    }
    let _session = directory.session(&bob).await;
    let response = directory.get("/").await;
    assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = response.text().await.unwrap();
    assert!(page.contains("<li>alice</li>") && page.contains("title=\"online\">bob</li>"), "{page}");
    directory.stop().await;
    // By default the page names nobody.
    let directory = Directory::start().await;
    assert_eq!(directory.publish(&alice, 1).await.status(), StatusCode::CREATED);
    let page = directory.get("/").await.text().await.unwrap();
    assert!(page.contains("1 person") && page.contains(ORIGIN) && !page.contains("alice"), "{page}");
    directory.stop().await;
}

#[tokio::test]
async fn d4_a_name_is_kept_over_a_restart_and_for_its_account_after_release() {
    let mut directory = Directory::start().await;
    let (alice, bob) = (person("alice"), person("bob"));
    assert_eq!(directory.publish(&alice, 1).await.status(), StatusCode::CREATED);
    directory.restart().await;
    assert_eq!(directory.publish(&alice, 2).await.status(), StatusCode::OK, "still hers");
    let mut thief = person("bob");
    thief.name = "alice".into();
    // Only she can give it up.
    let answer = {
        use ed25519_dalek::Signer;
        let nonce = directory.nonce().await;
        let signature = Base64(bob.identity.sign(&unregister_message(ORIGIN, &nonce)).to_bytes().to_vec());
        let request = UnregisterRequest { nonce, signature };
        directory.http.delete(format!("{}/v1/records/alice", directory.url)).json(&request).send().await.unwrap()
    };
    assert_eq!(refused(answer).await, (StatusCode::FORBIDDEN, ErrorCode::BadSignature));
    let released: UnregisterAnswer = directory.unregister(&alice).await.json().await.unwrap();
    assert!(released.reserved_until > released.time + 29 * 86_400);
    assert_eq!(directory.get("/v1/records/alice").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(directory.unregister(&alice).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(refused(directory.publish(&thief, 1).await).await, (StatusCode::CONFLICT, ErrorCode::NameTaken));
    assert_eq!(directory.publish(&alice, 2).await.status(), StatusCode::CONFLICT, "her numbers go on");
    assert_eq!(directory.publish(&alice, 3).await.status(), StatusCode::CREATED, "her name is not burnt");
    directory.stop().await;
}

#[tokio::test]
async fn c2_found_offline_and_unknown_are_distinct() {
    let directory = Directory::start().await;
    let (alice, bob) = (person("alice"), person("bob"));
    for person in [&alice, &bob] {
        directory.publish(person, 1).await;
    }
    let session = directory.session(&alice).await;
    let lookup = async |name: &str, bearer: &str| directory.get_as(&format!("/v1/records/{name}"), bearer).await;
    let found: RecordAnswer = lookup("Alice", &session.token).await.json().await.unwrap();
    assert_eq!((found.online, found.account), (Some(true), alice.account()));
    let offline: RecordAnswer = lookup("bob", &session.token).await.json().await.unwrap();
    assert_eq!(offline.online, Some(false));
    assert_eq!(refused(lookup("carol", &session.token).await).await.1, ErrorCode::NotFound);
    let by_id: RecordAnswer = directory.get(&format!("/v1/accounts/{}", bob.account())).await.json().await.unwrap();
    assert_eq!(by_id.record, offline.record);
    assert_eq!(by_id.online, None, "a stranger is not told");
    assert_eq!(refused(lookup("bob", "forged").await).await.1, ErrorCode::NotAllowed);
    directory.stop().await;
}

#[tokio::test]
async fn reach_is_for_those_whom_the_policy_names() {
    let directory = Directory::start().await;
    let alice = person("alice");
    let bobs = [ContactPolicy::Open, ContactPolicy::Members, ContactPolicy::Invite, ContactPolicy::Closed]
        .map(|policy| common::Person { policy, ..person(&format!("bob-{policy:?}").to_lowercase()) });
    directory.publish(&alice, 1).await;
    let member = directory.session(&alice).await;
    let token = [9; 32];
    for (bob, stranger_may, member_may) in
        [(&bobs[0], true, true), (&bobs[1], false, true), (&bobs[2], false, false), (&bobs[3], false, false)]
    {
        assert_eq!(directory.publish(bob, 1).await.status(), StatusCode::CREATED);
        let reach = bob.reach(1, "192.0.2.7:7");
        assert_eq!(directory.put("/v1/reach", &reach).await.status(), StatusCode::OK);
        let mut session = directory.session(bob).await;
        session.give_token(&token).await;
        let path = format!("/v1/reach/{}", bob.account());
        let contact = |token: [u8; 32]| {
            let request = directory.http.get(format!("{}{path}", directory.url));
            request.header(DEPOSIT_TOKEN_HEADER, Base64::text(&token)).send()
        };
        assert_eq!(directory.get(&path).await.status().is_success(), stranger_may, "{}", bob.name);
        assert_eq!(directory.get_as(&path, &member.token).await.status().is_success(), member_may, "{}", bob.name);
        assert_eq!(directory.get_as(&path, &session.token).await.status(), StatusCode::OK, "one's own");
        let told: ReachAnswer = contact(token).await.unwrap().json().await.unwrap();
        assert_eq!(told.reach, [reach.reach]);
        assert_eq!(contact([8; 32]).await.unwrap().status().is_success(), stranger_may);
        session.revoke_token(&token).await;
        assert_eq!(contact(token).await.unwrap().status().is_success(), stranger_may, "revoked");
    }
    // What is refused looks like what is not there.
    let hidden = directory.get(&format!("/v1/reach/{}", bobs[3].account())).await;
    let absent = directory.get(&format!("/v1/reach/{}", "00".repeat(16))).await;
    let (hidden, absent): (ErrorAnswer, ErrorAnswer) = (hidden.json().await.unwrap(), absent.json().await.unwrap());
    assert_eq!(hidden.error, absent.error);
    // Nobody publishes for somebody else.
    let mut forged = person("bob-open");
    forged.device = person("mallory").device;
    let answer = directory.put("/v1/reach", &forged.reach(9, "192.0.2.66:6")).await;
    assert_eq!(refused(answer).await, (StatusCode::FORBIDDEN, ErrorCode::BadSignature));
    directory.stop().await;
}

#[tokio::test]
async fn limits_answer_when_to_come_back() {
    let directory = Directory::with(|config| {
        config.limit_loopback = true;
        config.limits.register_burst = 2;
        config.limits.lookup_burst = 5;
    })
    .await;
    for name in ["alice", "bob"] {
        assert_eq!(directory.publish(&person(name), 1).await.status(), StatusCode::CREATED);
    }
    let response = directory.publish(&person("carol"), 1).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
    assert!(response.json::<ErrorAnswer>().await.unwrap().error.retry_after.unwrap() > 0);
    // A record of one who is registered is no registration.
    assert_eq!(directory.publish(&person("alice"), 2).await.status(), StatusCode::OK);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(directory.get("/v1/records/alice").await.status());
    }
    assert_eq!(statuses.pop(), Some(StatusCode::TOO_MANY_REQUESTS));
    directory.stop().await;
}
