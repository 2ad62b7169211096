//! The record: what an account publishes of itself, signed by its identity key.
//!
//! `[bin body, bin signature]`, at most [`MAX_RECORD_BYTES`]; the body is a MessagePack array in the order of
//! [`Record`]'s fields behind the domain string. It holds no addresses: see [`super::reach`].
//!
//! Not the job: whether the name belongs to the account (the directory's), whether the key is the one that was pinned
//! and whether the record has expired (the reader's, who knows which clock to trust).
//!
//! Invariants: a [`Record`] that came out of [`super::SignedRecord::verify`] is whole: its account id is the hash of its first
//! key, its chain of rotations leads to the key that signed it, and every limit holds.

use super::rotation::{self, Rotation, RotationError};
use crate::ids::{AccountId, DeviceId, PrekeyId, recipient_hash};
use crate::name::{Name, parse_domain};
use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

/// Bytes of an encoded [`super::SignedRecord`] at most.
pub const MAX_RECORD_BYTES: usize = 32_768;
/// Seconds between `issued` and `expires` at most: 7 days.
pub const MAX_LIFETIME_SECONDS: i64 = 604_800;
/// Devices of an account at most.
pub const MAX_DEVICES: usize = 4;
/// Prekeys in a record at most: the newest of each device and suite.
pub const MAX_PREKEYS: usize = 8;
/// Bytes of a prekey's recipient at most: the hybrid ML-KEM-768 and X25519 suite needs 1,216.
pub const MAX_RECIPIENT_BYTES: usize = 2_048;
/// Bytes of a mailbox's URL at most.
pub const MAX_MAILBOX_BYTES: usize = 512;

const DOMAIN: &str = "chatd/rec/1";
const FIELDS: usize = 18;

/// Why bytes are no valid record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the encoding.
    #[error("the record cannot be read")]
    Wire(#[from] WireError),
    /// A list is longer than it may be.
    #[error("it has more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A field breaks a rule.
    #[error("the record's {field} {rule}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// The chain of rotations does not hold.
    #[error("the record's keys are not its account's")]
    Rotation(#[from] RotationError),
    /// Not signed by the identity key.
    #[error("the record is not signed by its identity key")]
    Signature,
}

/// Who may reach somebody who has not accepted them yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactPolicy {
    /// Anyone may ask, and learn the reach.
    Open,
    /// Members of the same directory may ask, and learn the reach.
    #[default]
    Members,
    /// Only holders of an invite may ask.
    Invite,
    /// Nobody may ask.
    Closed,
}

impl ContactPolicy {
    fn code(self) -> u64 {
        match self {
            Self::Open => 0,
            Self::Members => 1,
            Self::Invite => 2,
            Self::Closed => 3,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        [Self::Open, Self::Members, Self::Invite, Self::Closed].into_iter().find(|p| p.code() == u64::from(code))
    }
}

/// An account on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The hash of `key`.
    pub id: DeviceId,
    /// Ed25519; signs envelopes, sessions and reach.
    pub key: [u8; 32],
}

impl Device {
    /// The device with this signing key.
    pub fn of_key(key: [u8; 32]) -> Self {
        Self { id: DeviceId::of_key(&key), key }
    }
}

/// A key that envelopes for a device are sealed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prekey {
    /// Whose.
    pub device: DeviceId,
    /// How to seal to it; see [`crate::wire::SUITE_HYBRID`].
    pub suite: u8,
    /// The recipient's public bytes in the suite's form.
    pub recipient: Vec<u8>,
    /// When it was made, in Unix seconds of the home directory's clock.
    pub created: i64,
    /// A sender never seals to it after this moment.
    pub not_after: i64,
}

impl Prekey {
    /// What a sender signs to bind an envelope to this prekey.
    pub fn recipient_hash(&self) -> [u8; 32] {
        recipient_hash(self.suite, &self.recipient)
    }

    /// The short id that an envelope names it by.
    pub fn id(&self) -> PrekeyId {
        PrekeyId::of_recipient_hash(&self.recipient_hash())
    }
}

/// What an account says of itself. Fields in the order of the encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The directory's domain, in lower case; empty for an account without one.
    pub origin: String,
    /// The name in that domain.
    pub name: Name,
    /// The first identity key: its hash is the account id for ever.
    pub first_key: [u8; 32],
    /// From the first key to the present one; empty while nothing was rotated (or the genesis alone).
    pub rotations: Vec<Rotation>,
    /// The key that signs this record.
    pub identity_key: [u8; 32],
    /// [`rotation::recovery_hash`] of the key that `register` printed.
    pub recovery_hash: [u8; 32],
    /// Counts up with every record that is published.
    pub seq: u64,
    /// [`super::SignedRecord::hash`] of the record before; zero for the first.
    pub prev: [u8; 32],
    /// Unix seconds.
    pub issued: i64,
    /// Unix seconds; at most [`MAX_LIFETIME_SECONDS`] after `issued`.
    pub expires: i64,
    /// At most [`MAX_DEVICES`].
    pub devices: Vec<Device>,
    /// At most [`MAX_PREKEYS`], one for each device and suite.
    pub prekeys: Vec<Prekey>,
    /// The URL of the mailbox, if there is one.
    pub mailbox: Option<String>,
    /// Who may ask to become a contact.
    pub policy: ContactPolicy,
    /// Envelopes of a lower suite are refused.
    pub min_suite: u8,
    /// Whether a search by address may find this account.
    pub list_address: bool,
    /// Whether lists show this account's presence.
    pub show_online: bool,
}

impl Record {
    /// Whose record this is.
    pub fn account(&self) -> AccountId {
        AccountId::of_first_key(&self.first_key)
    }

    /// The signing key of a device of this account.
    pub fn device_key(&self, device: DeviceId) -> Option<&[u8; 32]> {
        self.devices.iter().find(|d| d.id == device).map(|d| &d.key)
    }

    /// The prekeys of a device, in no order.
    pub fn prekeys_of(&self, device: DeviceId) -> impl Iterator<Item = &Prekey> {
        self.prekeys.iter().filter(move |p| p.device == device)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1_024);
        write::array(&mut out, FIELDS);
        write::str(&mut out, DOMAIN);
        write::str(&mut out, &self.origin);
        write::str(&mut out, self.name.as_str());
        write::bin(&mut out, &self.first_key);
        write::array(&mut out, self.rotations.len());
        for rotation in &self.rotations {
            rotation.encode(&mut out);
        }
        write::bin(&mut out, &self.identity_key);
        write::bin(&mut out, &self.recovery_hash);
        write::uint(&mut out, self.seq);
        write::bin(&mut out, &self.prev);
        write::sint(&mut out, self.issued);
        write::sint(&mut out, self.expires);
        write::array(&mut out, self.devices.len());
        for device in &self.devices {
            write::array(&mut out, 2);
            write::bin(&mut out, &device.id.0);
            write::bin(&mut out, &device.key);
        }
        write::array(&mut out, self.prekeys.len());
        for prekey in &self.prekeys {
            write::array(&mut out, 5);
            write::bin(&mut out, &prekey.device.0);
            write::uint(&mut out, prekey.suite.into());
            write::bin(&mut out, &prekey.recipient);
            write::sint(&mut out, prekey.created);
            write::sint(&mut out, prekey.not_after);
        }
        match &self.mailbox {
            Some(url) => write::str(&mut out, url),
            None => write::nil(&mut out),
        }
        write::uint(&mut out, self.policy.code());
        write::uint(&mut out, self.min_suite.into());
        write::bool(&mut out, self.list_address);
        write::bool(&mut out, self.show_online);
        out
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, RecordError> {
        let mut r = Reader::new(body);
        r.array_of(FIELDS, "record")?;
        if r.str("record domain")? != DOMAIN {
            return Err(WireError::Malformed("record domain").into());
        }
        let origin = r.str("record origin")?.to_owned();
        let name_text = r.str("record name")?;
        let name = Name::parse(name_text).map_err(|_| field("name", "is not an allowed name"))?;
        if name.as_str() != name_text {
            return Err(field("name", "is not in its normal form"));
        }
        let first_key = r.fixed("first key")?;
        let rotations = list(&mut r, "rotations", rotation::MAX_ROTATIONS, Rotation::decode)?;
        let record = Self {
            origin,
            name,
            first_key,
            rotations,
            identity_key: r.fixed("identity key")?,
            recovery_hash: r.fixed("recovery hash")?,
            seq: r.u64("record seq")?,
            prev: r.fixed("record prev")?,
            issued: r.i64("record issued")?,
            expires: r.i64("record expires")?,
            devices: list(&mut r, "devices", MAX_DEVICES, |r| {
                r.array_of(2, "device")?;
                Ok(Device { id: r.device("device id")?, key: r.fixed("device key")? })
            })?,
            prekeys: list(&mut r, "prekeys", MAX_PREKEYS, |r| {
                r.array_of(5, "prekey")?;
                Ok(Prekey {
                    device: r.device("prekey device")?,
                    suite: r.u8("prekey suite")?,
                    recipient: r.bin("prekey recipient")?.to_vec(),
                    created: r.i64("prekey created")?,
                    not_after: r.i64("prekey not_after")?,
                })
            })?,
            mailbox: if r.nil() { None } else { Some(r.str("record mailbox")?.to_owned()) },
            policy: ContactPolicy::of_code(r.u8("record policy")?).ok_or(WireError::Malformed("record policy"))?,
            min_suite: r.u8("record minimum suite")?,
            list_address: r.bool("record list_address")?,
            show_online: r.bool("record show_online")?,
        };
        r.finish("record")?;
        Ok(record)
    }

    pub(super) fn check(&self) -> Result<(), RecordError> {
        if !self.origin.is_empty() && parse_domain(&self.origin).as_ref() != Ok(&self.origin) {
            return Err(field("origin", "is not a domain name in lower case"));
        }
        if self.seq == 0 || i64::try_from(self.seq).is_err() {
            return Err(field("seq", "is not between 1 and 2^63-1"));
        }
        if !lifetime(self.issued, self.expires) {
            return Err(field("expires", "is not within 7 days after issued"));
        }
        for (index, device) in self.devices.iter().enumerate() {
            if device.id != DeviceId::of_key(&device.key) {
                return Err(field("device id", "is not the hash of the device's key"));
            }
            if self.devices[..index].iter().any(|d| d.id == device.id) {
                return Err(field("devices", "name one device twice"));
            }
        }
        for (index, prekey) in self.prekeys.iter().enumerate() {
            if self.device_key(prekey.device).is_none() {
                return Err(field("prekey", "is of a device that the record does not name"));
            }
            if self.prekeys[..index].iter().any(|p| (p.device, p.suite) == (prekey.device, prekey.suite)) {
                return Err(field("prekeys", "hold two of one device and suite"));
            }
            if prekey.recipient.is_empty() || prekey.recipient.len() > MAX_RECIPIENT_BYTES {
                return Err(field("prekey recipient", "is empty or longer than 2,048 bytes"));
            }
            if !lifetime(prekey.created, prekey.not_after) {
                return Err(field("prekey not_after", "is not within 7 days after created"));
            }
        }
        if self.mailbox.as_ref().is_some_and(|url| url.is_empty() || url.len() > MAX_MAILBOX_BYTES) {
            return Err(field("mailbox", "is empty or longer than 512 bytes"));
        }
        let keys = rotation::walk(&self.first_key, &self.rotations)?;
        match keys.last() {
            Some((identity, recovery))
                if *identity == self.identity_key && recovery.is_none_or(|hash| hash == self.recovery_hash) =>
            {
                Ok(())
            }
            _ => Err(RotationError::End.into()),
        }
    }
}

fn field(field: &'static str, rule: &'static str) -> RecordError {
    RecordError::Field { field, rule }
}

/// A span that begins at a sane moment and lasts for 1 second to 7 days.
fn lifetime(from: i64, to: i64) -> bool {
    from >= 0 && to.checked_sub(from).is_some_and(|span| (1..=MAX_LIFETIME_SECONDS).contains(&span))
}

fn list<'a, T>(
    r: &mut Reader<'a>,
    what: &'static str,
    most: usize,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<Vec<T>, RecordError> {
    let len = r.array(what)?;
    if len > most {
        return Err(RecordError::TooMany { what, most });
    }
    (0..len).map(|_| read(r).map_err(RecordError::from)).collect()
}
