//! `chatctl read`: marks messages as read.

use proto::rpc::methods::MessageRead;
use proto::rpc::types::ReadParams;

use crate::client::message_id::Id;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
    /// Only up to and including this message
    #[arg(long, value_name = "ID")]
    up_to: Option<Id>,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let up_to = match &args.up_to {
        Some(id) => Some(id.resolve(session, Some(&args.who), Some(false)).await?),
        None => None,
    };
    let params = ReadParams { account: session.account(), who: args.who.clone(), up_to };
    let result = session.call::<MessageRead>(&params).await?;
    session.out.either(&result, |_, result| {
        note(&match result.marked {
            0 => format!("nothing unread from {}", args.who),
            marked => format!("{} from {} marked as read", crate::show::words::count(marked, "message"), args.who),
        });
        Ok(())
    })?;
    Ok(Exit::Ok)
}
