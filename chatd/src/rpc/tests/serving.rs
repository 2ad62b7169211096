use proto::rpc::client::ClientError;
use proto::rpc::types::{ContactAddParams, HelloParams, HistoryParams, WaitParams, WhoParams};

use super::super::connection::MAX_BATCH;
use super::*;

fn who(who: &str) -> WhoParams {
    WhoParams { account: None, who: who.to_owned() }
}

fn add(who: &str) -> ContactAddParams {
    ContactAddParams { account: None, who: who.to_owned(), message: None }
}

fn wait() -> WaitParams {
    WaitParams { account: None, id: message_id(), state: MessageState::Delivered, timeout_ms: 1 }
}

#[tokio::test]
async fn a_caller_is_who_the_kernel_says() {
    let server = Server::start(Limits::default()).await;
    let hello = server.client().await.call::<m::SystemHello>(&HelloParams::default()).await.unwrap();
    assert_eq!(hello.uid, nix::unistd::Uid::effective().as_raw());
}

#[tokio::test]
async fn writes_run_in_the_order_in_which_they_came() {
    let server = Server::start(Limits::default()).await;
    let client = server.client().await;
    let sends = [client.submit::<m::MessageSend>(&to("bob", "1")).await.unwrap()];
    let slow = client.submit::<m::ContactAdd>(&add("bob")).await.unwrap();
    let quick = client.submit::<m::ContactReject>(&who("carol")).await.unwrap();
    let last = client.submit::<m::MessageSend>(&to("bob", "2")).await.unwrap();
    server.fake.enqueue.open();
    server.fake.add.open();
    quick.await.unwrap();
    assert!(matches!(slow.await, Err(ClientError::Rpc(_))));
    // Both messages are in the queue, in their order, and neither is committed.
    client.call::<m::MessageUnread>(&Default::default()).await.unwrap();
    let expected = ["message_send x1", "contact_add bob", "contact_reject carol", "message_send x1", "message_unread"];
    assert_eq!(server.fake.log(), expected);
    server.fake.commit.open();
    for send in sends.into_iter().chain([last]) {
        send.await.unwrap();
    }
}

#[tokio::test]
async fn messages_that_wait_together_are_one_batch() {
    let server = Server::start(Limits::default()).await;
    let client = server.client().await;
    // While this one is busy, the messages pile up in the socket.
    let busy = client.submit::<m::ContactAdd>(&add("bob")).await.unwrap();
    let mut sends = Vec::new();
    for number in 0..MAX_BATCH + 100 {
        let name = if number % 2 == 0 { "bob" } else { "nobody" };
        sends.push(client.submit::<m::MessageSend>(&to(name, &number.to_string())).await.unwrap());
    }
    let after = client.submit::<m::ContactReject>(&who("carol")).await.unwrap();
    within(async {
        while server.fake.log().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.fake.open_all();
    assert!(busy.await.is_err());
    after.await.unwrap();
    for (number, send) in sends.into_iter().enumerate() {
        match send.await {
            Ok(result) => assert_eq!(result.reason, Some(number.to_string())),
            Err(error) => assert_eq!((number % 2, error.to_string().as_str()), (1, "no nobody")),
        }
    }
    let log = server.fake.log();
    let sizes: Vec<usize> = log.iter().filter_map(|line| line.strip_prefix("message_send x")?.parse().ok()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), MAX_BATCH + 100);
    assert!(sizes.len() <= 4, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= MAX_BATCH), "{sizes:?}");
    assert_eq!(log.last().unwrap(), "contact_reject carol");
}

#[tokio::test]
async fn what_waits_holds_up_nothing() {
    let server = Server::start(Limits::default()).await;
    let client = server.client().await;
    let waiting = client.submit::<m::MessageWait>(&wait()).await.unwrap();
    let history = HistoryParams { who: "bob".to_owned(), ..HistoryParams::default() };
    let reading = client.submit::<m::MessageHistory>(&history).await.unwrap();
    server.fake.enqueue.open();
    let sending = client.submit::<m::MessageSend>(&to("bob", "1")).await.unwrap();
    within(client.call::<m::ContactReject>(&who("carol"))).await.unwrap();
    server.fake.read.open();
    assert_eq!(within(waiting).await.unwrap().state, MessageState::Delivered);
    within(reading).await.unwrap();
    server.fake.commit.open();
    within(sending).await.unwrap();
}

#[tokio::test]
async fn mistakes_are_explained_and_the_connection_goes_on() {
    let server = Server::start(Limits::default()).await;
    let mut raw = server.raw().await;
    let code = |answer: (u32, Result<(), RpcError>)| (answer.0, answer.1.unwrap_err());
    raw.request(1, "message.sned", &json!({})).await;
    let (id, error) = code(raw.answer().await);
    assert_eq!((id, error.code), (1, ErrorCode::UnknownMethod));
    assert!(error.text.contains("did you mean message.send?"), "{error}");
    raw.request(2, "contact.list", &json!({"colour": "red"})).await;
    let (id, error) = code(raw.answer().await);
    assert_eq!((id, error.code), (2, ErrorCode::InvalidParams));
    assert!(error.text.starts_with("contact.list: unknown parameter `colour`"), "{error}");
    raw.request(3, "message.send", &json!({"to": "bob"})).await;
    assert_eq!(code(raw.answer().await).1.text, "message.send: missing parameter `body`");
    raw.request(4, "profile.show", &json!({})).await;
    assert_eq!(code(raw.answer().await).1.code, ErrorCode::LimitReached, "an answer of 2 MB");
    // Notifications and answers of a client mean nothing.
    raw.write(b"\x93\x02\xb0nvim_error_event\x90").await;
    raw.write(b"\x94\x01\x07\xc0\xc0").await;
    raw.request(5, "message.unread", &json!({})).await;
    assert_eq!(raw.answer().await, (5, Ok(())));
}

#[tokio::test]
async fn what_is_no_request_ends_the_connection_after_an_answer() {
    let server = Server::start(Limits::default()).await;
    for (bytes, id) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], None),
        (&[0x91; 64], None),
        (&[0x94, 0x00, 0x07, 0xdb, 0xff, 0xff, 0xff, 0xff], Some(7)),
        (b"\x94\x00\x08\x09\x90", Some(8)),
        (b"\x94\x00\xcf\x01\x00\x00\x00\x00\x00\x00\x00\xa1x\x90", None),
        (b"\xc1", None),
    ] {
        let mut raw = server.raw().await;
        raw.request(1, "message.unread", &json!({})).await;
        raw.write(bytes).await;
        assert_eq!(raw.answer().await, (1, Ok(())));
        let frame = raw.frame().await.unwrap();
        let expected: &[u8] = match id {
            Some(id) => &[0x94, 0x01, id, 0x92, 0xa9],
            None => &[0x94, 0x01, 0xc0, 0x92, 0xa9],
        };
        assert!(frame.starts_with(&[expected, b"malformed"].concat()), "{bytes:02x?} {frame:02x?}");
        assert_eq!(raw.frame().await, None);
    }
    server.until_clients(0).await;
    server.client().await.call::<m::SystemHello>(&HelloParams::default()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_only_stops_writing_gets_its_answers() {
    let server = Server::start(Limits::default()).await;
    server.fake.enqueue.open();
    let mut raw = server.raw().await;
    raw.request(1, "message.send", &to("bob", "1")).await;
    raw.request(2, "message.unread", &json!({})).await;
    raw.stream.shutdown().await.unwrap();
    assert_eq!(raw.answer().await, (2, Ok(())));
    server.fake.commit.open();
    assert_eq!(raw.answer().await, (1, Ok(())));
    assert_eq!(raw.frame().await, None);
}

#[tokio::test]
async fn stopping_answers_what_is_ready_and_closes() {
    let server = Server::start(Limits::default()).await;
    let client = server.client().await;
    server.fake.enqueue.open();
    let sending = client.submit::<m::MessageSend>(&to("bob", "1")).await.unwrap();
    let waiting = client.submit::<m::MessageWait>(&wait()).await.unwrap();
    client.call::<m::MessageUnread>(&Default::default()).await.unwrap();
    server.stop.cancel();
    let error = within(waiting).await.unwrap_err();
    assert!(matches!(error, ClientError::Rpc(RpcError { code: ErrorCode::ShuttingDown, .. })), "{error}");
    assert!(!server.path.exists());
    server.fake.commit.open();
    within(sending).await.unwrap();
    let Server { task, _directory, .. } = server;
    within(task).await.unwrap();
    let error = client.call::<m::MessageUnread>(&Default::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Disconnected { .. }), "{error}");
}

#[tokio::test]
async fn events_come_in_order_beside_answers() {
    let server = Server::start(Limits::default()).await;
    let client = server.client().await;
    let params = |who: &str, since| SubscribeParams { who: Some(who.into()), since, ..SubscribeParams::default() };
    let (first, mut one) = client.subscribe(&params("500", None)).await.unwrap();
    let (second, mut two) = client.subscribe(&params("2", Some(70))).await.unwrap();
    assert_ne!(first.subscription, second.subscription);
    for seq in 71..=90 {
        assert_eq!(within(two.next()).await.unwrap().seq, seq);
    }
    client.call::<m::MessageUnread>(&Default::default()).await.unwrap();
    for seq in 1..=5000 {
        assert_eq!(within(one.next()).await.unwrap().seq, seq);
    }
}

#[tokio::test]
async fn a_subscription_ends_when_asked_and_a_feed_that_ends_closes() {
    let server = Server::start(Limits::default()).await;
    let mut raw = server.raw().await;
    raw.request(1, "feed.subscribe", &json!({"who": "1", "method": "tell_me"})).await;
    assert_eq!(raw.answer().await, (1, Ok(())));
    for _ in 0..10 {
        assert!(raw.frame().await.unwrap().starts_with(b"\x93\x02\xa7tell_me\x91"));
    }
    raw.request(2, "feed.unsubscribe", &json!({"subscription": 1})).await;
    assert_eq!(raw.answer().await, (2, Ok(())));
    raw.request(3, "feed.unsubscribe", &json!({"subscription": 1})).await;
    assert_eq!(raw.answer().await.1.unwrap_err().code, ErrorCode::NotFound);
    raw.request(4, "feed.subscribe", &json!({"who": "ending"})).await;
    assert_eq!(raw.answer().await, (4, Ok(())));
    for _ in 0..10 {
        assert!(raw.frame().await.is_some());
    }
    assert_eq!(raw.frame().await, None);
}
