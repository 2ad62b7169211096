//! What an event does: its kind, and what is said with it.

use super::consent::{Consent, SignedDevices};
use super::vote::{Question, Vote};
use super::{
    GroupId, MAX_ADDS, MAX_LOG_BYTES, MAX_LOGS, MAX_NAME_BYTES, MAX_SETTINGS_BYTES, MAX_TOPIC_BYTES, Signatures,
};
use crate::ids::AccountId;
use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

const JOIN: &[u8] = b"chatd/gjoin/1\0";

/// What a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupType {
    /// Invited people; everybody who is added brings a new key.
    Group,
    /// Many people, who may come by a link.
    Room,
    /// Its members write, and others read.
    Channel,
}

impl GroupType {
    const ALL: [Self; 3] = [Self::Group, Self::Room, Self::Channel];

    fn code(self) -> u8 {
        match self {
            Self::Group => 0,
            Self::Room => 1,
            Self::Channel => 2,
        }
    }
}

/// How a group begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// What it is, for ever.
    pub kind: GroupType,
    /// What it is called.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// Settings; the rules of membership do not look into them.
    pub settings: Vec<u8>,
    /// 32 random bytes: no two groups are one.
    pub nonce: [u8; 32],
    /// Where it is, and at most three places to move to.
    pub logs: Vec<String>,
    /// The founder's devices.
    pub founder: SignedDevices,
}

/// By a link: its key, and what it signed for whoever joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The public key of the link.
    pub link: [u8; 32],
    signature: [u8; 64],
}

impl Join {
    /// For an event of `account` behind `prev`; `sign` has the link's key.
    pub fn sign(
        group: &GroupId,
        link: [u8; 32],
        account: AccountId,
        prev: &[u8; 32],
        sign: impl Fn(&[u8]) -> [u8; 64],
    ) -> Self {
        Self { link, signature: sign(&Self::message(group, account, prev)) }
    }

    fn message(group: &GroupId, account: AccountId, prev: &[u8; 32]) -> Vec<u8> {
        [JOIN, group.id.as_bytes(), account.as_bytes(), prev].concat()
    }
}

/// Who becomes a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// Their own word, 1 to [`MAX_ADDS`].
    pub consents: Vec<Consent>,
    /// If the one who is added does it, with a link.
    pub join: Option<Join>,
}

/// A way in for whoever has its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Ed25519.
    pub key: [u8; 32],
    /// How many may come by it.
    pub limit: u32,
    /// Unix seconds. A reason to end it; the rules read no clock.
    pub expiry: i64,
}

/// What is changed, each or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Set {
    /// Name.
    pub name: Option<String>,
    /// Topic.
    pub topic: Option<String>,
    /// Settings.
    pub settings: Option<Vec<u8>>,
    /// Logs; the first is the one that it has.
    pub logs: Option<Vec<String>>,
}

/// To another log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The new one, and where to go from there.
    pub logs: Vec<String>,
    /// Entries of the old log that the owner knows.
    pub entries: u64,
    /// Its running hash there.
    pub running: [u8; 32],
}

/// What an event does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// The first event.
    Genesis(Box<Genesis>),
    /// Members come.
    Add(Add),
    /// The author's own devices.
    Devices(SignedDevices),
    /// The author ceases to be a member.
    Leave {
        /// The hash of the event that made it one.
        added: [u8; 32],
        /// Who is owner next, if the owner says it.
        successor: Option<AccountId>,
    },
    /// Somebody ceases to be a member.
    Remove(AccountId),
    /// The same, and does not come back.
    Ban(AccountId),
    /// May come back.
    Unban(AccountId),
    /// Becomes admin.
    Promote(AccountId),
    /// Is admin no more.
    Demote(AccountId),
    /// Becomes owner.
    Handover(AccountId),
    /// A new key, and nothing else.
    Key,
    /// A link is made.
    Link(Link),
    /// A link ends.
    Unlink([u8; 32]),
    /// Name, topic, settings, logs.
    Set(Box<Set>),
    /// To another log.
    Move(Box<Move>),
    /// The end.
    Close,
    /// Somebody takes the place of a silent owner.
    Elect {
        /// The owner's newest event.
        owner_event: [u8; 32],
        /// Who.
        candidate: AccountId,
        /// By whom.
        votes: Vec<Vote>,
    },
    /// An election stands.
    Confirm {
        /// Its event.
        elect: [u8; 32],
        /// By whom.
        votes: Vec<Vote>,
    },
    /// The owner was not gone.
    Reclaim,
}

impl Act {
    /// The kind's name on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Genesis(_) => "genesis",
            Self::Add(_) => "add",
            Self::Devices(_) => "devices",
            Self::Leave { .. } => "leave",
            Self::Remove(_) => "remove",
            Self::Ban(_) => "ban",
            Self::Unban(_) => "unban",
            Self::Promote(_) => "promote",
            Self::Demote(_) => "demote",
            Self::Handover(_) => "handover",
            Self::Key => "key",
            Self::Link(_) => "link",
            Self::Unlink(_) => "unlink",
            Self::Set(_) => "set",
            Self::Move(_) => "move",
            Self::Close => "close",
            Self::Elect { .. } => "elect",
            Self::Confirm { .. } => "confirm",
            Self::Reclaim => "reclaim",
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Genesis(genesis) => {
                write::array(&mut out, 7);
                write::uint(&mut out, genesis.kind.code().into());
                write::str(&mut out, &genesis.name);
                write::str(&mut out, &genesis.topic);
                write::bin(&mut out, &genesis.settings);
                write::bin(&mut out, &genesis.nonce);
                write_logs(&genesis.logs, &mut out);
                genesis.founder.encode(&mut out);
            }
            Self::Add(Add { consents, join }) => {
                write::array(&mut out, 2);
                write::array(&mut out, consents.len());
                consents.iter().for_each(|consent| consent.encode(&mut out));
                optional(&mut out, join.as_ref(), |out, join| {
                    write::array(out, 2);
                    write::bin(out, &join.link);
                    write::bin(out, &join.signature);
                });
            }
            Self::Devices(devices) => devices.encode(&mut out),
            Self::Leave { added, successor } => {
                write::array(&mut out, 2);
                write::bin(&mut out, added);
                optional(&mut out, successor.as_ref(), |out, account| write::bin(out, account.as_bytes()));
            }
            Self::Remove(account)
            | Self::Ban(account)
            | Self::Unban(account)
            | Self::Promote(account)
            | Self::Demote(account)
            | Self::Handover(account) => {
                write::array(&mut out, 1);
                write::bin(&mut out, account.as_bytes());
            }
            Self::Key | Self::Close | Self::Reclaim => write::array(&mut out, 0),
            Self::Link(Link { key, limit, expiry }) => {
                write::array(&mut out, 3);
                write::bin(&mut out, key);
                write::uint(&mut out, (*limit).into());
                write::sint(&mut out, *expiry);
            }
            Self::Unlink(key) => {
                write::array(&mut out, 1);
                write::bin(&mut out, key);
            }
            Self::Set(set) => {
                write::array(&mut out, 4);
                optional(&mut out, set.name.as_ref(), |out, name| write::str(out, name));
                optional(&mut out, set.topic.as_ref(), |out, topic| write::str(out, topic));
                optional(&mut out, set.settings.as_ref(), |out, bytes| write::bin(out, bytes));
                optional(&mut out, set.logs.as_ref(), |out, logs| write_logs(logs, out));
            }
            Self::Move(to) => {
                write::array(&mut out, 3);
                write_logs(&to.logs, &mut out);
                write::uint(&mut out, to.entries);
                write::bin(&mut out, &to.running);
            }
            Self::Elect { owner_event, candidate, votes } => {
                write::array(&mut out, 3);
                write::bin(&mut out, owner_event);
                write::bin(&mut out, candidate.as_bytes());
                Vote::encode_list(votes, &mut out);
            }
            Self::Confirm { elect, votes } => {
                write::array(&mut out, 2);
                write::bin(&mut out, elect);
                Vote::encode_list(votes, &mut out);
            }
        }
        out
    }

    pub(super) fn decode(kind: &str, bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let r = &mut reader;
        let act = match kind {
            "genesis" => Self::Genesis(Box::new(genesis(r)?)),
            "add" => Self::Add(add(r)?),
            "devices" => Self::Devices(SignedDevices::decode(r)?),
            "leave" => {
                r.array_of(2, "leave")?;
                let added = r.fixed("leave added")?;
                Self::Leave { added, successor: if r.nil() { None } else { Some(r.account("successor")?) } }
            }
            "remove" => Self::Remove(one(r)?),
            "ban" => Self::Ban(one(r)?),
            "unban" => Self::Unban(one(r)?),
            "promote" => Self::Promote(one(r)?),
            "demote" => Self::Demote(one(r)?),
            "handover" => Self::Handover(one(r)?),
            "key" => nothing(r, Self::Key)?,
            "link" => {
                r.array_of(3, "link")?;
                let (key, limit, expiry) = (r.fixed("link key")?, r.u32("link limit")?, r.i64("link expiry")?);
                Self::Link(Link { key, limit, expiry })
            }
            "unlink" => {
                r.array_of(1, "unlink")?;
                Self::Unlink(r.fixed("link key")?)
            }
            "set" => {
                r.array_of(4, "set")?;
                let name = if r.nil() { None } else { Some(text(r, MAX_NAME_BYTES, "name")?) };
                let topic = if r.nil() { None } else { Some(text(r, MAX_TOPIC_BYTES, "topic")?) };
                let settings = if r.nil() { None } else { Some(settings(r)?) };
                let logs = if r.nil() { None } else { Some(logs(r)?) };
                Self::Set(Box::new(Set { name, topic, settings, logs }))
            }
            "move" => {
                r.array_of(3, "move")?;
                let (logs, entries, running) = (logs(r)?, r.u64("move entries")?, r.fixed("move hash")?);
                Self::Move(Box::new(Move { logs, entries, running }))
            }
            "close" => nothing(r, Self::Close)?,
            "elect" => {
                r.array_of(3, "elect")?;
                let (owner_event, candidate) = (r.fixed("owner's event")?, r.account("candidate")?);
                Self::Elect { owner_event, candidate, votes: Vote::decode_list(r)? }
            }
            "confirm" => {
                r.array_of(2, "confirm")?;
                Self::Confirm { elect: r.fixed("elect event")?, votes: Vote::decode_list(r)? }
            }
            "reclaim" => nothing(r, Self::Reclaim)?,
            _ => return Err(WireError::Malformed("kind of event")),
        };
        reader.finish("event payload")?;
        Ok(act)
    }

    /// Whether every signature in it holds.
    pub(super) fn holds(&self, group: &GroupId, author: AccountId, prev: &[u8; 32], by: &impl Signatures) -> bool {
        let votes_hold = |question: &Question, votes: &[Vote]| votes.iter().all(|vote| vote.holds(group, question, by));
        match self {
            Self::Genesis(genesis) => genesis.founder.holds(by),
            Self::Devices(devices) => devices.holds(by),
            Self::Add(Add { consents, join }) => {
                let joins = |join: &Join| by.hold(&join.link, &Join::message(group, author, prev), &join.signature);
                join.as_ref().is_none_or(joins) && consents.iter().all(|consent| consent.holds(group, by))
            }
            Self::Elect { owner_event, candidate, votes } => {
                votes_hold(&Question::Elect { owner_event: *owner_event, candidate: *candidate }, votes)
            }
            Self::Confirm { elect, votes } => votes_hold(&Question::Confirm { elect: *elect }, votes),
            _ => true,
        }
    }
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, encode: impl Fn(&mut Vec<u8>, T)) {
    match value {
        Some(value) => encode(out, value),
        None => write::nil(out),
    }
}

fn write_logs(logs: &[String], out: &mut Vec<u8>) {
    write::array(out, logs.len());
    logs.iter().for_each(|log| write::str(out, log));
}

fn logs(r: &mut Reader<'_>) -> Result<Vec<String>, WireError> {
    let count = r.array("logs")?;
    if !(1..=MAX_LOGS).contains(&count) {
        return Err(WireError::Malformed("logs"));
    }
    (0..count).map(|_| text(r, MAX_LOG_BYTES, "log")).collect()
}

fn text(r: &mut Reader<'_>, limit: usize, what: &'static str) -> Result<String, WireError> {
    let text = r.str(what)?;
    if text.len() > limit { Err(WireError::TooLarge { what, size: text.len(), limit }) } else { Ok(text.to_owned()) }
}

fn settings(r: &mut Reader<'_>) -> Result<Vec<u8>, WireError> {
    let (what, limit) = ("settings", MAX_SETTINGS_BYTES);
    let bytes = r.bin(what)?;
    if bytes.len() > limit { Err(WireError::TooLarge { what, size: bytes.len(), limit }) } else { Ok(bytes.to_vec()) }
}

fn one(r: &mut Reader<'_>) -> Result<AccountId, WireError> {
    r.array_of(1, "account of an event")?;
    r.account("account of an event")
}

fn nothing(r: &mut Reader<'_>, act: Act) -> Result<Act, WireError> {
    r.array_of(0, "empty payload")?;
    Ok(act)
}

fn genesis(r: &mut Reader<'_>) -> Result<Genesis, WireError> {
    r.array_of(7, "genesis")?;
    let code = r.u8("type of group")?;
    let kind = GroupType::ALL.into_iter().find(|kind| kind.code() == code).ok_or(WireError::Malformed("type"))?;
    Ok(Genesis {
        kind,
        name: text(r, MAX_NAME_BYTES, "name")?,
        topic: text(r, MAX_TOPIC_BYTES, "topic")?,
        settings: settings(r)?,
        nonce: r.fixed("nonce")?,
        logs: logs(r)?,
        founder: SignedDevices::decode(r)?,
    })
}

fn add(r: &mut Reader<'_>) -> Result<Add, WireError> {
    r.array_of(2, "add")?;
    let count = r.array("consents")?;
    if !(1..=MAX_ADDS).contains(&count) {
        return Err(WireError::Malformed("consents"));
    }
    let consents = (0..count).map(|_| Consent::decode(r)).collect::<Result<_, _>>()?;
    if r.nil() {
        return Ok(Add { consents, join: None });
    }
    r.array_of(2, "join")?;
    let join = Join { link: r.fixed("link key")?, signature: r.fixed("link signature")? };
    Ok(Add { consents, join: Some(join) })
}
