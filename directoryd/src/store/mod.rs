//! What must survive: the directory's own key, records, released names, reach, token hashes, session counters, mail,
//! logs of groups.
//!
//! [`Store`] takes requests and gives answers after COMMIT, so what a client was told is on the disk, and what one client
//! was told, all others can see. What a request does is decided by `rules`, which read and write by the small `command`s
//! of one transaction; `sqlite` carries them out, and so does a model in memory, for tests that run against both.
//!
//! Not the job: signatures. What comes in here was verified.

mod command;
mod error;
mod groups;
mod handle;
mod options;
mod request;
mod rules;
mod sqlite;
#[cfg(test)]
mod tests;

pub use command::{EntriesFetch, Entry, Fetch, Group, Mail, Slots, Writer};
pub use error::{BackupError, OpenError, StoreError};
pub use groups::{Appended, GroupAppend, GroupKeys, Keep, Kept, NewGroup, PutSlot, Staged, Stated, Statements};
pub use handle::{Store, StoreThread};
pub use options::{Bounds, GroupBounds, Options, Quotas};
pub use request::{
    Counted, Deposit, Deposited, Depositor, MAX_TOKENS, Publish, Published, RESERVED_SECONDS, StoreReach, Stranger,
};
pub use rules::GroupRead;
pub use sqlite::health::{Checked, Health};
pub use sqlite::readers::Readers;
