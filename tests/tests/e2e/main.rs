//! End-to-end tests on real daemons, through `chatctl` and the RPC as users and programs use them. The number at the
//! beginning of a name is the row of the parity table that the test checks.
#![allow(clippy::unwrap_used)]

mod accounts;
mod backup;
mod bad_input;
mod clocks;
mod consumers;
mod contacts;
mod crowd;
mod daemon;
mod delivery;
mod directory;
mod expiry;
mod feed;
mod hand;
mod history;
mod hostile;
mod hostile_peer;
mod impostor;
mod isolation;
mod key_change;
mod keys;
mod lifecycle;
mod local_users;
mod mailbox;
mod peer_abuse;
mod presence;
mod profiles;
mod python;
mod readme;
mod real_input;
mod rpc_abuse;
mod schemathesis;
mod shares;
mod start;
mod storage;
mod terminal;
mod torture_bot;
mod torture_flood;
mod torture_kills;
mod util;
mod who;
