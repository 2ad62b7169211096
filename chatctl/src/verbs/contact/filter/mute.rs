//! `chatctl mute`.

use std::time::Duration;

use proto::rpc::methods::ContactMute;
use proto::rpc::types::MuteParams;
use proto::time::parse_duration;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::words;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
    /// For how long, such as 30s, 10m, 2h or 7d; until unmuted if left out
    #[arg(value_parser = parse_duration)]
    duration: Option<Duration>,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let seconds = args.duration.map(|duration| duration.as_secs());
    let params = MuteParams { account: session.account(), who: args.who, seconds };
    let contact = session.call::<ContactMute>(&params).await?;
    let timed = args.duration.is_some();
    session
        .tell(&contact, |who| match contact.muted_until.filter(|_| timed) {
            Some(until) => format!("{who} is muted until {}", crate::show::words::clock::clock(until)),
            None => format!("{who} is muted; undo with: chatctl unmute {}", words::argument(who)),
        })
        .await
}
