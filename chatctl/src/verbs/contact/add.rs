//! `chatctl add`: asks somebody to become a contact.

use std::io::{self, BufRead};

use proto::invite::SCHEME;
use proto::rpc::methods::ContactAdd;
use proto::rpc::types::{ContactAddParams, ContactState};

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::words;

/// Bytes of a line that says whom: an invite has some hundred.
const MAX_BYTES: u64 = 16 * 1024;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or an invite (chat:...); `-` reads it from standard input, where no list of processes shows it
    who: String,
    /// Shown with the request
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let who = if args.who == "-" { read(io::stdin().lock())? } else { args.who };
    let params = ContactAddParams { account: session.account(), who, message: args.message };
    let invited = params.who.trim_start().starts_with(SCHEME);
    let contact = session.call::<ContactAdd>(&params).await?;
    if invited && contact.state == ContactState::Requested {
        return session.tell(&contact, |who| format!("told {who}; you are contacts as soon as they hear of it")).await;
    }
    session.tell(&contact, |who| outcome(contact.state, who)).await
}

/// One line.
fn read(input: impl BufRead) -> Result<String, Failure> {
    let mut line = String::new();
    let read = input.take(MAX_BYTES).read_line(&mut line);
    read.map_err(|error| Failure::other(format!("cannot read whom to add from standard input: {error}")))?;
    let line = line.trim();
    if line.is_empty() {
        return Err(Failure::Usage("standard input says nobody to add".to_owned()));
    }
    Ok(line.to_owned())
}

fn outcome(state: ContactState, who: &str) -> String {
    match state {
        ContactState::Accepted => format!("you and {who} are contacts"),
        ContactState::Pending => format!("{who} asks you, too; chatctl accept {}", words::argument(who)),
        ContactState::Requested => format!("asked {who}; `chatctl contacts` shows when it is accepted"),
        ContactState::Rejected => format!("{who} refused"),
        ContactState::GivenUp => format!("the request to {who} was given up"),
        ContactState::Removed => format!("{who} is not a contact"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whom_to_add_is_one_line() {
        assert_eq!(read(&b" chat:abc \nmore\n"[..]).unwrap(), "chat:abc");
        assert!(read(&b"\n"[..]).is_err() && read(&b""[..]).is_err() && read(&b"\xff\n"[..]).is_err());
        assert_eq!(read(&vec![b'x'; 1 << 20][..]).unwrap().len() as u64, MAX_BYTES);
    }
}
