//! Messages per second end to end: two daemons as separate processes, alice's client pipelines `message.send`, bob's
//! client subscribes. Everything is on: sealed, signed, stored durably on both sides, indexed, acknowledged.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use proto::rpc::client::{Client, Events};
use proto::rpc::methods::MessageSend;
use proto::rpc::types::{SendParams, SubscribeParams};
use tests::Pair;
use tokio::sync::mpsc;
use tokio::task::block_in_place;

use super::scale::body;
use super::table::Row;
use super::{Scale, floor};

/// Calls that may wait for their answers at the same time.
const IN_FLIGHT: usize = 8_192;
/// Nothing for so long means that it has stopped.
const SILENCE: Duration = Duration::from_secs(60);
/// Rounds; the median counts.
const ROUNDS: usize = 3;

/// Measures it.
pub async fn measure(scale: Scale) -> Result<Vec<Row>> {
    let count = scale.of(50_000, 5_000);
    let pair = Pair::start();
    let alice = pair.alice_daemon.client().await;
    let bob = Client::connect(pair.bob.socket()).await.context("cannot connect to bob's daemon")?;
    let mut rates = Vec::new();
    let mut sends = Vec::new();
    let (mut floors, mut bare) = (Vec::new(), Vec::new());
    for round in 0..scale.of(ROUNDS, 1) {
        let (sent, received) = exchange(&alice, &bob, round * count, count).await?;
        sends.push(count as f64 / sent.as_secs_f64());
        rates.push(count as f64 / received.as_secs_f64());
        let (indexed, plain) =
            block_in_place(|| anyhow::Ok((floor::burst(count, true)?, floor::burst(count, false)?)))?;
        floors.push(indexed);
        bare.push(plain);
    }
    let (rate, floor) = (median(&mut rates), median(&mut floors));
    let limits = "defaults; loopback exempt";
    Ok(vec![
        Row::new(
            format!("messages end to end, {count} of {count} intact, unique, in order"),
            rate,
            "/s",
            ">= 50,000 /s",
            limits,
        ),
        Row::new("message.send accepted durably, pipelined", median(&mut sends), "/s", "", limits),
        Row::new("the floor of a burst, texts indexed at once", floor, "/s", "", "batches of 500, two processes"),
        Row::new("the floor of a burst, no index", median(&mut bare), "/s", "", "batches of 500, two processes"),
        Row::new("messages end to end, over the floor with its index", rate / floor, "x", ">= 1.0 x", limits),
    ])
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Sends `count` messages from alice to bob; returns the time until the last was accepted and until the last came.
pub async fn exchange(alice: &Client, bob: &Client, first: usize, count: usize) -> Result<(Duration, Duration)> {
    let params = SubscribeParams { types: vec!["message.received".into()], ..SubscribeParams::default() };
    let (_, events) = bob.subscribe(&params).await.context("cannot subscribe")?;
    let since = Instant::now();
    let receiver = tokio::spawn(receive(events, first, count));
    let (tell, mut told) = mpsc::channel(IN_FLIGHT);
    let answers = tokio::spawn(async move {
        while let Some(pending) = told.recv().await {
            let pending: proto::rpc::client::Pending<MessageSend> = pending;
            pending.await.context("message.send failed")?;
        }
        anyhow::Ok(Instant::now())
    });
    for number in first..first + count {
        let send = SendParams { to: "bob".into(), body: body(number), ..SendParams::default() };
        let pending = alice.submit::<MessageSend>(&send).await.context("cannot send")?;
        if tell.send(pending).await.is_err() {
            break;
        }
    }
    drop(tell);
    let accepted = answers.await.context("the answers' task panicked")??;
    let received = receiver.await.context("the receiver's task panicked")??;
    Ok((accepted - since, received - since))
}

async fn receive(mut events: Events, first: usize, count: usize) -> Result<Instant> {
    let mut batch = Vec::new();
    let mut next = first;
    while next < first + count {
        let got = tokio::time::timeout(SILENCE, events.next_many(&mut batch)).await;
        let got = got.with_context(|| format!("silence after {} of {count} messages", next - first))?;
        ensure!(got > 0, "the feed ended after {} of {count} messages", next - first);
        for event in batch.drain(..) {
            let message = event.message.with_context(|| format!("an event without a message: {:?}", event.kind))?;
            ensure!(message.body == body(next), "expected message {next}, got {:?}", message.body);
            next += 1;
        }
    }
    Ok(Instant::now())
}
