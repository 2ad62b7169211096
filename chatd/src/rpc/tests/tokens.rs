//! Connections that present a token.

use proto::rpc::ErrorCode;
use proto::rpc::client::ClientError;
use proto::rpc::methods as m;
use proto::rpc::types::{HelloParams, SubscribeParams, WhoParams};

use super::{Limits, Server};

fn token(token: &str) -> HelloParams {
    HelloParams { token: Some(token.into()), ..HelloParams::default() }
}

fn code(error: &ClientError) -> Option<ErrorCode> {
    match error {
        ClientError::Rpc(error) => Some(error.code),
        _ => None,
    }
}

fn rejected(who: &str) -> WhoParams {
    WhoParams { account: None, who: who.into() }
}

#[tokio::test]
async fn what_follows_a_token_is_the_tokens() {
    let server = Server::start(Limits::default()).await;
    let client = server.client().await;
    client.call::<m::SystemHello>(&token("good")).await.unwrap();
    // A second greeting without one changes nothing.
    client.call::<m::SystemHello>(&HelloParams::default()).await.unwrap();
    client.call::<m::ContactReject>(&rejected("carol")).await.unwrap();
    // In one write, before any answer: the order counts, not the time.
    let both = server.client().await;
    let hello = both.submit::<m::SystemHello>(&token("good")).await.unwrap();
    let reject = both.submit::<m::ContactReject>(&rejected("dave")).await.unwrap();
    hello.await.unwrap();
    reject.await.unwrap();
    assert_eq!(server.fake.log(), ["contact_reject carol by token", "contact_reject dave by token"]);
}

#[tokio::test]
async fn a_token_that_is_none_ends_the_connection() {
    let server = Server::start(Limits::default()).await;
    let client = server.client().await;
    let hello = client.submit::<m::SystemHello>(&token("bad")).await.unwrap();
    let after = client.submit::<m::ContactReject>(&rejected("carol")).await.unwrap();
    assert_eq!(code(&hello.await.unwrap_err()), Some(ErrorCode::NotAllowed));
    assert!(matches!(after.await.unwrap_err(), ClientError::Disconnected { .. }));
    assert!(client.call::<m::ContactReject>(&rejected("carol")).await.is_err());
    assert!(server.fake.log().is_empty(), "nothing was done as the user: {:?}", server.fake.log());
}

#[tokio::test]
async fn a_token_comes_before_all_else() {
    let server = Server::start(Limits::default()).await;
    let client = server.client().await;
    client.call::<m::ContactReject>(&rejected("carol")).await.unwrap();
    let late = client.call::<m::SystemHello>(&token("good")).await.unwrap_err();
    assert_eq!(code(&late), Some(ErrorCode::NotAllowed));
    assert!(client.call::<m::ContactReject>(&rejected("dave")).await.is_err(), "and nothing goes on");
    assert_eq!(server.fake.log(), ["contact_reject carol"]);
    // Nor does another one replace it.
    let client = server.client().await;
    client.call::<m::SystemHello>(&token("good")).await.unwrap();
    assert!(client.call::<m::SystemHello>(&token("bad")).await.is_err());
    assert!(client.call::<m::ContactReject>(&rejected("dave")).await.is_err());
}

#[tokio::test]
async fn when_it_ends_so_does_its_connection_at_once() {
    let server = Server::start(Limits::default()).await;
    let client = server.client().await;
    client.call::<m::SystemHello>(&token("good")).await.unwrap();
    let endless = SubscribeParams { who: Some("1".into()), ..SubscribeParams::default() };
    let (_, mut events) = client.subscribe(&endless).await.unwrap();
    let waits = client.submit::<m::ContactAdd>(&Default::default()).await.unwrap();
    server.fake.grant.over.cancel();
    assert!(matches!(waits.await.unwrap_err(), ClientError::Disconnected { .. }));
    // What had come before may be read; then there is an end.
    while events.next().await.is_some() {}
    let without = server.client().await;
    without.call::<m::ContactReject>(&rejected("carol")).await.unwrap();
}
