//! The daemons as services: what the units say, what systemd is told, and machines with the real packages on them.
#![allow(clippy::unwrap_used)]

mod containers;
mod installed;
mod machine;
mod notify;
mod operating;
mod packages;
mod restarts;
mod units;
