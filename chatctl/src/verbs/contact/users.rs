//! `chatctl users`: who is in the directory, all of them.

use std::net::{IpAddr, SocketAddr};

use proto::rpc::methods::DirectoryUsers;
use proto::rpc::types::{UsersParams, UsersResult};

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::contact;
use crate::term::output::note;

/// Names to a page: few round trips for 10,000 users, and a page fits one RPC message many times over.
const PAGE: u32 = 1_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only names that contain this, in upper or lower case
    query: Option<String>,
    /// Only the one with exactly this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only those at this address, who agreed to be found by it
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    ip: Option<String>,
    /// Only those who are online
    #[arg(long)]
    online: bool,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let mut params = UsersParams {
        account: session.account(),
        query: args.query,
        name: args.name,
        ip: args.ip,
        online: args.online,
        after: None,
        limit: Some(PAGE),
    };
    let narrowed = params.query.is_some() || params.name.is_some() || params.ip.is_some() || params.online;
    let mut all = UsersResult { users: Vec::new(), next: None };
    let mut table = contact::users();
    let mut found = 0;
    session.out.begin_page();
    loop {
        let page = session.call::<DirectoryUsers>(&params).await?;
        found += page.users.len();
        if session.out.json {
            all.users.extend(page.users);
        } else {
            page.users.iter().for_each(|user| table.row(contact::user(user)));
            session.out.table(&mut table)?;
            session.out.flush()?;
        }
        // A directory that answers with the same cursor again would keep us here for ever.
        if page.next.is_none() || page.next == params.after {
            break;
        }
        params.after = page.next;
    }
    if session.out.json {
        session.out.object(&all)?;
    } else if found == 0 {
        note(if narrowed { "nobody found" } else { "nobody is in the directory but you" });
    }
    Ok(Exit::Ok)
}

fn address(text: &str) -> Result<String, String> {
    let known = text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok();
    if known { Ok(text.to_owned()) } else { Err("not an IP address, or one with :port".to_owned()) }
}
