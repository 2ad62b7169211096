//! Why a message, a request or a key stands where it stands. The daemon stores and sends a word; programs say it to people in
//! words of their own.
//!
//! On the RPC and in the database, a reason is its word; its word, a colon and details (`peer_unreachable: no address of it is
//! known`); or its word followed by `_copy_may_arrive`, where a message was ended of which a copy had left before.

use std::fmt;

/// What [`Reason::with_copy`] adds.
const COPY: &str = "_copy_may_arrive";

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $word:literal;)*) => {
        /// See the module.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The one of that word alone.
            pub fn of_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// Devices of the recipient or of the account came or went: what waits goes to all that there are now.
    DevicesChanged "devices_changed";
    /// The recipient has not accepted yet.
    AwaitingAcceptance "awaiting_acceptance";
    /// The owner blocked the contact.
    Blocked "blocked";
    /// The recipient's key changed, and nobody vouches for the new one.
    KeyChanged "key_changed";
    /// The message's lifetime is over.
    LifetimeEnded "lifetime_ended";
    /// The same, and a copy had left before.
    CopyMayArrive "copy_may_arrive";
    /// The owner removed the contact.
    ContactRemoved "contact_removed";
    /// The recipient removed the owner.
    RemovedByPeer "removed_by_peer";
    /// The recipient refused the request.
    RequestRejected "request_rejected";
    /// Nobody answered the request in its time.
    RequestExpired "request_expired";
    /// The directory knows no such account any more.
    AccountGone "account_gone";
    /// The recipient takes no more of this sender today, or at all.
    RecipientQuota "recipient_quota";
    /// The recipient's keys are too old to seal to.
    RecipientKeysExpired "recipient_keys_expired";
    /// The recipient asks for an encryption suite that this program does not know.
    SuiteUnknown "suite_unknown";
    /// The recipient offers a weaker encryption suite than before.
    SuiteWeaker "suite_weaker";
    /// No way to the recipient's node was found.
    PeerUnreachable "peer_unreachable";
    /// The directory of the recipient's domain is not known here.
    NoMailbox "no_mailbox";
    /// The recipient's mailbox has no room.
    MailboxFull "mailbox_full";
    /// The directory does not honour the token with which mail is left.
    TokenRevoked "token_revoked";
    /// The directory refused the envelope.
    MailboxRefused "mailbox_refused";
    /// The recipient's directory could not be asked.
    MailboxUnreachable "mailbox_unreachable";
    /// The mailbox was restored from a backup, and has lost what lay there.
    MailboxRestored "mailbox_restored";
    /// It lay in the mailbox for its whole time there, and is put there again.
    MailboxTimeOver "mailbox_time_over";
    /// The work that the recipient asks of strangers is more than is done.
    WorkRefused "work_refused";
    /// Something failed in this daemon.
    Failed "failed";
    /// This account was restored from a backup.
    Restored "restored";
    /// The directory knows a later session of this account: this one may be a copy.
    SessionCounter "session_counter";
    /// The recipient has numbers that this sender never gave: it may be a copy.
    NumbersUnknown "numbers_unknown";
    /// The recipient has less than it acknowledged: it was restored.
    RecipientRestored "recipient_restored";
    /// Given a new number along with others.
    IssuedAgain "issued_again";
    /// What a sender sends does not follow from what it sent.
    ChainBroken "chain_broken";
    /// The owner's quota for this sender is used up.
    OverQuota "over_quota";
    /// The account has another key, signed by the old one.
    Rotated "rotated";
    /// The account has another key, by its recovery key.
    Recovered "recovered";
    /// The account shows another key, and nobody vouches for it.
    NoValidRotation "no_valid_rotation";
    /// The owner accepted the other key.
    Accepted "accepted";
    /// The owner kept the old key.
    Kept "kept";
}

/// A reason as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said<'a> {
    /// Which.
    pub reason: Reason,
    /// A copy of the message had left before it was ended.
    pub copy: bool,
    /// Details, in the words of whoever found out: not to be read by programs.
    pub detail: Option<&'a str>,
}

impl Reason {
    /// With details.
    pub fn with(self, detail: impl fmt::Display) -> String {
        format!("{self}: {detail}")
    }

    /// Of a message of which a copy had left before.
    pub fn with_copy(self) -> String {
        format!("{self}{COPY}")
    }

    /// Reads what a daemon says; `None` of a word that is not known here, as of a newer daemon.
    pub fn read(text: &str) -> Option<Said<'_>> {
        let (word, detail) = match text.split_once(": ") {
            Some((word, detail)) => (word, Some(detail)),
            None => (text, None),
        };
        if let Some(reason) = Self::of_word(word) {
            return Some(Said { reason, copy: false, detail });
        }
        let reason = Self::of_word(word.strip_suffix(COPY)?)?;
        Some(Said { reason, copy: true, detail })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_again() {
        for &reason in Reason::ALL {
            let said = |copy, detail| Some(Said { reason, copy, detail });
            assert_eq!(Reason::read(reason.as_str()), said(false, None));
            assert_eq!(Reason::read(&reason.with("a: b")), said(false, Some("a: b")));
            assert_eq!(Reason::read(&reason.with_copy()), said(true, None));
        }
        for unknown in ["", "blocked ", "_copy_may_arrive", "of a newer daemon", "Blocked", "x: blocked"] {
            assert_eq!(Reason::read(unknown), None, "{unknown:?}");
        }
    }
}
