//! `chatctl ping`: what it says, how it ends, and how often one may ask. By which way somebody is reached: `nat`.

use proto::rpc::ErrorCode;
use proto::rpc::client::ClientError;
use proto::rpc::methods::ContactPing;
use proto::rpc::types::{Route, WhoParams};
use tests::Pair;
use tests::wait::wait_for;

#[test]
fn a_contact_answers_directly_on_one_daemon_or_not_at_all() {
    let mut pair = Pair::start();
    let pong = pair.alice.json(["ping", "bob", "-c", "1"]);
    assert_eq!((&pong["n"], &pong["who"], &pong["route"]), (&1.into(), &"bob".into(), &"direct".into()), "{pong}");
    assert!(pong["address"].as_str().unwrap().starts_with("127.0.0.1:") && pong["round_trip_us"].as_u64().unwrap() > 0);
    let text = pair.bob.ok(["ping", "alice", "-c", "2"]).stdout;
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.starts_with("alice answered in ") && text.contains(" ms, direct: 127.0.0.1:"), "{text}");
    pair.alice.ok(["ping", "bob", "--until-direct"]);

    pair.alice.run(["ping", "nobody", "-c", "1"]).expect_code(1);
    pair.alice.run(["ping", "bob", "-c", "0"]).expect_code(2);
    pair.alice.ok(["block", "bob"]);
    pair.alice.run(["ping", "bob", "-c", "1"]).expect_code(1).says(&["is no contact"]);
    pair.alice.ok(["unblock", "bob"]);
    pair.bob_daemon().stop();
    let gone = pair.alice.run(["ping", "bob", "-c", "1"]).expect_code(6);
    assert!(gone.stderr.contains("bob"), "{}", gone.stderr);
    let gone = pair.alice.run(["ping", "bob", "-c", "1", "--json"]).expect_code(6);
    assert!(gone.stdout.contains("\"error\":"), "{}", gone.stdout);
    pair.alice.ok(["logout"]);
    pair.alice.run(["ping", "bob", "-c", "1"]).expect_code(1).says(&["logged out"]);

    let pair = Pair::on_one_daemon();
    assert_eq!(pair.alice.json(["ping", "bob", "-c", "1"])["route"], "local");
}

#[tokio::test]
async fn a_contact_is_pinged_so_often_and_no_more() {
    let pair = Pair::start();
    let client = pair.alice_daemon.client().await;
    let params = WhoParams { account: None, who: "bob".into() };
    let (mut answered, mut refused) = (0, None);
    for _ in 0..200 {
        match client.call::<ContactPing>(&params).await {
            Ok(pong) => {
                assert_eq!(pong.route, Route::Direct);
                answered += 1;
            }
            Err(ClientError::Rpc(error)) => refused = Some(error),
            Err(error) => panic!("{error}"),
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.code, ErrorCode::RateLimited, "{}", refused.text);
    assert!((128..=132).contains(&answered), "{answered}");
    // Her daemon has asked less often than his takes offence at.
    pair.alice.ok(["send", "bob", "hello", "--wait", "delivered"]);
    wait_for("the link stands", || pair.alice.json(["status"])["links"].as_u64().unwrap() >= 1);
    pair.alice.run(["ping", "bob", "-c", "1"]).expect_code(5);
    println!("figure: {answered} of 200 pings of a contact in a row were asked");
}
