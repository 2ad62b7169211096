//! `chatctl trace`: every attempt on a message.

use std::fmt::Write as _;

use proto::reason::{Reason, Said};
use proto::rpc::methods::MessageTrace;
use proto::rpc::types::{MessageState, TraceParams, TraceResult};
use serde::Serialize;

use crate::client::message_id::Id;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show;
use crate::show::clock;
use crate::show::reasons;
use crate::term::escape;
use crate::term::output::Out;
use crate::term::table::Table;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The message: its id, the end of that, or last for the newest that you sent
    id: Id,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let id = args.id.resolve(session, None, Some(true)).await?;
    let params = TraceParams { account: session.account(), id };
    let trace = session.call::<MessageTrace>(&params).await?;
    let next = next(&trace);
    session.out.either(&Shown { trace, next }, print)?;
    Ok(Exit::Ok)
}

/// What is shown of it.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    trace: TraceResult,
    /// What happens next, in words.
    next: String,
}

fn print(out: &mut Out, Shown { trace, next }: &Shown) -> Result<(), Failure> {
    let safe = |text: &str| escape::line(text).into_owned();
    let reason = trace.reason.as_deref().map(|reason| format!(" ({})", reasons::words(reason))).unwrap_or_default();
    out.line(&format!("{} with {}: {}{reason}", trace.id, safe(&trace.who), trace.state.as_str()))?;
    out.begin_page();
    let mut table = Table::new([0; 4]).titled(["TIME", "WHAT", "BY", "DETAIL"]);
    for step in &trace.steps {
        let optional = |text: &Option<String>, absent: &str| safe(text.as_deref().unwrap_or(absent));
        let mut detail = step.detail.as_deref().map(reasons::words).unwrap_or_default().into_owned();
        if let Some(others) = step.others {
            let _ = write!(detail, " (with {})", crate::verbs::count(others, "other message"));
        }
        table.row([clock::precise(step.at), safe(&step.what), optional(&step.path, "-"), detail]);
    }
    table.print(out)?;
    out.line(&format!("next: {}", safe(next)))
}

/// What becomes of a message next, and what its sender can do.
fn next(trace: &TraceResult) -> String {
    let who = &trace.who;
    let name = show::argument(who);
    let said = trace.reason.as_deref().and_then(Reason::read);
    let copy = said.is_some_and(|said| said.copy || said.reason == Reason::CopyMayArrive);
    match (trace.own, trace.state) {
        (false, _) => "nothing: it is here".to_owned(),
        (_, MessageState::Delivered) => format!("nothing: {who}'s daemon has it"),
        (_, MessageState::Read) => format!("nothing: {who} has read it"),
        (_, MessageState::Rejected | MessageState::Expired | MessageState::Withdrawn) if copy => {
            format!("nothing: it will not be sent again. A copy had left before; {who} may get it, or has it")
        }
        (_, MessageState::Rejected | MessageState::Expired | MessageState::Withdrawn) => {
            "nothing: it will not be sent".to_owned()
        }
        (_, MessageState::Sent) if said.is_none() => {
            format!("wait for the acknowledgement of {who}'s daemon, then send it again")
        }
        (_, MessageState::Mailboxed) => format!(
            "wait for the acknowledgement of {who}'s daemon, which takes it out of the mailbox when it is there; put it there \
             again after 7 days. You may go offline: {who} gets it if that is within 7 days"
        ),
        _ => waits(said, who, &name),
    }
}

fn waits(said: Option<Said<'_>>, who: &str, name: &str) -> String {
    match said.map(|said| said.reason) {
        Some(Reason::AwaitingAcceptance) => format!("send it when {who} accepts the contact request"),
        Some(Reason::KeyChanged) => format!("wait until you have verified {who}: chatctl verify {name}"),
        Some(Reason::Blocked) => format!("wait until {who} is unblocked: chatctl unblock {name}"),
        Some(Reason::RecipientKeysExpired) => {
            format!("wait until {who} was online once: the keys to seal to are older than 7 days")
        }
        Some(Reason::AccountGone) => format!(
            "wait until the account comes back to its directory: it was given up there. chatctl remove {name} ends that; \
             whoever has the name next is somebody else"
        ),
        Some(Reason::TokenRevoked) => {
            format!("try to reach {who} directly; if {who} has removed you: chatctl add {name} asks again")
        }
        Some(Reason::RecipientQuota) => format!("try again later: {who} takes no more of you for now"),
        _ => format!("try again as soon as {who} is reachable, and once a minute at least"),
    }
}
