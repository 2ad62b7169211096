//! `chatctl search`: full-text search, newest first.

use proto::rpc::methods::MessageSearch;
use proto::rpc::types::{MessagesResult, SearchParams};

use crate::client::names;
use crate::client::quotes::Quotes;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::message;
use crate::show::words::advice;
use crate::show::words::names::label_message;
use crate::term::output::note;

/// Hits that one call gives at most.
const PAGE: u32 = 1_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Words, all of which must occur; the last may be the beginning of one, "words in quotes" are exact
    #[arg(required = true)]
    query: Vec<String>,
    /// Only in the conversation with this one
    #[arg(long = "in", value_name = "WHO")]
    who: Option<String>,
    /// How many hits at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let query = args.query.join(" ");
    let params = SearchParams { account: session.account(), query, who: args.who, ..SearchParams::default() };
    let mut result = collect(session, params, args.limit).await?;
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
        note("nothing found");
    }
    session.out.begin_page();
    let (client, look, mut quotes) = (session.client().await?, session.look(), Quotes::default());
    for hit in &result.messages {
        let answered = quotes.of(&client, session.account(), hit).await;
        session.out.line(message::hit(hit, look, answered.as_deref()))?;
    }
    if result.more {
        session.out.note("there is more; -n N shows more of it")?;
    }
    Ok(Exit::Ok)
}

/// Up to `limit` hits, over as many pages as that takes; newest first.
async fn collect(session: &mut Session, mut params: SearchParams, limit: u32) -> Result<MessagesResult, Failure> {
    let (mut messages, mut left) = (Vec::new(), limit);
    loop {
        params.limit = Some(left.min(PAGE));
        let page = session.call::<MessageSearch>(&params).await?;
        left = left.saturating_sub(u32::try_from(page.messages.len()).unwrap_or(u32::MAX));
        let edge = page.messages.last().map(|message| (message.id, message.peer));
        messages.extend(page.messages);
        match edge {
            // Two may have chosen one id: a page that ends where it began is the last that can be asked for.
            Some((id, peer)) if page.more && left > 0 && params.before != Some(id) => {
                params.before = Some(id);
                // Further pages are of the same person, whoever is called so by then.
                params.who = params.who.map(|_| names::by_id(peer));
            }
            _ => return Ok(MessagesResult { messages, more: page.more, damaged: page.damaged, repair: page.repair }),
        }
    }
}
