//! What an event changes.
//!
//! Not the job: whether it may ([`super::judge`]).

use std::collections::{BTreeMap, BTreeSet};

use proto::group::{Act, Add, Consent, Event, Genesis, GroupId, KeyOffer, Verified};
use proto::ids::AccountId;

use super::election;
use super::rules::{Rule, Rules};
use super::state::{Elector, Ended, Key, Member, Provisional, Spans, State, WayIn};

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The entry of the log, from 0.
    pub entry: u64,
    /// The hash of that entry.
    pub hash: [u8; 32],
}

/// The state after a genesis.
pub(super) fn begin(rules: Rules, group: GroupId, genesis: &Genesis, verified: &Verified, place: Place) -> State {
    let founder = verified.event().author;
    let mut state = State {
        rules,
        group,
        kind: genesis.kind,
        name: genesis.name.clone(),
        topic: genesis.topic.clone(),
        settings: genesis.settings.clone(),
        logs: genesis.logs.clone(),
        next: 0,
        head: [0; 32],
        owner: founder,
        owner_event: (0, place.hash),
        admins: Vec::new(),
        members: BTreeMap::new(),
        banned: BTreeSet::new(),
        ended: BTreeMap::new(),
        keys: Vec::new(),
        keys_of: BTreeMap::new(),
        floor: 0,
        links: Vec::new(),
        link_keys: BTreeSet::new(),
        provisional: None,
        missing: Vec::new(),
        closed: false,
        spans: Spans::default(),
        judged_by: None,
    };
    let list = &genesis.founder.list;
    let identity = list.identity_keys();
    for device in &list.devices {
        state.spans.begin(founder, device.id, 0);
    }
    let member = Member {
        devices: list.devices.clone(),
        list: list.number,
        identity,
        seat: (0, 0),
        added: place.hash,
        added_by: founder,
        promoted_by: None,
        acted: 0,
    };
    state.members.insert(founder, member);
    take_key(&mut state, verified);
    pass(&mut state, place);
    state
}

/// An event keeps its place, whether it counts or not.
pub(super) fn pass(state: &mut State, place: Place) {
    state.next += 1;
    state.head = place.hash;
}

/// Carries out an event that counts.
pub(super) fn apply(state: &mut State, verified: &Verified, place: Place) {
    let event = verified.event();
    let (by, number) = (event.author, state.next);
    // Before the author's word counts as the owner's: an owner may carry out his own election.
    let electors = if let Act::Elect { .. } = event.act { election::electorate(state) } else { Vec::new() };
    if let Some(member) = state.members.get_mut(&by) {
        member.acted = number;
    }
    if by == state.owner {
        state.owner_event = (number, place.hash);
        state.missing.clear();
    }
    if !event.unopened.is_empty() && state.rank(by).is_boss() {
        // What is void by that may have made a member of somebody, who has seeds; and not all know who.
        state.floor = number;
    }
    change(state, event, place, electors);
    take_key(state, verified);
    pass(state, place);
}

fn take_key(state: &mut State, verified: &Verified) {
    let Some(offer @ KeyOffer { suite, recipient, .. }) = &verified.event().key else { return };
    let (suite, recipient, hash) = (*suite, recipient.clone(), offer.recipient_hash());
    state.keys.push(Key { number: state.next, suite, recipient, hash, context: *verified.key_context() });
}

fn change(state: &mut State, event: &Event, place: Place, electors: Vec<Elector>) {
    let by = event.author;
    match &event.act {
        Act::Genesis(_) => {}
        Act::Add(Add { consents, join }) => {
            for (seat, consent) in consents.iter().enumerate() {
                come(state, consent, by, seat, place);
            }
            if let Some(join) = join
                && let Some(open) = state.links.iter_mut().find(|open| open.link.key == join.link)
            {
                open.used += 1;
            }
        }
        Act::Devices(devices) => {
            let number = state.next;
            let Some(member) = state.members.get_mut(&by) else { return };
            let Some(identity) = member.takes(&devices.list) else { return };
            let new = &devices.list.devices;
            let gone: Vec<_> = member.devices.iter().filter(|old| !new.contains(old)).map(|old| old.id).collect();
            let come: Vec<_> = new.iter().filter(|new| !member.devices.contains(new)).map(|new| new.id).collect();
            (member.devices, member.list, member.identity) = (new.clone(), devices.list.number, identity);
            if !gone.is_empty() {
                state.floor = number;
            }
            gone.into_iter().for_each(|device| state.spans.end(by, device, number, place.entry));
            come.into_iter().for_each(|device| state.spans.begin(by, device, number));
        }
        Act::Leave { successor, .. } => {
            let heir = successor.or_else(|| state.heir());
            go(state, by, place);
            state.missing.retain(|(account, _)| *account != by);
            if state.provisional.as_ref().is_some_and(|open| open.old == by) {
                state.provisional = None;
            }
            if by == state.owner {
                match heir {
                    Some(heir) => owns(state, heir, place),
                    // Nobody is left, and nobody comes any more.
                    None => state.closed = true,
                }
            }
        }
        Act::Remove(account) => put_out(state, by, *account, place),
        Act::Ban(account) => {
            put_out(state, by, *account, place);
            state.banned.insert(*account);
        }
        Act::Unban(account) => {
            state.banned.remove(account);
        }
        Act::Promote(account) => {
            state.admins.push(*account);
            if let Some(member) = state.members.get_mut(account) {
                member.promoted_by = Some(by);
            }
        }
        Act::Demote(account) => resign(state, *account),
        Act::Handover(account) => owns(state, *account, place),
        Act::Key => *state.keys_of.entry(by).or_default() += 1,
        Act::Link(link) => {
            state.link_keys.insert(link.key);
            state.links.push(WayIn { link: *link, maker: by, used: 0 });
        }
        Act::Unlink(key) => state.links.retain(|open| open.link.key != *key),
        Act::Set(set) => {
            let set = (**set).clone();
            state.name = set.name.unwrap_or_else(|| std::mem::take(&mut state.name));
            state.topic = set.topic.unwrap_or_else(|| std::mem::take(&mut state.topic));
            state.settings = set.settings.unwrap_or_else(|| std::mem::take(&mut state.settings));
            state.logs = set.logs.unwrap_or_else(|| std::mem::take(&mut state.logs));
        }
        Act::Move(to) => state.logs.clone_from(&to.logs),
        Act::Close => state.closed = true,
        Act::Elect { candidate, .. } => {
            let old = state.provisional.as_ref().map_or(state.owner, |open| open.old);
            owns(state, *candidate, place);
            // Who was owner before and is it again needs nobody's confirmation.
            let open = Provisional { old, elect: place.hash, electors };
            state.provisional = (old != *candidate).then_some(open);
        }
        Act::Confirm { .. } => state.provisional = None,
        Act::Reclaim => {
            owns(state, by, place);
            state.provisional = None;
        }
    }
}

fn come(state: &mut State, consent: &Consent, by: AccountId, seat: usize, place: Place) {
    let (list, number) = (&consent.list, state.next);
    let account = list.account();
    for device in &list.devices {
        state.spans.begin(account, device.id, number);
    }
    let member = Member {
        devices: list.devices.clone(),
        list: list.number,
        identity: list.identity_keys(),
        seat: (number, u32::try_from(seat).unwrap_or(u32::MAX)),
        added: place.hash,
        added_by: by,
        promoted_by: None,
        acted: number,
    };
    state.members.insert(account, member);
}

/// The end of a membership.
fn go(state: &mut State, account: AccountId, place: Place) -> Option<Member> {
    let number = state.next;
    resign(state, account);
    let member = state.members.remove(&account)?;
    for device in &member.devices {
        state.spans.end(account, device.id, number, place.entry);
    }
    let (by, list, identity) = (place.hash, member.list, member.identity.clone());
    state.ended.insert(account, Ended { by, list, identity });
    state.floor = number;
    Some(member)
}

/// By somebody else. Who was a member at the owner's last word keeps its vote.
fn put_out(state: &mut State, by: AccountId, account: AccountId, place: Place) {
    let Some(member) = go(state, account, place) else { return };
    let known = state.missing.iter().any(|(other, _)| *other == account);
    if by != state.owner && member.seat.0 <= state.owner_event.0 && !known {
        state.missing.push((account, member));
    }
}

/// Neither owner nor admin any more, and what came of that right ends.
fn resign(state: &mut State, account: AccountId) {
    state.admins.retain(|admin| *admin != account);
    if state.rules.hold(Rule::LinksEnd) {
        state.links.retain(|open| open.maker != account);
    }
    if let Some(member) = state.members.get_mut(&account) {
        member.promoted_by = None;
    }
}

/// A new owner, whose first word this event is.
fn owns(state: &mut State, account: AccountId, place: Place) {
    let before = state.owner;
    let links = std::mem::take(&mut state.links);
    resign(state, account);
    // Links of the new owner stand: the right to them did not end.
    let ends = |open: &WayIn| open.maker == before && state.rules.hold(Rule::LinksEnd);
    state.links = links.into_iter().filter(|open| !ends(open)).collect();
    state.owner = account;
    state.owner_event = (state.next, place.hash);
    state.missing.clear();
    if state.provisional.as_ref().is_some_and(|open| open.old == account) {
        state.provisional = None;
    }
}
