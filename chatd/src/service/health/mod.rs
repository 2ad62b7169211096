//! How the daemon is, for whoever looks after it: what is wrong (`doctor`), and figures (`metrics`).

pub(crate) mod doctor;
pub(crate) mod metrics;
