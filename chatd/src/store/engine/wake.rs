//! What others wait for: the outcome of an operation, and that there is something to deliver.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::model::ids::PeerId;
use crate::store::error::StoreError;

/// Tells delivery for whom there may be something to do, without knowing delivery.
#[derive(Debug, Default)]
pub(in crate::store) struct Wake {
    pub signal: watch::Sender<u64>,
    pub dirty: Mutex<BTreeSet<PeerId>>,
}

impl Wake {
    pub fn mark(&self, contacts: Vec<PeerId>) {
        if contacts.is_empty() {
            return;
        }
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).extend(contacts);
        self.signal.send_modify(|n| *n += 1);
    }
}

/// The outcome of an operation, known after COMMIT.
#[derive(Debug)]
pub struct Pending<T>(pub(in crate::store) tokio::sync::oneshot::Receiver<Result<T, StoreError>>);

impl<T> Pending<T> {
    /// Waits for the COMMIT.
    ///
    /// # Errors
    /// Those of the operation or of the commit.
    pub async fn outcome(self) -> Result<T, StoreError> {
        self.0.await.unwrap_or(Err(StoreError::Closed))
    }
}
