//! How the daemon is, for whoever looks after it: what is wrong (`doctor`), what the network allows (`netcheck`), and figures (`metrics`).

pub(crate) mod doctor;
pub(crate) mod metrics;
pub(crate) mod netcheck;
