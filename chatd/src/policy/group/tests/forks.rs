//! A log that shows two histories.

use std::collections::BTreeSet;

use proto::group::Act;
use proto::ids::{AccountId, sha256};

use super::super::forks::{Branch, choose};
use super::super::state::Rank;
use super::world::World;

/// Two continuations of one world, and what is wrong with the choice between them.
pub fn run(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    let (from, at) = (world.facts.len(), world.chain.state().clone());
    let from_entry = world.entry();
    let branches = [1u64, 2].map(|branch| {
        let mut world = world.clone();
        world.rng.0 ^= branch << 32;
        for _ in 0..2 + world.rng.below(8) {
            world.step();
        }
        world
    });
    let running = |branch: usize| sha256(&[&branches[branch].chain.state().head, &[branch as u8]]);
    let given: Vec<_> = branches
        .iter()
        .zip(0..)
        .map(|(world, branch)| Branch { chain: &world.chain, entries: world.entry(), running: running(branch) })
        .collect();
    let Some(choice) = choose(&at, from as u32, from_entry, &given) else { return vec!["no choice".into()] };
    let turned: Vec<_> = given.iter().rev().copied().collect();
    let other = choose(&at, from as u32, from_entry, &turned).map(|other| (1 - other.winner, other.bars));
    if other != Some((choice.winner, choice.bars.clone())) {
        wrong.push("G1: the choice depends on which branch was seen first".into());
    }
    // Who did what after the fork, as it counted: branch, author, whom it ended.
    let mut did: Vec<(usize, AccountId, Option<AccountId>)> = Vec::new();
    for (branch, world) in branches.iter().enumerate() {
        for entry in world.chain.entries().iter().skip(from).filter(|entry| entry.verdict.is_ok()) {
            let Some(event) = entry.event.as_ref().map(|event| event.event()) else { continue };
            let ended = match &event.act {
                Act::Remove(account) | Act::Ban(account) => Some(*account),
                Act::Leave { .. } => Some(event.author),
                _ => None,
            };
            did.push((branch, event.author, ended.filter(|account| at.members.contains_key(account))));
        }
    }
    let valid: Vec<_> = did.iter().filter(|end| is_valid(end, &did, &|who| at.rank(who))).collect();
    let ended: BTreeSet<AccountId> = valid.iter().filter_map(|(_, _, account)| *account).collect();
    if ended != choice.bars.accounts {
        wrong.push(format!("G6: after a fork {:?} are ended, and should be {ended:?}", choice.bars.accounts));
    }
    let rank = |branch: usize| {
        let own = branches[branch].chain.entries().iter().skip(from).filter(|entry| entry.verdict.is_ok());
        let authors = own.filter_map(|entry| entry.event.as_ref()).filter(|event| {
            let author = event.event().author;
            !ended.contains(&author) && !choice.bars.devices.contains(&(author, event.device()))
        });
        authors.map(|event| at.rank(event.event().author)).min().unwrap_or(Rank::NONE)
    };
    let key = |branch: usize| (rank(branch), u64::MAX - branches[branch].entry(), running(branch));
    let best = if key(0) <= key(1) { 0 } else { 1 };
    if best != choice.winner {
        wrong.push(format!("the branch {} goes on, and should be {best}", choice.winner));
    }
    let mut chain = branches[choice.winner].chain.clone();
    chain.bar(choice.bars.clone());
    for entry in chain.entries().iter().skip(from).filter(|entry| entry.verdict.is_ok()) {
        let author = entry.event.as_ref().map(|event| event.event().author);
        if author.is_some_and(|author| ended.contains(&author)) {
            wrong.push("G6: who was ended in one branch authors in another".into());
        }
    }
    let state = chain.state();
    if state.keys.iter().any(|key| key.number >= state.floor) {
        wrong.push("G5: after a fork something is sealed to a key from before".into());
    }
    if !state.closed && !state.members.contains_key(&state.owner) {
        wrong.push("G7: after a fork there is no owner".into());
    }
    wrong
}

/// An end stands unless whoever made it was himself ended by a higher rank, validly, in the other branch.
fn is_valid(
    end: &(usize, AccountId, Option<AccountId>),
    did: &[(usize, AccountId, Option<AccountId>)],
    rank: &impl Fn(AccountId) -> Rank,
) -> bool {
    let (branch, by, account) = end;
    if *account == Some(*by) {
        return true;
    }
    let overrules = |other: &(usize, AccountId, Option<AccountId>)| {
        other.0 != *branch && other.2 == Some(*by) && rank(other.1) < rank(*by) && is_valid(other, did, rank)
    };
    !did.iter().any(overrules)
}
