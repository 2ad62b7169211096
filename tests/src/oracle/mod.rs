//! The kill oracle: real daemons that are killed again and again, and somebody outside of them who keeps book.
//!
//! The job: alice's client sends numbered messages and writes down every id that was answered, which is the promise
//! that is tested; bob's durable consumer writes down what it was shown; meanwhile alice's daemon, bob's daemon and the
//! directory are killed with SIGKILL or end themselves at fail points, and are started again. At the end everything is
//! let through, and [`judge()`] compares the books with bob's history.
//!
//! Not its job: what happens inside of the daemons. It knows only what a user knows.
//!
//! Invariants: the same seed kills the same processes in the same order (the moments differ: the machine decides them);
//! what was in doubt when a connection broke is sent again under its old id, in its old order, or given up for good and
//! then may have arrived or not.

mod crew;
mod feed;
pub mod judge;
mod plan;
mod rng;
mod sender;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use proto::ids::MessageId;
use proto::rpc::client::Client;
use proto::rpc::methods::{MessageHistory, MessageUnread, SystemStatus};
use proto::rpc::types::{AccountParams, HistoryParams, PageParams};

use self::crew::Crew;
pub use self::crew::Deaths;
pub use self::judge::{Verdict, judge};
use self::plan::Progress;
pub use self::plan::{Plan, Who};
use crate::wait::try_wait;

/// All that was sent has to have arrived within this after the last kill.
const DRAIN_DEADLINE: Duration = Duration::from_secs(180);
/// Messages in one page of history.
const PAGE: u32 = 1_000;

/// How a run went.
#[derive(Debug)]
pub struct Report {
    /// The seed, to run it again.
    pub seed: u64,
    /// Who died how often, and at which fail points.
    pub deaths: Deaths,
    /// What the books say.
    pub verdict: Verdict,
    /// From the first message to the last kill.
    pub took: Duration,
    /// From the last kill until everything had arrived.
    pub drained: Duration,
}

/// Runs a plan to its end.
///
/// # Errors
/// When a process ends by itself or does not start again, or when messages still wait long after the last kill. What the
/// books say is no error here: see [`Report::verdict`].
pub fn run(plan: &Plan) -> Result<Report> {
    let mut crew = Crew::start(plan)?;
    let progress = Arc::new(Progress::default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let bob = runtime.block_on(feed::begin(crew.socket(Who::Bob)))?;
    let reader = runtime.spawn(feed::read(bob, Arc::clone(&progress)));
    let sender = sender::Sender::new(crew.socket(Who::Alice), plan, Arc::clone(&progress));
    let sender = runtime.spawn(sender.send_all());
    let since = Instant::now();
    crew.torment(plan, &progress)?;
    let took = since.elapsed();
    let since = Instant::now();
    let sent = runtime.block_on(sender).context("the sender panicked")??;
    let (alice, bob) = (crew.socket(Who::Alice), crew.socket(Who::Bob));
    runtime.block_on(async {
        let (alice, bob) = (Client::connect(&alice).await?, Client::connect(&bob).await?);
        drained(&alice, &bob, &progress).await
    })?;
    let drained = since.elapsed();
    progress.over.store(true, std::sync::atomic::Ordering::Relaxed);
    let feed = runtime.block_on(reader).context("the reader panicked")??;
    let history = runtime.block_on(async { history(&Client::connect(&bob).await?).await })?;
    let verdict = judge(&sent, &history, &feed);
    Ok(Report { seed: plan.seed, deaths: crew.deaths(), verdict, took, drained })
}

/// Waits until nothing waits at alice's, and the consumer was shown all that bob has.
async fn drained(alice: &Client, bob: &Client, progress: &Progress) -> Result<()> {
    let me = AccountParams::default();
    let empty = || async {
        let status = alice.call::<SystemStatus>(&me).await.ok()?;
        status.accounts.iter().all(|account| account.queued == 0).then_some(())
    };
    let arrived = try_wait(DRAIN_DEADLINE, empty).await;
    if arrived.is_none() {
        let status = alice.call::<SystemStatus>(&me).await?;
        anyhow::bail!("{DRAIN_DEADLINE:?} after the last kill, messages still wait at alice's: {:?}", status.accounts);
    }
    let all_shown = || async {
        let unread = bob.call::<MessageUnread>(&PageParams::default()).await.ok()?;
        let shown = progress.shown.load(std::sync::atomic::Ordering::Relaxed);
        (shown >= unread.total).then_some(())
    };
    // If they are not shown, the verdict says which.
    let _ = try_wait(Duration::from_secs(30), all_shown).await;
    Ok(())
}

/// All that bob has of alice, oldest first.
async fn history(bob: &Client) -> Result<Vec<(MessageId, String)>> {
    let mut pages = Vec::new();
    let mut before = None;
    loop {
        let params = HistoryParams { who: "alice".into(), limit: Some(PAGE), before, ..HistoryParams::default() };
        let page = bob.call::<MessageHistory>(&params).await.context("cannot read bob's history")?;
        before = page.messages.first().map(|message| message.id);
        pages.push(page.messages);
        if !page.more || before.is_none() {
            break;
        }
    }
    Ok(pages.into_iter().rev().flatten().map(|message| (message.id, message.body)).collect())
}
