//! Reasons of the daemon's, in words for people.

use std::borrow::Cow;

use proto::reason::{Reason, Said};

use crate::term::escape;

/// A reason of the daemon's in words, with its details; one that this program does not know as it is.
pub fn words(reason: &str) -> Cow<'_, str> {
    let Some(Said { reason, copy, detail }) = Reason::read(reason) else { return escape::line(reason) };
    let mut words = Cow::Borrowed(phrase(reason));
    if copy {
        words.to_mut().push_str("; a copy had left before, and may arrive");
    }
    if let Some(detail) = detail {
        words.to_mut().push_str(": ");
        words.to_mut().push_str(&escape::line(detail));
    }
    words
}

/// What a reason means, for people.
fn phrase(reason: Reason) -> &'static str {
    match reason {
        Reason::AwaitingAcceptance => "not accepted yet",
        Reason::Blocked => "you blocked the contact",
        Reason::KeyChanged => "the recipient's key changed",
        Reason::LifetimeEnded => "its lifetime ended",
        Reason::CopyMayArrive => "its lifetime ended; a copy that was on its way may still arrive",
        Reason::ContactRemoved => "you removed the contact",
        Reason::RemovedByPeer => "the recipient ended the contact",
        Reason::RequestRejected => "the recipient refused your request",
        Reason::RequestExpired => "nobody answered your request in 30 days; chatctl add asks again",
        Reason::AccountGone => {
            "the recipient gave the name up, or is gone: the directory knows no such account any more"
        }
        Reason::RecipientQuota => "the recipient takes no more of you for now",
        Reason::RecipientKeysExpired => "the recipient's keys are too old",
        Reason::SuiteUnknown => "the recipient asks for encryption that this chatd does not know; a newer one does",
        Reason::SuiteWeaker => "the recipient offers weaker encryption than before",
        Reason::PeerUnreachable => "not reachable",
        Reason::NoMailbox => "the recipient has no mailbox that is known here",
        Reason::MailboxFull => "the recipient's mailbox is full",
        Reason::TokenRevoked => {
            "the recipient's directory takes no mail from you any more; you were removed or blocked, or it is new there"
        }
        Reason::MailboxRefused => "the recipient's directory refused it",
        Reason::MailboxUnreachable => "the recipient's directory cannot be reached",
        Reason::MailboxRestored => {
            "lost in the mailbox: the directory was restored from a backup; it is put there again"
        }
        Reason::MailboxTimeOver => "its time in the mailbox was over; it is put there again",
        Reason::WorkRefused => "the recipient asks strangers for more work than is done",
        Reason::Failed => "something failed here",
        Reason::Restored => "this account was restored from a backup; it is sent under a new number",
        Reason::SessionCounter => "this daemon may have been restored from a backup; it is sent under a new number",
        Reason::DevicesChanged => "a device came or went, of the recipient or of yours; it goes to all that there are",
        Reason::NumbersUnknown => "the recipient knows numbers that were never given here; it is sent under a new one",
        Reason::RecipientRestored => "the recipient was restored from a backup; it is sent again",
        Reason::IssuedAgain => "it has a new number, as those before it have",
        Reason::ChainBroken => "the sender's messages do not follow from each other",
        Reason::OverQuota => "your quota for this sender is used up",
        Reason::Rotated => "a new key, signed by the old one",
        Reason::Recovered => "a new key, by the recovery key",
        Reason::NoValidRotation => "a new key, and nobody vouches for it",
        Reason::Accepted => "the new key is accepted",
        Reason::Kept => "the old key holds",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_said_in_words() {
        let mut all = std::collections::HashSet::new();
        for &reason in Reason::ALL {
            let said = words(reason.as_str()).into_owned();
            assert!(said.contains(' ') && !said.contains('_') || said == "not reachable", "{reason}: {said}");
            assert!(all.insert(said.clone()), "{said} is said of two");
            let detail = "a\u{1b}[1m";
            assert_eq!(words(&reason.with(detail)), format!("{said}: {}", escape::line(detail)));
            assert_eq!(words(&reason.with_copy()), format!("{said}; a copy had left before, and may arrive"));
        }
        assert_eq!(words("of_a_newer_daemon\n"), escape::line("of_a_newer_daemon\n"));
    }
}
