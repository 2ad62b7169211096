//! What an account says of itself to a group: which devices it has, and that it wants to be a member.
//!
//! Both are signed by its identity key. A list of devices counts in any group; a consent in one group, and there once: it binds
//! the event by which the account last ceased to be a member, or zeros if it never was one.

use super::{GroupId, Signatures};
use crate::directory::record::MAX_DEVICES;
use crate::directory::rotation::{self, Rotation};
use crate::directory::{Device, MAX_ROTATIONS};
use crate::ids::AccountId;
use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

const DEVICES: &[u8] = b"chatd/gdevices/1\0";
const CONSENT: &[u8] = b"chatd/gconsent/1\0";

/// The devices of an account, with the keys that vouch for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceList {
    /// Its hash is the account.
    pub first_key: [u8; 32],
    /// From the first key to the present one; empty while nothing was rotated.
    pub rotations: Vec<Rotation>,
    /// Counts up with every list.
    pub number: u64,
    /// One to four, each once.
    pub devices: Vec<Device>,
}

impl DeviceList {
    /// Whose they are.
    pub fn account(&self) -> AccountId {
        AccountId::of_first_key(&self.first_key)
    }

    /// `[first key, rotations, number, [device key, ...]]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96 + self.devices.len() * 34);
        write::array(&mut out, 4);
        write::bin(&mut out, &self.first_key);
        write::array(&mut out, self.rotations.len());
        for link in &self.rotations {
            link.encode(&mut out);
        }
        write::uint(&mut out, self.number);
        write::array(&mut out, self.devices.len());
        for device in &self.devices {
            write::bin(&mut out, &device.key);
        }
        out
    }

    /// Reads what [`DeviceList::encode`] wrote.
    ///
    /// # Errors
    /// Any departure from the format, no device, more than [`MAX_DEVICES`], or one twice.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(4, "device list")?;
        let first_key = r.fixed("first key")?;
        let count = r.array("rotations")?;
        if count > MAX_ROTATIONS {
            return Err(WireError::Malformed("rotations"));
        }
        let rotations = (0..count).map(|_| Rotation::decode(&mut r)).collect::<Result<_, _>>()?;
        let number = r.u64("list number")?;
        let count = r.array("devices")?;
        if !(1..=MAX_DEVICES).contains(&count) {
            return Err(WireError::Malformed("devices"));
        }
        let mut devices: Vec<Device> = Vec::with_capacity(count);
        for _ in 0..count {
            let device = Device::of_key(r.fixed("device key")?);
            if devices.contains(&device) {
                return Err(WireError::Malformed("device twice"));
            }
            devices.push(device);
        }
        r.finish("device list")?;
        Ok(Self { first_key, rotations, number, devices })
    }

    /// The identity keys from the first to the one that signs now, as the rotations say. Whether these hold was looked at with the
    /// signature, and is not again.
    pub fn identity_keys(&self) -> Vec<[u8; 32]> {
        let statements = self.rotations.iter().filter_map(|link| link.statement().ok());
        let later = statements.filter(|statement| statement.number > 0).map(|statement| statement.identity_key);
        [self.first_key].into_iter().chain(later).collect()
    }

    /// The key that signs now, if the chain of rotations holds.
    fn signer(&self) -> Option<[u8; 32]> {
        let keys = rotation::walk(&self.first_key, &self.rotations).ok()?;
        keys.last().map(|(identity, _)| *identity)
    }
}

/// A list with the bytes that were signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDevices {
    /// What it says.
    pub list: DeviceList,
    bytes: Vec<u8>,
    signature: [u8; 64],
}

impl SignedDevices {
    /// Signs a list; `sign` has the identity key.
    pub fn sign(list: DeviceList, sign: impl Fn(&[u8]) -> [u8; 64]) -> Self {
        let bytes = list.encode();
        let signature = sign(&[DEVICES, &bytes].concat());
        Self { list, bytes, signature }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        write::array(out, 2);
        write::bin(out, &self.bytes);
        write::bin(out, &self.signature);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        r.array_of(2, "devices")?;
        let bytes = r.bin("device list")?.to_vec();
        Ok(Self { list: DeviceList::decode(&bytes)?, bytes, signature: r.fixed("devices signature")? })
    }

    pub(super) fn holds(&self, by: &impl Signatures) -> bool {
        self.list.signer().is_some_and(|key| by.hold(&key, &[DEVICES, &self.bytes].concat(), &self.signature))
    }
}

/// An account's word that it wants to be a member of one group, for one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Who, with which devices.
    pub list: DeviceList,
    /// The hash of the event that last ended its membership; zeros if none did.
    pub after: [u8; 32],
    bytes: Vec<u8>,
    signature: [u8; 64],
}

impl Consent {
    /// Consents; `sign` has the identity key.
    pub fn sign(group: &GroupId, list: DeviceList, after: [u8; 32], sign: impl Fn(&[u8]) -> [u8; 64]) -> Self {
        let bytes = list.encode();
        let signature = sign(&Self::message(group, &after, &bytes));
        Self { list, after, bytes, signature }
    }

    fn message(group: &GroupId, after: &[u8; 32], list: &[u8]) -> Vec<u8> {
        [CONSENT, group.id.as_bytes(), &group.nonce, after, list].concat()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        write::array(out, 3);
        write::bin(out, &self.bytes);
        write::bin(out, &self.after);
        write::bin(out, &self.signature);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        r.array_of(3, "consent")?;
        let bytes = r.bin("consent list")?.to_vec();
        let list = DeviceList::decode(&bytes)?;
        Ok(Self { list, after: r.fixed("consent after")?, bytes, signature: r.fixed("consent signature")? })
    }

    pub(super) fn holds(&self, group: &GroupId, by: &impl Signatures) -> bool {
        self.list
            .signer()
            .is_some_and(|key| by.hold(&key, &Self::message(group, &self.after, &self.bytes), &self.signature))
    }
}
