//! Which key is sealed to, who gets a seed, and whose turn it is to make a new one.

use std::time::Duration;

use proto::group::{KeyOffer, Verified};
use proto::ids::{AccountId, DeviceId, sha256};

use super::chain::Chain;
use super::rules::{Rule, Rules};
use super::state::{Key, State};

/// Between one device's turn to make a key that is missing and the next one's.
const MISSING: Duration = Duration::from_secs(10);
/// The same for the daily key.
const DAILY: Duration = Duration::from_secs(60);

/// Why nothing can be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// Somebody ceased to be a member, and there is no key since.
    #[error("no key was made since somebody left")]
    NotMade,
    /// There is one, and its seed is not here.
    #[error("the seed of the newest key is not here")]
    NotHeld,
    /// The group is closed.
    #[error("the group is closed")]
    Closed,
}

/// The key to seal to: the newest of those that are held, and not from before the newest end of a membership or device.
///
/// # Errors
/// Why there is none.
pub fn to_seal(chain: &Chain, held: impl Fn(&Key) -> bool) -> Result<&Key, NoKey> {
    let (state, oldest) = (chain.state(), chain.oldest_key());
    if state.closed {
        return Err(NoKey::Closed);
    }
    let since = |key: &&Key| key.number >= oldest || !state.rules.hold(Rule::KeyAfterEnd);
    let mut good = state.keys.iter().rev().filter(since).peekable();
    if good.peek().is_none() {
        return Err(NoKey::NotMade);
    }
    good.find(|key| held(key)).ok_or(NoKey::NotHeld)
}

/// Whether a seed is that of the key which an event brings. `recipient` makes the public bytes of a suite out of seed and context
/// ([`Verified::key_context`]). A mismatch is no key: its author named a recipient whose secret is somebody else's.
pub fn is_seed_of(
    rules: Rules,
    event: &Verified,
    seed: &[u8; 32],
    recipient: impl Fn(u8, &[u8; 32], &[u8; 32]) -> Vec<u8>,
) -> bool {
    let Some(KeyOffer { suite, recipient: named, .. }) = &event.event().key else { return false };
    !rules.hold(Rule::SeedsAreBound) || recipient(*suite, seed, event.key_context()) == *named
}

/// Who gets a seed of an event that counted, judged in the state after it: all devices of all members.
pub fn heirs(after: &State) -> Vec<(AccountId, DeviceId)> {
    let devices = |(account, member): (&AccountId, &super::state::Member)| {
        let account = *account;
        member.devices.iter().map(move |device| (account, device.id)).collect::<Vec<_>>()
    };
    let mut heirs: Vec<_> = after.members.iter().flat_map(devices).collect();
    if !after.rules.hold(Rule::NoSeedForLeavers) {
        heirs.extend(after.spans.ended_by(after.floor));
    }
    heirs
}

/// In which order devices make a key, when one is due: those of owner and admins first, and else by
/// `SHA-256(newest key's hash || device)`, so that all know it and nobody is always first.
pub fn turns(state: &State) -> Vec<(AccountId, DeviceId)> {
    let newest = state.keys.last().map_or([0; 32], |key| key.hash);
    let mut order = Vec::new();
    for (account, member) in &state.members {
        let bosses_first = !state.rank(*account).is_boss();
        let places = member.devices.iter().map(|device| sha256(&[&newest, device.id.as_bytes()]));
        let devices = member.devices.iter().map(|device| (*account, device.id));
        order.extend(places.zip(devices).map(|(place, device)| (bosses_first, place, device)));
    }
    order.sort_unstable();
    order.into_iter().map(|(_, _, device)| device).collect()
}

/// How long the `turn`th device waits, counted from when it last could seal: the first acts after 10 s.
pub fn wait_when_missing(turn: u32) -> Duration {
    MISSING * turn.saturating_add(1)
}

/// How long the `turn`th device waits when the daily key is due: the first acts at once.
pub fn wait_when_daily(turn: u32) -> Duration {
    DAILY * turn
}
