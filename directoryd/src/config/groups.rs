//! What the operator decides of the logs of groups: the table `[groups]`.

use crate::store::GroupBounds;

daemonkit::settings! {
    /// Logs of groups: each is made by a member, and holds ciphertext of its group.
    pub struct GroupSettings {
        /// Logs that an account may have made. With 0 nobody makes any, and those that are there go on.
        per_account: u64 = 64,
        /// Entries of a log that are kept at most.
        entries: u64 = 100_000,
        /// Bytes in a log at most.
        bytes: u64 = 256 << 20,
        /// Bytes in all logs of this directory at most.
        total_bytes: u64 = 10 << 30,
        /// Entries that one account, or else one network, appends to a log in a minute at most.
        appends_per_minute: u64 = 60,
    }
}

impl GroupSettings {
    /// Checks the values.
    ///
    /// # Errors
    /// What to change.
    pub(super) fn check(&self) -> Result<(), String> {
        // Of each, somebody may have an eighth.
        if [self.entries, self.bytes, self.total_bytes].iter().any(|bound| *bound < 8) || self.appends_per_minute == 0 {
            return Err(
                "a group quota of nearly 0 would refuse every entry; groups.per_account = 0 makes no more logs".into(),
            );
        }
        Ok(())
    }

    /// As the store refuses by them.
    pub(super) fn bounds(&self) -> GroupBounds {
        GroupBounds {
            per_account: self.per_account,
            entries: self.entries,
            bytes: self.bytes,
            total_bytes: self.total_bytes,
            appends_per_minute: self.appends_per_minute,
        }
    }
}
