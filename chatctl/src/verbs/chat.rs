//! `chatctl chat`: a live conversation, line by line.
//!
//! Typed lines are the kernel's line editor's until Enter, so nothing that comes in can swallow them; Ctrl-R shows a
//! half-typed line again after a message came in between.

use proto::ids::MessageId;
use proto::rpc::event::{Event, EventType};
use proto::rpc::methods::{MessageRead, MessageSend};
use proto::rpc::types::{HistoryParams, MessageState, ReadParams, SendParams, SubscribeParams};

use crate::delivery::{self, AWAITING_ACCEPTANCE};
use crate::failure::{Exit, Failure};
use crate::feed::Feed;
use crate::lines;
use crate::names::Labels;
use crate::output::{Out, note, say};
use crate::session::Session;
use crate::show;
use crate::verbs::history;
use crate::verbs::watch;

/// Messages shown at the start.
const RECENT: u32 = 20;

/// What it takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Each line that you type is sent; Ctrl-R shows a half-typed line again, Ctrl-D ends.")]
pub struct Args {
    /// A name, name@domain or label
    who: String,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let mut chat = Chat::open(args.who, session).await?;
    let mut input = lines::stdin();
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            alive = chat.feed.next_many(&mut batch) => {
                chat.show(&mut batch, session).await?;
                if !alive {
                    chat.feed.reconnect(session).await?;
                }
            }
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

struct Chat {
    who: String,
    feed: Feed,
    /// Messages of the history that was shown: the event that tells of one may come after it.
    last_shown: Vec<MessageId>,
    told_awaiting: bool,
    labels: Labels,
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
        let account = session.account();
        let params = SubscribeParams {
            account: account.clone(),
            who: Some(who.clone()),
            types: types.map(|t| t.as_str().to_owned()).to_vec(),
            ..Default::default()
        };
        let labels = session.labels().await?;
        let feed = Feed::open(session, params).await?;
        let params = HistoryParams { account, who: who.clone(), ..Default::default() };
        let recent = history::collect(session, params, RECENT).await?.messages;
        let last_shown = recent.iter().map(|message| message.id).collect();
        let mut chat = Self { who, feed, last_shown, told_awaiting: false, labels };
        let newest = recent.iter().rev().find(|message| message.received_at.is_some()).map(|message| message.id);
        for message in recent {
            let own = if message.received_at.is_some() { &message.to } else { &message.from };
            let account = own.clone();
            let event = watch::received(message, chat.feed.last(), &account, &chat.who);
            watch::print(&mut session.out, event, &chat.labels)?;
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
            newest = event.message.as_ref().map(|message| message.id).or(newest);
            print(&mut session.out, event, &self.labels)?;
        }
        session.out.flush()?;
        match newest {
            Some(message) => self.mark_read(message, session).await,
            None => Ok(()),
        }
    }

    /// What was shown is read. A connection that ends under it is noticed by the feed; the mark follows with the next.
    async fn mark_read(&mut self, newest: MessageId, session: &Session) -> Result<(), Failure> {
        let params = ReadParams { account: session.account(), who: self.who.clone(), up_to: Some(newest) };
        match self.feed.client().call::<MessageRead>(&params).await.map_err(Failure::from) {
            Err(failure) if !failure.is_disconnect() => Err(failure),
            _ => Ok(()),
        }
    }

    /// Sends a line, over a new connection if need be; its id makes that safe to repeat.
    async fn send(&mut self, body: String, session: &mut Session) -> Result<(), Failure> {
        let id = Some(MessageId::now());
        let params = SendParams { account: session.account(), to: self.who.clone(), body, id, ..Default::default() };
        loop {
            match self.feed.client().call::<MessageSend>(&params).await.map_err(Failure::from) {
                Ok(result) => {
                    if result.reason.as_deref() == Some(AWAITING_ACCEPTANCE) && !self.told_awaiting {
                        self.told_awaiting = true;
                        note(&delivery::describe(&result, &self.who));
                    }
                    return Ok(());
                }
                Err(failure) if failure.is_disconnect() => self.feed.reconnect(session).await?,
                // The conversation goes on; the line that was not sent is named.
                Err(Failure::Rpc(error)) => {
                    say(&format!("not sent: {:?}: {error}", params.body.chars().take(40).collect::<String>()));
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

fn print(out: &mut Out, mut event: Event, labels: &Labels) -> Result<(), Failure> {
    if out.json {
        return out.object(&event);
    }
    labels.event(&mut event);
    // That a line arrived is what one expects; only what went wrong is worth a line of its own.
    if matches!(event.state, Some(state) if state <= MessageState::Read) {
        return Ok(());
    }
    let Some(line) = show::event(&event, out.colour) else { return Ok(()) };
    // On a terminal a half-typed line may stand here: begin at its start and clear it from view (ECMA-48 EL).
    let begin = if out.terminal { "\r\x1b[K" } else { "" };
    out.line(&format!("{begin}{line}"))
}
