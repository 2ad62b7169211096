//! Which messages count.

use proto::ids::{AccountId, DeviceId};

use super::chain::Chain;
use super::rules::Rule;

/// What a wrap says of its author, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Who signed it.
    pub author: AccountId,
    /// With which device.
    pub device: DeviceId,
    /// The hash of the newest event that the author knew.
    pub knew: [u8; 32],
    /// The entry of the log that holds it; `None` if it came by link only.
    pub entry: Option<u64>,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// It counts.
    Yes,
    /// The event that it names is not known yet.
    NotYet,
    /// It came by link only: shown, marked as sent around a removal if its author has been ended.
    ByLinkOnly {
        /// Whether the author's stay has ended since.
        ended: bool,
    },
    /// Its author was no member, or no member any more.
    No,
}

/// Whether a message counts: its device was a member's after the event that it names, that event lies before it, and it lies
/// before that device's stay ended.
pub fn counts(chain: &Chain, sent: &Sent) -> Counts {
    let Some(number) = chain.number_of(&sent.knew) else { return Counts::NotYet };
    let state = chain.state();
    let named = chain.entries().get(number as usize).map_or(u64::MAX, |entry| entry.place.entry);
    let Some(until) = state.spans.after(sent.author, sent.device, number) else { return Counts::No };
    let until = until.filter(|_| state.rules.hold(Rule::MessagesEnd));
    let Some(entry) = sent.entry else { return Counts::ByLinkOnly { ended: until.is_some() } };
    let within = named < entry && until.is_none_or(|until| entry < until);
    if within && !chain.is_barred(entry, sent.author, sent.device) { Counts::Yes } else { Counts::No }
}

/// Of two cores under one number the two with the lowest hashes are kept, whatever came first. Says whether the new one is.
pub fn keep(kept: &mut Vec<[u8; 32]>, hash: [u8; 32]) -> bool {
    if !kept.contains(&hash) {
        kept.push(hash);
        kept.sort_unstable();
        kept.truncate(2);
    }
    kept.contains(&hash)
}
