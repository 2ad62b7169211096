//! The part of random lives that is about logs of groups.

use proto::directory::groups::{Append, EntryKind, Running};
use proto::ids::AccountId;
use rand::RngExt;
use rand::rngs::StdRng;

use super::Engine;
use super::house::{House, ask};
use super::random::InWords;
use super::team::{Team, account, key, public};
use crate::store::command::{EntriesFetch, GroupCommands, GroupQueries};
use crate::store::groups::{GroupAppend, GroupRequest, NewGroup, Statements};
use crate::store::request::Request;

/// What is done to one.
#[derive(Debug, Clone)]
pub enum GroupStep {
    Found {
        who: usize,
        team: usize,
    },
    Append {
        team: usize,
        seed: u8,
        writer: u8,
        kind: u8,
        after: u64,
        text: u8,
        size: usize,
        staged: Option<u8>,
        proved: bool,
        turn: Option<u8>,
        at: bool,
    },
    Stage {
        team: usize,
        seed: u8,
        writer: u8,
        text: u8,
    },
    State {
        team: usize,
        seed: u8,
        number: u64,
        root: Option<(u64, bool)>,
    },
    Slot {
        team: usize,
        seed: u8,
        writer: u8,
        device: u8,
        counter: u64,
    },
    Keep {
        team: usize,
        drop: bool,
        numbers: Vec<u64>,
        slot: u8,
    },
    End {
        who: usize,
        team: usize,
    },
}

/// Logs that people make.
pub const TEAMS: usize = 3;

/// A team with one of a few seeds, the number of whose header it is.
fn team_of(team: usize, seed: u8) -> Team {
    Team { seed: [seed; 32], number: seed.into(), ..super::team::team(&format!("team {team}")) }
}

/// Some step.
pub fn step(random: &mut StdRng) -> GroupStep {
    let team = random.random_range(0..TEAMS);
    let (seed, writer) = (random.random_range(0..3), random.random_range(0..4));
    let text = random.random_range(0..30);
    match random.random_range(0..20) {
        0..3 => GroupStep::Found { who: random.random_range(0..4), team },
        3..13 => GroupStep::Append {
            team,
            seed,
            writer,
            kind: random.random_range(1..4),
            after: random.random_range(0..12),
            text,
            size: random.random_range(1..4_000),
            staged: random.random_bool(0.3).then(|| random.random_range(0..30)),
            proved: random.random_bool(0.2),
            turn: random.random_bool(0.2).then(|| random.random_range(0..3)),
            at: random.random_bool(0.1),
        },
        13 | 14 => GroupStep::Stage { team, seed, writer, text },
        15 => GroupStep::State {
            team,
            seed,
            number: random.random_range(0..6),
            root: random.random_bool(0.3).then(|| (random.random_range(0..4), random.random_bool(0.7))),
        },
        16 | 17 => GroupStep::Slot {
            team,
            seed,
            writer,
            device: random.random_range(0..3),
            counter: random.random_range(0..9),
        },
        18 if random.random_bool(0.1) => GroupStep::End { who: random.random_range(0..4), team },
        _ => GroupStep::Keep {
            team,
            drop: random.random_bool(0.5),
            numbers: (0..3).map(|_| random.random_range(0..20)).collect(),
            slot: random.random_range(0..3),
        },
    }
}

impl GroupStep {
    /// The request, and what its answer will say.
    pub fn ask(&self, whose: impl Fn(usize) -> AccountId) -> (Request, InWords) {
        macro_rules! put {
            ($make:expr) => {{
                let (request, asked) = ask($make);
                (request, Box::new(move || format!("{:?}", asked.answer())) as InWords)
            }};
        }
        match self.clone() {
            GroupStep::Found { who, team } => {
                let team = team_of(team, 0);
                let new = NewGroup { account: whose(who), root: team.root_by(&team.root), header: team.header() };
                put!(|reply| Request::Group(GroupRequest::Create(Box::new(new), reply)))
            }
            GroupStep::Append { team, seed, writer, kind, after, text, size, staged, proved, turn, at } => {
                let team = team_of(team, seed);
                let kind = EntryKind::of(kind).unwrap();
                let mut append = Append::new(kind, vec![text; size / 1_000 * 1_000 + 1]);
                if kind == EntryKind::Event {
                    append.after = after;
                    append.staged = staged.map(|text| keys_of(&team, text).hash).into_iter().collect();
                }
                append.at = at.then_some(Running { number: after, hash: [text; 32] });
                let mut new = team.append(account(writer), append);
                if proved {
                    new = team.proved(new, after);
                }
                if let (EntryKind::Event, Some(seed)) = (kind, turn) {
                    new.statements.as_mut().unwrap().header =
                        Some(Team { seed: [seed; 32], number: after, ..team }.header());
                }
                put!(|reply| Request::Group(GroupRequest::Append(Box::new(new), reply)))
            }
            GroupStep::Stage { team, seed, writer, text } => {
                let new = GroupAppend { writer: account(writer), ..keys_of(&team_of(team, seed), text) };
                put!(|reply| Request::Group(GroupRequest::Stage(Box::new(new), reply)))
            }
            GroupStep::State { team, seed, number, root } => {
                let root_number = root.map_or(0, |(number, _)| number);
                let team = Team { number, root_number, ..team_of(team, seed) };
                let by = |own: bool| if own { team.root.clone() } else { key("mallory") };
                let root = root.map(|(_, own)| team.root_by(&by(own)));
                let new = Statements { root, header: Some(team.header()) };
                put!(|reply| Request::Group(GroupRequest::State(team.log, Box::new(new), reply)))
            }
            GroupStep::Slot { team, seed, writer, device, counter } => {
                let slot =
                    team_of(team, seed).slot(account(writer), &key(&format!("slot {device}")), counter, &[7; 50]);
                put!(|reply| Request::Group(GroupRequest::Slot(Box::new(slot), reply)))
            }
            GroupStep::Keep { team, drop, numbers, slot } => {
                let asked = team_of(team, 0).keep(drop, &numbers, &[public(&key(&format!("slot {slot}")))]);
                put!(|reply| Request::Group(GroupRequest::Keep(Box::new(asked), reply)))
            }
            GroupStep::End { who, team } => {
                let (account, log) = (whose(who), team_of(team, 0).log);
                put!(|reply| Request::Group(GroupRequest::Remove { account, log, reply }))
            }
        }
    }
}

fn keys_of(team: &Team, text: u8) -> GroupAppend {
    team.keys(account(0), &vec![text; 600])
}

/// The same of logs.
pub fn logged<E: Engine>(house: &mut House<E>) -> String {
    let now = house.now;
    house.look(|db| {
        let teams = (0..TEAMS).map(|n| {
            let team = team_of(n, 0);
            let entries = db.entries(&EntriesFetch { now, ..team.fetch(0) }).unwrap();
            let events = db.entries(&EntriesFetch { messages: false, now, count: 3, ..team.fetch(2) }).unwrap();
            let shares: Vec<_> = (0..4).map(|writer| db.share(team.log, account(writer)).unwrap()).collect();
            let tokens: Vec<_> = (0..3)
                .map(|seed| team_of(n, seed))
                .map(|team| {
                    (db.old_token(team.log, &team.read()).unwrap(), db.old_token(team.log, &team.write()).unwrap())
                })
                .collect();
            let slots = db.slots(team.log, None, 2, 9_999).unwrap();
            let writers = db.writers(team.log, &[1, 2, 3, 4, 5, 99]).unwrap();
            let running: Vec<_> = (0..5).map(|number| db.running(team.log, number).unwrap()).collect();
            (db.group(team.log).unwrap(), (entries, events), shares, tokens, slots, writers, running)
        });
        format!("{:?}", teams.collect::<Vec<_>>())
    })
}
