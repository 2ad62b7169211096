//! `chatctl history`: a conversation, oldest first.

use proto::ids::MessageId;
use proto::rpc::methods::{MessageHistory, MessageRead};
use proto::rpc::types::{HistoryParams, Message, MessageState, MessagesResult, ReadParams};

use crate::client::message_id::Id;
use crate::client::names;
use crate::client::quotes::Quotes;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::message;
use crate::show::words;
use crate::show::words::advice;
use crate::show::words::names::label_message;
use crate::term::output::note;

/// Messages that one call gives at most.
const PAGE: u32 = 1_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
    /// How many messages at most
    #[arg(short = 'n', long = "limit", value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Only what is older than this message
    #[arg(long, value_name = "ID", conflicts_with = "after")]
    before: Option<Id>,
    /// Only what is newer than this message, the oldest of it first
    #[arg(long, value_name = "ID")]
    after: Option<Id>,
    /// Only messages with this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Leave unread what is shown; a terminal marks it as read otherwise
    #[arg(long)]
    peek: bool,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let who = Some(args.who.as_str());
    let before = match &args.before {
        Some(id) => Some(id.resolve(session, who, None).await?),
        None => None,
    };
    let after = match &args.after {
        Some(id) => Some(id.resolve(session, who, None).await?),
        None => None,
    };
    let reads = session.out.person && !args.peek && args.tag.is_none();
    let account = session.account();
    let params = HistoryParams { account, who: args.who.clone(), limit: None, before, after, tag: args.tag };
    let mut result = collect(session, params, args.limit).await?;
    let read = if reads { seen(&result, before.is_none() && after.is_none()) } else { Seen::Nothing };
    if !session.out.json {
        result.messages.iter_mut().for_each(label_message);
    }
    if let Some(damaged) = &result.damaged {
        note(&advice::told(damaged, result.repair.as_ref()));
    }
    if session.out.json {
        session.out.object(&result)?;
        return Ok(Exit::Ok);
    }
    if result.messages.is_empty() {
        note("no messages");
    }
    session.out.begin_page();
    let (client, look, mut quotes) = (session.client().await?, session.look(), Quotes::default());
    for shown in &result.messages {
        let answered = quotes.of(&client, session.account(), shown).await;
        session.out.show(&message::message(shown, look, answered.as_deref()))?;
    }
    // Read is what was seen: after the pager.
    session.out.end_page()?;
    session.out.flush()?;
    match read {
        Seen::Nothing => {}
        Seen::UpTo(id) => {
            let params = ReadParams { account: session.account(), who: args.who, up_to: Some(id) };
            session.call::<MessageRead>(&params).await?;
        }
        Seen::NotAll => note(&format!(
            "there are older unread messages: -n N shows more; chatctl read {} marks all as read",
            words::argument(&args.who)
        )),
    }
    Ok(Exit::Ok)
}

/// What a person has read who was shown some messages.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    UpTo(MessageId),
    /// Older ones are unread, and were not shown: a mark would cover those, too.
    NotAll,
}

/// `newest`: these are the newest messages of the conversation.
fn seen(result: &MessagesResult, newest: bool) -> Seen {
    let mut received = result.messages.iter().filter(|message| message.received_at.is_some());
    let unread = |message: &Message| message.state == MessageState::Delivered;
    let Some(first) = received.clone().next() else { return Seen::Nothing };
    match received.rfind(|message| unread(message)) {
        None => Seen::Nothing,
        Some(_) if unread(first) && (result.more || !newest) => Seen::NotAll,
        Some(last) => Seen::UpTo(last.id),
    }
}

/// Up to `limit` messages, over as many pages as that takes; oldest first.
pub async fn collect(session: &mut Session, mut params: HistoryParams, limit: u32) -> Result<MessagesResult, Failure> {
    let forward = params.after.is_some();
    // Backwards, pages come newest page first; each is kept whole until the end.
    let mut pages: Vec<Vec<Message>> = Vec::new();
    let mut left = limit;
    loop {
        params.limit = Some(left.min(PAGE));
        let page = session.call::<MessageHistory>(&params).await?;
        left = left.saturating_sub(u32::try_from(page.messages.len()).unwrap_or(u32::MAX));
        let edge = if forward { page.messages.last() } else { page.messages.first() }.map(|message| message.id);
        let more = page.more;
        // Further pages are of the same person, whoever is called so by then.
        if let Some(message) = page.messages.first() {
            params.who = names::by_id(message.peer);
        }
        pages.push(page.messages);
        match edge {
            Some(id) if more && left > 0 && forward => params.after = Some(id),
            Some(id) if more && left > 0 => params.before = Some(id),
            _ => {
                if !forward {
                    pages.reverse();
                }
                return Ok(MessagesResult {
                    messages: pages.concat(),
                    more,
                    damaged: page.damaged,
                    repair: page.repair,
                });
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::show::samples;

    #[test]
    fn only_what_was_shown_is_read() {
        let message = |n: u8, state: MessageState| Message { id: MessageId([n; 16]), state, ..samples::message() };
        let own = Message { received_at: None, ..message(9, MessageState::Delivered) };
        let (old, new) = (|n| message(n, MessageState::Read), |n| message(n, MessageState::Delivered));
        let seen = |messages: &[Message], more: bool, newest: bool| {
            super::seen(&MessagesResult { messages: messages.to_vec(), more, damaged: None, repair: None }, newest)
        };
        let up_to = |n: u8| Seen::UpTo(MessageId([n; 16]));
        assert_eq!(seen(&[], false, true), Seen::Nothing);
        assert_eq!(seen(&[old(1), own.clone()], true, true), Seen::Nothing, "nothing is unread");
        assert_eq!(seen(&[old(1), new(2), new(3), own.clone()], true, true), up_to(3));
        assert_eq!(seen(&[own, new(2), new(3)], false, true), up_to(3), "all that there are");
        assert_eq!(seen(&[new(2), new(3)], true, true), Seen::NotAll, "what is before them is unread, too");
        assert_eq!(seen(&[new(2)], false, false), Seen::NotAll, "after one that was named: what is before?");
    }
}
