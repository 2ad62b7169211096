//! `chatctl chat`: a live conversation, line by line.
//!
//! On a terminal lines are typed into an editor ([`crate::input::line_editor`]), and what comes in is shown above the line that is
//! not finished. Elsewhere each line of standard input is a message.

use std::io::{self, IsTerminal};
use std::time::Duration;

use proto::ids::MessageId;
use proto::rpc::event::{Event, EventType};
use proto::rpc::methods::{MessageRead, MessageSend};
use proto::rpc::types::{HistoryParams, MessageState, MessagesResult, ReadParams, SendParams, SubscribeParams};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::client::feed::Feed;
use crate::client::names;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::input::line_editor::{self, Typing};
use crate::input::stdin_lines::{self, Line, LineError};
use crate::input::stop::Stop;
use crate::show::sent;
use crate::term::output::note;
use crate::verbs::feed::printer::EventPrinter;
use crate::verbs::feed::watch;
use crate::verbs::message::history;
use crate::verbs::message::outcome::{self, AWAITING_ACCEPTANCE};

/// Messages shown at the start, and at most if more than those are unread.
const RECENT: u32 = 20;
const MOST_UNREAD: u32 = 1_000;
/// What `/help` says.
const HELP: &str = "Each line is sent when you press Enter; Ctrl-C takes it back.
  /quit    ends, as Ctrl-D does
  /help    shows this
  //text   sends /text
The arrow keys edit the line and bring back what was said; Tab completes a command.";
/// How long a message may take before its sender is told that it is not there yet.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line that you type is sent, empty ones are not; /help explains, /quit or Ctrl-D ends. The arrow keys \
                        bring back what you have said; a line that begins with // is sent with one of the two."
)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
    /// Leave unread what is shown
    #[arg(long)]
    peek: bool,
}

/// Where lines come from.
enum Input {
    Pipe(mpsc::Receiver<Result<Vec<Line>, LineError>>),
    Typed(Typing, Stop),
}

impl Input {
    /// The next lines; none at the end. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Option<Vec<String>>, Failure> {
        match self {
            Self::Pipe(lines) => match lines.recv().await.transpose() {
                Ok(lines) => Ok(lines.map(|lines| lines.into_iter().map(|line| line.text).collect())),
                Err(error) => Err(Failure::other(error.to_string())),
            },
            Self::Typed(typing, stop) => Ok(tokio::select! {
                line = typing.next() => line.map(|line| vec![line]),
                () = stop.asked() => None,
            }),
        }
    }
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    session.stay().await?;
    // What is typed is sent, whether or not somebody still reads what comes in.
    session.out.outlive_reader();
    let (mut chat, said) = Chat::open(args.who, args.peek, session).await?;
    let mut input = if session.out.screen && io::stdin().is_terminal() {
        // The editor has the terminal's mode to give back, so signals have to be waited for.
        let stop = Stop::listen()?;
        let (typing, printer) = line_editor::start(said)?;
        session.out.type_below(Some(printer));
        Input::Typed(typing, stop)
    } else {
        Input::Pipe(stdin_lines::stdin())
    };
    let result = chat.run(&mut input, session).await;
    session.out.type_below(None);
    result
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
    printer: EventPrinter,
    peek: bool,
}

impl Chat {
    async fn run(&mut self, input: &mut Input, session: &mut Session) -> Result<Exit, Failure> {
        let mut batch = Vec::new();
        loop {
            let until = self.waiting.map(|(_, until)| until);
            tokio::select! {
                alive = self.feed.next_many(&mut batch) => {
                    self.show(&mut batch, session).await?;
                    if !alive {
                        self.feed.reconnect(session).await?;
                    }
                }
                () = reached(until) => self.tell_waiting(session).await?,
                lines = input.next() => {
                    let Some(lines) = lines? else { return Ok(Exit::Ok) };
                    for line in lines {
                        match (&*input, line.strip_prefix('/')) {
                            (Input::Typed(..), Some("quit")) => return Ok(Exit::Ok),
                            (Input::Typed(..), Some("help")) => session.out.remark(HELP)?,
                            (Input::Typed(..), Some(rest)) if !rest.starts_with('/') => session.out.remark(&format!(
                                "/{rest} is no command, and was not sent; /help shows those that there are"
                            ))?,
                            (Input::Typed(..), Some(rest)) => self.send(rest.to_owned(), session).await?,
                            (Input::Typed(..), None) if line.is_empty() => {}
                            _ => self.send(line, session).await?,
                        }
                    }
                }
            }
        }
    }

    /// Subscribes first, then shows what was said last, so that nothing falls between the two. Also what oneself has said.
    async fn open(who: String, peek: bool, session: &mut Session) -> Result<(Self, Vec<String>), Failure> {
        let types = [
            EventType::MessageReceived,
            EventType::MessageState,
            EventType::ContactAccepted,
            EventType::ContactRejected,
            EventType::ContactGivenUp,
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
        let mut page = history::collect(session, params.clone(), RECENT).await?;
        let unread = |page: &MessagesResult| {
            let first = page.messages.iter().find(|message| message.received_at.is_some());
            page.more && first.is_some_and(|message| message.state == MessageState::Delivered)
        };
        if unread(&page) {
            page = history::collect(session, params, MOST_UNREAD).await?;
        }
        let recent = page.messages;
        let last_shown = recent.iter().map(|message| message.id).collect();
        let printer = EventPrinter::new(false);
        let (told_awaiting, waiting, told_waiting) = (false, None, false);
        let mut chat = Self { who, id, feed, last_shown, told_awaiting, waiting, told_waiting, printer, peek };
        let own = recent.iter().filter(|message| message.received_at.is_none());
        let said = own.map(|message| line_editor::harmless(&message.body)).collect();
        let newest = recent.iter().rev().find(|message| message.received_at.is_some()).map(|message| message.id);
        for message in recent {
            let own = if message.received_at.is_some() { &message.to } else { &message.from };
            let account = own.clone();
            let event = watch::received(message, &account);
            chat.printer.print(session, chat.feed.client(), event).await?;
        }
        session.out.flush()?;
        if let Some(newest) = newest {
            chat.mark_read(newest, session).await?;
        }
        note(&format!("-- talking to {}; Ctrl-D ends --", chat.who));
        Ok((chat, said))
    }

    async fn show(&mut self, batch: &mut Vec<Event>, session: &mut Session) -> Result<(), Failure> {
        let mut newest = None;
        for event in batch.drain(..) {
            if event.message.as_ref().is_some_and(|message| self.last_shown.contains(&message.id)) {
                continue;
            }
            self.note_state(&event);
            newest = event.message.as_ref().map(|message| message.id).or(newest);
            // That a line arrived is what one expects; only what went wrong is worth a line of its own.
            if session.out.json || event.state.is_none_or(|state| state > MessageState::Read) {
                self.printer.print(session, self.feed.client(), event).await?;
            }
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
        match outcome::wait(client, account, id, MessageState::Delivered, Duration::ZERO).await {
            Ok(result) if result.state < MessageState::Delivered => {
                self.told_waiting = true;
                Ok(session.out.remark(&sent::describe(&result, &self.who, None))?)
            }
            // The feed notices a connection that ended, and tells what became of the message.
            Ok(_) => Ok(()),
            Err(failure) if failure.is_disconnect() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// What was shown is read. A connection that ends under it is noticed by the feed; the mark follows with the next.
    async fn mark_read(&mut self, newest: MessageId, session: &Session) -> Result<(), Failure> {
        if self.peek {
            return Ok(());
        }
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
                            session.out.remark(&sent::describe(&result, &self.who, None))?;
                        }
                    } else if self.waiting.is_none() && !self.told_waiting {
                        self.waiting = Some((result.id, Instant::now() + PATIENCE));
                    }
                    return Ok(());
                }
                Err(failure) if failure.is_disconnect() => self.feed.reconnect(session).await?,
                // The conversation goes on; the line that was not sent is named.
                Err(failure @ Failure::Rpc(_)) => {
                    let begin = params.body.chars().take(40).collect::<String>();
                    session.out.remark(&format!("chatctl: not sent: {begin:?}: {failure}"))?;
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}
