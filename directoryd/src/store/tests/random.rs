//! Long random lives: both engines are asked the same, and have to answer the same and hold the same.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::house::{House, Person, ask, person};
use super::memory::Model;
use super::random_groups::{self, GroupStep, TEAMS, logged};
use super::{Engine, Sqlite};
use crate::store::command::{Commands, Queries};
use crate::store::request::{RESERVED_SECONDS, Request, StoreReach};

/// An answer, once it is there, in words.
pub type InWords = Box<dyn FnOnce() -> String>;

/// What is done, as both engines are told.
#[derive(Debug, Clone)]
enum Step {
    Publish { who: usize, name: usize, seq: u64, devices: usize, shows: bool },
    Release { who: usize },
    Reach { who: usize, device: usize, seq: u64 },
    Session { who: usize, device: usize, number: Option<u64> },
    Tokens { who: usize, add: u8, remove: u8 },
    Contact { who: usize, device: usize, token: u8, text: u8, size: usize, ttl: u32 },
    Stranger { who: usize, site: u8, work: u8, text: u8, ttl: u32 },
    Delete { who: usize, device: usize, numbers: Vec<u64> },
    Group(GroupStep),
    Sweep,
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
        return Step::Group(random_groups::step(random));
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
    let mut answers: Vec<InWords> = Vec::new();
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
            Step::Group(step) => {
                let (request, answer) = step.ask(whose);
                requests.push(request);
                answers.push(answer);
            }
            Step::Sweep => put!(Request::Sweep),
        }
    }
    house.serve(requests);
    answers.into_iter().map(|answer| answer()).collect()
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
                let found = |n: usize| Step::Group(GroupStep::Found { who: n, team: n });
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
