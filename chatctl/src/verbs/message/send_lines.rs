//! A message for each line of standard input: `send --stdin-lines`.
//!
//! Calls are pipelined, a bounded number at a time, so that the daemon commits many at once. Lines are sent in their
//! order; at the first one that cannot be sent nothing after it is read. When the daemon goes, this waits for it to come
//! back and sends again what has no answer, in its order and under the ids that it had: what was stored stays one message.

use std::collections::VecDeque;

use proto::ids::MessageId;
use proto::rpc::RpcError;
use proto::rpc::client::{Client, Pending};
use proto::rpc::methods::MessageSend;
use proto::rpc::types::{SendParams, SendResult};
use tokio::sync::mpsc;

use crate::client::session::Session;
use crate::failure::Failure;
use crate::input::stdin_lines::{self, Line, LineError};
use crate::show::words::count;
use crate::term::output::note;
use crate::verbs::message::outcome::AWAITING_ACCEPTANCE;

/// Calls in flight at most: enough to keep the daemon's group commits full, little enough to stop soon after an error.
const IN_FLIGHT: usize = 1_024;
/// Bytes of text in flight at most, besides one message: they are kept until they are answered.
const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;

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

/// A line on its way.
struct Unanswered {
    number: u64,
    params: SendParams,
    /// `None` while the daemon is away: it has to be sent (again).
    answer: Option<Pending<MessageSend>>,
}

struct LineSender<'a> {
    client: Client,
    session: &'a mut Session,
    params: SendParams,
    in_flight: VecDeque<Unanswered>,
    bytes: usize,
    /// The daemon went away; nothing is sent before [`LineSender::resend`].
    disconnected: bool,
    sent: Sent,
}

/// Sends every line of standard input with these parameters.
///
/// # Errors
/// The first line that could not be sent, by its number; standard output that broke. How many are queued is said on
/// standard error then.
pub async fn send_lines(session: &mut Session, params: SendParams) -> Result<Sent, Failure> {
    // Before anything is read, so that input is not consumed for nothing.
    let client = session.client().await?;
    let mut input = stdin_lines::stdin();
    let sent = Sent::default();
    let mut sender =
        LineSender { client, session, params, in_flight: VecDeque::new(), bytes: 0, disconnected: false, sent };
    let mut result = sender.read_lines(&mut input).await;
    // What is on its way is counted, whatever happened.
    while !sender.in_flight.is_empty() {
        let taken = sender.take_answer().await;
        result = result.and(taken);
    }
    let result = result.and_then(|()| sender.session.out.end().map_err(Failure::from));
    if result.is_err() {
        note(&format!("{} queued", count(sender.sent.queued, "line")));
    }
    result.map(|()| sender.sent)
}

impl LineSender<'_> {
    async fn read_lines(&mut self, input: &mut mpsc::Receiver<Result<Vec<Line>, LineError>>) -> Result<(), Failure> {
        loop {
            if self.disconnected {
                self.resend().await?;
            }
            let batch = if self.in_flight.is_empty() {
                self.session.out.flush()?;
                input.recv().await
            } else {
                tokio::select! {
                    biased;
                    batch = input.recv() => batch,
                    taken = self.take_answer() => {
                        taken?;
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

    async fn submit(&mut self, line: Line) -> Result<(), Failure> {
        while self.in_flight.len() >= IN_FLIGHT || self.bytes >= IN_FLIGHT_BYTES {
            self.take_answer().await?;
        }
        let params = SendParams { body: line.text, id: Some(MessageId::now()), ..self.params.clone() };
        self.bytes += params.body.len();
        let mut line = Unanswered { number: line.number, params, answer: None };
        let handed_over = self.hand_over(&mut line).await;
        self.in_flight.push_back(line);
        handed_over
    }

    /// Hands a line over, if there is a daemon.
    async fn hand_over(&mut self, line: &mut Unanswered) -> Result<(), Failure> {
        if self.disconnected {
            return Ok(());
        }
        match self.client.submit::<MessageSend>(&line.params).await.map_err(Failure::from) {
            Ok(answer) => line.answer = Some(answer),
            Err(failure) if failure.is_disconnect() => self.forget_answers(),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Whatever was answered meanwhile behind the line that was not: sent again, it is the same message.
    fn forget_answers(&mut self) {
        self.disconnected = true;
        self.in_flight.iter_mut().for_each(|line| line.answer = None);
    }

    /// Takes the oldest answer. Dropping the future loses nothing: a line leaves the queue only when its answer is there.
    async fn take_answer(&mut self) -> Result<(), Failure> {
        let Some(line) = self.in_flight.front_mut() else { return Ok(()) };
        let answer = match &mut line.answer {
            Some(answer) => answer.await.map_err(Failure::from),
            None => return self.resend().await,
        };
        if answer.as_ref().is_err_and(Failure::is_disconnect) {
            self.forget_answers();
            return Ok(());
        }
        let Some(line) = self.in_flight.pop_front() else { return Ok(()) };
        self.bytes -= line.params.body.len();
        match answer {
            Ok(result) => self.count(&result),
            Err(Failure::Rpc(RpcError { code, text, advice })) => {
                Err(Failure::Rpc(RpcError { code, text: format!("line {}: {text}", line.number), advice }))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Waits for the daemon, then sends what has no answer, in its order.
    async fn resend(&mut self) -> Result<(), Failure> {
        self.session.out.remark("chatctl: the daemon went away; waiting for it to come back")?;
        let waiting = std::mem::take(&mut self.in_flight);
        self.client = self.session.wait_for_daemon().await?;
        self.session.out.remark("chatctl: the daemon is back")?;
        self.disconnected = false;
        for mut line in waiting {
            let handed_over = self.hand_over(&mut line).await;
            self.in_flight.push_back(line);
            handed_over?;
        }
        Ok(())
    }

    fn count(&mut self, result: &SendResult) -> Result<(), Failure> {
        self.sent.queued += 1;
        self.sent.last = Some(result.id);
        self.sent.awaiting |= result.reason.as_deref() == Some(AWAITING_ACCEPTANCE);
        if self.session.out.json {
            self.session.out.object(result)?;
        }
        Ok(())
    }
}
