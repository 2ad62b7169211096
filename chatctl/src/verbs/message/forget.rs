//! `chatctl forget`: deletes messages of a conversation here.

use proto::rpc::methods::MessageForget;
use proto::rpc::types::ForgetParams;
use proto::time::Timestamp;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
    /// Only what was stored before this time, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    before: Option<Timestamp>,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = ForgetParams { account: session.account(), who: args.who.clone(), before: args.before };
    let result = session.call::<MessageForget>(&params).await?;
    session.out.either(&result, |_, result| {
        note(&match result.forgotten {
            0 => format!("nothing to forget of {}", args.who),
            forgotten => {
                format!("{} with {} forgotten here", crate::show::words::count(forgotten, "message"), args.who)
            }
        });
        Ok(())
    })?;
    Ok(Exit::Ok)
}
