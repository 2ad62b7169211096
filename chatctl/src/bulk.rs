//! A message for each line of standard input: `send --stdin-lines`.
//!
//! Calls are pipelined, a bounded number at a time, so that the daemon commits many at once. Lines are sent in their
//! order; at the first one that cannot be sent nothing after it is read.

use std::collections::VecDeque;

use proto::ids::MessageId;
use proto::rpc::RpcError;
use proto::rpc::client::{Client, Pending};
use proto::rpc::methods::MessageSend;
use proto::rpc::types::{SendParams, SendResult};
use tokio::sync::mpsc;

use crate::delivery::AWAITING_ACCEPTANCE;
use crate::failure::Failure;
use crate::lines::{self, LineError};
use crate::output::{Out, note};
use crate::session::Session;
use crate::verbs::count;

/// Calls in flight at most: enough to keep the daemon's group commits full, little enough to stop soon after an error.
const IN_FLIGHT: usize = 1_024;

/// What became of the lines.
#[derive(Debug, Default)]
pub struct Sent {
    /// Lines that are stored.
    pub queued: u64,
    /// The last of them.
    pub last: Option<MessageId>,
    /// Some of them wait for the recipient's consent.
    pub awaiting: bool,
}

struct Bulk<'a> {
    client: Client,
    out: &'a mut Out,
    params: SendParams,
    in_flight: VecDeque<(u64, Pending<MessageSend>)>,
    submitted: u64,
    sent: Sent,
}

/// Sends every line of standard input with these parameters.
///
/// # Errors
/// The first line that could not be sent, by its number. How many are queued is said on standard error then.
pub async fn send_lines(session: &mut Session, params: SendParams) -> Result<Sent, Failure> {
    // Before anything is read, so that input is not consumed for nothing.
    let client = session.client().await?;
    let mut input = lines::stdin();
    let out = &mut session.out;
    let mut bulk = Bulk { client, out, params, in_flight: VecDeque::new(), submitted: 0, sent: Sent::default() };
    let mut result = bulk.pump(&mut input).await;
    // What is on its way is counted, whatever happened.
    while !bulk.in_flight.is_empty() {
        let settled = bulk.settle().await;
        result = result.and(settled);
    }
    match result {
        Ok(()) => Ok(bulk.sent),
        Err(Failure::ClosedPipe) => Err(Failure::ClosedPipe),
        Err(failure) => {
            note(&format!("{} queued", count(bulk.sent.queued, "line")));
            Err(failure)
        }
    }
}

impl Bulk<'_> {
    async fn pump(&mut self, input: &mut mpsc::Receiver<Result<Vec<String>, LineError>>) -> Result<(), Failure> {
        loop {
            let batch = if self.in_flight.is_empty() {
                self.out.flush()?;
                input.recv().await
            } else {
                tokio::select! {
                    biased;
                    batch = input.recv() => batch,
                    settled = self.settle() => {
                        settled?;
                        continue;
                    }
                }
            };
            match batch {
                None => return Ok(()),
                Some(Err(error)) => return Err(Failure::other(error.to_string())),
                Some(Ok(lines)) => {
                    for line in lines {
                        self.submit(line).await?;
                    }
                }
            }
        }
    }

    async fn submit(&mut self, line: String) -> Result<(), Failure> {
        if self.in_flight.len() >= IN_FLIGHT {
            self.settle().await?;
        }
        self.params.body = line;
        self.submitted += 1;
        let pending = self.client.submit::<MessageSend>(&self.params).await.map_err(Failure::from)?;
        self.in_flight.push_back((self.submitted, pending));
        Ok(())
    }

    /// Takes the oldest answer. Dropping the future loses nothing: it leaves the queue only when it is there.
    async fn settle(&mut self) -> Result<(), Failure> {
        let Some((number, pending)) = self.in_flight.front_mut() else { return Ok(()) };
        let (number, answer) = (*number, pending.await);
        self.in_flight.pop_front();
        match answer.map_err(Failure::from) {
            Ok(result) => self.stored(&result),
            Err(Failure::Rpc(RpcError(code, text))) => {
                Err(Failure::Rpc(RpcError::new(code, format!("line {number}: {text}"))))
            }
            Err(failure) => Err(failure),
        }
    }

    fn stored(&mut self, result: &SendResult) -> Result<(), Failure> {
        self.sent.queued += 1;
        self.sent.last = Some(result.id);
        self.sent.awaiting |= result.reason.as_deref() == Some(AWAITING_ACCEPTANCE);
        if self.out.json { self.out.object(result) } else { Ok(()) }
    }
}
