//! Votes: by which an owner who is silent is replaced, and the replacement made final.

use super::{GroupId, MAX_ELECTORS, Signatures};
use crate::ids::{AccountId, DeviceId};
use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

const ELECT: &[u8] = b"chatd/gvote/1\0";
const CONFIRM: &[u8] = b"chatd/gconfirm/1\0";

/// What is voted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// That somebody takes the place of the owner, whose newest event is named: an owner who says anything makes it void.
    Elect {
        /// The owner's newest event.
        owner_event: [u8; 32],
        /// Who takes his place.
        candidate: AccountId,
    },
    /// That this election stands.
    Confirm {
        /// The `elect` event.
        elect: [u8; 32],
    },
}

impl Question {
    fn message(&self, group: &GroupId) -> Vec<u8> {
        match self {
            Self::Elect { owner_event, candidate } => {
                [ELECT, group.id.as_bytes(), owner_event, candidate.as_bytes()].concat()
            }
            Self::Confirm { elect } => [CONFIRM, group.id.as_bytes(), elect].concat(),
        }
    }
}

/// One account's yes, by one of its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// Whose.
    pub account: AccountId,
    /// The device's key; whether it is that account's, the state tells.
    pub device_key: [u8; 32],
    signature: [u8; 64],
}

impl Vote {
    /// Votes; `sign` has the device's key.
    pub fn sign(
        group: &GroupId,
        question: &Question,
        account: AccountId,
        device_key: [u8; 32],
        sign: impl Fn(&[u8]) -> [u8; 64],
    ) -> Self {
        // The account is in the message, so that a device of two accounts votes for the one that it means.
        let message = [question.message(group), account.0.to_vec()].concat();
        Self { account, device_key, signature: sign(&message) }
    }

    /// The device.
    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.device_key)
    }

    pub(super) fn holds(&self, group: &GroupId, question: &Question, by: &impl Signatures) -> bool {
        let message = [question.message(group), self.account.0.to_vec()].concat();
        by.hold(&self.device_key, &message, &self.signature)
    }

    pub(super) fn encode_list(votes: &[Self], out: &mut Vec<u8>) {
        write::array(out, votes.len());
        for vote in votes {
            write::array(out, 3);
            write::bin(out, vote.account.as_bytes());
            write::bin(out, &vote.device_key);
            write::bin(out, &vote.signature);
        }
    }

    pub(super) fn decode_list(r: &mut Reader<'_>) -> Result<Vec<Self>, WireError> {
        let count = r.array("votes")?;
        if count > MAX_ELECTORS {
            return Err(WireError::Malformed("votes"));
        }
        let mut votes: Vec<Self> = Vec::with_capacity(count);
        for _ in 0..count {
            r.array_of(3, "vote")?;
            let account = r.account("voter")?;
            if votes.iter().any(|vote| vote.account == account) {
                return Err(WireError::Malformed("vote twice"));
            }
            votes.push(Self { account, device_key: r.fixed("vote device")?, signature: r.fixed("vote signature")? });
        }
        Ok(votes)
    }
}
