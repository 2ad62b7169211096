//! What an event does: its kind, and what is said with it.

use super::consent::SignedDevices;
use super::parts::{Add, Genesis, Join, Link, Move, Set, add, genesis, logs, optional, settings, text, write_logs};
use super::vote::{Question, Vote};
use super::{GroupId, MAX_NAME_BYTES, MAX_TOPIC_BYTES, Signatures};
use crate::ids::AccountId;
use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

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

fn one(r: &mut Reader<'_>) -> Result<AccountId, WireError> {
    r.array_of(1, "account of an event")?;
    r.account("account of an event")
}

fn nothing(r: &mut Reader<'_>, act: Act) -> Result<Act, WireError> {
    r.array_of(0, "empty payload")?;
    Ok(act)
}
