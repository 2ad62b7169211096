//! What one process may assume as long as it is the only one.

pub mod index;
pub mod nonce;
pub mod presence;
pub mod uptime;
