//! Empties the mailbox: what the directory pushes goes through the same pipeline as what comes over a link, and is deleted
//! there only when it is committed here.
//!
//! Invariants: an envelope that could not be stored now stays in the mailbox; what nobody can read any more does not stop
//! what comes behind it; that something came is told to its sender even if the two are never online together.

use std::sync::Arc;
use std::time::Duration;

use proto::wire::frame::RefuseCode;
use tokio::sync::mpsc;

use super::record_fetch;
use crate::directory::session::{Mail, SessionCommand};
use crate::receive::{Taken, Verdict, Way};
use crate::service::account::Account;
use crate::store::log::told;

/// When something could not be stored, the mailbox is asked for it again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(3);
/// And after so long for what waits for something that only others can bring: a hole that is filled, a record.
const ASK_LATER: Duration = Duration::from_secs(60);

/// What is to happen with the envelopes of one round. Numbers are those of the newest session only.
#[derive(Default)]
struct Round {
    session: u64,
    taken: Vec<(u64, u64, Taken)>,
    delete: Vec<u64>,
    release: Vec<u64>,
    /// As `release`, and nothing is gained by having it again soon.
    later: Vec<u64>,
    drained: bool,
}

/// Runs until the session's task is gone.
pub(in crate::service) async fn run(account: Arc<Account>, mut mail: mpsc::Receiver<Mail>) {
    let mut ask_again: Option<tokio::time::Instant> = None;
    loop {
        let timer = async {
            match ask_again {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let first = tokio::select! {
            item = mail.recv() => match item {
                Some(item) => item,
                None => return,
            },
            () = timer => {
                ask_again = None;
                account.command(SessionCommand::Mailbox).await;
                continue;
            }
        };
        let mut round = Round::default();
        take(&account, first, &mut round).await;
        // What came meanwhile shares the commit, and the signature of the deletion.
        while let Ok(item) = mail.try_recv() {
            take(&account, item, &mut round).await;
        }
        if let Some(pause) = finish(&account, round).await {
            let at = tokio::time::Instant::now() + pause;
            ask_again = Some(ask_again.map_or(at, |earlier| earlier.min(at)));
        }
    }
}

async fn take(account: &Arc<Account>, item: Mail, round: &mut Round) {
    let (session, number, outer) = match item {
        Mail::Drained => {
            round.drained = true;
            return;
        }
        Mail::Envelope { session, number, outer } => (session, number, outer),
    };
    if session != round.session {
        // Of a session that is over: its numbers are not deleted in this one, and come again.
        *round = Round { session, taken: std::mem::take(&mut round.taken), drained: round.drained, ..Round::default() };
    }
    match account.inbox.take(outer, Way::Mailbox).await {
        Verdict::Taken(taken) => round.taken.push((session, number, taken)),
        Verdict::Refused(RefuseCode::Unavailable) => round.release.push(number),
        // It waits for a newer record of its sender.
        Verdict::Refused(RefuseCode::Record) => round.later.push(number),
        Verdict::Refused(code) => {
            // A prekey that is gone, or no envelope at all: its sender seals anew when it hears our marks.
            tracing::info!(
                often = code.as_str(),
                number,
                code = code.as_str(),
                "an envelope of the mailbox cannot be opened"
            );
            round.delete.push(number);
        }
        // There is nobody here who could be told how much work it would take.
        Verdict::Dropped { .. } | Verdict::Work { .. } => round.delete.push(number),
        Verdict::Parked { contact, proved } => {
            record_fetch::fetch(account, contact);
            // It is judged by what is known when it comes again. Meanwhile it must not fill the directory's window.
            if proved { &mut round.release } else { &mut round.later }.push(number);
        }
    }
}

/// Waits for the commits, then tells the directory; after how long something should come again, if it should.
async fn finish(account: &Account, mut round: Round) -> Option<Duration> {
    for (session, number, taken) in round.taken {
        let contact = taken.contact;
        match taken.outcome.outcome().await {
            Ok(receipt) => {
                // Before the envelope is deleted: after a crash it comes again, and with it this.
                let due = !receipt.silent && !receipt.entries.is_empty();
                if due && account.store.write(move |tx| told::set_ack_due(tx, contact, true)).await.is_err() {
                    round.release.push(number);
                } else if receipt.refused {
                    tracing::info!(
                        often = "waits",
                        number,
                        "an envelope of the mailbox waits for what is missing before it"
                    );
                    if session == round.session {
                        round.later.push(number);
                    }
                } else if session == round.session {
                    round.delete.push(number);
                }
            }
            Err(error) => {
                tracing::warn!(number, %error, "an envelope of the mailbox was not stored, and stays there");
                if session == round.session {
                    round.release.push(number);
                }
            }
        }
    }
    let again = match (round.release.is_empty(), round.later.is_empty()) {
        (false, _) => Some(ASK_AGAIN),
        (true, false) => Some(ASK_LATER),
        (true, true) => None,
    };
    proto::fault::point("mailbox.delete.before");
    if !round.delete.is_empty() {
        account.command(SessionCommand::Delete(round.session, round.delete)).await;
    }
    round.release.append(&mut round.later);
    if !round.release.is_empty() {
        account.command(SessionCommand::Release(round.session, round.release)).await;
    }
    if round.drained && again.is_none() {
        account.mailbox_drained();
    }
    again
}
