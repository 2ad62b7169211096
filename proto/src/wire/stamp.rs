//! What shows that work was done; which work that is, is [`super::work`]'s.

/// Seconds of a window. A stamp holds in its own and in the next.
pub const WORK_WINDOW_SECONDS: i64 = 600;

/// Proof that work was done for an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When, by the clock of whoever asked: Unix seconds divided by [`WORK_WINDOW_SECONDS`].
    pub window: u64,
    /// What was found.
    pub nonce: u64,
}
