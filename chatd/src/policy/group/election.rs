//! Who takes the place of an owner who is silent: who may vote, and whether the votes suffice.
//!
//! Not the job: whether the owner *is* silent. Each daemon's own clock is a reason to sign, and nothing else is.

use proto::group::{MAX_ELECTORS, Vote};
use proto::ids::AccountId;

use super::rules::Rule;
use super::state::{Elector, Member, State};

/// Electors that the owner chose himself, at least; with fewer, all members are asked.
const MIN_CHOSEN: usize = 3;
/// Votes at least.
const MIN_VOTES: usize = 2;

/// Who may replace the owner now: of the accounts that the owner himself added or promoted the 15 most senior; with fewer than
/// three such, of all who were members at the owner's newest event. Whoever was removed by others since then still may: an
/// admin who removes those who stand in the way would else be elected by the rest. Who left by himself may not.
pub fn electorate(state: &State) -> Vec<Elector> {
    let (last, _) = state.owner_event;
    let missing = state.missing.iter().filter(|_| state.rules.hold(Rule::ElectorsStay));
    let mut known: Vec<(AccountId, &Member)> =
        state.members.iter().map(|(account, member)| (*account, member)).collect();
    known.extend(missing.map(|(account, member)| (*account, member)));
    known.retain(|(account, member)| *account != state.owner && member.seat.0 <= last);
    known.sort_by_key(|(_, member)| member.seat);
    let chosen = |member: &Member| member.added_by == state.owner || member.promoted_by == Some(state.owner);
    let own: Vec<_> = known.iter().filter(|(_, member)| chosen(member)).copied().collect();
    let electors = if own.len() < MIN_CHOSEN { known } else { own };
    let elector = |(account, member): (AccountId, &Member)| {
        // Who came back by somebody else's hand votes with what it has now.
        let now = state.members.get(&account).unwrap_or(member);
        Elector { account, devices: now.devices.clone() }
    };
    electors.into_iter().take(MAX_ELECTORS).map(elector).collect()
}

/// Whether a majority of the electors, and two at least, voted. Votes of others are none.
pub(super) fn suffices(state: &State, electors: &[Elector], votes: &[Vote]) -> bool {
    let valid = |vote: &Vote| {
        let Some(elector) = electors.iter().find(|elector| elector.account == vote.account) else { return false };
        let devices = state.members.get(&vote.account).map_or(&elector.devices, |member| &member.devices);
        devices.iter().any(|device| device.key == vote.device_key)
    };
    votes.iter().filter(|vote| valid(vote)).count() >= MIN_VOTES.max(electors.len() / 2 + 1)
}
