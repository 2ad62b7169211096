//! `chatctl history`: a conversation, oldest first.

use proto::ids::MessageId;
use proto::rpc::methods::MessageHistory;
use proto::rpc::types::{HistoryParams, Message, MessagesResult};

use crate::failure::{Exit, Failure};
use crate::names;
use crate::output::note;
use crate::session::Session;
use crate::show;

/// Messages that one call gives at most.
const PAGE: u32 = 1_000;

/// What it takes.
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
    before: Option<MessageId>,
    /// Only what is newer than this message, the oldest of it first
    #[arg(long, value_name = "ID")]
    after: Option<MessageId>,
    /// Only messages with this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = HistoryParams {
        account: session.account(),
        who: args.who,
        limit: None,
        before: args.before,
        after: args.after,
        tag: args.tag,
    };
    let mut result = collect(session, params, args.limit).await?;
    if !session.out.json {
        result.messages.iter_mut().for_each(names::label_message);
    }
    if let Some(damaged) = &result.damaged {
        note(damaged);
    }
    session.out.either(&result, |out, result| {
        if result.messages.is_empty() {
            note("no messages");
        }
        for message in &result.messages {
            let line = show::message(message, out.colour);
            out.line(&line)?;
        }
        Ok(())
    })?;
    Ok(Exit::Ok)
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
                return Ok(MessagesResult { messages: pages.concat(), more, damaged: page.damaged });
            }
        }
    }
}
