//! Parameters and results of the methods, and the objects in them. The JSON that `chatctl --json` prints has the same
//! fields. Optional parameters may be left out; unknown ones are refused by name.

mod account;
mod backup;
mod common;
mod contact;
mod directory;
mod feed;
mod invite;
mod key;
mod message;
mod system;
mod token;

pub use self::account::*;
pub use self::backup::*;
pub use self::common::*;
pub use self::contact::*;
pub use self::directory::*;
pub use self::feed::*;
pub use self::invite::*;
pub use self::key::*;
pub use self::message::*;
pub use self::system::*;
pub use self::token::*;

/// For fields that are left out when there is nothing to count.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
