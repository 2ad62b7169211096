//! Whether an event counts in the state before it: rights, limits, consents, votes.
//!
//! Not the job: what it changes ([`super::apply`]), and whether its signatures hold ([`Verified`]).

use proto::group::{Act, Add, Consent, Event, GroupType, Join, Set, Verified};
use proto::ids::{AccountId, DeviceId};

use super::election;
use super::rules::Rule;
use super::state::{Rank, State};

/// Why an event does not count. It keeps its place in the chain nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// It cannot be opened here, or what was in it is no event of this group. It may count once it can be.
    #[error("the event cannot be opened")]
    Unopened,
    /// The owner, or an admin above its author, could not open it when it was new.
    #[error("it was hidden from those above its author")]
    Hidden,
    /// Its author was ended in another branch of a forked log.
    #[error("its author was ended in another branch")]
    Barred,
    /// It was made behind another event, or for another number.
    #[error("another event came before it")]
    Late,
    /// A second genesis, or no genesis at the beginning.
    #[error("a group begins once")]
    Genesis,
    /// The group has ended.
    #[error("the group is closed")]
    Closed,
    /// The chain, or its last part that is the owner's, or the author's share of keys is used up.
    #[error("there is no room for more events")]
    ChainFull,
    /// There are as many members, admins or links as there may be.
    #[error("there are as many as there may be")]
    Full,
    /// Its author, or the device that signed, is none of a member.
    #[error("its author is no member")]
    NotMember,
    /// Its author may not do that.
    #[error("its author may not do that")]
    NotAllowed,
    /// Whom it is about is not what it takes: no member, no admin, not banned, or nobody else than the author.
    #[error("whom it is about is not what it says")]
    Target,
    /// Whoever is added is a member.
    #[error("already a member")]
    AlreadyMember,
    /// Whoever is added is banned.
    #[error("banned")]
    Banned,
    /// The consent was used, or is for another time.
    #[error("the consent is not for this time")]
    Consent,
    /// The list of devices is older than the known one, or signed by a key that does not follow from the known one.
    #[error("the devices are not newer, or not vouched for by the known key")]
    Devices,
    /// It brings a key and may not, or must and does not.
    #[error("it brings a key and may not, or must and does not")]
    Key,
    /// The link is unknown, ended or used up.
    #[error("the link has ended")]
    Link,
    /// Too few of the electorate voted, or on something else.
    #[error("the votes do not suffice")]
    Votes,
    /// Not while the one who was owner may come back.
    #[error("not before the election is confirmed")]
    Unconfirmed,
    /// The log is not one of those that were named before.
    #[error("the log was not named before")]
    Log,
}

/// Whether `verified` counts behind what the state has seen.
///
/// # Errors
/// Why it does not.
pub(super) fn judge(state: &State, verified: &Verified) -> Result<(), Refused> {
    let event = verified.event();
    if event.number != state.next || event.prev != state.head {
        // One who was quicker may have changed what this one was made for.
        let stale = event.number <= state.next && !state.rules.hold(Rule::CompareAndSet);
        if !stale {
            return Err(Refused::Late);
        }
    }
    if state.closed {
        return Err(Refused::Closed);
    }
    room(state, event)?;
    let joins = matches!(&event.act, Act::Add(Add { join: Some(_), .. }));
    if !joins {
        author(state, event, verified.device())?;
    }
    key(state, event)?;
    act(state, event, verified.device())
}

/// The last events are the owner's; whoever else may only do what nobody can flood: leave once, and elect.
fn room(state: &State, event: &Event) -> Result<(), Refused> {
    let limits = &state.rules.limits;
    if event.number >= limits.events {
        return Err(Refused::ChainFull);
    }
    let last = event.number >= limits.events - limits.owners;
    let cannot_flood = matches!(event.act, Act::Leave { .. } | Act::Elect { .. } | Act::Confirm { .. } | Act::Reclaim);
    if last && event.author != state.owner && !cannot_flood {
        return Err(Refused::ChainFull);
    }
    Ok(())
}

/// The device is one of the author's, and the author a member; a list of devices may be brought by one that is new on it.
fn author(state: &State, event: &Event, device: DeviceId) -> Result<(), Refused> {
    let member = state.members.get(&event.author).ok_or(Refused::NotMember)?;
    let brought = match &event.act {
        Act::Devices(devices) => devices.list.devices.iter().any(|own| own.id == device),
        _ => false,
    };
    if member.has(device) || brought { Ok(()) } else { Err(Refused::NotMember) }
}

/// Which events bring a key: those that must not leave the old one in use, and no others.
fn key(state: &State, event: &Event) -> Result<(), Refused> {
    let (must, may) = match &event.act {
        Act::Genesis(_) | Act::Remove(_) | Act::Key | Act::Move(_) => (true, true),
        Act::Add(Add { join: Some(_), .. }) => (false, false),
        Act::Add(_) => (state.kind != GroupType::Room, true),
        Act::Ban(account) => (state.members.contains_key(account), true),
        _ => (false, false),
    };
    let has = event.key.is_some();
    if has && !may || must && !has { Err(Refused::Key) } else { Ok(()) }
}

fn act(state: &State, event: &Event, device: DeviceId) -> Result<(), Refused> {
    let by = event.author;
    let need = |holds: bool, otherwise: Refused| if holds { Ok(()) } else { Err(otherwise) };
    match &event.act {
        Act::Genesis(_) => Err(Refused::Genesis),
        Act::Add(Add { consents, join }) => {
            match join {
                Some(join) => joins(state, by, device, consents, join)?,
                None => need(is_boss(state, by), Refused::NotAllowed)?,
            }
            all_may_come(state, consents)
        }
        Act::Devices(devices) => {
            let member = state.members.get(&by).ok_or(Refused::NotMember)?;
            let own = devices.list.account() == by && member.takes(&devices.list).is_some();
            need(own, Refused::Devices)
        }
        Act::Leave { added, successor } => {
            let member = state.members.get(&by).ok_or(Refused::NotMember)?;
            need(member.added == *added, Refused::Consent)?;
            match successor {
                None => Ok(()),
                Some(_) if by != state.owner => Err(Refused::NotAllowed),
                Some(next) => need(*next != by && state.members.contains_key(next), Refused::Target),
            }
        }
        Act::Remove(account) => {
            below(state, by, *account)?;
            need(state.members.contains_key(account), Refused::Target)
        }
        Act::Ban(account) => {
            below(state, by, *account)?;
            need(!state.banned.contains(account), Refused::Target)
        }
        Act::Unban(account) => {
            need(is_boss(state, by), Refused::NotAllowed)?;
            need(state.banned.contains(account), Refused::Target)
        }
        Act::Promote(account) => {
            need(is_owner(state, by), Refused::NotAllowed)?;
            let plain = state.members.contains_key(account) && !state.rank(*account).is_boss();
            need(plain, Refused::Target)?;
            need(state.admins.len() < state.rules.limits.admins, Refused::Full)
        }
        Act::Demote(account) => {
            need(is_owner(state, by), Refused::NotAllowed)?;
            need(state.admins.contains(account), Refused::Target)
        }
        Act::Handover(account) => {
            need(is_owner(state, by), Refused::NotAllowed)?;
            need(*account != by && state.members.contains_key(account), Refused::Target)?;
            // The electorate chose this one, and for the time being.
            need(state.provisional.is_none(), Refused::Unconfirmed)
        }
        Act::Key => {
            let made = state.keys_of.get(&by).copied().unwrap_or(0);
            need(made < state.rules.limits.keys, Refused::ChainFull)
        }
        Act::Link(link) => {
            need(is_boss(state, by), Refused::NotAllowed)?;
            need(state.kind == GroupType::Room, Refused::NotAllowed)?;
            need(state.links.len() < state.rules.limits.links, Refused::Full)?;
            need(!state.link_keys.contains(&link.key), Refused::Target)
        }
        Act::Unlink(key) => {
            need(is_boss(state, by), Refused::NotAllowed)?;
            need(state.links.iter().any(|open| open.link.key == *key), Refused::Target)
        }
        Act::Set(set) => {
            let Set { settings, logs, .. } = &**set;
            let owners = settings.is_some() || logs.is_some();
            need(if owners { is_owner(state, by) } else { is_boss(state, by) }, Refused::NotAllowed)?;
            need(logs.as_ref().is_none_or(|logs| logs.first() == state.logs.first()), Refused::Log)
        }
        Act::Move(to) => {
            need(is_owner(state, by), Refused::NotAllowed)?;
            let named = state.logs.iter().skip(1);
            need(to.logs.first().is_some_and(|log| named.clone().any(|known| known == log)), Refused::Log)
        }
        Act::Close => {
            need(is_owner(state, by), Refused::NotAllowed)?;
            need(state.provisional.is_none(), Refused::Unconfirmed)
        }
        Act::Elect { owner_event, candidate, votes } => {
            let newest = *owner_event == state.owner_event.1 || !state.rules.hold(Rule::VotesNameTheOwner);
            let stood = state.members.get(candidate).is_some_and(|member| member.seat.0 <= state.owner_event.0);
            need(newest, Refused::Votes)?;
            need(stood && *candidate != state.owner, Refused::Target)?;
            need(election::suffices(state, &election::electorate(state), votes), Refused::Votes)
        }
        Act::Confirm { elect, votes } => {
            let provisional = state.provisional.as_ref().filter(|open| open.elect == *elect);
            let provisional = provisional.ok_or(Refused::Target)?;
            need(election::suffices(state, &provisional.electors, votes), Refused::Votes)
        }
        Act::Reclaim => {
            let old = state.provisional.as_ref().map(|open| open.old);
            need(old == Some(by), Refused::NotAllowed)
        }
    }
}

fn is_owner(state: &State, by: AccountId) -> bool {
    rank(state, by) == Rank::OWNER
}

fn is_boss(state: &State, by: AccountId) -> bool {
    rank(state, by).is_boss()
}

/// The rank at the event's place; or at the head, where a test has that rule taken out.
fn rank(state: &State, by: AccountId) -> Rank {
    let own = state.rank(by);
    match &state.judged_by {
        Some((owner, admins)) if *owner != by && !admins.contains(&by) => Rank::NONE,
        _ => own,
    }
}

/// The owner ends everybody but himself, and an admin those who are neither; nobody ends an owner who may reclaim.
fn below(state: &State, by: AccountId, account: AccountId) -> Result<(), Refused> {
    let (own, other) = (rank(state, by), state.rank(account));
    if !own.is_boss() || own >= other || (own != Rank::OWNER && other.is_boss()) {
        return Err(Refused::NotAllowed);
    }
    let old = state.provisional.as_ref().is_some_and(|open| open.old == account);
    if old && state.rules.hold(Rule::OldOwnerStays) { Err(Refused::Unconfirmed) } else { Ok(()) }
}

/// By a link one comes alone, with the device that signs.
fn joins(state: &State, by: AccountId, device: DeviceId, consents: &[Consent], join: &Join) -> Result<(), Refused> {
    let open = state.links.iter().find(|open| open.link.key == join.link).ok_or(Refused::Link)?;
    if open.used >= open.link.limit {
        return Err(Refused::Link);
    }
    let own = |consent: &Consent| {
        consent.list.account() == by && consent.list.devices.iter().any(|listed| listed.id == device)
    };
    if matches!(consents, [consent] if own(consent)) { Ok(()) } else { Err(Refused::NotAllowed) }
}

/// All of them, or none.
fn all_may_come(state: &State, consents: &[Consent]) -> Result<(), Refused> {
    for (at, consent) in consents.iter().enumerate() {
        let account = consent.list.account();
        let twice = consents.iter().take(at).any(|other| other.list.account() == account);
        if twice || state.members.contains_key(&account) {
            return Err(Refused::AlreadyMember);
        }
        if state.banned.contains(&account) && state.rules.hold(Rule::Ban) {
            return Err(Refused::Banned);
        }
        let keys = consent.list.identity_keys();
        let ended = state.ended.get(&account);
        let follows = ended.is_none_or(|end| keys.starts_with(&end.identity) && consent.list.number >= end.list);
        let once = consent.after == ended.map_or([0; 32], |end| end.by) || !state.rules.hold(Rule::ConsentOnce);
        if !follows || !once {
            return Err(Refused::Consent);
        }
    }
    let members = state.members.len() + consents.len();
    if members > state.rules.limits.members(state.kind) { Err(Refused::Full) } else { Ok(()) }
}
