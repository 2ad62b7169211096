//! Alice writes to bob: fixed keys for the targets that open envelopes.

use std::io::Write;
use std::iter;

use chatd::crypto::envelope::{SealTo, Sender};
use chatd::crypto::keys::SigningKey;
use chatd::crypto::prekey::PrekeySecret;
use hybrid::{Identity, Recipient};
use proto::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId};
use proto::wire::SUITE_HYBRID;
use proto::wire::envelope::Core;

/// Both ends of a conversation.
pub struct Pair {
    /// Alice's device key.
    pub alice: SigningKey,
    /// Alice's account.
    pub from: AccountId,
    /// Bob's account.
    pub to: AccountId,
    /// Bob's device.
    pub device: DeviceId,
    /// Bob's prekey.
    pub prekey: PrekeySecret,
    /// The same prekey as age knows it.
    pub recipient: Recipient,
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

impl Pair {
    /// The same at every call.
    ///
    /// # Panics
    /// Never: the keys are fixed.
    pub fn new() -> Self {
        Self {
            alice: SigningKey::from_bytes(&[1; 32]),
            from: AccountId::of_first_key(&[1; 32]),
            to: AccountId::of_first_key(&[2; 32]),
            device: DeviceId::of_key(&SigningKey::from_bytes(&[2; 32]).public()),
            prekey: PrekeySecret::from_stored(SUITE_HYBRID, &[102; 32], 0, 0).expect("a secret"),
            recipient: Identity::from_seed(&[102; 32]).public().clone(),
        }
    }

    /// Alice as a sender.
    pub fn sender(&self) -> Sender<'_> {
        let device = DeviceId::of_key(&self.alice.public());
        Sender { account: self.from, device, key: &self.alice, record_seq: 3, record_hash: [3; 32] }
    }

    /// Bob as a recipient.
    pub fn address(&self) -> SealTo {
        SealTo { device: self.device, prekey: self.prekey.public().clone() }
    }

    /// A core of alice's for bob.
    pub fn core(&self, seq: u64, kind: &str, payload: &[u8]) -> Vec<u8> {
        Core {
            from: self.from,
            from_device: DeviceId::of_key(&self.alice.public()),
            conversation: ConversationId::direct(self.from, self.to),
            to: self.to,
            id: MessageId([seq as u8; 16]),
            epoch: Epoch([1; 8]),
            seq,
            prev: [0; 32],
            time: 1_760_000_000_000,
            kind,
            payload,
        }
        .encode()
    }

    /// What age makes of a plaintext for bob.
    ///
    /// # Panics
    /// Never: it writes to memory.
    pub fn encrypt(&self, plaintext: &[u8]) -> Vec<u8> {
        let recipient: &dyn age::Recipient = &self.recipient;
        let encryptor = age::Encryptor::with_recipients(iter::once(recipient)).expect("one recipient");
        let mut out = Vec::new();
        let mut writer = encryptor.wrap_output(&mut out).expect("memory");
        writer.write_all(plaintext).and_then(|()| writer.finish()).expect("memory");
        out
    }
}
