//! Long random lives: both engines are asked the same, and have to answer the same and hold the same.

use proto::directory::groups::{Append, EntryKind, Running};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::house::{House, Person, ask, person};
use super::memory::Model;
use super::team::{Team, account, key, public};
use super::{Engine, Sqlite};
use crate::store::command::{Commands, EntriesFetch, GroupCommands, GroupQueries, Queries};
use crate::store::groups::{GroupAppend, GroupRequest, NewGroup, Statements};
use crate::store::request::{RESERVED_SECONDS, Request, StoreReach};

/// What is done, as both engines are told.
#[derive(Debug, Clone)]
enum Step {
    Publish {
        who: usize,
        name: usize,
        seq: u64,
        devices: usize,
        shows: bool,
    },
    Release {
        who: usize,
    },
    Reach {
        who: usize,
        device: usize,
        seq: u64,
    },
    Session {
        who: usize,
        device: usize,
        number: Option<u64>,
    },
    Tokens {
        who: usize,
        add: u8,
        remove: u8,
    },
    Contact {
        who: usize,
        device: usize,
        token: u8,
        text: u8,
        size: usize,
        ttl: u32,
    },
    Stranger {
        who: usize,
        site: u8,
        work: u8,
        text: u8,
        ttl: u32,
    },
    Delete {
        who: usize,
        device: usize,
        numbers: Vec<u64>,
    },
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
    Sweep,
}

/// Logs that people make.
const TEAMS: usize = 3;

/// A team with one of a few seeds, the number of whose header it is.
fn team_of(team: usize, seed: u8) -> Team {
    Team { seed: [seed; 32], number: seed.into(), ..super::team::team(&format!("team {team}")) }
}

/// What a step about a group is.
fn group_step(random: &mut StdRng) -> Step {
    let team = random.random_range(0..TEAMS);
    let (seed, writer) = (random.random_range(0..3), random.random_range(0..4));
    let text = random.random_range(0..30);
    match random.random_range(0..20) {
        0..3 => Step::Found { who: random.random_range(0..4), team },
        3..13 => Step::Append {
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
        13 | 14 => Step::Stage { team, seed, writer, text },
        15 => Step::State {
            team,
            seed,
            number: random.random_range(0..6),
            root: random.random_bool(0.3).then(|| (random.random_range(0..4), random.random_bool(0.7))),
        },
        16 | 17 => {
            Step::Slot { team, seed, writer, device: random.random_range(0..3), counter: random.random_range(0..9) }
        }
        18 if random.random_bool(0.1) => Step::End { who: random.random_range(0..4), team },
        _ => Step::Keep {
            team,
            drop: random.random_bool(0.5),
            numbers: (0..3).map(|_| random.random_range(0..20)).collect(),
            slot: random.random_range(0..3),
        },
    }
}

// Some look alike.
const NAMES: [&str; 5] = ["alice", "a1ice", "bob", "carol", "dave"];

/// Four people, of whom each may have two devices.
fn somebody(who: usize, name: usize, devices: usize) -> Person {
    let mut someone = person(&format!("person{who}")).named(NAMES[name]);
    someone.devices = (0..devices).map(|device| device_of(who, device)).collect();
    someone.recovery = [who as u8 / 2; 32];
    someone
}

fn device_of(who: usize, device: usize) -> ed25519_dalek::SigningKey {
    person(&format!("device{device} of {who}")).devices.remove(0)
}

fn step(random: &mut StdRng) -> Step {
    if random.random_bool(0.5) {
        return group_step(random);
    }
    let (who, device) = (random.random_range(0..4), random.random_range(0..2));
    let (ttl, seq) = (random.random_range(1..200), random.random_range(1..30));
    match random.random_range(0..20) {
        0..3 => Step::Publish {
            who,
            name: if random.random_bool(0.8) { who } else { random.random_range(0..NAMES.len()) },
            seq: random.random_range(1..30),
            devices: random.random_range(1..3),
            shows: random.random_bool(0.2),
        },
        3 if random.random_bool(0.4) => Step::Release { who },
        3 | 4 => Step::Reach { who, device, seq: random.random_range(0..5) },
        5 => Step::Session { who, device, number: [None, Some(seq)][device] },
        6 | 7 => Step::Tokens { who, add: random.random_range(0..4), remove: random.random_range(0..8) },
        8..14 => Step::Contact {
            who,
            device,
            token: random.random_range(0..4),
            text: random.random_range(0..12),
            size: random.random_range(1..700),
            ttl,
        },
        14..17 => Step::Stranger {
            who,
            site: random.random_range(0..5),
            work: random.random_range(0..8),
            text: random.random_range(0..12),
            ttl,
        },
        17 | 18 => Step::Delete {
            who,
            device,
            numbers: (0..random.random_range(1..5)).map(|_| random.random_range(0..40)).collect(),
        },
        _ => Step::Sweep,
    }
}

/// Does some steps in one transaction; the answers, in words.
fn play<E: Engine>(house: &mut House<E>, steps: &[Step]) -> Vec<String> {
    let mut requests = Vec::new();
    let mut answers: Vec<Box<dyn FnOnce() -> String>> = Vec::new();
    for step in steps {
        macro_rules! put {
            ($make:expr) => {{
                let (request, asked) = ask($make);
                requests.push(request);
                answers.push(Box::new(move || format!("{:?}", asked.answer())));
            }};
        }
        let whose = |who: usize| somebody(who, who, 1).account();
        let device = |who: usize, device: usize| {
            proto::ids::DeviceId::of_key(&device_of(who, device).verifying_key().to_bytes())
        };
        match step.clone() {
            Step::Publish { who, name, seq, devices, shows } => {
                let mut someone = somebody(who, name, devices);
                someone.shows = shows.then_some(someone.recovery);
                put!(|reply| Request::Publish(Box::new(someone.publish(seq)), reply));
            }
            Step::Release { who } => put!(|reply| Request::Release { account: whose(who), reply }),
            Step::Reach { who, device: n, seq } => {
                let reach = StoreReach {
                    account: whose(who),
                    device: device(who, n),
                    node: proto::ids::NodeId([n as u8; 32]),
                    seq,
                    bytes: vec![n as u8, seq as u8],
                };
                put!(|reply| Request::Reach(reach, reply));
            }
            Step::Session { who, device: n, number } => {
                put!(|reply| Request::Session { account: whose(who), device: device(who, n), number, reply });
            }
            Step::Tokens { who, add, remove } => {
                let (add, remove) = (vec![[add; 32]], vec![[remove; 32]]);
                put!(|reply| Request::Tokens { account: whose(who), add, remove, reply });
            }
            Step::Contact { who, device: n, token, text, size, ttl } => {
                let mut letter = somebody(who, who, 1).by_contact([token; 32], &vec![text; size / 100 * 100 + 1]);
                (letter.device, letter.ttl) = (device(who, n), ttl);
                put!(|reply| Request::Deposit(Box::new(letter), reply));
            }
            Step::Stranger { who, site, work, text, ttl } => {
                let mut letter = somebody(who, who, 1).by_stranger(site, work, &[text; 50]);
                letter.ttl = ttl;
                put!(|reply| Request::Deposit(Box::new(letter), reply));
            }
            Step::Delete { who, device: n, numbers } => {
                put!(|reply| Request::Delete { account: whose(who), device: device(who, n), numbers, reply });
            }
            Step::Found { who, team } => {
                let team = team_of(team, 0);
                let new = NewGroup { account: whose(who), root: team.root_by(&team.root), header: team.header() };
                put!(|reply| Request::Group(GroupRequest::Create(Box::new(new), reply)));
            }
            Step::Append { team, seed, writer, kind, after, text, size, staged, proved, turn, at } => {
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
                    new.statements.header = Some(Team { seed: [seed; 32], number: after, ..team }.header());
                }
                put!(|reply| Request::Group(GroupRequest::Append(Box::new(new), reply)));
            }
            Step::Stage { team, seed, writer, text } => {
                let new = GroupAppend { writer: account(writer), ..keys_of(&team_of(team, seed), text) };
                put!(|reply| Request::Group(GroupRequest::Stage(Box::new(new), reply)));
            }
            Step::State { team, seed, number, root } => {
                let root_number = root.map_or(0, |(number, _)| number);
                let team = Team { number, root_number, ..team_of(team, seed) };
                let by = |own: bool| if own { team.root.clone() } else { key("mallory") };
                let root = root.map(|(_, own)| team.root_by(&by(own)));
                let new = Statements { root, header: Some(team.header()) };
                put!(|reply| Request::Group(GroupRequest::State(team.log, Box::new(new), reply)));
            }
            Step::Slot { team, seed, writer, device, counter } => {
                let slot =
                    team_of(team, seed).slot(account(writer), &key(&format!("slot {device}")), counter, &[7; 50]);
                put!(|reply| Request::Group(GroupRequest::Slot(Box::new(slot), reply)));
            }
            Step::Keep { team, drop, numbers, slot } => {
                let asked = team_of(team, 0).keep(drop, &numbers, &[public(&key(&format!("slot {slot}")))]);
                put!(|reply| Request::Group(GroupRequest::Keep(Box::new(asked), reply)));
            }
            Step::End { who, team } => {
                let (account, log) = (whose(who), team_of(team, 0).log);
                put!(|reply| Request::Group(GroupRequest::Remove { account, log, reply }));
            }
            Step::Sweep => put!(Request::Sweep),
        }
    }
    house.serve(requests);
    answers.into_iter().map(|answer| answer()).collect()
}

fn keys_of(team: &Team, text: u8) -> GroupAppend {
    team.keys(account(0), &vec![text; 600])
}

/// The same of logs.
fn logged<E: Engine>(house: &mut House<E>) -> String {
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

/// All that can be read.
fn held<E: Engine>(house: &mut House<E>) -> String {
    let now = house.now;
    house.look(|db| {
        let people = (0..4).map(|who| {
            let someone = somebody(who, who, 2);
            let account = someone.account();
            let counted: Vec<_> = (0..4u8).map(|token| db.counted(account, &[token; 32]).unwrap()).collect();
            let mail = db.mail(&someone.fetch(now)).unwrap();
            let (reach, record) = (db.reach(account).unwrap(), db.record(account).unwrap());
            let (mailbox, former) =
                (db.mailbox(account).unwrap(), db.former(account, Some(&someone.recovery)).unwrap());
            (record, reach, counted, mail, mailbox, former)
        });
        format!("{:?}", (people.collect::<Vec<_>>(), db.sums().unwrap(), db.saved_uptime().unwrap()))
    })
}

#[test]
fn both_engines_live_the_same_life() {
    let seeds = std::env::var("CHATD_TORTURE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let mut outcomes = std::collections::BTreeMap::<String, usize>::new();
    for seed in 0..seeds {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut sqlite, mut model) = (House::<Sqlite>::default(), House::<Model>::default());
        for round in 0..100 {
            let mut steps: Vec<Step> = (0..random.random_range(1..8)).map(|_| step(&mut random)).collect();
            if round == 0 {
                let publish = |who| Step::Publish { who, name: who, seq: 1, devices: 2, shows: false };
                let tokens = |n: usize| Step::Tokens { who: n / 4, add: n as u8 % 4, remove: 9 };
                let found = |n: usize| Step::Found { who: n, team: n };
                steps = (0..4).map(publish).chain((0..16).map(tokens)).chain((0..TEAMS).map(found)).collect();
            }
            let later = if random.random_bool(0.02) { RESERVED_SECONDS as u64 * 2 } else { random.random_range(0..40) };
            let quotas = crate::store::Quotas {
                envelopes: random.random_range(2..12),
                bytes: random.random_range(500..4_000),
                strangers: 4,
                work_bits: 3,
                total_bytes: random.random_range(1_000..9_000),
            };
            let groups = crate::store::GroupBounds {
                per_account: random.random_range(1..3),
                entries: random.random_range(16..80),
                bytes: random.random_range(20_000..60_000),
                total_bytes: random.random_range(20_000..90_000),
                appends_per_minute: random.random_range(1..3),
            };
            let bounds = crate::store::Bounds { max_accounts: random.random_range(3..6), quotas, groups };
            (sqlite.now, model.now) = (sqlite.now + later, model.now + later);
            (sqlite.bounds, model.bounds) = (bounds, bounds);
            let (ours, theirs) = (play(&mut sqlite, &steps), play(&mut model, &steps));
            assert_eq!(ours, theirs, "seed {seed}, round {round}: {steps:#?}");
            assert_eq!(held(&mut sqlite), held(&mut model), "seed {seed}, round {round}: {steps:#?}");
            assert_eq!(logged(&mut sqlite), logged(&mut model), "seed {seed}, round {round}: {steps:#?}");
            for answer in ours {
                let kind: String = answer.chars().take_while(|c| c.is_alphabetic() || *c == '(').collect();
                *outcomes.entry(kind).or_default() += 1;
            }
        }
    }
    println!("figure: {seeds} random lives, answers by kind: {outcomes:?}");
    let kinds = [
        "Ok(Published",
        "Ok(Deposited",
        "Err(MailboxFull(",
        "Err(StrangersFull",
        "Err(TokenRevoked",
        "Err(Conflict",
        "Err(NotFound",
        "Err(NameTaken",
        "Err(LooksLike(",
        "Err(Resting(",
        "Err(Full(",
        "Err(OtherName(",
        "Ok(Appended",
        "Ok(Staged",
        "Ok(Kept",
        "Err(LostRace",
        "Err(TooOften(",
        "Err(GroupFull(",
        "Err(OldToken",
        "Err(NoSuchGroup",
        "Err(BadSignature(",
    ];
    for kind in kinds {
        assert!(outcomes.keys().any(|found| found.starts_with(kind)), "{kind}) never came up: {outcomes:?}");
    }
}
