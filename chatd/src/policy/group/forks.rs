//! Which branch of a forked log goes on, and who authors nothing more because another branch ended it.
//!
//! A fork is evidence that a directory lies or was put back; this is not the place to tell anybody.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use proto::directory::Device;
use proto::group::Act;
use proto::ids::{AccountId, DeviceId};

use super::chain::Chain;
use super::fold::{Bars, Entry};
use super::rules::Rule;
use super::state::{Rank, State};

/// One of several histories.
#[derive(Debug, Clone, Copy)]
pub struct Branch<'a> {
    /// Its events.
    pub chain: &'a Chain,
    /// Entries of the log in it, messages and all.
    pub entries: u64,
    /// The running hash at its end.
    pub running: [u8; 32],
}

/// What comes of a fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Which branch goes on.
    pub winner: usize,
    /// Who authors nothing more in it.
    pub bars: Bars,
}

/// Somebody's membership, or a device's, ended in a branch.
#[derive(Debug, Clone, Copy)]
struct End {
    branch: usize,
    by: AccountId,
    rank: Rank,
    account: AccountId,
}

/// Chooses between branches that share the events before `from` and the entries of the log before `from_entry`. `at` is the state
/// after what they share.
///
/// The branch with the owner's event after the fork goes on, else that with the most senior admin's; then the longer one; then the one with
/// the lower hash. Who was validly ended in one branch, by somebody whom no higher rank ended in another, authors nothing after
/// the fork in any. Of each account, the devices on its highest list in any branch are its devices.
pub fn choose(at: &State, from: u32, from_entry: u64, branches: &[Branch<'_>]) -> Option<Choice> {
    let rules = at.rules;
    let mut bars = Bars { from, from_entry, ..Bars::default() };
    if rules.hold(Rule::EndedInOneBranch) {
        bars.accounts = barred(at, from, branches);
        bars.devices = superseded(at, from, branches);
    }
    let best = |branch: &Branch<'_>| {
        let barred = |entry: &Entry| {
            entry.event.as_ref().is_none_or(|event| {
                let author = event.event().author;
                bars.accounts.contains(&author) || bars.devices.contains(&(author, event.device()))
            })
        };
        let ranks = counted(branch, from).filter(|entry| !barred(entry));
        let rank = ranks.filter_map(|entry| entry.event.as_ref()).map(|event| at.rank(event.event().author)).min();
        if rules.hold(Rule::RankBeforeLength) { rank.unwrap_or(Rank::NONE) } else { Rank::NONE }
    };
    let order = |(_, branch): &(usize, &Branch<'_>)| (best(branch), Reverse(branch.entries), branch.running);
    let (winner, branch) = branches.iter().enumerate().min_by_key(order)?;
    bars.chosen = branch.chain.state().next;
    Some(Choice { winner, bars })
}

fn counted<'a>(branch: &Branch<'a>, from: u32) -> impl Iterator<Item = &'a Entry> {
    branch.chain.entries().iter().skip(from as usize).filter(|entry| entry.verdict.is_ok())
}

/// Accounts that were ended, the ends of higher ranks first: who was himself ended in another branch, by a higher rank, ended
/// nobody.
fn barred(at: &State, from: u32, branches: &[Branch<'_>]) -> BTreeSet<AccountId> {
    let mut ends: Vec<End> = Vec::new();
    for (branch, history) in branches.iter().enumerate() {
        for event in counted(history, from).filter_map(|entry| entry.event.as_ref()).map(|event| event.event()) {
            let (by, rank) = (event.author, at.rank(event.author));
            let account = match &event.act {
                Act::Remove(account) | Act::Ban(account) => *account,
                Act::Leave { .. } => by,
                _ => continue,
            };
            // Whoever came with the fork is of that branch only, and so is its end.
            if at.members.contains_key(&account) {
                ends.push(End { branch, by, rank, account });
            }
        }
    }
    ends.sort_by_key(|end| end.rank);
    let mut valid: Vec<End> = Vec::new();
    for end in ends {
        let overruled = valid.iter().any(|other| {
            other.branch != end.branch && other.account == end.by && other.rank < end.rank && end.by != end.account
        });
        if !overruled {
            valid.push(end);
        }
    }
    valid.into_iter().map(|end| end.account).collect()
}

fn keys(devices: &[Device]) -> impl Iterator<Item = &[u8; 32]> {
    devices.iter().map(|device| &device.key)
}

/// Devices of members that are not on the highest list in any branch.
fn superseded(at: &State, from: u32, branches: &[Branch<'_>]) -> BTreeSet<(AccountId, DeviceId)> {
    let mut newest: BTreeMap<AccountId, (u64, &[Device])> = BTreeMap::new();
    let mut known: BTreeSet<(AccountId, DeviceId)> = BTreeSet::new();
    let mut see = |account: AccountId, devices: &[Device]| {
        known.extend(devices.iter().map(|device| (account, device.id)));
    };
    for (account, member) in &at.members {
        see(*account, &member.devices);
        newest.insert(*account, (member.list, &member.devices));
    }
    for branch in branches {
        for event in counted(branch, from).filter_map(|entry| entry.event.as_ref()).map(|event| event.event()) {
            let Act::Devices(devices) = &event.act else { continue };
            let list = &devices.list;
            see(event.author, &list.devices);
            let held = newest.entry(event.author).or_insert((0, &[]));
            // Whoever signs two lists under one number has the one with the lower keys, whichever was seen first.
            let lower = || keys(&list.devices).lt(keys(held.1));
            if list.number > held.0 || list.number == held.0 && lower() {
                *held = (list.number, &list.devices);
            }
        }
    }
    let current = |(account, device): &(AccountId, DeviceId)| {
        newest.get(account).is_some_and(|(_, devices)| devices.iter().any(|listed| listed.id == *device))
    };
    known.into_iter().filter(|device| !current(device)).collect()
}
