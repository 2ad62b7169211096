//! Alice's side: sends numbered messages over connections that break, and writes down what was answered.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::ids::MessageId;
use proto::rpc::client::{Client, ClientError, Pending};
use proto::rpc::methods::MessageSend;
use proto::rpc::types::SendParams;

use super::plan::{Plan, Progress};
use super::rng::Rng;
use crate::wait::try_wait;

/// A daemon that is started again takes calls within this.
const BACK_DEADLINE: Duration = Duration::from_secs(60);
/// Calls without an answer at most.
const WINDOW: u64 = 64;
/// Refusals (as against broken connections) that are taken as passing trouble.
const MAX_REFUSALS: u64 = 100;

/// One message in alice's book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its place in alice's order; also its text.
    pub number: u64,
    /// Its id, chosen before it was sent.
    pub id: MessageId,
    /// The daemon has answered: from here on it may not be lost.
    pub acknowledged: bool,
}

/// The text of a message: its number, and something to store.
pub fn body(number: u64) -> String {
    format!("{number} {}", "lorem ipsum ".repeat((number % 13) as usize))
}

/// The number in a message's text.
pub fn number(body: &str) -> Option<u64> {
    body.split(' ').next()?.parse().ok()
}

/// Alice's client.
pub struct Sender {
    socket: PathBuf,
    messages: u64,
    rng: Rng,
    progress: Arc<Progress>,
    book: Vec<Sent>,
    /// Numbers that broke off without an answer, in order.
    doubtful: VecDeque<usize>,
    refusals: u64,
}

impl Sender {
    /// One who has sent nothing yet.
    pub fn new(socket: PathBuf, plan: &Plan, progress: Arc<Progress>) -> Self {
        let (messages, rng) = (plan.messages, Rng::new(plan.seed, 1));
        Self { socket, messages, rng, progress, book: Vec::new(), doubtful: VecDeque::new(), refusals: 0 }
    }

    /// Sends everything, and returns the book.
    ///
    /// # Errors
    /// When the daemon does not come back, or keeps refusing.
    pub async fn send_all(mut self) -> Result<Vec<Sent>> {
        loop {
            let connect = || async { Client::connect(&self.socket).await.ok() };
            let client = try_wait(BACK_DEADLINE, connect).await.context("alice's daemon does not come back")?;
            if self.one_connection(&client).await? {
                return Ok(self.book);
            }
        }
    }

    /// Sends until the connection breaks; true when everything is answered or given up.
    async fn one_connection(&mut self, client: &Client) -> Result<bool> {
        let mut waiting: VecDeque<(usize, Pending<MessageSend>)> = VecDeque::new();
        let mut window = 1 + self.rng.below(WINDOW);
        let broken = loop {
            let next = self.next();
            if let Some(index) = next {
                let Some(pending) = self.submit(client, index).await else {
                    break vec![index];
                };
                waiting.push_back((index, pending));
                if (waiting.len() as u64) < window {
                    continue;
                }
            }
            window = 1 + self.rng.below(WINDOW);
            let keep = self.rng.below(waiting.len() as u64) as usize;
            let mut broken = Vec::new();
            while waiting.len() > keep {
                let Some((index, pending)) = waiting.pop_front() else { break };
                if !self.answer(index, pending.await)? {
                    broken.push(index);
                }
            }
            if !broken.is_empty() {
                break broken;
            }
            if waiting.is_empty() && next.is_none() {
                if self.book.len() as u64 >= self.messages && self.doubtful.is_empty() {
                    return Ok(true);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            } else if self.rng.once_in(4) {
                // People do not write without a pause; a kill should find every kind of moment.
                tokio::time::sleep(Duration::from_micros(self.rng.below(6_000))).await;
            }
        };
        let mut doubtful: Vec<usize> = broken;
        for (index, pending) in waiting {
            // Answers that came before the break count.
            if !self.answer(index, pending.await)? {
                doubtful.push(index);
            }
        }
        doubtful.extend(self.doubtful.drain(..));
        doubtful.sort_unstable();
        // Some people do not try again: then it may have arrived or not.
        doubtful.retain(|_| !self.rng.once_in(8));
        self.doubtful = doubtful.into();
        Ok(false)
    }

    /// What to send next: first what is in doubt, then something new if its time has come.
    fn next(&mut self) -> Option<usize> {
        if let Some(index) = self.doubtful.pop_front() {
            return Some(index);
        }
        let number = self.book.len() as u64;
        if number >= self.messages || number >= self.progress.quota.load(Ordering::Relaxed) {
            return None;
        }
        self.book.push(Sent { number, id: MessageId::now(), acknowledged: false });
        Some(self.book.len() - 1)
    }

    async fn submit(&self, client: &Client, index: usize) -> Option<Pending<MessageSend>> {
        let sent = self.book.get(index)?;
        let params =
            SendParams { to: "bob".into(), body: body(sent.number), id: Some(sent.id), ..SendParams::default() };
        client.submit::<MessageSend>(&params).await.ok()
    }

    /// Writes an answer down; false when there was none.
    fn answer(&mut self, index: usize, outcome: Result<proto::rpc::types::SendResult, ClientError>) -> Result<bool> {
        match outcome {
            Ok(answer) => {
                let sent = self.book.get_mut(index).context("an answer to nothing")?;
                ensure!(answer.id == sent.id, "the answer to {} names {}", sent.id, answer.id);
                sent.acknowledged = true;
                Ok(true)
            }
            Err(ClientError::Rpc(error)) => {
                self.refusals += 1;
                ensure!(self.refusals < MAX_REFUSALS, "alice's daemon refuses: {error}");
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }
}
