//! The service and the network: what links see of the accounts, at which relays the node waits, and whether somebody answers.

pub(super) mod lan;
mod links;
pub(super) mod moves;
pub(crate) mod pings;
pub(super) mod ports;
pub(super) mod relays;
