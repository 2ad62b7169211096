//! `chatctl watch`: what waits, then events as they happen.
//!
//! It subscribes first and looks at what waits second, and drops what it sees twice, so nothing falls between the two.

use std::collections::HashSet;
use std::io::IsTerminal;

use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use proto::ids::{AccountId, MessageId};
use proto::rpc::ErrorCode;
use proto::rpc::event::{Event, EventType};
use proto::rpc::methods::{ContactRequests, MessageHistory};
use proto::rpc::types::{AccountInfo, HistoryParams, Message, MessageState, SubscribeParams};
use proto::time::Timestamp;

use crate::client::feed::Feed;
use crate::client::names;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::input::stop::Stop;
use crate::term::output;
use crate::verbs::feed::consumer::Consumer;
use crate::verbs::feed::printer::EventPrinter;

/// Messages fetched at once.
const PAGE: u32 = 1_000;
/// Attempts on an event unless told.
const MAX_ATTEMPTS: u64 = 10;

#[derive(Debug, clap::Args)]
#[command(after_help = "A consumer's events come again until they are acknowledged:\n\
    --exec CMD     CMD runs (by sh -c) once for each event, with the event as JSON on its standard input; exit code 0\n               \
    acknowledges, any other is tried again; the events behind it wait, for ever unless CMD ends\n               \
    (`timeout 60 ./bot` bounds it)\n\
    --ack-stdin    prints JSON; whoever reads it writes the `seq` of each event that it has finished, one a line\n\
    --ack printed  what was printed counts; the default on a terminal")]
pub struct Args {
    /// Only what concerns this one: a name, name@domain or label
    who: Option<String>,
    /// Begin after this event, and skip what waits; a consumer that is known already goes on where it was
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
    /// A name under which the daemon remembers what was acknowledged; the next watch of that name goes on there
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Run a command for each event
    #[arg(long, value_name = "CMD", requires = "consumer", group = "boundary")]
    exec: Option<String>,
    /// Attempts of --exec on an event before it becomes a dead letter [default: 10]
    #[arg(long, value_name = "N", requires = "exec", value_parser = clap::value_parser!(u64).range(1..))]
    max_attempts: Option<u64>,
    /// Acknowledge what the reader of the output writes to standard input
    #[arg(long, requires = "consumer", group = "boundary")]
    ack_stdin: bool,
    /// When an event is acknowledged
    #[arg(long, value_enum, value_name = "WHEN", requires = "consumer", group = "boundary")]
    ack: Option<Boundary>,
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(EventType::ALL.map(EventType::as_str)))]
    types: Vec<String>,
    /// Skip what waits; only what comes from now on
    #[arg(long)]
    new: bool,
    /// Leave unread what is shown; a terminal marks it as read otherwise
    #[arg(long)]
    peek: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Boundary {
    /// When it was printed
    Printed,
}

/// Ends when standard output is closed or, for a durable consumer, cleanly on SIGINT and SIGTERM.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let boundary = args.exec.is_some() || args.ack_stdin || args.ack.is_some();
    if args.consumer.is_some() && !boundary && !std::io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "watch --consumer has to know when an event is dealt with: --exec CMD (when a command has handled it), \
             --ack-stdin (when the reader says so), or --ack printed (when it was printed, handled or not)"
                .to_owned(),
        ));
    }
    session.stay().await?;
    // Once, and then by account: the name may be somebody else's after a reconnect.
    let only = match &args.who {
        Some(who) => Some(session.person(who).await?.account),
        None => None,
    };
    let preface = !args.new && args.since.is_none() && args.consumer.is_none();
    let params = SubscribeParams {
        account: session.account(),
        since: args.since,
        consumer: args.consumer.clone(),
        who: only.map(names::by_id),
        types: args.types.clone(),
        ..Default::default()
    };
    if let Some(name) = args.consumer {
        // Whoever counts events needs their numbers, which only JSON has.
        session.out.json |= args.ack_stdin;
        let stop = Stop::listen()?;
        let feed = Feed::open(session, params).await?;
        let consumer = Consumer { feed, session, name, stop };
        let printer = EventPrinter::new(false);
        return match args.exec {
            Some(command) => consumer.exec(&command, args.max_attempts.unwrap_or(MAX_ATTEMPTS)).await,
            None if args.ack_stdin => consumer.finished(printer).await,
            None => consumer.printed(printer).await,
        };
    }
    // A mark covers all that is older: only where all that is unread was shown is the newest read.
    let reads = session.out.person && preface && !args.peek && args.types.is_empty();
    let mut printer = EventPrinter::new(reads);
    let mut feed = Feed::open(session, params).await?;
    let mut seen = Seen::default();
    if preface {
        let wanted = |kind: EventType| args.types.is_empty() || args.types.iter().any(|t| t == kind.as_str());
        for event in waiting(session, only, wanted).await? {
            seen.note(&event);
            printer.print(session, feed.client(), event).await?;
        }
    }
    printer.flush(session, feed.client()).await?;

    let mut gone = std::pin::pin!(output::reader_gone());
    let mut batch = Vec::new();
    loop {
        let alive = tokio::select! {
            biased;
            () = &mut gone => return Err(Failure::ClosedPipe),
            alive = feed.next_many(&mut batch) => alive,
        };
        for event in batch.drain(..) {
            if !seen.has(&event) {
                printer.print(session, feed.client(), event).await?;
            }
        }
        printer.flush(session, feed.client()).await?;
        if !alive {
            feed.reconnect(session).await?;
        }
    }
}

/// What was printed as waiting and may come once more as an event. Each comes once at most, so an entry goes then.
#[derive(Default)]
struct Seen {
    messages: HashSet<MessageId>,
    requests: HashSet<AccountId>,
}

impl Seen {
    fn note(&mut self, event: &Event) {
        self.messages.extend(event.message.as_ref().map(|message| message.id));
        self.requests.extend(event.contact.as_ref().map(|contact| contact.account));
    }

    fn has(&mut self, event: &Event) -> bool {
        match event.kind {
            EventType::MessageReceived => event.message.as_ref().is_some_and(|m| self.messages.remove(&m.id)),
            EventType::ContactRequest => event.contact.as_ref().is_some_and(|c| self.requests.remove(&c.account)),
            _ => false,
        }
    }
}

/// Requests and unread messages as events without a number: they were events once, each with its own, which nobody looks
/// up here.
async fn waiting(
    session: &mut Session,
    only: Option<AccountId>,
    wanted: impl Fn(EventType) -> bool,
) -> Result<Vec<Event>, Failure> {
    let mut events = Vec::new();
    let AccountInfo { name, .. } = session.whoami().await?;
    let concerns = |account: AccountId| only.is_none_or(|only| only == account);
    if wanted(EventType::ContactRequest) {
        let requests = match session.contacts::<ContactRequests>().await {
            // A token that reads need not show who asks.
            Err(Failure::Rpc(error)) if session.by_token() && error.code == ErrorCode::NotAllowed => Vec::new(),
            found => found?.contacts,
        };
        for contact in requests {
            if concerns(contact.account) {
                let at = contact.since.unwrap_or_else(Timestamp::now);
                let mut event = Event::new(0, EventType::ContactRequest, at, name.clone());
                event.who = Some(contact.who.clone());
                event.peer = Some(contact.account);
                event.contact = Some(contact);
                events.push(event);
            }
        }
    }
    if wanted(EventType::MessageReceived) {
        for unread in session.unread().await?.conversations {
            if concerns(unread.account) {
                let messages = unread_messages(session, unread.account, unread.count).await?;
                events.extend(messages.into_iter().map(|message| received(message, &name)));
            }
        }
    }
    Ok(events)
}

/// A stored message as the event that told of it, without that one's number.
pub fn received(message: Message, account: &str) -> Event {
    let at = message.received_at.unwrap_or(message.sent_at);
    let mut event = Event::new(0, EventType::MessageReceived, at, account.to_owned());
    let who = if message.received_at.is_some() { &message.from } else { &message.to };
    (event.who, event.peer, event.label) = (Some(who.clone()), Some(message.peer), message.label.clone());
    event.message = Some(message);
    event
}

/// The unread messages of a conversation, oldest first. Reading marks everything up to a message, so going back ends at
/// the first one that is read; `count` bounds it, with room for what comes meanwhile.
async fn unread_messages(session: &mut Session, account: AccountId, count: u64) -> Result<Vec<Message>, Failure> {
    let mut found = Vec::new();
    let limit = Some(u32::try_from(count).unwrap_or(PAGE).saturating_add(20).min(PAGE));
    let mut params =
        HistoryParams { account: session.account(), who: names::by_id(account), limit, ..Default::default() };
    loop {
        let page = session.call::<MessageHistory>(&params).await?;
        params.before = page.messages.first().map(|message| message.id);
        let mut end = !page.more || params.before.is_none();
        for message in page.messages.into_iter().rev().filter(|message| message.received_at.is_some()) {
            if message.state == MessageState::Read {
                end = true;
                break;
            }
            found.push(message);
        }
        if end || found.len() as u64 >= count.saturating_add(u64::from(PAGE)) {
            found.reverse();
            return Ok(found);
        }
    }
}
