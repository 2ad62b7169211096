//! `chatctl invite`: makes an invite, shows those that are out, takes one back.

use std::time::Duration;

use clap::Subcommand;
use proto::rpc::methods::{InviteCreate, InviteList, InviteRevoke};
use proto::rpc::types::{AccountParams, InviteCreateParams, InviteRevokeParams};
use proto::time::parse_duration;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::invite;
use crate::show::words::clock::clock;
use crate::term::output::{note, say};
use crate::verbs::account::print_once;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// What whoever uses it is called here
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// How long it is good: 1m to 31d [default: 7d]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<Duration>,
    /// Print it as a QR code, too
    #[arg(long)]
    qr: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the invites that are out, and those that were used
    List,
    /// Make an invite worthless
    Revoke {
        /// Its id, as list shows it
        id: String,
    },
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    match args.what {
        None => create(args, session).await?,
        Some(What::List) => list(session).await?,
        Some(What::Revoke { id }) => {
            let params = InviteRevokeParams { account: session.account(), id };
            let done = session.call::<InviteRevoke>(&params).await?;
            session.out.either(&done, |_, _| {
                note(&format!("the invite {} is worth nothing any more", params.id));
                Ok(())
            })?;
        }
    }
    Ok(Exit::Ok)
}

async fn create(args: Args, session: &mut Session) -> Result<(), Failure> {
    let expires_seconds = args.expires.map(|time| time.as_secs());
    let params = InviteCreateParams { account: session.account(), label: args.label, expires_seconds };
    let made = session.call::<InviteCreate>(&params).await?;
    print_once(&mut session.out, "invite", &made.uri, |out| {
        if out.json {
            return out.object(&made);
        }
        if args.qr {
            match QrCode::new(made.uri.as_bytes()) {
                Ok(code) => code.render::<Dense1x2>().build().lines().try_for_each(|row| out.line(row))?,
                Err(error) => say(&format!("no QR code of it: {error}")),
            }
        }
        out.line(&*made.uri)
    })?;
    if session.out.json {
        return Ok(());
    }
    note(&format!(
        "Whoever uses it first is your contact: chatctl add chat:... It is good once, until {}. To take it back: chatctl invite revoke {}",
        clock(made.invite.expires),
        made.invite.id
    ));
    Ok(())
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let found = session.call::<InviteList>(&AccountParams { account: session.account() }).await?;
    if session.out.json {
        return Ok(session.out.object(&found)?);
    }
    if found.invites.is_empty() {
        note("no invites; chatctl invite makes one");
    }
    let mut table = invite::list();
    for one in &found.invites {
        table.row(invite::row(one));
    }
    Ok(session.out.table(&mut table)?)
}
