//! `chatctl trace`: every attempt on a message.

use proto::rpc::methods::MessageTrace;
use proto::rpc::types::{TraceParams, TraceResult};

use crate::clock;
use crate::failure::{Exit, Failure};
use crate::ids::Id;
use crate::output::Out;
use crate::session::Session;
use crate::table::Table;
use crate::{show, terminal};

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The message: its id, the end of that, or last for the newest that you sent
    id: Id,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let id = args.id.resolve(session, None, Some(true)).await?;
    let params = TraceParams { account: session.account(), id };
    let trace = session.call::<MessageTrace>(&params).await?;
    session.out.either(&trace, print)?;
    Ok(Exit::Ok)
}

fn print(out: &mut Out, trace: &TraceResult) -> Result<(), Failure> {
    let safe = |text: &str| terminal::line(text).into_owned();
    let reason = trace.reason.as_deref().map(|reason| format!(" ({})", show::words(reason))).unwrap_or_default();
    out.line(&format!("{} with {}: {}{reason}", trace.id, safe(&trace.who), trace.state.as_str()))?;
    out.begin_page();
    let mut table = Table::new([0; 4]).titled(["TIME", "WHAT", "BY", "DETAIL"]);
    for step in &trace.steps {
        let optional = |text: &Option<String>, absent: &str| safe(text.as_deref().unwrap_or(absent));
        let detail = step.detail.as_deref().map(show::words).unwrap_or_default().into_owned();
        table.row([clock::precise(step.at), safe(&step.what), optional(&step.path, "-"), detail]);
    }
    table.print(out)?;
    out.line(&format!("next: {}", safe(&trace.next)))
}
