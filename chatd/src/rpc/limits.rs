//! What clients may use of the daemon.

use std::time::Duration;

/// What clients may use of the daemon, and for how long they may keep it waiting.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Clients in all.
    pub clients: usize,
    /// Clients that each user has for certain, whatever others do.
    pub clients_per_uid: usize,
    /// From the first byte of a message to its last, and from connecting to the first message. Between messages a client
    /// may be silent, as long as nobody needs its place.
    pub frame_timeout: Duration,
    /// How long a client may take nothing of what is written to it.
    pub stall_timeout: Duration,
    /// How long what is under way may take when a connection closes.
    pub closing_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 1_024,
            clients_per_uid: 16,
            frame_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            closing_timeout: Duration::from_secs(5),
        }
    }
}
