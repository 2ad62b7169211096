//! What the delivery task hears from its own jobs.

use proto::ids::{MessageId, NodeId};
use proto::wire::envelope::AckEntry;

use super::mailbox::{DepositError, Left};
use super::pack::{Done, Problem};
use super::reach::ReachError;
use crate::link::LinkSender;
use crate::store::StoreError;

pub(super) enum Finished {
    Connected {
        contact: i64,
        attempt: u64,
        result: Result<(NodeId, LinkSender), ReachError>,
    },
    Packed(Done),
    /// What waits for a contact lies in its mailbox.
    Deposited {
        contact: i64,
        result: Result<Left, DepositError>,
    },
    /// A request went out with work, under this number.
    Worked {
        contact: i64,
        link: u64,
        result: Result<Option<u64>, Problem>,
    },
    /// What a peer said at the beginning of a link is on disk, or could not be written down.
    Resumed {
        contact: i64,
        link: u64,
        entries: Vec<AckEntry>,
        result: Result<(), StoreError>,
    },
    /// That is on disk; these signals need not be sent again.
    Acknowledged {
        contact: i64,
        ids: Vec<MessageId>,
    },
}
