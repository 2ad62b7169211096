//! `chatctl chat`: a live conversation, line by line.
//!
//! Typed lines are the kernel's line editor's until Enter, so nothing that comes in can swallow them; on a terminal what
//! comes in is shown above them.

use std::time::Duration;

use proto::ids::MessageId;
use proto::rpc::event::{Event, EventType};
use proto::rpc::methods::{MessageRead, MessageSend};
use proto::rpc::types::{HistoryParams, MessageState, ReadParams, SendParams, SubscribeParams};
use tokio::time::Instant;

use crate::delivery::{self, AWAITING_ACCEPTANCE};
use crate::failure::{Exit, Failure};
use crate::feed::Feed;
use crate::lines;
use crate::names;
use crate::output::{Out, note};
use crate::session::Session;
use crate::show;
use crate::verbs::history;
use crate::verbs::watch;

/// Messages shown at the start.
const RECENT: u32 = 20;
/// How long a message may take before its sender is told that it is not there yet.
const PATIENCE: Duration = Duration::from_secs(3);

/// What it takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line that you type is sent, empty ones are not; Ctrl-D ends. A terminal takes lines of up to \
                        4,095 bytes; `chatctl send` takes longer texts."
)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    session.stay().await?;
    let mut chat = Chat::open(args.who, session).await?;
    let mut input = lines::stdin();
    let mut batch = Vec::new();
    loop {
        let until = chat.waiting.map(|(_, until)| until);
        tokio::select! {
            alive = chat.feed.next_many(&mut batch) => {
                chat.show(&mut batch, session).await?;
                if !alive {
                    chat.feed.reconnect(session).await?;
                }
            }
            () = reached(until) => chat.tell_waiting(session).await?,
            lines = input.recv() => match lines {
                None => return Ok(Exit::Ok),
                Some(Err(error)) => return Err(Failure::other(error.to_string())),
                Some(Ok(lines)) => {
                    for line in lines.into_iter().filter(|line| !line.is_empty()) {
                        chat.send(line, session).await?;
                    }
                }
            },
        }
    }
}

async fn reached(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

struct Chat {
    /// How the other side is called, and how it goes in calls.
    who: String,
    id: String,
    feed: Feed,
    /// Messages of the history that was shown: the event that tells of one may come after it.
    last_shown: Vec<MessageId>,
    told_awaiting: bool,
    /// A message that is not delivered yet, and when to say so.
    waiting: Option<(MessageId, Instant)>,
    /// That was said, and nothing was delivered since.
    told_waiting: bool,
}

impl Chat {
    /// Subscribes first, then shows what was said last, so that nothing falls between the two.
    async fn open(who: String, session: &mut Session) -> Result<Self, Failure> {
        let types = [
            EventType::MessageReceived,
            EventType::MessageState,
            EventType::ContactAccepted,
            EventType::ContactRejected,
            EventType::ContactKeyChanged,
            EventType::Presence,
        ];
        let contact = session.person(&who).await?;
        let (who, id) = (contact.who, names::by_id(contact.account));
        let account = session.account();
        let params = SubscribeParams {
            account: account.clone(),
            who: Some(id.clone()),
            types: types.map(|t| t.as_str().to_owned()).to_vec(),
            ..Default::default()
        };
        let feed = Feed::open(session, params).await?;
        let params = HistoryParams { account, who: id.clone(), ..Default::default() };
        let recent = history::collect(session, params, RECENT).await?.messages;
        let last_shown = recent.iter().map(|message| message.id).collect();
        let mut chat = Self { who, id, feed, last_shown, told_awaiting: false, waiting: None, told_waiting: false };
        let newest = recent.iter().rev().find(|message| message.received_at.is_some()).map(|message| message.id);
        for message in recent {
            let own = if message.received_at.is_some() { &message.to } else { &message.from };
            let account = own.clone();
            let event = watch::received(message, chat.feed.last(), &account);
            watch::print(&mut session.out, event)?;
        }
        session.out.flush()?;
        if let Some(newest) = newest {
            chat.mark_read(newest, session).await?;
        }
        note(&format!("-- talking to {}; Ctrl-D ends --", chat.who));
        Ok(chat)
    }

    async fn show(&mut self, batch: &mut Vec<Event>, session: &mut Session) -> Result<(), Failure> {
        let mut newest = None;
        for event in batch.drain(..) {
            if event.message.as_ref().is_some_and(|message| self.last_shown.contains(&message.id)) {
                continue;
            }
            self.note_state(&event);
            newest = event.message.as_ref().map(|message| message.id).or(newest);
            print(&mut session.out, event)?;
        }
        session.out.flush()?;
        match newest {
            Some(message) => self.mark_read(message, session).await,
            None => Ok(()),
        }
    }

    fn note_state(&mut self, event: &Event) {
        if matches!(event.state, Some(MessageState::Delivered | MessageState::Read)) {
            self.told_waiting = false;
        }
        if self.waiting.is_some_and(|(id, _)| event.id == Some(id) && event.state >= Some(MessageState::Delivered)) {
            self.waiting = None;
        }
    }

    /// Says how the message stands that takes too long, once until something is delivered again.
    async fn tell_waiting(&mut self, session: &mut Session) -> Result<(), Failure> {
        let Some((id, _)) = self.waiting.take() else { return Ok(()) };
        let (client, account) = (self.feed.client(), session.account());
        match delivery::wait(client, account, id, MessageState::Delivered, Duration::ZERO).await {
            Ok(result) if result.state < MessageState::Delivered => {
                self.told_waiting = true;
                session.out.remark(&delivery::describe(&result, &self.who, None))
            }
            // The feed notices a connection that ended, and tells what became of the message.
            Ok(_) => Ok(()),
            Err(failure) if failure.is_disconnect() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// What was shown is read. A connection that ends under it is noticed by the feed; the mark follows with the next.
    async fn mark_read(&mut self, newest: MessageId, session: &Session) -> Result<(), Failure> {
        let params = ReadParams { account: session.account(), who: self.id.clone(), up_to: Some(newest) };
        match self.feed.client().call::<MessageRead>(&params).await.map_err(Failure::from) {
            Err(failure) if !failure.is_disconnect() => Err(failure),
            _ => Ok(()),
        }
    }

    /// Sends a line, over a new connection if need be; its id makes that safe to repeat.
    async fn send(&mut self, body: String, session: &mut Session) -> Result<(), Failure> {
        let id = Some(MessageId::now());
        let params = SendParams { account: session.account(), to: self.id.clone(), body, id, ..Default::default() };
        loop {
            match self.feed.client().call::<MessageSend>(&params).await.map_err(Failure::from) {
                Ok(result) => {
                    if result.reason.as_deref() == Some(AWAITING_ACCEPTANCE) {
                        if !std::mem::replace(&mut self.told_awaiting, true) {
                            session.out.remark(&delivery::describe(&result, &self.who, None))?;
                        }
                    } else if self.waiting.is_none() && !self.told_waiting {
                        self.waiting = Some((result.id, Instant::now() + PATIENCE));
                    }
                    return Ok(());
                }
                Err(failure) if failure.is_disconnect() => self.feed.reconnect(session).await?,
                // The conversation goes on; the line that was not sent is named.
                Err(Failure::Rpc(error)) => {
                    let begin = params.body.chars().take(40).collect::<String>();
                    session.out.remark(&format!("chatctl: not sent: {begin:?}: {error}"))?;
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

fn print(out: &mut Out, mut event: Event) -> Result<(), Failure> {
    if out.json {
        return out.object(&event);
    }
    names::label_event(&mut event);
    // That a line arrived is what one expects; only what went wrong is worth a line of its own.
    if matches!(event.state, Some(state) if state <= MessageState::Read) {
        return Ok(());
    }
    let Some(line) = show::event(&event, out.colour) else { return Ok(()) };
    out.above(&line)
}
