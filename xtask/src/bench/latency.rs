//! Latency of one paced message: from `message.send` to its `delivered` event at the sender, which is two commits, two
//! network passes, a seal and an open.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use proto::rpc::methods::MessageSend;
use proto::rpc::types::{MessageState, SendParams, SubscribeParams};
use tests::Pair;

use super::Scale;
use super::table::{Row, percentile_ms};
use super::throughput::body;

/// A message that takes longer than this is a failure.
const DEADLINE: Duration = Duration::from_secs(30);
/// Pause between two messages, so that each travels alone.
const PACE: Duration = Duration::from_millis(5);
/// Messages before the measurement, to warm up caches and the link.
const WARM_UP: usize = 20;

/// Measures it.
pub async fn measure(scale: Scale) -> Result<Vec<Row>> {
    let pair = Pair::start();
    let alice = pair.alice_daemon.client().await;
    let params = SubscribeParams { types: vec!["message.state".into()], ..SubscribeParams::default() };
    let (_, mut events) = alice.subscribe(&params).await.context("cannot subscribe")?;
    let count = scale.of(500, 100);
    let (mut accepted, mut delivered) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + count {
        let send = SendParams { to: "bob".into(), body: body(number), ..SendParams::default() };
        let since = Instant::now();
        let sent = alice.call::<MessageSend>(&send).await.context("cannot send")?;
        let answer = since.elapsed();
        loop {
            let event = tokio::time::timeout(DEADLINE, events.next()).await.context("no delivered event")?;
            let event = event.context("the feed ended")?;
            ensure!(event.state != Some(MessageState::Rejected), "message {number} was rejected");
            if event.id == Some(sent.id) && event.state == Some(MessageState::Delivered) {
                break;
            }
        }
        if number >= WARM_UP {
            accepted.push(answer);
            delivered.push(since.elapsed());
        }
        tokio::time::sleep(PACE).await;
    }
    let limits = format!("{count} messages, one at a time");
    Ok(vec![
        Row::new("send to delivered, p50", percentile_ms(&mut delivered, 50), "ms", "< 2.5 ms", &limits),
        Row::new("send to delivered, p99", percentile_ms(&mut delivered, 99), "ms", "< 10 ms", &limits),
        Row::new("send to durable answer, p50", percentile_ms(&mut accepted, 50), "ms", "", limits),
    ])
}
