//! `chatctl watch`: what waits, then events as they happen.
//!
//! It subscribes first and looks at what waits second, and drops what it sees twice, so nothing falls between the two.

use std::collections::HashSet;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use proto::ids::{AccountId, MessageId};
use proto::rpc::event::{Event, EventType};
use proto::rpc::methods::{ContactRequests, FeedAck, MessageHistory};
use proto::rpc::types::{AccountInfo, FeedAckParams, HistoryParams, Message, MessageState, SubscribeParams};
use proto::time::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Exit, Failure};
use crate::feed::Feed;
use crate::names;
use crate::output::{self, Out};
use crate::session::Session;
use crate::show;

/// Printed events after which a durable consumer acknowledges even while more keep coming.
const ACK_EVERY: usize = 100;
/// Quiet after which it acknowledges fewer.
const ACK_IDLE: Duration = Duration::from_millis(50);
/// Messages fetched at once.
const PAGE: u32 = 1_000;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only what concerns this one: a name, name@domain or label
    who: Option<String>,
    /// Begin after this event, and skip what waits; a consumer that is known already goes on where it was
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
    /// A name under which the daemon remembers what was printed; the next watch of that name goes on there
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(EventType::ALL.map(EventType::as_str)))]
    types: Vec<String>,
    /// Skip what waits; only what comes from now on
    #[arg(long)]
    new: bool,
}

/// Does it. Ends when standard output is closed or, for a durable consumer, cleanly on SIGINT and SIGTERM.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
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
        method: None,
    };
    let mut stop = Stop::new(args.consumer.is_some())?;
    let mut feed = Feed::open(session, params).await?;
    let mut seen = Seen::default();
    if preface {
        let wanted = |kind: EventType| args.types.is_empty() || args.types.iter().any(|t| t == kind.as_str());
        for event in waiting(session, only, feed.last(), wanted).await? {
            seen.note(&event);
            print(&mut session.out, event)?;
        }
    }
    session.out.flush()?;

    let mut gone = std::pin::pin!(output::reader_gone());
    let mut unacked = 0;
    let mut batch = Vec::new();
    loop {
        let alive = tokio::select! {
            biased;
            () = stop.asked() => {
                acknowledge(&feed, session, args.consumer.as_ref(), &mut unacked).await?;
                return Ok(Exit::Ok);
            }
            () = &mut gone => return Err(Failure::ClosedPipe),
            alive = feed.next_many(&mut batch) => alive,
            () = tokio::time::sleep(ACK_IDLE), if unacked > 0 => {
                acknowledge(&feed, session, args.consumer.as_ref(), &mut unacked).await?
            }
        };
        unacked += batch.len();
        for event in batch.drain(..) {
            if !seen.has(&event) {
                print(&mut session.out, event)?;
            }
        }
        session.out.flush()?;
        // An acknowledgement follows the flush: what was not printed is told again.
        let acked = unacked < ACK_EVERY || acknowledge(&feed, session, args.consumer.as_ref(), &mut unacked).await?;
        if !alive || !acked {
            feed.reconnect(session).await?;
        }
    }
}

/// Signals after which there is something to do. Without that, the default action is the better one: it also ends a
/// program that is stuck in a write.
struct Stop(Option<(Signal, Signal)>);

impl Stop {
    fn new(handled: bool) -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|e| Failure::other(format!("cannot handle signals: {e}")));
        let signals = || Ok::<_, Failure>((listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?));
        Ok(Self(handled.then(signals).transpose()?))
    }

    async fn asked(&mut self) {
        match &mut self.0 {
            None => std::future::pending().await,
            Some((interrupt, terminate)) => tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            },
        }
    }
}

/// Tells the daemon what was printed. `false`: the connection ended; what comes again after a reconnect is dropped here.
async fn acknowledge(
    feed: &Feed,
    session: &Session,
    consumer: Option<&String>,
    unacked: &mut usize,
) -> Result<bool, Failure> {
    if let (Some(consumer), true) = (consumer, *unacked > 0) {
        let params = FeedAckParams { account: session.account(), consumer: consumer.clone(), seq: feed.last() };
        match feed.client().call::<FeedAck>(&params).await.map_err(Failure::from) {
            Err(failure) if failure.is_disconnect() => return Ok(false),
            result => {
                result?;
            }
        }
    }
    *unacked = 0;
    Ok(true)
}

/// Prints an event if it says anything to the reader.
pub fn print(out: &mut Out, mut event: Event) -> Result<(), Failure> {
    if out.json {
        return out.object(&event);
    }
    names::label_event(&mut event);
    match show::event(&event, out.colour) {
        Some(line) => out.line(&line),
        None => Ok(()),
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

/// Requests and unread messages as events; their number is that of the last event before the subscription, so that
/// `--since` with any number printed misses nothing.
async fn waiting(
    session: &mut Session,
    only: Option<AccountId>,
    seq: u64,
    wanted: impl Fn(EventType) -> bool,
) -> Result<Vec<Event>, Failure> {
    let mut events = Vec::new();
    let AccountInfo { name, .. } = session.whoami().await?;
    let concerns = |account: AccountId| only.is_none_or(|only| only == account);
    if wanted(EventType::ContactRequest) {
        for contact in session.contacts::<ContactRequests>().await?.contacts {
            if concerns(contact.account) {
                let at = contact.since.unwrap_or_else(Timestamp::now);
                let mut event = Event::new(seq, EventType::ContactRequest, at, name.clone());
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
                events.extend(messages.into_iter().map(|message| received(message, seq, &name)));
            }
        }
    }
    Ok(events)
}

/// A stored message as the event that told of it.
pub fn received(message: Message, seq: u64, account: &str) -> Event {
    let at = message.received_at.unwrap_or(message.sent_at);
    let mut event = Event::new(seq, EventType::MessageReceived, at, account.to_owned());
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
