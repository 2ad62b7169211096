//! What a row of `events` holds: the events of one commit and kind. They name rows; whoever reads expands them.

use serde::{Deserialize, Serialize};

use crate::model::ids::PeerId;
use crate::model::{Event, EventKind};
use crate::store::error::StoreError;

/// What a row of `events` says beyond its columns.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::store) struct StoredEvent {
    pub contact: PeerId,
    /// `messages.id` of each event, ascending or not.
    pub messages: Vec<i64>,
    /// The `numbers::state_number` of the state that messages reached.
    pub state: Option<i64>,
    pub reason: Option<String>,
    pub online: Option<bool>,
    pub count: Option<u64>,
}

impl StoredEvent {
    pub(in crate::store) fn encode(&self) -> Vec<u8> {
        // Differences are mostly 1: one byte a message.
        let mut previous = 0;
        let mut deltas = self.clone();
        for id in &mut deltas.messages {
            (*id, previous) = (*id - previous, *id);
        }
        rmp_serde::to_vec(&deltas).unwrap_or_default()
    }

    pub(in crate::store) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut event: Self = rmp_serde::from_slice(bytes).map_err(|_| DAMAGED)?;
        let mut id = 0;
        for delta in &mut event.messages {
            id += *delta;
            *delta = id;
        }
        Ok(event)
    }
}

/// What an event row is that does not say what its type needs.
pub(in crate::store) const DAMAGED: StoreError = StoreError::Damaged("event");

/// Events of one kind that a commit stores in one row.
pub(in crate::store) struct NewEvent {
    pub kind: EventKind,
    pub count: u64,
    pub body: StoredEvent,
    /// The same as readers get them, if somebody listens.
    pub built: Option<Vec<Event>>,
}
