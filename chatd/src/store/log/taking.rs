//! What one envelope does while it is taken in, and what is told of it.

use proto::reason::Reason;
use proto::wire::envelope::AckEntry;

use crate::model::ids::PeerId;
use crate::policy::limits::Quotas;
use crate::store::log::append::Shown;
use crate::store::log::streams::Closed;
use crate::store::peers::usage::Usage;

/// What one envelope has done so far.
pub(in crate::store) struct Taking {
    pub contact: PeerId,
    pub usage: Usage,
    pub quotas: Quotas,
    pub shown: Shown,
    pub result: Received,
}

/// What an envelope's chain cores did.
#[derive(Debug, Default)]
pub struct Received {
    /// The state of each touched stream after it, to be acknowledged after COMMIT.
    pub entries: Vec<AckEntry>,
    /// Messages newly shown.
    pub shown: usize,
    /// Cores that were there before.
    pub duplicates: usize,
    /// Cores for which there is no room to remember them: they are not stored and not acknowledged, and whoever has them
    /// must keep them.
    pub refused: usize,
    /// Some of these because the contact has used up what may be stored of it.
    pub over_quota: bool,
    /// Cores stored whose predecessor is missing.
    pub held: usize,
    /// More could be shown than one operation shows; [`crate::store::log::reorder::show_ready`] goes on.
    pub unfinished: bool,
    /// Consecutive cores whose hashes do not link: the sender is broken or lies.
    pub chain_broken: bool,
}

/// The reason in a `message.gap` event that names no missing messages: consecutive ones do not link.
pub const CHAIN_BROKEN: &str = Reason::ChainBroken.as_str();

impl Received {
    /// Takes up what is told of a stream; the last word of each counts.
    pub(in crate::store) fn add(&mut self, Closed { entry, unfinished }: Closed) {
        self.unfinished |= unfinished;
        self.entries.retain(|e| (e.conversation, e.epoch) != (entry.conversation, entry.epoch));
        self.entries.push(entry);
    }
}
