//! What people say of themselves.

/// A profile as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileRow {
    /// Counts changes; 0 when none was ever told.
    pub version: u64,
    /// Display name.
    pub display_name: String,
    /// Status.
    pub status: String,
    /// Bio.
    pub bio: String,
}
