//! `chatctl search`: full-text search, newest first.

use proto::rpc::methods::MessageSearch;
use proto::rpc::types::SearchParams;

use crate::failure::{Exit, Failure};
use crate::names;
use crate::output::note;
use crate::quotes::Quotes;
use crate::session::Session;
use crate::show;

/// What it takes.
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
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let query = args.query.join(" ");
    let params = SearchParams { account: session.account(), query, who: args.who, limit: Some(args.limit) };
    let mut result = session.call::<MessageSearch>(&params).await?;
    if !session.out.json {
        result.messages.iter_mut().for_each(names::label_message);
    }
    if let Some(damaged) = &result.damaged {
        note(damaged);
    }
    if session.out.json {
        session.out.object(&result)?;
        return Ok(Exit::Ok);
    }
    if result.messages.is_empty() {
        note("nothing found");
    }
    session.out.begin_page();
    let (client, look, mut quotes) = (session.client().await?, session.out.look(), Quotes::default());
    for message in &result.messages {
        let answered = quotes.of(&client, session.account(), message).await;
        session.out.line(&show::hit(message, look, answered.as_deref()))?;
    }
    if result.more {
        session.out.note("there is more; -n N shows more of it")?;
    }
    Ok(Exit::Ok)
}
