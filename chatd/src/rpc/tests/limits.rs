use proto::rpc::client::ClientError;
use proto::rpc::types::HelloParams;

use super::super::connection::MAX_WAITS;
use super::super::feeds::MAX_SUBSCRIPTIONS;
use super::*;

fn endless() -> Value {
    json!({"who": "endless", "consumer": "c"})
}

#[tokio::test]
async fn a_user_has_so_many_clients_and_no_more() {
    let server = Server::start(Limits { clients: 2, clients_per_uid: 2, ..Limits::default() }).await;
    let first = server.client().await;
    let second = server.client().await;
    for client in [&first, &second] {
        client.call::<m::SystemHello>(&HelloParams::default()).await.unwrap();
    }
    let third = server.client().await;
    let error = third.call::<m::SystemHello>(&HelloParams::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Rpc(RpcError { code: ErrorCode::LimitReached, .. })), "{error}");
    assert!(matches!(
        third.call::<m::SystemHello>(&HelloParams::default()).await,
        Err(ClientError::Disconnected { .. })
    ));
    drop(first);
    server.until_clients(1).await;
    server.client().await.call::<m::SystemHello>(&HelloParams::default()).await.unwrap();
    drop(second);
    server.until_clients(0).await;
}

#[tokio::test]
async fn all_users_together_have_so_many() {
    let server = Server::start(Limits { clients: 1, ..Limits::default() }).await;
    let first = server.client().await;
    first.call::<m::SystemHello>(&HelloParams::default()).await.unwrap();
    let error = server.client().await.call::<m::SystemHello>(&HelloParams::default()).await.unwrap_err();
    assert!(error.to_string().contains("all places for clients are taken (1, of which"), "{error}");
}

#[tokio::test]
async fn strangers_are_told_why() {
    let uid = nix::unistd::Uid::effective().as_raw();
    let server = Server::start_with(Limits::default(), Access::Owner { uid: uid + 1 }).await;
    let error = server.client().await.call::<m::SystemHello>(&HelloParams::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Rpc(RpcError { code: ErrorCode::NotAllowed, .. })), "{error}");
    assert_eq!(server.fake.log(), Vec::<String>::new());
    server.until_clients(0).await;
}

#[tokio::test]
async fn half_a_message_may_not_stay_and_silence_may() {
    let frame_timeout = Duration::from_millis(50);
    let server = Server::start(Limits { frame_timeout, ..Limits::default() }).await;
    let mut silent = server.raw().await;
    silent.request(1, "message.unread", &json!({})).await;
    assert_eq!(silent.answer().await, (1, Ok(())));
    let mut half = server.raw().await;
    half.write(b"\x94\x00\x07\xaamessage").await;
    let (id, outcome) = half.answer().await;
    assert_eq!((id, outcome.unwrap_err().code), (7, ErrorCode::Malformed));
    assert_eq!(half.frame().await, None);
    silent.request(2, "message.unread", &json!({})).await;
    assert_eq!(silent.answer().await, (2, Ok(())));
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_dropped() {
    let server = Server::start(Limits { frame_timeout: Duration::from_millis(50), ..Limits::default() }).await;
    let mut silent = server.raw().await;
    assert_eq!(silent.frame().await, None);
    server.until_clients(0).await;
}

#[tokio::test]
async fn a_thousand_clients_of_one_user_at_once() {
    let server = Server::start(Limits::default()).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let client = server.client().await;
        calls.spawn(async move { client.call::<m::SystemHello>(&HelloParams::default()).await.map(|_| client) });
    }
    let mut kept = Vec::new();
    while let Some(done) = calls.join_next().await {
        kept.push(done.unwrap().unwrap());
    }
    assert_eq!(kept.len(), 1_000, "all of them at the same time, and none refused");
}

#[tokio::test]
async fn a_slow_subscriber_holds_back_only_itself() {
    let server = Server::start(Limits::default()).await;
    let mut slow = server.raw().await;
    slow.request(1, "feed.subscribe", &endless()).await;
    within(server.fake.pulled.subscribe().wait_for(|pulled| *pulled > 0)).await.unwrap();
    let client = server.client().await;
    let params = SubscribeParams { who: Some("500".to_owned()), ..SubscribeParams::default() };
    let (_, mut events) = within(client.subscribe(&params)).await.unwrap();
    for seq in 1..=5000 {
        assert_eq!(within(events.next()).await.unwrap().seq, seq);
    }
    // What the slow one does not take was not even asked for: the socket's buffer and one write buffer are full.
    let pulled = *server.fake.pulled.borrow() - 500;
    assert!(pulled < 50, "{pulled} batches of 100 kB");
    // And it gets all of it when it reads.
    assert_eq!(slow.answer().await, (1, Ok(())));
    for _ in 0..200 {
        assert!(slow.frame().await.is_some());
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped() {
    let stall_timeout = Duration::from_millis(100);
    let server = Server::start(Limits { stall_timeout, ..Limits::default() }).await;
    let mut slow = server.raw().await;
    slow.request(1, "feed.subscribe", &endless()).await;
    server.until_clients(1).await;
    server.until_clients(0).await;
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_listen_is_not_read_any_more() {
    let server = Server::start(Limits::default()).await;
    let mut deaf = server.raw().await;
    let mut request = Vec::new();
    codec::encode_request(&mut request, 1, "no.such.method", &json!({})).unwrap();
    let requests = request.repeat(1_000);
    let mut taken = 0_usize;
    // The kernel's buffers and the daemon's fill, and then the daemon stops reading.
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(200), deaf.stream.write(&requests)).await {
        taken += written.unwrap();
        assert!(taken < 4_000_000, "the daemon takes requests without end");
    }
    for _ in 0..1_000 {
        assert!(deaf.answer().await.1.is_err());
    }
}

#[tokio::test]
async fn subscriptions_and_waits_are_counted() {
    let server = Server::start(Limits::default()).await;
    let mut raw = server.raw().await;
    for id in 1..=MAX_SUBSCRIPTIONS as u32 + 1 {
        raw.request(id, "feed.subscribe", &json!({"who": "0"})).await;
        let (answered, outcome) = raw.answer().await;
        assert_eq!((answered, outcome.is_ok()), (id, id <= MAX_SUBSCRIPTIONS as u32));
    }
    let mut requests = Vec::new();
    let params = json!({"id": message_id(), "state": "read", "timeout_ms": 1});
    for id in 0..=MAX_WAITS as u32 {
        codec::encode_request(&mut requests, id, "message.wait", &params).unwrap();
    }
    raw.write(&requests).await;
    let (id, outcome) = raw.answer().await;
    assert_eq!((id, outcome.unwrap_err().code), (MAX_WAITS as u32, ErrorCode::LimitReached));
    server.fake.read.open();
    for _ in 0..MAX_WAITS {
        assert_eq!(raw.answer().await.1, Ok(()));
    }
}

#[tokio::test]
async fn the_name_of_a_notification_has_a_limit() {
    let server = Server::start(Limits::default()).await;
    let mut raw = server.raw().await;
    raw.request(1, "feed.subscribe", &json!({"method": "x".repeat(129)})).await;
    assert_eq!(raw.answer().await.1.unwrap_err().code, ErrorCode::InvalidParams);
}
