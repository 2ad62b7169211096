//! `chatctl trace`: every attempt on a message.

use proto::rpc::methods::MessageTrace;
use proto::rpc::types::{TraceParams, TraceResult};
use serde::Serialize;

use crate::client::message_id::Id;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::trace;
use crate::term::output::{Out, OutputError};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The message: its id, the end of that, or last for the newest that you sent
    id: Id,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let id = args.id.resolve(session, None, Some(true)).await?;
    let params = TraceParams { account: session.account(), id };
    let trace = session.call::<MessageTrace>(&params).await?;
    let next = trace::next(&trace);
    session.out.either(&Shown { trace, next }, print)?;
    Ok(Exit::Ok)
}

/// What is shown of it.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    trace: TraceResult,
    /// What happens next, in words.
    next: String,
}

fn print(out: &mut Out, Shown { trace, next }: &Shown) -> Result<(), OutputError> {
    out.line(trace::head(trace))?;
    out.begin_page();
    out.table(&mut trace::steps(trace))?;
    out.line(format!("next: {next}"))
}
