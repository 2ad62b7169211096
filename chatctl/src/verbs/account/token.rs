//! `chatctl token`: what programs may do for the account who hold one.

use clap::{Subcommand, ValueEnum};
use proto::rpc::methods::{TokenCreate, TokenList, TokenLog, TokenRevoke};
use proto::rpc::types::{PageParams, Rate, TokenCreateParams, TokenLogParams, TokenParams};
use proto::scope::Scope;
use proto::time::parse_duration;

use super::print_once;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::token;
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make one; it is printed once, and kept nowhere
    Create(Create),
    /// Show all of them, those that ended included
    List,
    /// End one, at once and on open connections too
    Revoke {
        /// Its name
        name: String,
    },
    /// Show what was done with one, and what it was refused
    Log {
        /// Its name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// What it is called: a-z, 0-9, -, _ and .
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What it may do: read, send, contacts, admin; several with commas
    #[arg(long, value_name = "SCOPE", value_enum, value_delimiter = ',')]
    allow: Vec<Allow>,
    /// Let it read the conversations with these only
    #[arg(long = "in", value_name = "WHO", num_args = 1..)]
    within: Vec<String>,
    /// Let it send to these only
    #[arg(long, value_name = "WHO", num_args = 1..)]
    send_to: Vec<String>,
    /// Let it do so much and no more, such as 10/m: messages sent, and whatever else is not reading
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<Rate>,
    /// Let it end by itself after this time, such as 90d
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    expires: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Allow {
    Read,
    Send,
    Contacts,
    Admin,
}

impl From<Allow> for Scope {
    fn from(allow: Allow) -> Self {
        match allow {
            Allow::Read => Self::Read,
            Allow::Send => Self::Send,
            Allow::Contacts => Self::Contacts,
            Allow::Admin => Self::Admin,
        }
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    parse_duration(text).map(|time| time.as_secs()).map_err(|error| error.to_string())
}

/// `10/m`, `3/90s`.
fn rate(text: &str) -> Result<Rate, String> {
    let bad = || format!("{text} is no rate: write 10/m, or 3/90s");
    let (count, per) = text.split_once('/').ok_or_else(bad)?;
    let count: u32 = count.parse().map_err(|_| bad())?;
    if count == 0 {
        return Err("1 is the least".to_owned());
    }
    let span = if per.starts_with(|c: char| c.is_ascii_digit()) { per.to_owned() } else { format!("1{per}") };
    let seconds = parse_duration(&span).map_err(|_| bad())?.as_secs();
    Ok(Rate { count, seconds: u32::try_from(seconds).map_err(|_| bad())? })
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    match args.what {
        What::Create(wanted) => create(session, wanted).await?,
        What::List => list(session).await?,
        What::Revoke { name } => {
            let params = TokenParams { account: session.account(), name };
            let ended = session.call::<TokenRevoke>(&params).await?;
            session.out.either(&ended, |_, ended| {
                note(&format!("{} is revoked", ended.name));
                Ok(())
            })?;
        }
        What::Log { name } => log(session, name).await?,
    }
    Ok(Exit::Ok)
}

async fn create(session: &mut Session, wanted: Create) -> Result<(), Failure> {
    let params = TokenCreateParams {
        account: session.account(),
        name: wanted.name,
        allow: wanted.allow.into_iter().map(Into::into).collect(),
        within: wanted.within,
        send_to: wanted.send_to,
        rate: wanted.rate,
        expires: wanted.expires,
    };
    let made = session.call::<TokenCreate>(&params).await?;
    if !session.out.json {
        note(&format!("{}: {}", made.grants.name, token::grants(&made.grants)));
        note("This is the token. It is told this once, and kept nowhere:");
    }
    print_once(&mut session.out, "token", &made.token, |out| {
        if out.json { out.object(&made) } else { out.line(made.token.to_string()) }
    })
}

/// One object a line under `--json`.
async fn list(session: &mut Session) -> Result<(), Failure> {
    let mut params = PageParams { account: session.account(), ..Default::default() };
    let (mut table, mut found) = (token::list(), false);
    loop {
        let page = session.call::<TokenList>(&params).await?;
        found |= !page.tokens.is_empty();
        for one in page.tokens {
            if session.out.json {
                session.out.object(&one)?;
            } else {
                table.row(token::row(&one));
            }
        }
        params.after = page.next;
        if params.after.is_none() {
            break;
        }
    }
    if !found {
        note("no tokens; chatctl token create --name NAME --send-to WHO makes one");
    }
    Ok(session.out.table(&mut table)?)
}

async fn log(session: &mut Session, name: String) -> Result<(), Failure> {
    let mut params = TokenLogParams { account: session.account(), name, after: None, limit: None };
    let mut table = token::log();
    loop {
        let page = session.call::<TokenLog>(&params).await?;
        for entry in page.entries {
            if session.out.json {
                session.out.object(&entry)?;
            } else {
                table.row(token::entry(&entry));
            }
        }
        params.after = page.next;
        if params.after.is_none() {
            break;
        }
    }
    Ok(session.out.table(&mut table)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let rate = |text| rate(text).map(|rate| (rate.count, rate.seconds));
        for (text, count, seconds) in [("10/m", 10, 60), ("1/s", 1, 1), ("5/d", 5, 86_400), ("3/90s", 3, 90)] {
            assert_eq!(rate(text), Ok((count, seconds)), "{text}");
        }
        for text in ["10", "10/", "/m", "x/m", "10/y", "-1/m", "10/0s", "10/m/m"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
