//! Every attempt on a message, and what comes next.

use std::fmt::Write as _;

use proto::reason::{Reason, Said};
use proto::rpc::types::{MessageState, Outcome, TraceResult, TraceStep};

use super::words::{argument, clock, count, reasons};
use crate::term::span::Line;
use crate::term::table::Table;

/// Which message it is, and how it stands.
pub fn head(trace: &TraceResult) -> Line {
    let reason = trace.reason.as_deref().map(|reason| format!(" ({})", reasons::words(reason))).unwrap_or_default();
    format!("{} with {}: {}{reason}", trace.id, trace.who, trace.state.as_str()).into()
}

/// The attempts, oldest first.
pub fn steps(trace: &TraceResult) -> Table<4> {
    let mut table = Table::new([0; 4]).titled(["TIME", "WHAT", "BY", "DETAIL"]);
    for step in &trace.steps {
        let mut detail = detail(step, trace.own);
        if let Some(others) = step.others {
            let _ = write!(detail, " (with {})", count(others, "other message"));
        }
        let path = step.path.clone().unwrap_or_else(|| "-".to_owned());
        table.row([clock::precise(step.at), step.what.clone(), path, detail]);
    }
    table
}

/// What is behind a step, for people.
fn detail(step: &TraceStep, own: bool) -> String {
    let reason = step.reason.as_deref().map(reasons::words);
    match (step.outcome, reason) {
        (Some(Outcome::Failed), Some(reason)) | (None, Some(reason)) => reason.into_owned(),
        (Some(outcome), _) => phrase(outcome).to_owned(),
        (None, None) => said_of(&step.what, own).to_owned(),
    }
}

/// What an outcome means.
fn phrase(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Sent => "sent",
        Outcome::Deposited => "deposited",
        Outcome::Failed => "it failed",
    }
}

/// What a state means of which nothing else is to be said.
fn said_of(what: &str, own: bool) -> &'static str {
    match what {
        "queued" => "stored durably",
        "sent" if own => "by another device of the account",
        "sent" => "by the sender's clock",
        "received" => "committed here and acknowledged",
        "mailboxed" => "in the recipient's mailbox",
        "delivered" => "acknowledged",
        _ => "",
    }
}

/// What becomes of a message next, and what its sender can do.
pub fn next(trace: &TraceResult) -> String {
    let who = &trace.who;
    let name = argument(who);
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
        Some(Reason::SuiteUnknown) => {
            format!("wait until this chatd knows the encryption that {who} asks for: a newer one does")
        }
        Some(Reason::SuiteWeaker) => format!(
            "wait until {who} offers as strong encryption as before, or until you have asked {who} and compared the safety \
             number: chatctl verify {name}"
        ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::render::samples::plain;
    use proto::ids::{AccountId, MessageId};
    use proto::time::Timestamp;

    fn trace(state: MessageState, reason: Option<&str>) -> TraceResult {
        let step = TraceStep {
            at: Timestamp(0),
            what: "attempt".into(),
            path: None,
            outcome: Some(Outcome::Failed),
            reason: Some("peer_unreachable: timed out\u{1b}".into()),
            others: Some(1),
        };
        let (id, reason) = (MessageId([7; 16]), reason.map(str::to_owned));
        TraceResult { id, who: "bob".into(), peer: AccountId([9; 16]), own: true, state, reason, steps: vec![step] }
    }

    #[test]
    fn steps_are_said_in_words() {
        let trace = trace(MessageState::Queued, Some("awaiting_acceptance"));
        assert!(plain(&[head(&trace)]).ends_with(" with bob: queued (not accepted yet)"));
        let shown = plain(&steps(&trace).take_lines(false));
        let detail = "  attempt  -  not reachable: timed out\\u{1b} (with 1 other message)";
        assert!(shown.ends_with(detail), "{shown}");
    }

    #[test]
    fn every_outcome_and_reason_of_an_attempt_is_said_in_words() {
        let said = |outcome, reason: Option<String>| {
            let step = trace(MessageState::Queued, None).steps.remove(0);
            detail(&TraceStep { outcome: Some(outcome), reason, ..step }, true)
        };
        let mut all: Vec<String> = Outcome::ALL.into_iter().map(|outcome| said(outcome, None)).collect();
        all.extend(Reason::ALL.iter().map(|reason| said(Outcome::Failed, Some(reason.to_string()))));
        assert!(all.iter().all(|text| !text.is_empty() && !text.contains('_')), "{all:?}");
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "each says something of its own");
        assert_eq!(count, Outcome::ALL.len() + Reason::ALL.len());
    }

    #[test]
    fn what_comes_next_is_said_for_every_state_and_reason() {
        use MessageState::{Delivered, Expired, Mailboxed, Queued, Read, Rejected, Sent, Withdrawn};
        for state in [Queued, Sent, Mailboxed, Delivered, Read, Rejected, Expired, Withdrawn] {
            for reason in std::iter::once(None).chain(Reason::ALL.iter().map(|reason| Some(reason.as_str()))) {
                let next = next(&trace(state, reason));
                assert!(next.contains(' ') && !next.contains('_'), "{state:?} {reason:?}: {next}");
            }
        }
        let blocked = next(&trace(Queued, Some("blocked")));
        assert_eq!(blocked, "wait until bob is unblocked: chatctl unblock bob");
    }
}
