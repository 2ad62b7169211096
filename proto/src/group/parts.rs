//! What is said with an event, where it is more than a name.

use super::consent::{Consent, SignedDevices};
use super::{GroupId, MAX_ADDS, MAX_LOG_BYTES, MAX_LOGS, MAX_NAME_BYTES, MAX_SETTINGS_BYTES, MAX_TOPIC_BYTES};
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

    pub(super) fn code(self) -> u8 {
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
    pub(super) signature: [u8; 64],
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

    pub(super) fn message(group: &GroupId, account: AccountId, prev: &[u8; 32]) -> Vec<u8> {
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

pub(super) fn optional<T>(out: &mut Vec<u8>, value: Option<T>, encode: impl Fn(&mut Vec<u8>, T)) {
    match value {
        Some(value) => encode(out, value),
        None => write::nil(out),
    }
}

pub(super) fn write_logs(logs: &[String], out: &mut Vec<u8>) {
    write::array(out, logs.len());
    logs.iter().for_each(|log| write::str(out, log));
}

pub(super) fn logs(r: &mut Reader<'_>) -> Result<Vec<String>, WireError> {
    let count = r.array("logs")?;
    if !(1..=MAX_LOGS).contains(&count) {
        return Err(WireError::Malformed("logs"));
    }
    (0..count).map(|_| text(r, MAX_LOG_BYTES, "log")).collect()
}

pub(super) fn text(r: &mut Reader<'_>, limit: usize, what: &'static str) -> Result<String, WireError> {
    let text = r.str(what)?;
    if text.len() > limit { Err(WireError::TooLarge { what, size: text.len(), limit }) } else { Ok(text.to_owned()) }
}

pub(super) fn settings(r: &mut Reader<'_>) -> Result<Vec<u8>, WireError> {
    let (what, limit) = ("settings", MAX_SETTINGS_BYTES);
    let bytes = r.bin(what)?;
    if bytes.len() > limit { Err(WireError::TooLarge { what, size: bytes.len(), limit }) } else { Ok(bytes.to_vec()) }
}

pub(super) fn genesis(r: &mut Reader<'_>) -> Result<Genesis, WireError> {
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

pub(super) fn add(r: &mut Reader<'_>) -> Result<Add, WireError> {
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
