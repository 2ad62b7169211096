//! Reach: where a device is now. Kept apart from the record, because it changes often and is shown to fewer.
//!
//! `[bin body, bin device signature, bin node signature]`, at most [`MAX_REACH_BYTES`]. The device's signature says whose
//! it is; the node's says that the node agrees to be dialled for it, so that nobody can point at a node of another.
//!
//! Not the job: whether an address may be dialled (private ones from a directory may not).

use std::net::SocketAddr;

use ed25519_dalek::{Signer, SigningKey};

use super::record::Record;
use super::verified;
use crate::ids::{AccountId, DeviceId, NodeId, sha256};
use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

/// Bytes of an encoded [`SignedReach`] at most.
pub const MAX_REACH_BYTES: usize = 2_048;
/// Addresses at most.
pub const MAX_ADDRESSES: usize = 8;
/// Bytes of a relay's URL at most.
pub const MAX_RELAY_BYTES: usize = 512;

const DOMAIN: &str = "chatd/reach/1";
const FIELDS: usize = 8;

/// Why bytes are no valid reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    /// Not the encoding.
    #[error("the reach cannot be read")]
    Wire(#[from] WireError),
    /// Of another account, or of a device that the record does not name.
    #[error("the reach is not of a device of this account")]
    Device,
    /// Not signed by the device.
    #[error("the reach is not signed by its device")]
    DeviceSignature,
    /// Not signed by the node.
    #[error("the reach is not signed by its node")]
    NodeSignature,
}

/// Where a device is. Fields in the order of the encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Whose.
    pub account: AccountId,
    /// Which device.
    pub device: DeviceId,
    /// The node that hosts it: an Ed25519 public key.
    pub node: NodeId,
    /// The URL of the relay that the node listens at.
    pub relay: Option<String>,
    /// At most [`MAX_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
    /// Counts up with every reach of this device; the highest wins.
    pub seq: u64,
    /// Unix seconds.
    pub issued: i64,
}

impl Reach {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        write::array(&mut out, FIELDS);
        write::str(&mut out, DOMAIN);
        write::bin(&mut out, &self.account.0);
        write::bin(&mut out, &self.device.0);
        write::bin(&mut out, &self.node.0);
        match &self.relay {
            Some(url) => write::str(&mut out, url),
            None => write::nil(&mut out),
        }
        write::array(&mut out, self.addresses.len());
        for address in &self.addresses {
            write::str(&mut out, &address.to_string());
        }
        write::uint(&mut out, self.seq);
        write::sint(&mut out, self.issued);
        out
    }

    fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.array_of(FIELDS, "reach")?;
        if r.str("reach domain")? != DOMAIN {
            return Err(WireError::Malformed("reach domain"));
        }
        let account = r.account("reach account")?;
        let device = r.device("reach device")?;
        let node = NodeId(r.fixed("reach node")?);
        let relay = if r.nil() { None } else { Some(r.str("reach relay")?.to_owned()) };
        if relay.as_ref().is_some_and(|url| url.is_empty() || url.len() > MAX_RELAY_BYTES) {
            return Err(WireError::Malformed("reach relay"));
        }
        let len = r.array("reach addresses")?;
        if len > MAX_ADDRESSES {
            return Err(WireError::TooLarge { what: "reach addresses", size: len, limit: MAX_ADDRESSES });
        }
        let addresses = (0..len)
            .map(|_| r.str("reach address")?.parse().map_err(|_| WireError::Malformed("reach address")))
            .collect::<Result<_, _>>()?;
        let seq = r.u64("reach seq")?;
        if i64::try_from(seq).is_err() {
            return Err(WireError::Malformed("reach seq"));
        }
        let reach = Self { account, device, node, relay, addresses, seq, issued: r.i64("reach issued")? };
        r.finish("reach")?;
        Ok(reach)
    }
}

/// A reach's exact bytes and both signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReach {
    /// What was signed.
    pub body: Vec<u8>,
    /// Ed25519 by the device's key.
    pub device_signature: [u8; 64],
    /// Ed25519 by the node's key.
    pub node_signature: [u8; 64],
}

impl SignedReach {
    /// Signs a reach; addresses beyond [`MAX_ADDRESSES`] must have been left out by the caller.
    ///
    /// # Errors
    /// When it breaks a limit.
    pub fn sign(reach: &Reach, device: &SigningKey, node: &SigningKey) -> Result<Self, ReachError> {
        let body = reach.encode();
        Reach::decode(&body)?;
        let (device_signature, node_signature) = (device.sign(&body).to_bytes(), node.sign(&body).to_bytes());
        let signed = Self { body, device_signature, node_signature };
        let size = signed.encode().len();
        if size > MAX_REACH_BYTES {
            return Err(WireError::TooLarge { what: "reach", size, limit: MAX_REACH_BYTES }.into());
        }
        Ok(signed)
    }

    /// `[bin body, bin device signature, bin node signature]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 140);
        write::array(&mut out, 3);
        write::bin(&mut out, &self.body);
        write::bin(&mut out, &self.device_signature);
        write::bin(&mut out, &self.node_signature);
        out
    }

    /// Splits body and signatures; nothing is verified.
    ///
    /// # Errors
    /// When it is too large or not the encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReachError> {
        if bytes.len() > MAX_REACH_BYTES {
            return Err(WireError::TooLarge { what: "reach", size: bytes.len(), limit: MAX_REACH_BYTES }.into());
        }
        let mut r = Reader::new(bytes);
        r.array_of(3, "signed reach")?;
        let signed = Self {
            body: r.bin("reach body")?.to_vec(),
            device_signature: r.fixed("reach signature")?,
            node_signature: r.fixed("reach signature")?,
        };
        r.finish("signed reach")?;
        Ok(signed)
    }

    /// What it says, without any check: to find the record to check it with.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn peek(&self) -> Result<Reach, ReachError> {
        Ok(Reach::decode(&self.body)?)
    }

    /// Checks it against the account's verified record.
    ///
    /// # Errors
    /// When the record does not name the device, or a signature is wrong.
    pub fn verify(&self, record: &Record) -> Result<Reach, ReachError> {
        let reach = Reach::decode(&self.body)?;
        if reach.account != record.account() {
            return Err(ReachError::Device);
        }
        let key = record.device_key(reach.device).ok_or(ReachError::Device)?;
        if !verified(key, &self.body, &self.device_signature) {
            return Err(ReachError::DeviceSignature);
        }
        if !verified(&reach.node.0, &self.body, &self.node_signature) {
            return Err(ReachError::NodeSignature);
        }
        Ok(reach)
    }

    /// SHA-256 of the whole encoding.
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[&self.encode()])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::signed::tests::{key, record};
    use super::*;

    fn reach() -> Reach {
        let record = record(1);
        Reach {
            account: record.account(),
            device: record.devices[0].id,
            node: NodeId(key(30).verifying_key().to_bytes()),
            relay: Some("https://relay.example.org".into()),
            addresses: vec!["192.0.2.7:4433".parse().unwrap(), "[2001:db8::1]:4433".parse().unwrap()],
            seq: 9,
            issued: 1_760_000_000,
        }
    }

    #[test]
    fn both_must_sign() {
        let signed = SignedReach::sign(&reach(), &key(10), &key(30)).unwrap();
        let read = SignedReach::decode(&signed.encode()).unwrap();
        assert_eq!(read.verify(&record(1)), Ok(reach()));
        let no_device = SignedReach::sign(&reach(), &key(66), &key(30)).unwrap();
        assert_eq!(no_device.verify(&record(1)), Err(ReachError::DeviceSignature));
        let no_node = SignedReach::sign(&reach(), &key(10), &key(66)).unwrap();
        assert_eq!(no_node.verify(&record(1)), Err(ReachError::NodeSignature));
        let mut other = reach();
        other.device = DeviceId([9; 16]);
        let stranger = SignedReach::sign(&other, &key(10), &key(30)).unwrap();
        assert_eq!(stranger.verify(&record(1)), Err(ReachError::Device));
    }

    #[test]
    fn limits_hold() {
        let mut many = reach();
        many.addresses = (0..9).map(|i| SocketAddr::from(([192, 0, 2, i], 1))).collect();
        assert!(SignedReach::sign(&many, &key(10), &key(30)).is_err());
        let signed = SignedReach::sign(&reach(), &key(10), &key(30)).unwrap();
        let mut long = signed.encode();
        long.push(0);
        assert!(SignedReach::decode(&long).is_err(), "trailing byte");
        assert!(SignedReach::decode(&vec![0; MAX_REACH_BYTES + 1]).is_err());
    }
}
