//! Who acknowledges a message, and when it counts as delivered.

use std::collections::BTreeSet;

use proto::ids::{AccountId, MessageId, sha256};

/// Up to so many members everybody acknowledges.
pub const ALL_UP_TO: usize = 128;
/// Above that, so many do.
pub const ASKED: usize = 8;
/// So many of those are enough, when the message lies in the log.
pub const ENOUGH: usize = 3;

/// Who is asked to acknowledge a message: all members but its author; in large groups eight of them, by
/// `SHA-256(message || account)`, so that everybody knows who, and no one is always asked.
pub fn asked(members: impl IntoIterator<Item = AccountId>, author: AccountId, message: MessageId) -> Vec<AccountId> {
    let mut others: Vec<AccountId> = members.into_iter().filter(|member| *member != author).collect();
    // The author is a member, too.
    if others.len() < ALL_UP_TO {
        return others;
    }
    others.sort_by_cached_key(|account| sha256(&[message.as_bytes(), account.as_bytes()]));
    others.truncate(ASKED);
    others
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Of those who are waited for, so many have it.
    pub have: usize,
    /// So many are waited for: asked, and still members.
    pub of: usize,
    /// Whether that is all that it takes.
    pub done: bool,
}

/// How far a message has come. Who was asked and is no member any more is not waited for.
pub fn delivered(
    asked: &[AccountId],
    everybody: bool,
    still: impl Fn(AccountId) -> bool,
    have: &BTreeSet<AccountId>,
    in_log: bool,
) -> Delivered {
    let waited: Vec<_> = asked.iter().filter(|account| still(**account)).collect();
    let (of, have) = (waited.len(), waited.iter().filter(|account| have.contains(**account)).count());
    let done = if everybody { have == of } else { in_log && have >= ENOUGH.min(of) };
    Delivered { have, of, done }
}
