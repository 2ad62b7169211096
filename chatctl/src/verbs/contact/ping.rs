//! `chatctl ping`: whether a contact's daemon is there, by which way, and how long an answer takes.

use std::time::Duration;

use proto::rpc::ErrorCode;
use proto::rpc::methods::ContactPing;
use proto::rpc::types::{PingResult, Route};
use serde::Serialize;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::contact;

/// Between two.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two while a direct way is waited for: it is there within a second, if it comes.
const SHORT_PAUSE: Duration = Duration::from_millis(500);
/// If nothing is said.
const COUNT: u32 = 4;
/// The same while a direct way is waited for: half a minute.
const COUNT_UNTIL_DIRECT: u32 = 60;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
    /// How often to ask [default: 4; 60 with --until-direct]
    #[arg(short = 'c', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Stop as soon as the way is direct; exit 6 if it does not come to that
    #[arg(long)]
    until_direct: bool,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    n: u32,
    #[serde(flatten)]
    pong: Option<&'a PingResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let (count, pause) = match (args.count, args.until_direct) {
        (Some(count), true) => (count, SHORT_PAUSE),
        (None, true) => (COUNT_UNTIL_DIRECT, SHORT_PAUSE),
        (count, false) => (count.unwrap_or(COUNT), PAUSE),
    };
    let params = session.who_params(&args.who);
    let mut answered = false;
    for n in 1..=count {
        match session.call::<ContactPing>(&params).await {
            Ok(pong) => {
                let answer = Answer { n, pong: Some(&pong), error: None };
                session.out.either(&answer, |out, _| out.line(contact::pong(&pong)))?;
                answered = true;
                if args.until_direct && pong.route != Route::Relayed {
                    return Ok(Exit::Ok);
                }
            }
            Err(Failure::Rpc(error)) if error.code == ErrorCode::TimedOut => {
                let answer = Answer { n, pong: None, error: Some(&error.text) };
                session.out.either(&answer, |out, _| out.note(&error.text))?;
            }
            Err(error) => return Err(error),
        }
        if n < count {
            tokio::time::sleep(pause).await;
        }
    }
    if args.until_direct {
        session.out.note("there is no direct way: what is sent goes by the relay, or to the mailbox")?;
    }
    Ok(if answered && !args.until_direct { Exit::Ok } else { Exit::TimedOut })
}
