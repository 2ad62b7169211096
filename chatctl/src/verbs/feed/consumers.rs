//! `chatctl consumers`: durable readers of the feed, and what they gave up.

use clap::Subcommand;
use proto::rpc::methods::{ConsumerDeadLetters, ConsumerList, ConsumerRemove, ConsumerReset};
use proto::rpc::types::{ConsumerParams, ConsumerResetParams, DeadLettersParams, PageParams};

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::words::names::label_event;
use crate::show::{consumer, event};
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show all of them [the default]
    List,
    /// Put one to the present, or behind an event; its attempts and dead letters are forgotten
    Reset {
        /// Its name
        name: String,
        /// Go on after this event
        #[arg(long, value_name = "SEQ")]
        since: Option<u64>,
    },
    /// Forget one, with its dead letters
    Remove {
        /// Its name
        name: String,
    },
    /// Show the events that one gave up
    DeadLetters {
        /// Its name
        name: String,
    },
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    match args.what.unwrap_or(What::List) {
        What::List => list(session).await?,
        What::Reset { name, since } => {
            let params = ConsumerResetParams { account: session.account(), consumer: name, since };
            let consumer = session.call::<ConsumerReset>(&params).await?;
            if session.out.json {
                session.out.object(&consumer)?;
            } else {
                note(&format!("{} goes on after event {}", consumer.name, consumer.seq));
            }
        }
        What::Remove { name } => {
            let params = ConsumerParams { account: session.account(), consumer: name };
            let done = session.call::<ConsumerRemove>(&params).await?;
            if session.out.json {
                session.out.object(&done)?;
            } else {
                note(&format!("{} is forgotten", params.consumer));
            }
        }
        What::DeadLetters { name } => dead_letters(session, name).await?,
    }
    Ok(Exit::Ok)
}

/// One object a line under `--json`: lists may be long.
async fn list(session: &mut Session) -> Result<(), Failure> {
    let mut params = PageParams { account: session.account(), ..Default::default() };
    let mut table = consumer::list();
    let mut found = false;
    loop {
        let page = session.call::<ConsumerList>(&params).await?;
        found |= !page.consumers.is_empty();
        for consumer in page.consumers {
            if session.out.json {
                session.out.object(&consumer)?;
            } else {
                table.row(consumer::row(&consumer));
            }
        }
        params.after = page.next;
        if params.after.is_none() {
            break;
        }
    }
    if !found {
        note("no consumers; chatctl watch --consumer NAME makes one");
    }
    Ok(session.out.table(&mut table)?)
}

async fn dead_letters(session: &mut Session, name: String) -> Result<(), Failure> {
    let mut params = DeadLettersParams { account: session.account(), consumer: name, after: None, limit: None };
    let mut found = false;
    loop {
        let page = session.call::<ConsumerDeadLetters>(&params).await?;
        for mut letter in page.dead_letters {
            found = true;
            if session.out.json {
                session.out.object(&letter)?;
            } else {
                if let Some(event) = &mut letter.event {
                    label_event(event);
                }
                let lines = event::dead_letter(&letter, session.look());
                session.out.show(&lines)?;
            }
        }
        params.after = page.next;
        if params.after.is_none() {
            break;
        }
    }
    if !found {
        note("no dead letters");
    }
    Ok(())
}
