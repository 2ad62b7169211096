//! The events of an account as programs read them: subscriptions, and consumers whose place is kept.

pub(crate) mod consumers;
pub(super) mod readers;
mod subscription;

pub use subscription::Feed;
pub(crate) use subscription::subscribe;
