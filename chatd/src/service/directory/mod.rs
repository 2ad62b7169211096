//! What an account has to do with directories: its session, what it publishes, its mailbox and its prekeys, whom it looks up.

pub(super) mod confirmations;
pub(super) mod fetch_plan;
pub(super) mod guests;
pub(super) mod mailbox;
pub(crate) mod membership;
pub(super) mod prekeys;
pub(super) mod publisher;
pub(super) mod record_fetch;
pub(super) mod session;
pub(super) mod subscriptions;
pub(crate) mod users;
