//! Accounts, devices and signatures that cost a hash: a signature holds if it is the hash of key and message.

use proto::directory::Device;
use proto::group::{Consent, DeviceList, GroupId, Signatures, SignedDevices};
use proto::ids::{AccountId, DeviceId, sha256};

/// Signatures for tests.
pub struct Fake;

pub fn fake(key: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let hash = sha256(&[key, message]);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&hash);
    signature
}

impl Signatures for Fake {
    fn hold(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        fake(key, message) == *signature
    }
}

/// Somebody.
#[derive(Clone)]
pub struct Person {
    pub key: [u8; 32],
    pub account: AccountId,
    /// The keys of all devices that it ever has, and which of them it has now.
    pub all: Vec<[u8; 32]>,
    pub now: Vec<usize>,
    pub list: u64,
}

impl Person {
    pub fn new(n: u8) -> Self {
        let key = [n + 1; 32];
        let all = (0..4).map(|device| [100 + n * 4 + device; 32]).collect();
        Self { key, account: AccountId::of_first_key(&key), all, now: vec![0], list: 1 }
    }

    pub fn device_list(&self) -> DeviceList {
        let devices = self.now.iter().map(|at| Device::of_key(self.all[*at])).collect();
        DeviceList { first_key: self.key, rotations: Vec::new(), number: self.list, devices }
    }

    pub fn devices(&self) -> SignedDevices {
        SignedDevices::sign(self.device_list(), |message| fake(&self.key, message))
    }

    pub fn consent(&self, group: &GroupId, after: [u8; 32], genuine: bool) -> Consent {
        let by = if genuine { self.key } else { [255; 32] };
        Consent::sign(group, self.device_list(), after, |message| fake(&by, message))
    }

    pub fn device(&self, at: usize) -> DeviceId {
        DeviceId::of_key(&self.all[at])
    }
}
