//! What being away costs: draining a mailbox, and coming back after `kill -9` with much that waits.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use proto::ids::MessageId;
use proto::rpc::client::Client;
use proto::rpc::methods::{MessageSend, MessageWait, SystemStatus};
use proto::rpc::types::{AccountParams, MessageState, SendParams, SubscribeParams, WaitParams};
use tests::Pair;

use super::Scale;
use super::scale::body;
use super::table::Row;

/// Calls that may wait for their answers at the same time.
const IN_FLIGHT: usize = 4_096;
/// Longer than any of this takes.
const PATIENCE_MS: u64 = 300_000;
const LIMITS: &str = "defaults; loopback exempt";

/// Messages a second into and out of a mailbox, from a sender that has gone.
pub async fn mailbox(scale: Scale) -> Result<Vec<Row>> {
    let count = scale.of(10_000, 1_000);
    let mut pair = Pair::start();
    let seq = status(&pair.bob_daemon().client().await).await?.0;
    pair.bob_daemon().stop();
    let alice = pair.alice_daemon.client().await;
    let begun = Instant::now();
    let last = send(&alice, count).await?;
    let wait = WaitParams { id: last, state: MessageState::Mailboxed, timeout_ms: PATIENCE_MS, account: None };
    let there = alice.call::<MessageWait>(&wait).await.context("message.wait failed")?;
    ensure!(there.state == MessageState::Mailboxed, "the last message is {:?}: {:?}", there.state, there.reason);
    let deposited = begun.elapsed();
    drop(alice);
    pair.alice_daemon.stop();
    let begun = Instant::now();
    pair.bob_daemon().restart();
    let started = begun.elapsed();
    let bob = Client::connect(pair.bob.socket()).await.context("cannot connect to bob's daemon")?;
    let params =
        SubscribeParams { types: vec!["message.received".into()], since: Some(seq), ..SubscribeParams::default() };
    let (_, mut events) = bob.subscribe(&params).await.context("cannot subscribe")?;
    let (mut next, mut batch) = (0, Vec::new());
    while next < count {
        let got = tokio::time::timeout(Duration::from_millis(PATIENCE_MS), events.next_many(&mut batch)).await;
        ensure!(got.is_ok_and(|got| got > 0), "the feed ended after {next} of {count} messages");
        for message in batch.drain(..).filter_map(|event| event.message) {
            ensure!(message.body == body(next), "expected message {next}, got {:?}", message.body);
            next += 1;
        }
    }
    let drained = begun.elapsed() - started;
    let rate = |time: Duration| count as f64 / time.as_secs_f64();
    Ok(vec![
        Row::new(
            format!("send to a mailbox, {count} messages until the last lies there"),
            rate(deposited),
            "/s",
            "",
            LIMITS,
        ),
        Row::new(
            format!("drain of {count} mailboxed messages, from ready, the sender gone, in order"),
            rate(drained),
            "/s",
            "",
            LIMITS,
        ),
    ])
}

/// Seconds until a daemon that was killed with much in its outbox answers, and until all of it is delivered.
pub async fn recovery(scale: Scale) -> Result<Vec<Row>> {
    let count = scale.of(100_000, 10_000);
    let mut pair = Pair::start();
    // Without a directory there is no mailbox either: everything waits.
    pair.directory.stop();
    pair.bob_daemon().stop();
    let alice = pair.alice_daemon.client().await;
    send(&alice, count).await?;
    let queued = status(&alice).await?.1;
    ensure!(queued == count as u64, "{queued} of {count} messages wait");
    drop(alice);
    pair.alice_daemon.kill9();
    pair.directory.restart();
    pair.bob_daemon().restart();
    let begun = Instant::now();
    pair.alice_daemon.restart();
    let alice = pair.alice_daemon.client().await;
    let mut left = status(&alice).await?.1;
    let answered = begun.elapsed();
    while left > 0 {
        ensure!(begun.elapsed() < Duration::from_millis(PATIENCE_MS), "{left} messages still wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
        left = status(&alice).await?.1;
    }
    let delivered = begun.elapsed();
    Ok(vec![
        Row::new(
            format!("kill -9 with {count} queued: process start to the first answer"),
            answered.as_secs_f64() * 1_000.0,
            "ms",
            "",
            LIMITS,
        ),
        Row::new(
            format!("kill -9 with {count} queued: until all are delivered"),
            delivered.as_secs_f64(),
            "s",
            "",
            LIMITS,
        ),
    ])
}

/// Sends to bob; the id of the last one.
async fn send(alice: &Client, count: usize) -> Result<MessageId> {
    let mut waiting = std::collections::VecDeque::with_capacity(IN_FLIGHT);
    let mut last = None;
    for number in 0..count {
        let send = SendParams { to: "bob".into(), body: body(number), ..SendParams::default() };
        let pending: proto::rpc::client::Pending<MessageSend> = alice.submit(&send).await.context("cannot send")?;
        waiting.push_back(pending);
        if waiting.len() == IN_FLIGHT
            && let Some(oldest) = waiting.pop_front()
        {
            last = Some(oldest.await.context("message.send failed")?.id);
        }
    }
    for pending in waiting {
        last = Some(pending.await.context("message.send failed")?.id);
    }
    last.context("nothing was sent")
}

/// The newest event's number, and how many messages wait.
async fn status(client: &Client) -> Result<(u64, u64)> {
    let status = client.call::<SystemStatus>(&AccountParams::default()).await.context("system.status failed")?;
    let account = status.accounts.first().context("no account")?;
    Ok((account.seq, account.queued))
}
