//! What the delivery task hears from its own jobs.

use proto::ids::{MessageId, NodeId};
use proto::wire::envelope::AckEntry;

use super::mailbox::{DepositError, Left};
use super::pack::{Done, Problem};
use super::reach::ReachError;
use crate::link::LinkSender;
use crate::model::ids::PeerId;
use crate::store::StoreError;

pub(super) enum Finished {
    Connected {
        contact: PeerId,
        attempt: u64,
        result: Result<(NodeId, LinkSender), ReachError>,
    },
    Packed(Done),
    /// What waits for a contact lies in its mailbox.
    Deposited {
        contact: PeerId,
        result: Result<Left, DepositError>,
    },
    /// A request went out with work, under this number.
    Worked {
        contact: PeerId,
        link: u64,
        result: Result<Option<u64>, Problem>,
    },
    /// What a peer said at the beginning of a link is on disk, or could not be written down.
    Resumed {
        contact: PeerId,
        link: u64,
        entries: Vec<AckEntry>,
        result: Result<(), StoreError>,
    },
    /// That is on disk; these signals need not be sent again.
    Acknowledged {
        contact: PeerId,
        ids: Vec<MessageId>,
    },
}
