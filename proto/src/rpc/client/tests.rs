#![allow(clippy::unwrap_used)]

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};

use super::*;
use crate::rpc::ErrorCode;
use crate::rpc::codec::{FrameReader, Incoming};
use crate::rpc::event::{Event, EventType};
use crate::rpc::methods::{FeedUnsubscribe, ProfileShow, SystemHello};
use crate::rpc::types::{Done, HelloParams, HelloResult, Profile, ProfileShowParams, UnsubscribeParams};
use crate::time::Timestamp;

/// The daemon's end, played by hand.
struct Daemon {
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
    frames: FrameReader,
}

fn pair() -> (Client, Daemon) {
    let (near, far) = duplex(64 * 1024);
    let (reader, writer) = split(near);
    let client = Client::over(Path::new("test.sock"), reader, writer);
    let (reader, writer) = split(far);
    (client, Daemon { reader, writer, frames: FrameReader::default() })
}

impl Daemon {
    async fn request(&mut self) -> (u32, String, Vec<u8>) {
        loop {
            if let Some(frame) = self.frames.next_frame().unwrap() {
                let Incoming::Request { id, method, params } = codec::decode(frame).unwrap() else { panic!() };
                return (id, method.to_owned(), params.to_vec());
            }
            assert_ne!(self.reader.read_buf(self.frames.buffer()).await.unwrap(), 0);
        }
    }

    async fn write(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        fill(&mut out);
        self.writer.write_all(&out).await.unwrap();
    }

    async fn answer<R: serde::Serialize>(&mut self, id: u32, result: &R) {
        self.write(|out| codec::encode_response(out, id, result).unwrap()).await;
    }

    async fn event(&mut self, method: &str, seq: u64, account: &str) {
        let event = Event::new(seq, EventType::Presence, Timestamp(0), account.to_owned());
        self.write(|out| codec::encode_notification(out, method, &event).unwrap()).await;
    }

    async fn accept_subscription(&mut self, subscription: u64) -> SubscribeParams {
        let (id, method, params) = self.request().await;
        assert_eq!(method, "feed.subscribe");
        let params: SubscribeParams = codec::decode_params(&params).unwrap();
        let seq = params.since.unwrap_or_default();
        self.answer(id, &SubscribeResult { subscription, seq, head: 1000 }).await;
        params
    }
}

fn about(who: &str) -> ProfileShowParams {
    ProfileShowParams { account: None, who: Some(who.to_owned()) }
}

#[tokio::test]
async fn answers_are_matched_by_id() {
    let (client, mut daemon) = pair();
    let bob = client.submit::<ProfileShow>(&about("bob")).await.unwrap();
    let carol = client.submit::<ProfileShow>(&about("carol")).await.unwrap();
    let hello = client.submit::<SystemHello>(&HelloParams::default()).await.unwrap();
    let (first, ..) = daemon.request().await;
    let (second, ..) = daemon.request().await;
    let (third, ..) = daemon.request().await;
    let profile = |name: &str| Profile { display_name: name.to_owned(), ..Profile::default() };
    daemon.answer(third, &HelloResult { server: "fake".into(), api: 1, uid: 1, accounts: vec![], token: None }).await;
    daemon.answer(second, &profile("Carol")).await;
    daemon.write(|out| codec::encode_error(out, Some(first), &RpcError::new(ErrorCode::NotFound, "no bob"))).await;
    assert_eq!(hello.await.unwrap().server, "fake");
    assert_eq!(carol.await.unwrap(), profile("Carol"));
    let error = bob.await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Rpc(RpcError { code: ErrorCode::NotFound, text, .. }) if text == "no bob"),
        "{error}"
    );
}

#[tokio::test]
async fn a_result_of_another_shape_is_an_error_of_this_call_only() {
    let (client, mut daemon) = pair();
    let hello = client.submit::<SystemHello>(&HelloParams::default()).await.unwrap();
    let other = client.submit::<FeedUnsubscribe>(&UnsubscribeParams { subscription: 1 }).await.unwrap();
    let (first, ..) = daemon.request().await;
    let (second, ..) = daemon.request().await;
    daemon.answer(first, &"hello").await;
    daemon.answer(second, &Done {}).await;
    assert!(matches!(hello.await, Err(ClientError::Protocol(text)) if text.contains("system.hello")));
    other.await.unwrap();
}

#[tokio::test]
async fn the_end_is_told_to_everybody() {
    let (client, daemon) = pair();
    let pending = client.submit::<ProfileShow>(&about("bob")).await.unwrap();
    drop(daemon);
    assert!(matches!(pending.await, Err(ClientError::Disconnected { .. })));
    let error = client.call::<ProfileShow>(&about("bob")).await.unwrap_err();
    assert!(error.to_string().contains("test.sock"), "{error}");
    assert!(client.subscribe(&SubscribeParams::default()).await.is_err());
}

#[tokio::test]
async fn a_goodbye_without_an_id_is_the_reason() {
    let (client, mut daemon) = pair();
    let pending = client.submit::<ProfileShow>(&about("bob")).await.unwrap();
    daemon.write(|out| codec::encode_error(out, None, &RpcError::new(ErrorCode::Malformed, "too deep"))).await;
    assert!(matches!(pending.await, Err(ClientError::Disconnected { reason, .. }) if reason == "too deep"));
}

#[tokio::test]
async fn a_daemon_that_takes_nothing_makes_submit_wait() {
    let (client, mut daemon) = pair();
    let large = about(&"x".repeat(600_000));
    let mut sent = 0;
    loop {
        tokio::select! {
            biased;
            pending = client.submit::<ProfileShow>(&large) => { drop(pending.unwrap()); sent += 1; }
            () = std::future::ready(()) => break,
        }
        assert!(sent < 10);
    }
    // It goes on when the daemon reads.
    let client_goes_on = client.submit::<ProfileShow>(&large);
    let (pending, _) = tokio::join!(client_goes_on, async {
        for _ in 0..sent {
            daemon.request().await;
        }
    });
    drop(pending.unwrap());
}

#[tokio::test]
async fn two_subscriptions_have_names_of_their_own() {
    let (client, mut daemon) = pair();
    let params = SubscribeParams::default();
    let (first, one) = tokio::join!(client.subscribe(&params), daemon.accept_subscription(1));
    let (second, two) = tokio::join!(client.subscribe(&params), daemon.accept_subscription(2));
    let (mut first, mut second) = (first.unwrap().1, second.unwrap().1);
    let (one, two) = (one.method.unwrap(), two.method.unwrap());
    assert_ne!(one, two);
    daemon.event("nvim_error_event", 9, "nobody").await;
    daemon.event(&two, 1, "bob").await;
    daemon.event(&one, 1, "alice").await;
    daemon.event(&one, 2, "alice").await;
    assert_eq!(first.next().await.unwrap().account, "alice");
    assert_eq!(second.next().await.unwrap().account, "bob");
    let mut rest = Vec::new();
    assert_eq!(first.next_many(&mut rest).await, 1);
    drop(first);
    let (_, method, params) = daemon.request().await;
    assert_eq!(method, "feed.unsubscribe");
    assert_eq!(params, [b"\x91\x81\xacsubscription".as_slice(), &[1]].concat());
    drop(daemon);
    assert_eq!(second.next().await, None);
    assert_eq!(second.next_many(&mut rest).await, 0);
}

/// Events beyond the buffer do not hold up answers; they come again.
#[tokio::test]
async fn a_slow_reader_of_events_misses_none_and_blocks_nothing() {
    let (client, mut daemon) = pair();
    let params = SubscribeParams::default();
    let (events, params) = tokio::join!(client.subscribe(&params), daemon.accept_subscription(1));
    let mut events = events.unwrap().1;
    let method = params.method.unwrap();
    let large = "a".repeat(100_000);
    for seq in 1..=60 {
        daemon.event(&method, seq, &large).await;
    }
    // An answer behind all of them.
    let call = client.submit::<ProfileShow>(&about("bob")).await.unwrap();
    let (id, ..) = daemon.request().await;
    daemon.answer(id, &Profile::default()).await;
    call.await.unwrap();
    let reader = tokio::spawn(async move {
        for seq in 1..=60 {
            assert_eq!(events.next().await.unwrap().seq, seq);
        }
        events
    });
    let (_, method, _) = daemon.request().await;
    assert_eq!(method, "feed.unsubscribe");
    let params = daemon.accept_subscription(2).await;
    let since = params.since.unwrap();
    assert!((1..60).contains(&since), "{since}");
    for seq in since + 1..=60 {
        daemon.event(params.method.as_deref().unwrap(), seq, "b").await;
    }
    reader.await.unwrap();
}
