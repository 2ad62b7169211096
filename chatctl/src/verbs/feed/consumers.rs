//! `chatctl consumers`: durable readers of the feed, and what they gave up.

use clap::Subcommand;
use proto::rpc::methods::{ConsumerDeadLetters, ConsumerList, ConsumerRemove, ConsumerReset};
use proto::rpc::types::{Consumer, ConsumerParams, ConsumerResetParams, DeadLetter, DeadLettersParams, PageParams};

use crate::client::names;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show;
use crate::show::Look;
use crate::show::clock::clock;
use crate::term::escape;
use crate::term::output::note;
use crate::term::table::Table;
use crate::verbs::count;

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
    let mut table = Table::new([0, 0, 0, 0]).titled(["NAME", "READER", "PLACE", "WAITING"]);
    let mut found = false;
    loop {
        let page = session.call::<ConsumerList>(&params).await?;
        found |= !page.consumers.is_empty();
        for consumer in page.consumers {
            if session.out.json {
                session.out.object(&consumer)?;
            } else {
                table.row(columns(&consumer));
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
    table.print(&mut session.out)
}

fn columns(consumer: &Consumer) -> [String; 4] {
    let mut notes = vec![format!("{} waiting", count(consumer.waiting, "event"))];
    if consumer.attempts > 0 {
        notes.push(format!("{} on the first", count(consumer.attempts, "attempt")));
    }
    if consumer.dead_letters > 0 {
        notes.push(count(consumer.dead_letters, "dead letter"));
    }
    let reading = if consumer.reading { "being read" } else { "not read" };
    [
        escape::line(&consumer.name).into_owned(),
        reading.to_owned(),
        format!("at {} ({})", consumer.seq, clock(consumer.at)),
        notes.join(", "),
    ]
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
                    names::label_event(event);
                }
                let line = dead_letter(&letter, session.out.look());
                session.out.line(&line)?;
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

fn dead_letter(letter: &DeadLetter, look: Look) -> String {
    let head = format!(
        "event {}, given up {} after {} ({})",
        letter.seq,
        clock(letter.at),
        count(letter.attempts, "attempt"),
        escape::line(&letter.reason)
    );
    match letter.event.as_ref().map(|event| show::event(event, look, None)) {
        Some(Some(event)) => format!("{head}:\n  {event}"),
        Some(None) => head,
        None => format!("{head}; its message was deleted"),
    }
}
