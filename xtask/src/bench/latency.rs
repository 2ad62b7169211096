//! Latency of one paced message: from `message.send` to its `delivered` event at the sender, which is three commits, two
//! network passes, a seal and an open. Beside it the floor, measured in the same run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use proto::rpc::client::{Client, Events};
use proto::rpc::methods::MessageSend;
use proto::rpc::types::{MessageState, SendParams, SubscribeParams};
use tests::Pair;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::Scale;
use super::floor::{self, trace};
use super::scale::body;
use super::table::{Row, percentile_ms};

/// A message that takes longer than this is a failure.
const DEADLINE: Duration = Duration::from_secs(30);
/// Pause between two messages, so that each travels alone.
const PACE: Duration = Duration::from_millis(5);
/// Messages before the measurement, to warm up caches and the link.
const WARM_UP: usize = 20;

/// Measures it.
pub async fn measure(scale: Scale) -> Result<Vec<Row>> {
    let count = scale.of(500, 100);
    let mut least = block_in_place(|| floor::lone(WARM_UP, count, PACE))?;
    let mut pair = Pair::start();
    let mut alice = Lone::new(pair.alice_daemon.client().await).await?;
    let (mut accepted, mut delivered) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + count {
        let (answer, end) = alice.send(number).await?;
        if number >= WARM_UP {
            accepted.push(answer);
            delivered.push(end);
        }
    }
    let pids = [pair.alice_daemon.pid(), pair.bob_daemon().pid()].map(|pid| pid.context("a daemon has ended"));
    let [first, second] = pids;
    let folder = pair.alice_daemon.place().path().to_owned();
    let runtime = Handle::current();
    let calls = block_in_place(|| {
        trace::count(&[first?, second?], &folder, trace::MESSAGES, |number| {
            runtime.block_on(alice.send(number)).map(drop)
        })
    })?;

    let limits = format!("{count} messages, one at a time");
    let (p50, floor_p50) = (percentile_ms(&mut delivered, 50), percentile_ms(&mut least.durations, 50));
    let mut rows = vec![
        Row::new("send to delivered, p50", p50, "ms", "< 2.5 ms", &limits),
        Row::new("send to delivered, p99", percentile_ms(&mut delivered, 99), "ms", "< 10 ms", &limits),
        Row::new("send to durable answer, p50", percentile_ms(&mut accepted, 50), "ms", "", &limits),
        Row::new("the floor of a lone message, p50", floor_p50, "ms", "", &limits),
        Row::new("the floor of a lone message, p99", percentile_ms(&mut least.durations, 99), "ms", "", &limits),
        Row::new("send to delivered, p50, over the floor", p50 / floor_p50, "x", "<= 1.6 x", &limits),
    ];
    if let (Some(ours), Some(least)) = (calls, least.calls) {
        let limits = format!("both daemons, {} messages under strace", trace::MESSAGES);
        rows.extend([
            Row::new("system calls of a lone message", ours.all, "", "", &limits),
            Row::new("system calls, the floor", least.all, "", "", &limits),
            Row::new("system calls, over the floor", ours.all / least.all, "x", "<= 1.6 x", &limits),
            Row::new("page reads of a lone message", ours.page_reads, "", "0", &limits),
            Row::new("syncs of a lone message", ours.syncs, "", "3", &limits),
            Row::new("syncs, the floor", least.syncs, "", "", limits),
        ]);
    }
    Ok(rows)
}

/// A client that sends one message at a time.
struct Lone {
    client: Client,
    events: Events,
}

impl Lone {
    async fn new(client: Client) -> Result<Self> {
        let params = SubscribeParams { types: vec!["message.state".into()], ..SubscribeParams::default() };
        let (_, events) = client.subscribe(&params).await.context("cannot subscribe")?;
        Ok(Self { client, events })
    }

    /// Sends one, waits until it is delivered, and a moment longer. How long the answer and the delivery took.
    async fn send(&mut self, number: usize) -> Result<(Duration, Duration)> {
        let send = SendParams { to: "bob".into(), body: body(number), ..SendParams::default() };
        let since = Instant::now();
        let sent = self.client.call::<MessageSend>(&send).await.context("cannot send")?;
        let answer = since.elapsed();
        loop {
            let event = tokio::time::timeout(DEADLINE, self.events.next()).await.context("no delivered event")?;
            let event = event.context("the feed ended")?;
            ensure!(event.state != Some(MessageState::Rejected), "message {number} was rejected");
            if event.id == Some(sent.id) && event.state == Some(MessageState::Delivered) {
                break;
            }
        }
        let delivered = since.elapsed();
        tokio::time::sleep(PACE).await;
        Ok((answer, delivered))
    }
}
