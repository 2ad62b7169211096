//! Presence: parity rows A8, B7 (the directory's part) and D3.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::*;
use directoryd::config::Timing;
use ed25519_dalek::Signer;
use proto::directory::api::*;
use proto::ids::hex;
use reqwest::StatusCode;

/// Alice watches bob with the token that he gave her.
async fn alice_watches_bob(directory: &Directory) -> (Session, Session) {
    let (alice, bob) = (person("alice"), person("bob"));
    for person in [&alice, &bob] {
        assert!(directory.publish(person, 1).await.status().is_success());
    }
    let token = [42; 32];
    let mut his = directory.session(&bob).await;
    his.give_token(&token).await;
    let mut hers = directory.session(&alice).await;
    hers.watch(bob.account(), &token).await;
    assert_eq!(hers.presence().await, (bob.account(), true));
    (hers, his)
}

#[tokio::test]
async fn a8_presence_flips_at_once_on_a_clean_end_and_a_closed_connection() {
    let directory = Directory::start().await;
    let bob = person("bob");
    let (mut alice, mut session) = alice_watches_bob(&directory).await;
    session.socket.close(None).await.unwrap();
    assert_eq!(alice.presence().await, (bob.account(), false));
    let session = directory.session(&bob).await;
    assert_eq!(alice.presence().await, (bob.account(), true));
    drop(session);
    assert_eq!(alice.presence().await, (bob.account(), false));
    directory.stop().await;
}

#[tokio::test]
async fn a8_d3_a_client_that_goes_silent_is_offline_within_the_promised_time() {
    let default = Timing::default();
    assert!(default.silence <= Duration::from_secs(30) && default.ping * 2 < default.silence);
    let directory = Directory::with(|config| {
        config.timing.ping = Duration::from_millis(200);
        config.timing.silence = Duration::from_millis(900);
    })
    .await;
    let bob = person("bob");
    let (mut alice, silent) = alice_watches_bob(&directory).await;
    // Bob's connection stays open, and nobody reads it: no pong. Alice answers, because she is asked for frames.
    assert_eq!(alice.presence().await, (bob.account(), false));
    drop(silent);
    directory.stop().await;
}

#[tokio::test]
async fn b7_after_a_restart_clients_come_back_and_nothing_was_forgotten() {
    let mut directory = Directory::start().await;
    let (alice, bob) = (person("alice"), person("bob"));
    let (mut hers, mut his) = alice_watches_bob(&directory).await;
    assert_eq!((hers.counter, his.counter, his.record_seq), (1, 1, 1));
    directory.restart().await;
    // Closed with a frame, not left hanging; if his session ends first, hers may be told.
    while let Some(frame) = hers.frame_or_end().await {
        assert!(matches!(frame, ServerFrame::Presence { online: false, .. }), "{frame:?}");
    }
    assert_eq!(his.frame_or_end().await, None);
    let mut hers = directory.session(&alice).await;
    assert_eq!((hers.counter, hers.record_seq), (2, 1), "counted on");
    // Bob's token was kept, so the watch is honoured before he is back.
    hers.watch(bob.account(), &[42; 32]).await;
    assert_eq!(hers.presence().await, (bob.account(), false));
    let _his = directory.session(&bob).await;
    assert_eq!(hers.presence().await, (bob.account(), true));
    directory.stop().await;
}

#[tokio::test]
async fn presence_is_for_holders_of_a_token() {
    let directory = Directory::start().await;
    let (bob, carol) = (person("bob"), person("carol"));
    let (mut alice, mut his) = alice_watches_bob(&directory).await;
    directory.publish(&carol, 1).await;
    let mut hers = directory.session(&carol).await;
    // A wrong token, and nobody at all: the same answer.
    for account in [bob.account(), person("nobody").account()] {
        hers.watch(account, &[1; 32]).await;
        let ServerFrame::Presence { online, since, .. } = hers.frame().await else { panic!() };
        assert_eq!((online, since), (false, None));
    }
    // Revoked: alice sees what she would see if he left.
    his.revoke_token(&[42; 32]).await;
    assert_eq!(alice.presence().await, (bob.account(), false));
    drop(his);
    // Nothing more comes, not even when he is back; the answer to the next frame is the next frame.
    let _his = directory.session(&bob).await;
    alice.send(&ClientFrame::Tokens { add: vec![], remove: vec![] }).await;
    assert_eq!(alice.frame().await, ServerFrame::TokensStored { count: 0 });
    directory.stop().await;
}

#[tokio::test]
async fn two_sessions_with_one_key_are_told() {
    let directory = Directory::start().await;
    let alice = person("alice");
    directory.publish(&alice, 1).await;
    let mut first = directory.session(&alice).await;
    let second = tokio::spawn({
        // Both must be read, so that the older one answers the ping that asks whether it lives.
        let session = directory.session(&alice).await;
        async move {
            let mut session = session;
            (session.frame().await, session)
        }
    });
    assert_eq!(first.frame().await, ServerFrame::Cloned);
    assert_eq!(first.frame_or_end().await, None, "the older one is closed");
    let (told, mut second) = second.await.unwrap();
    assert_eq!(told, ServerFrame::Cloned);
    // The newer one lives on.
    second.send(&ClientFrame::Tokens { add: vec![], remove: vec![] }).await;
    assert_eq!(second.frame().await, ServerFrame::TokensStored { count: 0 });
    directory.stop().await;
}

#[tokio::test]
async fn a_reconnect_is_no_clone() {
    let directory = Directory::with(|config| config.timing.probe = Duration::from_millis(200)).await;
    let alice = person("alice");
    directory.publish(&alice, 1).await;
    // The same process, which knows the token of its session before.
    let mut first = directory.session(&alice).await;
    let mut second = directory.session_after(&alice, Some(first.token.clone())).await;
    assert_eq!(first.frame_or_end().await, None);
    // Another process, while the old connection is dead and nobody reads it.
    let mut third = directory.session(&alice).await;
    let online = directory.get_as("/v1/records/alice", &third.token).await.json::<RecordAnswer>().await.unwrap();
    assert_eq!(online.online, Some(true));
    // Until the old one was given up.
    while !directory.get("/metrics").await.text().await.unwrap().contains("directoryd_sessions 1\n") {
        tokio::task::yield_now().await;
    }
    third.send(&ClientFrame::Tokens { add: vec![], remove: vec![] }).await;
    assert_eq!(third.frame().await, ServerFrame::TokensStored { count: 0 }, "and no `cloned` before it");
    // The old connection's end is heard only now; it was no living session when it mattered.
    while let Some(frame) = second.frame_or_end().await {
        assert_ne!(frame, ServerFrame::Cloned);
    }
    directory.stop().await;
}

#[tokio::test]
async fn a_bad_hello_or_frame_is_refused() {
    let directory = Directory::start().await;
    let (alice, mallory) = (person("alice"), person("mallory"));
    directory.publish(&alice, 1).await;
    let nonce = directory.nonce().await;
    let sign =
        |nonce: &Base64, who: &Person| Base64(who.device.sign(&session_message(ORIGIN, nonce)).to_bytes().to_vec());
    let good = SessionHello {
        account: alice.account(),
        device: alice.device_id(),
        signature: sign(&nonce, &alice),
        nonce,
        previous: None,
        number: None,
    };
    let forged = SessionHello { signature: sign(&good.nonce, &mallory), ..good.clone() };
    let stale = SessionHello { nonce: Base64(vec![0; 24]), ..good.clone() };
    let unknown = SessionHello { account: mallory.account(), ..good.clone() };
    let foreign = SessionHello { device: mallory.device_id(), ..good.clone() };
    let [none, too_high] = [0, MAX_SESSION_NUMBER + 1].map(|n| SessionHello { number: Some(n), ..good.clone() });
    for (hello, expected) in [
        (&none, ErrorCode::Malformed),
        (&too_high, ErrorCode::Malformed),
        (&forged, ErrorCode::BadSignature),
        (&stale, ErrorCode::StaleNonce),
        (&unknown, ErrorCode::NotFound),
        (&foreign, ErrorCode::BadSignature),
    ] {
        let mut session = directory.open().await;
        session.send(hello).await;
        assert!(matches!(session.frame().await, ServerFrame::Error { code, .. } if code == expected));
        assert_eq!(session.frame_or_end().await, None);
    }
    let mut session = directory.session(&alice).await;
    let many = vec![hex(&[1; 32]); MAX_FRAME_ENTRIES + 1];
    for bad in [
        serde_json::json!({"type": "tokens", "add": ["zz"]}),
        serde_json::json!({"type": "what"}),
        serde_json::json!(7),
        serde_json::json!({"type": "tokens", "add": many}),
    ] {
        session.send(&bad).await;
        assert!(matches!(session.frame().await, ServerFrame::Error { .. }), "{bad}");
    }
    session.send(&ClientFrame::Unwatch { accounts: vec![] }).await;
    // A request that is no upgrade.
    assert_eq!(directory.get("/v1/session").await.status(), StatusCode::BAD_REQUEST);
    // Giving the name up ends the session.
    assert!(directory.unregister(&alice).await.status().is_success());
    assert_eq!(session.frame_or_end().await, None);
    directory.stop().await;
}

#[tokio::test]
async fn stopping_waits_neither_for_sessions_nor_for_idle_connections() {
    let directory = Directory::start().await;
    let alice = person("alice");
    directory.publish(&alice, 1).await;
    let mut session = directory.session(&alice).await;
    let mut idle = tokio::net::TcpStream::connect(directory.url.trim_start_matches("http://")).await.unwrap();
    directory.until("directoryd_connections 3\n").await;
    // Both are still open, and it ends all the same; whoever is connected is told.
    directory.stop().await;
    assert_eq!(session.frame_or_end().await, None);
    assert_eq!(tokio::io::AsyncReadExt::read(&mut idle, &mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_guest_watches_those_who_gave_it_a_token_and_does_nothing_else() {
    const TOKEN: [u8; 32] = [42; 32];
    let directory = Directory::with(|config| config.timing.guest = Duration::from_millis(300)).await;
    let bob = person("bob");
    assert!(directory.publish(&bob, 1).await.status().is_success());
    let mut his = directory.session(&bob).await;
    his.give_token(&TOKEN).await;
    let watch = |token: [u8; 32]| ClientFrame::Watch {
        accounts: vec![Watch { account: bob.account(), token: Base64(token.to_vec()) }],
    };
    let welcome = async || {
        let mut guest = directory.open().await;
        guest.send(&GuestHello { guest: true, node: None }).await;
        assert!(matches!(guest.frame().await, ServerFrame::Welcome { .. }));
        guest
    };
    let mut guest = welcome().await;
    guest.send(&watch(TOKEN)).await;
    assert!(matches!(guest.frame().await, ServerFrame::Presence { online: true, .. }));
    // It is nobody: it has no mail, gives no tokens, and no bearer token speaks for it.
    let numbers = vec![1];
    for frame in [
        ClientFrame::Mailbox,
        ClientFrame::Tokens { add: vec!["aa".repeat(32)], remove: vec![] },
        ClientFrame::Delete { numbers: numbers.clone(), signature: Base64(vec![0; 64]) },
        ClientFrame::Release { numbers },
    ] {
        guest.send(&frame).await;
        let said = guest.frame().await;
        assert!(matches!(said, ServerFrame::Error { code: ErrorCode::NotAllowed, .. }), "{frame:?}: {said:?}");
    }
    assert_eq!(directory.get_as("/v1/users", "").await.status(), 403);
    // Others who may watch nobody are let go, whatever they say.
    let mut stranger = welcome().await;
    stranger.send(&watch([1; 32])).await;
    assert!(matches!(stranger.frame().await, ServerFrame::Presence { online: false, .. }));
    assert!(stranger.frame_or_end().await.is_none());
    assert!(welcome().await.frame_or_end().await.is_none());
    // A token that is taken back ends what it told; who has it is still there, and hears no more.
    let hash = proto::ids::hex(&token_hash(&TOKEN));
    his.send(&ClientFrame::Tokens { add: vec![], remove: vec![hash] }).await;
    assert!(matches!(guest.frame().await, ServerFrame::Presence { online: false, .. }));
    directory.stop().await;
}
