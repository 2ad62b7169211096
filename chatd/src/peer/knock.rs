//! Asking a node for the record of whoever made an invite, and answering that.
//!
//! Not the job: whether an invite is good ([`Accounts::invited`]), and whether what comes is what the invite says: who asked looks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::ids::sha256;
use proto::wire::frame::Frame;
use tokio::sync::oneshot;

use super::Accounts;
use crate::link::{LinkError, LinkSender};

/// So long an answer is waited for: a round trip, and a look into every account.
const ANSWER: Duration = Duration::from_secs(5);

/// What a node knows of whoever made an invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// A signed record's bytes.
    pub record: Vec<u8>,
    /// A signed reach's bytes; empty when there is none.
    pub reach: Vec<u8>,
}

/// Why there is no card.
#[derive(Debug, thiserror::Error)]
pub enum KnockError {
    /// There is no link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Nothing came.
    #[error("no answer within {} s", ANSWER.as_secs())]
    Silent,
    /// Nobody there has such an invite out.
    #[error("nobody there knows of this invite")]
    Unknown,
}

/// Who waits for which answer.
type Waiting = HashMap<[u8; 32], oneshot::Sender<Option<Card>>>;

/// Knocks that are not answered yet, by their token's hash. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Knocks(Arc<Mutex<Waiting>>);

impl Knocks {
    /// Asks on a link.
    ///
    /// # Errors
    /// See [`KnockError`].
    pub async fn ask(&self, link: &LinkSender, token: [u8; 32]) -> Result<Card, KnockError> {
        let hash = sha256(&[&token]);
        let (answer, answered) = oneshot::channel();
        self.waiting().insert(hash, answer);
        let asked = async {
            link.send(Frame::Knock { token }).await?;
            // Somebody else who asks with the same token takes the place.
            answered.await.map_err(|_| KnockError::Silent)?.ok_or(KnockError::Unknown)
        };
        let card = tokio::time::timeout(ANSWER, asked).await.unwrap_or(Err(KnockError::Silent));
        self.waiting().remove(&hash);
        card
    }

    /// An answer came: for whoever waits for it, if anybody does.
    pub(super) fn answered(&self, hash: &[u8; 32], record: Vec<u8>, reach: Vec<u8>) {
        if let Some(waiting) = self.waiting().remove(hash) {
            let _ = waiting.send((!record.is_empty()).then_some(Card { record, reach }));
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], oneshot::Sender<Option<Card>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a knock.
pub(super) fn welcome(accounts: &impl Accounts, token: &[u8; 32]) -> Frame {
    let token_hash = sha256(&[token]);
    let card = accounts.invited(&token_hash).unwrap_or(Card { record: Vec::new(), reach: Vec::new() });
    Frame::Welcome { token_hash, record: card.record, reach: card.reach }
}
